"""The documented examples: their data are as documented, they learn, and they print what their reader looks for."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

from rnn_from_scratch import RNNScratch

FOLDER = Path(__file__).parents[1] / "examples"

# name: (steps, features, outputs), the largest share of the first loss that may be left at the end
DOCUMENTED = {
    "basic_usage": ((5, 3, 1), 0.5),
    "regression": ((20, 3, 1), 0.05),
    "classification": ((50, 5, 1), 0.05),
    "multiple_outputs": ((30, 4, 3), 0.05),
}

# The examples on real tasks, which tests/test_tasks.py and tests/test_estimators_examples.py run.
TASKS = ["adding_problem", "character_model", "co2_cells", "japanese_vowels"]
TASKS += ["sklearn_grid_search", "sklearn_tagging", "sklearn_vowels", "sklearn_weights"]

# The network, and the rate and epochs of its training. The rate of the classification is that of the original's summed
# gradient, 0.01, turned into the one of a mean over 50 steps.
TRAINING = {
    "basic_usage": (5, "tanh", "linear", "mse", 0.001, 1000),
    "regression": (10, "tanh", "linear", "mse", 0.01, 2000),
    "classification": (15, "relu", "sigmoid", "ce", 0.01 * 50, 1000),
    "multiple_outputs": (20, "tanh", "linear", "mse", 0.005, 3000),
}


def load(name: str) -> ModuleType:
    """An example as a module; its `main` has not run."""
    specification = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Run(NamedTuple):
    """One run of an example: what `main` returned and printed, and the one call of `fit`."""

    figures: dict[str, float]
    lines: list[str]
    model: RNNScratch
    epochs: int
    options: dict[str, object]
    folder: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Callable[[str], Run]:
    """Runs an example by its name, each only once: without the native engine they take seconds."""

    @cache
    def once(name: str) -> Run:
        calls = []

        class Recorded(RNNScratch):
            def fit(self, X, labels, epochs, **options):
                calls.append((self, epochs, options))
                return super().fit(X, labels, epochs, **options)

        module, folder = load(name), tmp_path_factory.mktemp(name) / "new"
        module.RNNScratch = Recorded
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            figures = module.main(folder) if name == "multiple_outputs" else module.main()
        [call] = calls
        return Run(figures, printed.getvalue().splitlines(), *call, folder)

    return once


def test_every_example_is_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted([*DOCUMENTED, *TASKS])


@pytest.mark.parametrize("name", DOCUMENTED)
class TestEveryExample:
    def test_learns_and_prints_its_losses(self, name, run):
        figures = run(name).figures
        first, final = figures["first_loss"], figures["final_loss"]
        assert 0 < final <= DOCUMENTED[name][1] * first
        assert f"Loss: {first:.6f} before training, {final:.6f} in the last epoch" in run(name).lines

    def test_data_have_the_documented_shapes_and_are_the_same_in_every_run(self, name):
        (T, D, O), _ = DOCUMENTED[name]  # noqa: E741  # the alphabet's letter
        X, y = load(name).make_data()
        assert X.shape == (T, D)
        assert y.shape == (T, O)
        again = load(name).make_data()
        assert np.array_equal(X, again[0])
        assert np.array_equal(y, again[1])

    def test_network_and_training_are_the_documented_ones(self, name, run):
        model, epochs, options = run(name).model, run(name).epochs, run(name).options
        (_, D, O), _ = DOCUMENTED[name]  # noqa: E741
        H, activation, output_activation, loss, learning_rate, documented_epochs = TRAINING[name]
        assert (model.input_features, model.hidden_units, model.num_output) == (D, H, O)
        assert (model.activation, model.output_activation, model.loss) == (activation, output_activation, loss)
        assert (model.learning_rate, epochs) == (learning_rate, documented_epochs)
        assert options == {"verbose": name == "basic_usage", "return_history": True}


class TestBasicUsage:
    def test_data(self):
        X, y = load("basic_usage").make_data()
        assert np.allclose(X[0], [0.1, 0.2, 0.3])
        assert np.allclose(X[4], [0.5, 0.6, 0.7])
        assert np.allclose(np.diff(X, axis=0), 0.1)
        assert np.allclose(y[:, 0], [0.3, 0.45, 0.6, 0.75, 0.9])

    def test_prints_progress_and_every_prediction(self, run):
        lines = run("basic_usage").lines
        assert [line[:16] for line in lines[:10]] == [f"Epoch {epoch:>4}/1000 " for epoch in range(100, 1001, 100)]
        rows = [line.split() for line in lines if line[:4].strip().isdigit()]
        assert [int(step) for step, _, _ in rows] == [1, 2, 3, 4, 5]
        errors = [float(prediction) - float(target) for _, target, prediction in rows]
        assert max(map(abs, errors)) < 0.2


class TestRegression:
    def test_targets_are_half_the_row_sum_of_random_walks(self):
        X, y = load("regression").make_data()
        assert np.allclose(y[:, 0], 0.5 * (X[:, 0] + X[:, 1] + X[:, 2]))
        steps = np.diff(X, axis=0)
        assert 0.7 < steps.std() < 1.3  # standard normal steps

    def test_mse_of_the_predictions_is_printed_and_small(self, run):
        figures = run("regression").figures
        _, y = load("regression").make_data()
        assert figures["mse"] <= figures["final_loss"] < 0.01 * y.var()  # predicted after the last update
        assert any(line.startswith(f"MSE of the predictions: {figures['mse']:.6f}") for line in run("regression").lines)


class TestClassification:
    def test_label_is_1_where_the_row_sum_is_positive(self):
        X, y = load("classification").make_data()
        assert [bool(label) for label in y[:, 0]] == [sum(row) > 0 for row in X]
        assert 0.3 < y.mean() < 0.7  # or accuracy would say little

    def test_accuracy_is_printed_and_at_least_95_percent(self, run):
        accuracy = run("classification").figures["accuracy"]
        assert accuracy >= 0.95
        assert any(line.startswith(f"Accuracy: {accuracy:.2f}") for line in run("classification").lines)


class TestMultipleOutputs:
    def test_targets_are_the_three_documented_functions(self):
        X, y = load("multiple_outputs").make_data()
        assert np.allclose(y, [[a + b, c - d, (a + b + c + d) / 4] for a, b, c, d in X])

    def test_each_output_is_compared_with_its_own_label(self, run):
        figures, lines = run("multiple_outputs").figures, run("multiple_outputs").lines
        errors = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("MSE of")]
        assert len(errors) == 3
        # Broadcast against all labels the mean would be near their variance; compared rightly it continues the loss.
        assert np.mean(errors) == pytest.approx(figures["mse"], abs=1e-6)
        assert figures["mse"] == pytest.approx(figures["final_loss"], rel=0.01)

    def test_picture_is_written_into_the_given_folder(self, run):
        pytest.importorskip("matplotlib", reason="the picture needs the extra `plot`")
        [picture] = run("multiple_outputs").folder.iterdir()
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert run("multiple_outputs").lines[-1] == f"Picture of the loss: {picture}"

    def test_without_a_folder_the_picture_goes_to_a_temporary_one(self, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib", reason="the picture needs the extra `plot`")
        module = load("multiple_outputs")
        monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
        path = module.plot([2.0, 1.0], None)
        assert path.is_file()
        assert path.parents[1] == tmp_path

    def test_without_matplotlib_it_runs_and_says_how_to_get_the_picture(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        module = load("multiple_outputs")

        class Short(RNNScratch):
            def fit(self, X, labels, epochs, **options):
                return super().fit(X, labels, 3, **options)

        monkeypatch.setattr(module, "RNNScratch", Short)
        assert module.main(tmp_path)["first_loss"] > 0
        assert 'pip install "rnn-from-scratch[plot]"' in capsys.readouterr().out
        assert not list(tmp_path.iterdir())
