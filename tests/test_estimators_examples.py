"""The examples in scikit-learn's words: they learn, stand where their tables say, and their baselines are honest."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need the extra `sklearn`")

FOLDER = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Examples as modules, which may import each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in [*sys.modules]:
        if name.startswith("sklearn_"):
            del sys.modules[name]


def run(module: ModuleType, **words: object) -> tuple[dict, str]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        figures = module.main(quick=True, **words)
    return figures, printed.getvalue()


class TestJapaneseVowels:
    """With the recordings, which the extra `examples` brings."""

    def test_the_untuned_pipeline_and_its_baselines(self, load):
        pytest.importorskip("aeon", reason="the recordings need the extra `examples`")
        figures, printed = run(load("sklearn_vowels"))
        assert figures["summary, logistic regression"][0] == pytest.approx(0.986, abs=0.006)
        assert figures["GRU, defaults"][0] > 0.96
        assert figures["GRU, both directions"][0] > 0.965
        assert figures["LSTM"][0] > 0.93
        assert f"{100 * figures['GRU, defaults'][0]:.1f}" in printed

    def test_the_search(self, load):
        pytest.importorskip("aeon", reason="the recordings need the extra `examples`")
        figures, printed = run(load("sklearn_grid_search"), n_jobs=1)
        chosen, in_folds, on_test = figures["network"]
        assert chosen == {"rnnclassifier__cell": "gru"}
        assert in_folds > 0.93
        assert on_test > 0.95
        assert figures["summary"][1] > 0.95
        assert "cell=gru" in printed


class TestSeattleWeather:
    """With the days, which the extra `examples` brings."""

    def test_the_tagger_and_its_baselines(self, load):
        pytest.importorskip("vega_datasets", reason="the weather needs the extra `examples`")
        module = load("sklearn_tagging")
        X, y = module.load_data()
        assert [len(x) for x in X] == [len(tags) for tags in y]
        assert (len(X), sum(map(len, X)), {len(x) for x in X}) == (48, 1461, {28, 29, 30, 31})
        figures, _ = run(module)
        assert figures["always the commoner"][0] == pytest.approx(0.605, abs=0.001)
        assert figures["logistic regression, the week"][0] == pytest.approx(0.816, abs=0.01)
        assert 0.76 < figures["GRU, both directions"][0] < 0.84

    def test_the_search_behind_the_choice_can_be_made(self, load, monkeypatch):
        pytest.importorskip("vega_datasets", reason="the weather needs the extra `examples`")
        module = load("sklearn_tagging")
        monkeypatch.setattr(module, "GRID", {"rnnclassifier__hidden_layer_sizes": [1, 4]})
        X, y = module.load_data()
        assert module.choose(X[:12], y[:12]).best_score_ > 0.6


class TestWeights:
    def test_windows_and_what_was_measured(self, load):
        module = load("sklearn_weights")
        X, y, measured = module.make_data()
        data = module.load_co2()
        change = np.diff(data.ppm)
        assert np.array_equal(X[0], change[:36])
        assert y[0] == change[36]
        assert np.array_equal(X[-1], change[-37:-1])
        assert y[-1] == change[-1]
        for n in np.flatnonzero(~measured):
            assert data.interpolated[n + 36] or data.interpolated[n + 37]
        assert (~measured).sum() == 4

    def test_everybody_beats_last_year(self, load):
        figures, printed = run(load("sklearn_weights"))
        for word, [last_year] in figures["as a year ago"].items():
            assert last_year == pytest.approx(0.4196, abs=5e-4)
            assert figures["ridge, 36 changes"][word][0] < 0.34
            assert figures["GRU, defaults"][word][0] < 0.40
        assert figures["ridge, 36 changes"]["measured"] != figures["ridge, 36 changes"]["measured, recent"]
        assert "0.420" in printed


@pytest.mark.parametrize("name", ["vowels", "grid_search", "tagging"])
def test_without_the_data_it_says_what_to_install(name, load, monkeypatch, capsys):
    for package in ("aeon", "aeon.datasets", "vega_datasets"):
        monkeypatch.setitem(sys.modules, package, None)
    assert load(f"sklearn_{name}").main(quick=True) == {}
    assert 'pip install "rnn-from-scratch[sklearn,examples]"' in capsys.readouterr().out


def test_without_scikit_learn_it_says_what_to_install(load, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    assert load("sklearn_weights").main(quick=True) == {}
    assert 'pip install "rnn-from-scratch[sklearn]"' in capsys.readouterr().out
