"""The examples on real tasks, in their quick variants: they learn, their data and baselines are what they say."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples"


@cache
def load(name: str) -> ModuleType:
    """An example as a module; its `main` has not run."""
    specification = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where its dataclasses look for themselves
    specification.loader.exec_module(module)
    return module


@cache
def quick(name: str) -> tuple[dict, str]:
    """What the quick variant returned and printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        figures = load(name).main(quick=True)
    return figures, printed.getvalue()


class TestAddingProblem:
    def test_sequences_and_sums(self):
        X, y = np.full((50, 7, 2), np.nan), np.full((50, 1), np.nan)
        load("adding_problem").fill(X, y, np.random.default_rng(3))
        assert (X[:, :3, 1].sum(axis=1) == 1).all()  # one mark in the first half of seven steps,
        assert (X[:, 3:, 1].sum(axis=1) == 1).all()  # one in the second
        assert np.allclose(y[:, 0], (X[:, :, 0] * X[:, :, 1]).sum(axis=1))
        assert 0 <= X[:, :, 0].min() < 0.05 < 0.95 < X[:, :, 0].max() < 1

    def test_no_sequence_is_seen_twice(self):
        module = load("adding_problem")
        network = module.Network(2, [module.GRU(3)], 1, readout="last", dtype="float32", random_state=0)
        X, y = np.empty((8, 4, 2), np.float32), np.empty((8, 1), np.float32)
        seen = []

        def refill(epoch, history):
            seen.append(network.loss_and_gradient(X, y)[0])
            module.fill(X, y, np.random.default_rng(epoch))

        module.fill(X, y, np.random.default_rng(0))
        # So small a rate leaves the parameters where they are: each epoch has the loss of what the array held.
        history = network.fit(X, y, 3, learning_rate=1e-12, callbacks=refill)
        assert np.allclose(history.loss, seen, rtol=1e-5)
        assert len({round(loss, 4) for loss in seen}) == 3

    def test_gated_and_identity_networks_get_there_and_the_tanh_network_does_not(self):
        figures, printed = quick("adding_problem")
        for name in ("Elman relu, scaled identity", "GRU", "LSTM"):
            [(updates, error)] = figures[name]
            assert error < 0.01, name
            assert updates < 2000, name
        [(updates, error)] = figures["Elman tanh, Xavier"]
        assert updates == 2000
        assert 0.01 < error < 0.17
        assert "not in 2000" in printed


class TestCharacterModel:
    def test_streams_go_on_where_they_were(self):
        module = load("character_model")
        tokens = np.arange(3 * module.ROWS * module.PIECE + 100)
        X, y = module.as_streams(tokens)
        assert X.shape == y.shape == (3 * module.ROWS, module.PIECE)
        assert np.array_equal(y, X + 1)
        streams = X.reshape(3, module.ROWS, module.PIECE).swapaxes(0, 1).reshape(-1)
        assert np.array_equal(streams, tokens[: len(streams)])

    @pytest.mark.parametrize("order", [1, 2, 3])
    def test_baselines_by_hand(self, order):
        V, strength, tokens = 3, 0.5, [0, 1, 1, 0, 2, 0, 1, 0]
        found = load("character_model").ngram_probabilities(np.array(tokens), V, order, strength)

        def probability(context, character):
            if context is None:
                return 1 / V
            n = len(context)
            places = [i for i in range(len(tokens) - n) if tuple(tokens[i : i + n]) == context]
            count = sum(tokens[i + n] == character for i in places)
            shorter = probability(context[1:] if n else None, character)
            return (count + strength * shorter) / (len(places) + strength)

        contexts = list(product(range(V), repeat=order - 1))
        assert np.allclose(found, [[probability(context, c) for c in range(V)] for context in contexts])
        assert np.allclose(found.sum(axis=1), 1)

    def test_learns_more_than_pairs_of_characters_and_writes(self):
        figures, printed = quick("character_model")
        assert figures["GRU"] < figures["bigram"] < figures["unigram"] < 5.5
        assert figures["trigram"] < figures["bigram"]
        assert len(figures["sample"]) == 400
        assert figures["sample"] in printed
        assert figures["sample"].count(" ") > 20


class TestCO2Cells:
    def test_every_cell_beats_the_seasonal_forecast(self):
        figures, _ = quick("co2_cells")
        assert figures["baseline: naive"][0] == pytest.approx(1.251, abs=5e-4)
        assert figures["baseline: seasonal with drift"][0] == pytest.approx(0.420, abs=5e-4)
        networks = {name: value for name, [value] in figures.items() if not name.startswith("baseline")}
        assert len(networks) == 4
        assert all(0.25 < value < 0.37 for value in networks.values()), networks

    def test_forecasts_know_nothing_of_what_they_forecast(self):
        module = load("co2_cells")
        data = module.load_co2()
        ppm, cut = data.ppm[:300].copy(), 240
        settings = module.Settings("GRU", 12, 4, 1e-2, "cosine")
        before = module.forecast(ppm, data.interpolated[:300], cut, settings, seed=0)
        ppm[270] += 5
        after = module.forecast(ppm, data.interpolated[:300], cut, settings, seed=0)
        assert before.shape == (301,)
        assert np.array_equal(before[:271], after[:271], equal_nan=True)
        assert after[271] > before[271] + 1


class TestJapaneseVowels:
    def test_speakers_are_recognised(self):
        pytest.importorskip("aeon", reason="the recordings need the extra `examples`")
        module = load("japanese_vowels")
        (X, y), (X_test, y_test) = train, test = module.load_data()
        assert (len(X), len(X_test)) == (270, 370)
        assert {x.shape[1] for x in X + X_test} == {12}
        lengths = [len(x) for x in X + X_test]
        assert (min(lengths), max(lengths)) == (7, 29)
        assert sorted(set(y)) == sorted(set(y_test)) == list(range(9))
        assert module.accuracy(module.Configuration("GRU", epochs=30), train, test, seed=0) > 0.92
        assert module.accuracy(module.CHOSEN, train, test, seed=0) > 0.95

    def test_without_aeon_it_says_what_to_install(self, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "aeon", None)
        monkeypatch.setitem(sys.modules, "aeon.datasets", None)
        assert load("japanese_vowels").main(quick=True) == {}
        assert 'pip install "rnn-from-scratch[examples]"' in capsys.readouterr().out
