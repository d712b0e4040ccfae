"""The documented class `RNNScratch`, clause by clause, against an independent implementation in plain loops."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from properties import HealthCheck, given, settings, st

from rnn_from_scratch import EngineUnavailableError, NonFiniteError, RNNScratch
from rnn_from_scratch.engines import native_engine

ACTIVATIONS = ["tanh", "sigmoid", "relu", "linear"]
# Every useful pair of loss and output activation.
LOSSES = [("mse", "linear"), ("mse", "sigmoid"), ("mse", "softmax"), ("ce", "sigmoid"), ("ce", "softmax")]
SHAPES = {"wx": "HD", "wh": "HH", "wy": "OH", "bh": "H1", "by": "O1"}

every_loss = pytest.mark.parametrize(("loss", "output_activation"), LOSSES)
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)

# The engine of a test is fixed while hypothesis draws its examples, and no example depends on the one before.
property_test = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


# --- The documented mathematics, once more, in plain loops over columns ---

VALUES = {
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "relu": lambda a: np.where(a > 0, a, 0.0),
    "linear": lambda a: a,
    "softmax": lambda a: np.exp(a) / np.exp(a).sum(),
}
SLOPES = {  # by the argument, not by the value
    "tanh": lambda a: 1 / np.cosh(a) ** 2,
    "sigmoid": lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2,
    "relu": lambda a: np.where(a > 0, 1.0, 0.0),
    "linear": np.ones_like,
}


class Loop:
    """Elman's network as the documentation writes it down: columns, one step after the other, gradients by hand."""

    def __init__(self, model: RNNScratch) -> None:
        self.p = tensors(model)
        self.loss, self.activation, self.output_activation = model.loss, model.activation, model.output_activation

    def run(self, X: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """Hidden pre-activations and states of every step, the states with a zero before the first; and the outputs."""
        p, h = self.p, np.zeros_like(self.p["bh"])
        a, hs, ys = [], [h], []
        for x in X:
            a.append(p["wx"] @ x[:, None] + p["wh"] @ h + p["bh"])
            h = VALUES[self.activation](a[-1])
            hs.append(h)
            ys.append(VALUES[self.output_activation](p["wy"] @ h + p["by"]))
        return a, hs, ys

    def predict(self, X: np.ndarray) -> list[np.ndarray]:
        return self.run(X)[2]

    def step_losses(self, X: np.ndarray, labels: np.ndarray) -> list[float]:
        """The loss of each step by itself, as the documentation defines it."""
        losses = []
        for y, row in zip(self.predict(X), labels, strict=True):
            pairs = list(zip(y[:, 0], row, strict=True))
            if self.loss == "mse":
                losses.append(sum((o - t) ** 2 for o, t in pairs) / len(pairs))
            elif self.output_activation == "softmax":
                losses.append(-sum(t * math.log(o) for o, t in pairs))
            else:
                losses.append(-sum(t * math.log(o) + (1 - t) * math.log(1 - o) for o, t in pairs) / len(pairs))
        return losses

    def mean_loss(self, X: np.ndarray, labels: np.ndarray) -> float:
        return sum(self.step_losses(X, labels)) / len(X)

    def gradient(self, X: np.ndarray, labels: np.ndarray, shares: Any) -> dict[str, np.ndarray]:
        """Of the step losses, each times its share: 1/T for their mean, 1 for their sum."""
        p, (a, hs, ys) = self.p, self.run(X)
        g = {name: np.zeros_like(values) for name, values in p.items()}
        from_later = np.zeros_like(p["bh"])
        for t in range(len(X) - 1, -1, -1):
            d_out = shares[t] * self._by_output_preactivation(ys[t], labels[t][:, None])
            d_a = (p["wy"].T @ d_out + from_later) * SLOPES[self.activation](a[t])
            g["wy"] += d_out @ hs[t + 1].T
            g["by"] += d_out
            g["wx"] += d_a @ X[t][None, :]
            g["wh"] += d_a @ hs[t].T
            g["bh"] += d_a
            from_later = p["wh"].T @ d_a
        return g

    def _by_output_preactivation(self, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        if self.loss == "ce":
            return (y - t) / len(y) if self.output_activation == "sigmoid" else y * t.sum() - t
        jacobian = {
            "linear": np.eye(len(y)),
            "sigmoid": np.diagflat(y * (1 - y)),
            "softmax": np.diagflat(y) - y @ y.T,
        }[self.output_activation]
        return jacobian @ (2 / len(y) * (y - t))

    def update(self, X: np.ndarray, labels: np.ndarray, rate: float, shares: Any) -> None:
        for name, gradient in self.gradient(X, labels, shares).items():
            size = np.sqrt((gradient**2).sum())
            self.p[name] -= rate * gradient * (5 / size if size > 5 else 1.0)

    def fit(self, X: np.ndarray, labels: np.ndarray, rate: float, epochs: int) -> list[float]:
        history = []
        for _ in range(epochs):
            history.append(self.mean_loss(X, labels))
            self.update(X, labels, rate, mean_of(X))
        return history

    def train(self, X: list[np.ndarray], vectors: list[np.ndarray], rate: float, epochs: int) -> list[float]:
        """Many-to-one: only the last step of each sequence has a label; an update per sequence, in their order."""
        history = []
        for _ in range(epochs):
            losses = []
            for x, vector in zip(X, vectors, strict=True):
                labels = np.tile(vector, (len(x), 1))
                losses.append(self.step_losses(x, labels)[-1])
                self.update(x, labels, rate, [0.0] * (len(x) - 1) + [1.0])
            history.append(sum(losses) / len(losses))
        return history


def mean_of(X: np.ndarray) -> list[float]:
    return [1 / len(X)] * len(X)


def finite_differences(loop: Loop, value: Callable[[], float], eps: float = 1e-5) -> dict[str, np.ndarray]:
    """The gradient of `value` by every parameter of the loop, one number at a time."""
    found = {}
    for name, values in loop.p.items():
        found[name] = np.zeros_like(values)
        for place in np.ndindex(values.shape):
            here = values[place]
            values[place] = here + eps
            above = value()
            values[place] = here - eps
            found[name][place] = (above - value()) / (2 * eps)
            values[place] = here
    return found


# --- Helpers ---


def make(engine: str = "numpy", features: int = 3, hidden: int = 4, outputs: int = 2, **options: Any) -> RNNScratch:
    """A model with a linear output, on its Xavier weights and zero biases."""
    options = {"learning_rate": 0.1, "output_activation": "linear", "random_state": 0, **options}
    return RNNScratch(features, hidden, outputs, engine=engine, **options)


def make_random(engine: str = "numpy", seed: int = 0, scale: float = 0.5, **options: Any) -> RNNScratch:
    """A model whose biases are random too: zeros would hide missing terms."""
    model, rng = make(engine, **options), np.random.default_rng(seed)
    for group in (model.weights, model.bias):
        for name, values in group.items():
            group[name] = rng.normal(scale=scale, size=values.shape)
    return model


def tensors(model: RNNScratch) -> dict[str, np.ndarray]:
    """Copies of all weights and biases."""
    return {name: values.copy() for group in (model.weights, model.bias) for name, values in group.items()}


def sequence(steps: int = 6, features: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, features))


def labels_for(steps: int, outputs: int = 2, seed: int = 2) -> np.ndarray:
    """In [0, 1], so that they suit every loss; rows do not add up to 1, so that a softmax cannot hide behind that."""
    return np.random.default_rng(seed).uniform(0.05, 0.95, size=(steps, outputs))


def ragged(outputs: int = 2, features: int = 3) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sequences of 4, 1, 7 and 2 steps, and a label vector for each."""
    X = [sequence(steps, features, seed=steps) for steps in (4, 1, 7, 2)]
    return X, list(labels_for(len(X), outputs))


def gives_every_step(model: RNNScratch) -> bool:
    """The mode: after `fit` and at first a list of outputs, after `train` a single one."""
    return isinstance(model.predict(np.ones((2, model.input_features))), list)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float = 0.0) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        size = max(1.0, np.abs(expected[name]).max())
        assert np.abs(found[name] - expected[name]).max() <= tolerance * size, name


def assert_close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def assert_refused(
    kind: type[Exception], message: str, call: Callable[..., object], *args: Any, **options: Any
) -> None:
    """That exact kind of error with exactly that message."""
    with pytest.raises(kind) as caught:
        call(*args, **options)
    assert caught.type is kind
    assert str(caught.value) == message


@contextmanager
def nothing_changes(model: RNNScratch) -> Iterator[None]:
    before = tensors(model), model.learning_rate, gives_every_step(model)
    yield
    assert_same(tensors(model), before[0])
    assert (model.learning_rate, gives_every_step(model)) == before[1:]


# --- The documented interface ---


class TestInterface:
    def test_constructor_has_the_documented_parameters_and_defaults_and_two_more_by_keyword(self):
        parameters = inspect.signature(RNNScratch).parameters
        documented = ["input_features", "hidden_units", "num_output", "learning_rate"]
        assert list(parameters)[:7] == [*documented, "loss", "activation", "output_activation"]
        assert [parameters[name].default for name in documented] == [inspect.Parameter.empty] * 4
        assert [parameters[name].default for name in list(parameters)[4:7]] == ["mse", "tanh", "sigmoid"]
        keyword_only = [name for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        assert keyword_only == list(parameters)[7:] == ["random_state", "engine"]

    @pytest.mark.parametrize(("method", "X", "y"), [("fit", "X", "labels"), ("train", "X_train", "y_train")])
    def test_fit_and_train_have_the_documented_parameters_and_defaults(self, method, X, y):
        parameters = list(inspect.signature(getattr(RNNScratch, method)).parameters.values())[1:]
        assert [p.name for p in parameters] == [X, y, "epochs", "learning_rate", "verbose", "return_history"]
        assert [p.default for p in parameters[3:]] == [None, True, False]
        assert all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)

    @pytest.mark.parametrize("method", ["predict", "forward"])
    def test_predict_and_forward_take_one_sequence(self, method):
        assert list(inspect.signature(getattr(RNNScratch, method)).parameters) == ["self", "X"]

    def test_defaults_are_mse_tanh_sigmoid(self):
        model = RNNScratch(3, 4, 2, 0.1)
        assert (model.loss, model.activation, model.output_activation) == ("mse", "tanh", "sigmoid")
        X = sequence()
        assert_close(model.predict(X), Loop(model).predict(X))

    def test_attributes_hold_what_was_given(self):
        model = RNNScratch(3, np.int64(4), 2, np.float32(0.25))
        assert (model.input_features, model.hidden_units, model.num_output, model.learning_rate) == (3, 4, 2, 0.25)
        assert [type(value) for value in (model.hidden_units, model.learning_rate)] == [int, float]

    def test_import_needs_nothing_but_numpy(self):
        script = """if True:
            import sys
            import numpy.random  # with everything that NumPy brings along
            before = set(sys.modules)
            from rnn_from_scratch import RNNScratch
            RNNScratch(2, 3, 1, 0.1).fit([[1.0, 2.0]], [[0.5]], 2, verbose=False)
            new = {name.partition(".")[0] for name in set(sys.modules) - before}
            print(*sorted(new - {*sys.stdlib_module_names, "numpy", "rnn_from_scratch"}))
        """
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == ""


# --- Initialisation and validation ---


class TestInitialisation:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(("name", "fan_in", "fan_out"), [("wx", 40, 60), ("wh", 60, 60), ("wy", 60, 30)])
    def test_weights_are_xavier_uniform(self, name, fan_in, fan_out, seed):
        weights = make(features=40, hidden=60, outputs=30, random_state=seed).weights[name]
        limit = math.sqrt(6 / (fan_in + fan_out))
        assert 0.98 * limit < np.abs(weights).max() <= limit
        assert weights.var() == pytest.approx(2 / (fan_in + fan_out), rel=0.08)
        assert abs(weights.mean()) < 4 * limit / math.sqrt(3 * weights.size)
        # Uniform, not merely of that variance: a quarter of the values in each quarter of the range.
        counts, _ = np.histogram(weights, bins=4, range=(-limit, limit))
        assert np.abs(counts / weights.size - 0.25).max() < 0.05

    def test_biases_are_zero(self, engine):
        model = make(engine)
        assert not model.bias["bh"].any()
        assert not model.bias["by"].any()

    @pytest.mark.parametrize(("features", "hidden", "outputs"), [(3, 4, 2), (1, 1, 1), (2, 7, 5)])
    def test_shapes_and_dtype(self, engine, features, hidden, outputs):
        model = make(engine, features=features, hidden=hidden, outputs=outputs)
        size = {"D": features, "H": hidden, "O": outputs, "1": 1}
        found = tensors(model)
        assert list(model.weights) == ["wx", "wh", "wy"]
        assert list(model.bias) == ["bh", "by"]
        assert {name: values.shape for name, values in found.items()} == {
            name: (size[rows], size[columns]) for name, (rows, columns) in SHAPES.items()
        }
        assert {values.dtype for values in found.values()} == {np.dtype(np.float64)}

    def test_one_seed_gives_the_same_weights_on_every_engine_and_another_seed_others(self, engine):
        first = tensors(make(engine, random_state=7))
        assert_same(tensors(make("numpy", random_state=7)), first)
        other = tensors(make(engine, random_state=8))
        assert all((first[name] != other[name]).all() for name in ("wx", "wh", "wy"))

    def test_tensors_of_one_model_do_not_repeat_each_other(self):
        found = tensors(make(features=4, hidden=4, outputs=4))
        assert not np.isclose(found["wx"], found["wh"]).any()
        assert not np.isclose(found["wh"], found["wy"]).any()

    def test_without_a_seed_every_model_is_different(self):
        assert (make(random_state=None).weights["wx"] != make(random_state=None).weights["wx"]).all()

    def test_a_seed_may_be_anything_that_numpy_makes_a_generator_of(self):
        expected = tensors(make(random_state=5))
        kinds = [np.int32(5), np.random.SeedSequence(5), np.random.PCG64(5), np.random.default_rng(5)]
        for random_state in kinds:
            assert_same(tensors(make(random_state=random_state)), expected)

    def test_two_models_of_one_generator_differ(self):
        rng = np.random.default_rng(5)
        assert (make(random_state=rng).weights["wx"] != make(random_state=rng).weights["wx"]).all()

    def test_numpys_global_generator_is_not_touched(self):
        before = np.random.get_state()[1].copy()  # noqa: NPY002  # the very thing asked about
        make(random_state=None).fit(sequence(), labels_for(6), 2, verbose=False)
        assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


CONSTRUCTOR = {"input_features": 3, "hidden_units": 4, "num_output": 2, "learning_rate": 0.1}


class TestValidation:
    @pytest.mark.parametrize("name", ["input_features", "hidden_units", "num_output"])
    @pytest.mark.parametrize(
        ("value", "kind"),
        [(0, ValueError), (-1, ValueError), (np.int64(0), ValueError)]
        + [(value, TypeError) for value in (2.0, "3", None, True, [3], math.nan, np.array([3]), np.bool_(True))],
    )
    def test_sizes_must_be_ints_of_at_least_1(self, name, value, kind):
        message = f"{name} of RNNScratch must be an int >= 1. Got {value!r}."
        assert_refused(kind, message, RNNScratch, **{**CONSTRUCTOR, name: value})

    @pytest.mark.parametrize(
        ("value", "kind"),
        [(value, ValueError) for value in (0, 0.0, -0.1, math.nan, math.inf, -math.inf)]
        + [(value, TypeError) for value in ("0.1", None, True, [0.1], 1j)],
    )
    def test_learning_rate_must_be_a_positive_number(self, value, kind):
        message = f"learning_rate of RNNScratch must be a finite number > 0. Got {value!r}."
        assert_refused(kind, message, RNNScratch, **{**CONSTRUCTOR, "learning_rate": value})

    @pytest.mark.parametrize(
        ("name", "allowed"),
        [
            ("loss", "'mse', 'ce'"),
            ("activation", "'tanh', 'sigmoid', 'relu', 'linear'"),
            ("output_activation", "'linear', 'sigmoid', 'softmax'"),
        ],
    )
    @pytest.mark.parametrize(
        ("value", "kind"),
        [("gelu", ValueError), ("MSE", ValueError), ("", ValueError), (None, TypeError), (1, TypeError)],
    )
    def test_words_must_be_among_the_documented_ones(self, name, allowed, value, kind):
        message = f"{name} of RNNScratch must be one of {allowed}. Got {value!r}."
        assert_refused(kind, message, RNNScratch, **{**CONSTRUCTOR, name: value})

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @every_loss
    def test_every_useful_combination_is_accepted(self, loss, output_activation, activation):
        model = make(loss=loss, activation=activation, output_activation=output_activation)
        assert len(model.predict(sequence())) == 6

    @pytest.mark.parametrize("loss", ["mse", "ce"])
    def test_softmax_with_one_output_is_refused(self, loss):
        message = (
            "output_activation of RNNScratch must be 'linear' or 'sigmoid' for one output. "
            "Got 'softmax', which is always 1."
        )
        options = {**CONSTRUCTOR, "num_output": 1, "loss": loss, "output_activation": "softmax"}
        assert_refused(ValueError, message, RNNScratch, **options)

    def test_ce_with_a_linear_output_is_refused(self):
        message = (
            "output_activation of RNNScratch must be 'sigmoid' or 'softmax' when the loss is 'ce'. "
            "Got 'linear', whose outputs are not probabilities."
        )
        options = {**CONSTRUCTOR, "loss": "ce", "output_activation": "linear"}
        assert_refused(ValueError, message, RNNScratch, **options)

    def test_random_state_and_engine_only_by_keyword(self):
        with pytest.raises(TypeError, match="positional argument"):
            RNNScratch(3, 4, 2, 0.1, "mse", "tanh", "linear", 0)

    @pytest.mark.parametrize(
        ("name", "value", "kind", "allowed"),
        [
            ("engine", "gpu", ValueError, "one of 'auto', 'numpy', 'native'"),
            ("engine", None, TypeError, "one of 'auto', 'numpy', 'native'"),
            ("random_state", -1, ValueError, "None, an int >= 0, a SeedSequence, a BitGenerator or a Generator"),
            ("random_state", "7", TypeError, "None, an int >= 0, a SeedSequence, a BitGenerator or a Generator"),
        ],
    )
    def test_engine_and_random_state_are_checked_under_the_users_name(self, name, value, kind, allowed):
        message = f"{name} of RNNScratch must be {allowed}. Got {value!r}."
        assert_refused(kind, message, RNNScratch, **CONSTRUCTOR, **{name: value})

    def test_native_engine_where_there_is_none_is_a_clear_error_and_auto_takes_numpy(self, monkeypatch):
        monkeypatch.setattr(native_engine, "_module", None)
        monkeypatch.setattr(native_engine, "_failure", "the compiler was missing.")
        with pytest.raises(EngineUnavailableError, match=r"engine='native' .*the compiler was missing"):
            make("native")
        assert np.array_equal(make("auto").predict(sequence()), make("numpy").predict(sequence()))


# --- Forward ---


class TestForward:
    @property_test
    @given(
        steps=st.integers(1, 9),
        features=st.integers(1, 5),
        hidden=st.integers(1, 19),
        outputs=st.integers(2, 4),
        activation=st.sampled_from(ACTIVATIONS),
        output_activation=st.sampled_from(["linear", "sigmoid", "softmax"]),
        seed=st.integers(0, 1000),
    )
    def test_outputs_follow_the_equations(
        self, engine, steps, features, hidden, outputs, activation, output_activation, seed
    ):
        sizes = {"features": features, "hidden": hidden, "outputs": outputs}
        model = make_random(engine, seed, activation=activation, output_activation=output_activation, **sizes)
        X = sequence(steps, features, seed)
        predictions = model.predict(X)
        assert isinstance(predictions, list)
        assert [y.shape for y in predictions] == [(outputs, 1)] * steps
        assert {y.dtype for y in predictions} == {np.dtype(np.float64)}
        assert_close(predictions, Loop(model).predict(X))

    def test_one_unit_by_hand(self, engine):
        model = make(engine, features=1, hidden=1, outputs=1)
        model.weights.update(wx=[[2.0]], wh=[[0.5]], wy=[[3.0]])
        model.bias.update(bh=[[0.1]], by=[[-1.0]])
        h_1 = math.tanh(2.0 * 0.4 + 0.1)  # no state before the first step
        h_2 = math.tanh(2.0 * -0.3 + 0.5 * h_1 + 0.1)
        assert_close(model.predict([[0.4], [-0.3]]), [[[3 * h_1 - 1]], [[3 * h_2 - 1]]])

    def test_forward_is_predict_in_both_modes(self, engine):
        model, X = make_random(engine), sequence()
        assert np.array_equal(model.forward(X), model.predict(X))
        model.train([X], [[0.1, 0.2]], 1, verbose=False)
        assert model.forward(X).shape == (2, 1)
        assert np.array_equal(model.forward(X), model.predict(X))

    def test_a_step_depends_on_no_later_one(self, engine):
        model, X = make_random(engine), sequence(8)
        whole = model.predict(X)
        for steps in range(1, 8):
            assert_close(model.predict(X[:steps]), whole[:steps], 1e-14)

    def test_each_call_starts_from_a_zero_state(self, engine):
        model, X = make_random(engine), sequence()
        first = model.predict(X)
        model.predict(100 * X)
        assert np.array_equal(model.predict(X), first)

    def test_predicting_changes_nothing(self, engine):
        model, X = make_random(engine), sequence()
        before = X.copy()
        with nothing_changes(model):
            model.predict(X)
        assert np.array_equal(X, before)

    @pytest.mark.parametrize(
        "alike",
        [
            np.ndarray.tolist,
            np.asfortranarray,
            lambda X: X.astype(">f8"),
            lambda X: np.repeat(X, 2, axis=1)[:, ::2],
            lambda X: X[::-1].copy()[::-1],
            lambda X: np.lib.stride_tricks.as_strided(X, X.shape, X.strides, writeable=False),
            lambda X: [tuple(row) for row in X],
            lambda X: X.astype(np.longdouble),
        ],
        ids=["list", "fortran", "byte-swapped", "strided", "reversed", "read-only", "tuples", "longdouble"],
    )
    def test_the_form_of_the_array_does_not_matter(self, engine, alike):
        model, X, labels = make_random(engine), sequence(), labels_for(6)
        assert np.array_equal(model.predict(alike(X)), model.predict(X))
        other = make_random(engine)
        history = model.fit(X, labels, 3, verbose=False, return_history=True)
        assert other.fit(alike(X), alike(labels), 3, verbose=False, return_history=True) == history
        assert_same(tensors(other), tensors(model))

    @pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint16, bool])
    def test_other_numbers_are_computed_with_in_float64(self, engine, dtype):
        model, X = make_random(engine), (10 * np.abs(sequence())).astype(dtype)
        predictions = model.predict(X)
        assert predictions[0].dtype == np.float64
        assert_close(predictions, Loop(model).predict(X.astype(np.float64)))

    @every_activation
    @pytest.mark.parametrize("output_activation", ["linear", "sigmoid", "softmax"])
    def test_pre_activations_of_ten_thousand_give_finite_outputs(self, engine, activation, output_activation):
        model = make(engine, activation=activation, output_activation=output_activation)
        model.bias["bh"] = [[1e4], [-1e4], [1e4], [-1e4]]
        model.bias["by"] = [[1e4], [-1e4]]
        model.weights["wh"] = np.zeros((4, 4))
        outputs = np.array(model.predict(sequence()))
        assert np.isfinite(outputs).all()
        if output_activation != "linear":
            assert ((outputs >= 0) & (outputs <= 1)).all()


# --- Activations ---


class TestActivations:
    def test_values(self):
        x = np.linspace(-30, 30, 121).reshape(11, 11)
        assert_close(RNNScratch.tanh(x), [[math.tanh(v) for v in row] for row in x])
        assert_close(RNNScratch.relu(x), [[max(v, 0.0) for v in row] for row in x])
        expected = np.array([[1 / (1 + math.exp(-v)) for v in row] for row in x])
        assert (np.abs(RNNScratch.sigmoid(x) - expected) <= 1e-14 * expected).all()  # correct digits in the tails too

    @pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "softmax"])
    def test_stable_at_ten_thousand_without_a_warning(self, name):
        # Every floating-point warning is an error here, see conftest.py.
        found = getattr(RNNScratch, name)(np.array([-1e4, 0.0, 1e4]))
        expected = {"tanh": [-1, 0, 1], "sigmoid": [0, 0.5, 1], "relu": [0, 0, 1e4], "softmax": [0, 0, 1]}
        assert found.tolist() == expected[name]

    def test_softmax_of_equal_values_is_even_however_large(self):
        for value in (-1e4, 0.0, 1e4):
            assert_close(RNNScratch.softmax(np.full(4, value)), [0.25] * 4)

    @pytest.mark.parametrize("shape", [(4,), (4, 1), (3, 4), (2, 3, 4)])
    def test_softmax_runs_over_the_classes_of_a_vector_a_column_and_of_rows(self, shape):
        x = np.random.default_rng(0).normal(size=shape)
        axis = 0 if shape == (4, 1) else -1
        expected = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
        assert_close(RNNScratch.softmax(x), expected)
        assert_close(RNNScratch.softmax(x).sum(axis=axis), np.ones_like(x.sum(axis=axis)))

    @given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), st.floats(-1e3, 1e3))
    def test_softmax_is_a_distribution_and_does_not_see_a_shift(self, values, shift):
        y = RNNScratch.softmax(values)
        assert (y >= 0).all()
        assert abs(y.sum() - 1) < 1e-12
        assert_close(RNNScratch.softmax(np.array(values) + shift), y, 1e-9)

    @given(st.floats(-1e4, 1e4))
    def test_sigmoid_and_tanh_are_symmetric(self, x):
        assert_close(RNNScratch.sigmoid([x, -x]).sum(), 1.0)
        assert RNNScratch.tanh([x])[0] == -RNNScratch.tanh([-x])[0]

    @pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "softmax"])
    def test_lists_and_ints_are_taken_arrays_kept_and_a_model_has_them_too(self, name):
        x = np.array([[-2, 0], [1, 3]])
        found = getattr(make(), name)(x.tolist())
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float64
        assert np.array_equal(found, getattr(RNNScratch, name)(x))
        assert x.tolist() == [[-2, 0], [1, 3]]

    @every_activation
    def test_the_hidden_layer_uses_the_activation_of_that_name(self, engine, activation):
        model = make(engine, features=1, hidden=1, outputs=1, activation=activation)
        model.weights.update(wx=[[1.0]], wh=[[0.0]], wy=[[1.0]])
        for x in (-1.5, 0.0, 0.7):
            expected = x if activation == "linear" else getattr(RNNScratch, activation)(np.array([x]))[0]
            assert_close(model.predict([[x]])[0], [[expected]])


# --- Losses ---


class TestLosses:
    @every_loss
    def test_training_loss_is_the_documented_formula(self, engine, loss, output_activation):
        model = make_random(engine, outputs=3, loss=loss, output_activation=output_activation)
        X, labels = sequence(), labels_for(6, 3)
        expected = Loop(model).mean_loss(X, labels)
        [found] = model.fit(X, labels, 1, verbose=False, return_history=True)
        assert_close(found, expected)

    def test_mse_is_the_mean_over_steps_and_outputs(self, engine):
        model = make(engine)
        model.weights["wy"] = np.zeros((2, 4))  # every output is now by
        model.bias["by"] = [[1.0], [-2.0]]
        labels = [[1.0, 0.0], [3.0, -2.0], [0.0, 0.0]]
        expected = (0 + 4 + 4 + 0 + 1 + 4) / 6
        assert_close(model.fit(sequence(3), labels, 1, verbose=False, return_history=True), [expected])

    def test_ce_after_softmax_is_the_sum_over_classes_and_the_mean_over_steps(self, engine):
        model = make(engine, outputs=3, loss="ce", output_activation="softmax")
        model.weights["wy"] = np.zeros((3, 4))
        model.bias["by"] = np.log([[0.2], [0.3], [0.5]])
        labels = [[1, 0, 0], [0, 0, 1]]
        expected = -(math.log(0.2) + math.log(0.5)) / 2
        assert_close(model.fit(sequence(2), labels, 1, verbose=False, return_history=True), [expected])

    def test_ce_after_sigmoid_is_binary_with_both_terms_and_the_mean_over_steps_and_outputs(self, engine):
        model = make(engine, loss="ce", output_activation="sigmoid")
        model.weights["wy"] = np.zeros((2, 4))
        model.bias["by"] = [[math.log(0.2 / 0.8)], [math.log(0.6 / 0.4)]]  # outputs 0.2 and 0.6
        labels = [[1, 0], [0, 1], [0, 0]]
        expected = -(math.log(0.2) + 3 * math.log(0.4) / 1.5 + 2 * math.log(0.8) + math.log(0.6)) / 6
        assert_close(model.fit(sequence(3), labels, 1, verbose=False, return_history=True), [expected])

    def test_saying_1_everywhere_is_punished(self, engine):
        # Without the second term of the binary cross-entropy this loss would be 0.
        model = make(engine, outputs=1, loss="ce", output_activation="sigmoid")
        model.weights["wy"] = np.zeros((1, 4))
        model.bias["by"] = [[1e4]]
        X, labels = sequence(4), np.zeros((4, 1))
        assert model.fit(X, labels, 1, verbose=False, return_history=True) == [1e4]
        assert model.ce(np.ones((4, 1)), labels)["global"] > 700

    @every_loss
    def test_loss_methods_give_each_step_and_the_mean(self, loss, output_activation):
        model = make_random(outputs=3, loss=loss, output_activation=output_activation)
        X, labels = sequence(), labels_for(6, 3)
        found = getattr(model, loss)(model.predict(X), labels)
        expected = Loop(model).step_losses(X, labels)
        assert list(found) == ["local", "global"]
        assert [type(value) for value in [*found["local"], found["global"]]] == [float] * 7
        assert_close(found["local"], expected)
        assert_close(found["global"], sum(expected) / 6)
        history = model.fit(X, labels, 1, verbose=False, return_history=True)
        assert_close(found["global"], history[0])

    def test_mse_by_hand(self):
        found = make().mse([[[1.0], [2.0]], [[0.0], [5.0]]], [[1.0, 4.0], [3.0, 4.0]])
        assert found == {"local": [2.0, 5.0], "global": 3.5}

    def test_predictions_may_be_columns_or_rows_and_labels_of_one_output_a_vector(self):
        model, labels = make(outputs=1), [1.0, 0.0, 2.0]
        columns = [np.array([[y]]) for y in (0.0, 1.0, 2.0)]
        expected = {"local": [1.0, 1.0, 0.0], "global": 2 / 3}
        for predictions in (columns, np.array(columns), [[0.0], [1.0], [2.0]]):
            for targets in (labels, np.reshape(labels, (3, 1))):
                assert model.mse(predictions, targets) == expected

    def test_columns_are_not_broadcast_against_rows(self):
        # `(prediction - label) ** 2` of a column (2, 1) and a row (2,) would be (2, 2) and not zero.
        model, labels = make(), np.array([[1.0, 5.0], [2.0, 9.0]])
        assert model.mse([row[:, None] for row in labels], labels)["local"] == [0.0, 0.0]

    @pytest.mark.parametrize("output_activation", ["sigmoid", "softmax"])
    def test_ce_of_certain_but_wrong_predictions_is_large_and_finite(self, output_activation):
        model = make(loss="ce", output_activation=output_activation)
        found = model.ce([[1.0, 0.0]], [[0.0, 1.0]])["global"]
        assert 700 < found < 1000
        assert model.ce([[1.0, 0.0]], [[1.0, 0.0]])["global"] == 0

    @pytest.mark.parametrize("method", ["mse", "ce"])
    def test_bad_predictions_and_labels_are_refused(self, method):
        call = getattr(make(loss="ce", output_activation="sigmoid"), method)
        good = np.full((3, 2), 0.5)
        for bad, shape in [(good[:, :1], (3, 1)), (good[0], (2,)), (good[:0], (0, 2)), (good[None], (1, 3, 2))]:
            assert_refused(ValueError, f"predictions must be T arrays (O=2, 1). Got {shape}.", call, bad, good)
        message = "labels must be (T=3, O=2), a row for each step of X. Got (2, 2)."
        assert_refused(ValueError, message, call, good, good[:2])
        message = "labels must be finite. Got nan at index (0, 0)."
        assert_refused(ValueError, message, call, good, np.full((3, 2), math.nan))
        assert_refused(TypeError, "predictions must be an array of real numbers. Got dtype <U1.", call, [["a"]], good)

    def test_ce_refuses_labels_outside_0_and_1(self):
        call, message = (
            make(loss="ce", output_activation="sigmoid").ce,
            "labels must lie in [0, 1] when the loss is 'ce'.",
        )
        assert_refused(ValueError, f"{message} Got 3.0.", call, [[0.5, 0.5]], [[0.0, 3.0]])

    def test_ce_refuses_labels_outside_0_and_1_whatever_the_model_trains_with(self):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 1\].* Got 3\.0\."):
            make(loss="mse", output_activation="sigmoid").ce([[0.5, 0.5]], [[0.0, 3.0]])


# --- Backward ---


class TestBackward:
    @every_activation
    @every_loss
    def test_update_is_the_exact_gradient_of_the_loss(self, engine, loss, output_activation, activation):
        model = make_random(
            engine, outputs=3, learning_rate=1.0, loss=loss, activation=activation, output_activation=output_activation
        )
        X, labels = sequence(5), labels_for(5, 3)
        loop, before = Loop(model), tensors(model)
        expected = finite_differences(loop, lambda: loop.mean_loss(X, labels))
        assert max(np.linalg.norm(g) for g in expected.values()) < 5  # nothing is clipped here
        assert min(np.abs(g).max() for g in expected.values()) > 1e-4  # and no tensor is left out of the comparison
        model.fit(X, labels, 1, verbose=False)
        assert_same({name: before[name] - after for name, after in tensors(model).items()}, expected, 1e-8)

    @every_activation
    @every_loss
    def test_update_of_train_is_the_exact_gradient_of_the_last_steps_loss(
        self, engine, loss, output_activation, activation
    ):
        model = make_random(
            engine, outputs=3, learning_rate=1.0, loss=loss, activation=activation, output_activation=output_activation
        )
        X, labels = sequence(5), labels_for(5, 3)
        loop, before = Loop(model), tensors(model)
        expected = finite_differences(loop, lambda: loop.step_losses(X, labels)[-1])
        assert max(np.linalg.norm(g) for g in expected.values()) < 5
        model.train([X], labels[-1:], 1, verbose=False)
        assert_same({name: before[name] - after for name, after in tensors(model).items()}, expected, 1e-8)

    @every_loss
    def test_the_gradients_by_hand_agree_with_finite_differences(self, loss, output_activation):
        # The trajectories below rest on them.
        loop = Loop(make_random(outputs=3, loss=loss, output_activation=output_activation))
        X, labels = sequence(5), labels_for(5, 3)
        expected = finite_differences(loop, lambda: loop.mean_loss(X, labels))
        assert_same(loop.gradient(X, labels, mean_of(X)), expected, 1e-8)

    def test_gradient_flows_from_the_last_step_to_the_first(self, engine):
        # Linear, one unit: y_T = w^(T-1) x_1 when only the first input is not zero, and its slope by w is known.
        T, w, label = 30, 0.9, 1.0
        model = make(engine, features=1, hidden=1, outputs=1, learning_rate=1.0, activation="linear")
        model.weights.update(wx=[[1.0]], wh=[[w]], wy=[[1.0]])
        model.train([np.eye(T, 1)], [[label]], 1, verbose=False)
        error = w ** (T - 1) - label
        assert_close(w - model.weights["wh"][0, 0], 2 * error * (T - 1) * w ** (T - 2))
        assert_close(1.0 - model.weights["wx"][0, 0], 2 * error * w ** (T - 1))

    def test_the_step_before_the_first_has_zero_state(self, engine):
        # With a single step nothing has ever passed through wh, so it has no gradient.
        model = make_random(engine, learning_rate=1.0)
        before = tensors(model)
        model.fit(sequence(1), labels_for(1), 1, verbose=False)
        after = tensors(model)
        assert np.array_equal(after["wh"], before["wh"])
        assert all((after[name] != before[name]).any() for name in ("wx", "wy", "bh", "by"))

    def test_saturated_outputs_still_have_the_exact_gradient(self, engine):
        # By the probability itself it would be 0 · ∞.
        model = make(engine, outputs=1, learning_rate=1.0, loss="ce", output_activation="sigmoid")
        model.weights["wy"] = np.zeros((1, 4))
        model.bias["by"] = [[1e4]]
        model.fit(sequence(4), np.zeros((4, 1)), 1, verbose=False)
        assert_close(model.bias["by"], [[1e4 - 1.0]], 1e-14)


# --- Updates ---


class TestUpdates:
    @every_loss
    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    def test_fit_follows_the_loop(self, engine, loss, output_activation, activation):
        model = make_random(
            engine, outputs=3, learning_rate=0.3, loss=loss, activation=activation, output_activation=output_activation
        )
        X, labels = sequence(8), labels_for(8, 3)
        loop = Loop(model)
        expected = loop.fit(X, labels, 0.3, 25)
        assert expected[-1] < 0.9 * expected[0] or loss == "ce"
        assert_close(model.fit(X, labels, 25, verbose=False, return_history=True), expected, 1e-10)
        assert_same(tensors(model), loop.p, 1e-10)

    def test_one_update_per_epoch(self, engine):
        X, labels = sequence(), labels_for(6)
        model, loop = make_random(engine), Loop(make_random(engine))
        for _ in range(3):
            model.fit(X, labels, 1, verbose=False)
            loop.update(X, labels, 0.1, mean_of(X))
            assert_same(tensors(model), loop.p, 1e-12)

    def test_history_holds_the_loss_before_each_update(self, engine):
        model, X, labels = make_random(engine), sequence(), labels_for(6)
        history = model.fit(X, labels, 4, verbose=False, return_history=True)
        other = make_random(engine)
        for before_update in history:
            assert_close(other.mse(other.predict(X), labels)["global"], before_update)
            other.fit(X, labels, 1, verbose=False)

    @pytest.mark.parametrize("method", ["fit", "train"])
    def test_history_is_a_list_of_floats_or_none(self, engine, method):
        model = make(engine)
        data = (sequence(), labels_for(6)) if method == "fit" else ragged()
        history = getattr(model, method)(*data, 5, verbose=False, return_history=True)
        assert type(history) is list
        assert [type(loss) for loss in history] == [float] * 5
        assert getattr(model, method)(*data, 5, verbose=False) is None
        assert getattr(model, method)(*data, 5, verbose=False, return_history=False) is None

    @pytest.mark.parametrize("method", ["fit", "train"])
    def test_a_learning_rate_given_once_stays(self, engine, method):
        X, labels = sequence(), labels_for(6)
        data = (X, labels) if method == "fit" else ([X], labels[-1:])
        model, loop = make_random(engine, learning_rate=0.1), Loop(make_random(engine))
        shares = mean_of(X) if method == "fit" else [0.0] * 5 + [1.0]
        targets = labels if method == "fit" else np.tile(labels[-1], (6, 1))
        for given_rate, rate in [(None, 0.1), (0.4, 0.4), (None, 0.4), (2, 2.0), (None, 2.0)]:
            getattr(model, method)(*data, 1, learning_rate=given_rate, verbose=False)
            loop.update(X, targets, rate, shares)
            assert model.learning_rate == rate
            assert_same(tensors(model), loop.p, 1e-12)

    def test_the_attribute_learning_rate_can_be_set(self, engine):
        X, labels = sequence(), labels_for(6)
        model, other = make(engine), make(engine, learning_rate=0.7)
        model.learning_rate = 0.7
        model.fit(X, labels, 3, verbose=False)
        other.fit(X, labels, 3, verbose=False)
        assert_same(tensors(model), tensors(other))
        model.learning_rate = -1.0
        message = "learning_rate of RNNScratch.fit must be a finite number > 0. Got -1.0."
        assert_refused(ValueError, message, model.fit, X, labels, 3)

    def test_the_originals_summed_gradient_is_a_rate_T_times_larger(self, engine):
        T, rate = 12, 0.05
        X, labels = sequence(T), labels_for(T)
        model = make_random(engine, learning_rate=rate * T, output_activation="sigmoid")
        loop, before = Loop(model), tensors(model)
        for _ in range(30):
            summed = loop.gradient(X, labels, [1.0] * T)
            assert max(np.linalg.norm(g) for g in summed.values()) < 5  # clipped, the two would part
            loop.update(X, labels, rate, [1.0] * T)
        model.fit(X, labels, 30, verbose=False)
        assert_same(tensors(model), loop.p, 1e-12)
        assert all(np.abs(loop.p[name] - before[name]).max() > 0.01 for name in SHAPES)  # it went somewhere

    def test_a_sequence_of_equal_steps_without_memory_learns_as_fast_as_one_step(self, engine):
        # The other face of the mean: how often something is said does not change the update.
        one, many = (make(engine, activation="linear") for _ in range(2))
        for model in (one, many):
            model.weights["wh"] = np.zeros((4, 4))
        x, label = sequence(1), labels_for(1)
        loss_of_one = one.fit(x, label, 1, verbose=False, return_history=True)
        loss_of_many = many.fit(
            np.repeat(x, 9, axis=0), np.repeat(label, 9, axis=0), 1, verbose=False, return_history=True
        )
        assert_close(loss_of_one, loss_of_many)
        assert_close(one.bias["by"], many.bias["by"])
        assert_close(one.weights["wy"], many.weights["wy"])

    @property_test
    @given(first=st.integers(1, 6), second=st.integers(1, 6), seed=st.integers(0, 100))
    def test_two_fits_are_one_long_fit(self, engine, first, second, seed):
        X, labels = sequence(5, seed=seed), labels_for(5, seed=seed)
        whole, parts = make_random(engine, seed), make_random(engine, seed)
        expected = whole.fit(X, labels, first + second, verbose=False, return_history=True)
        found = parts.fit(X, labels, first, verbose=False, return_history=True)
        found += parts.fit(X, labels, second, verbose=False, return_history=True)
        assert found == expected
        assert_same(tensors(parts), tensors(whole))

    def test_one_seed_gives_one_run_bit_for_bit(self, engine):
        X, labels = sequence(), labels_for(6)
        models = [make(engine, random_state=3) for _ in range(2)]
        first, second = (model.fit(X, labels, 20, verbose=False, return_history=True) for model in models)
        assert first == second
        assert np.array_equal(models[0].predict(X), models[1].predict(X))

    def test_data_are_not_changed_and_not_kept(self, engine):
        model, X, labels = make(engine), sequence(), labels_for(6)
        X_before, labels_before = X.copy(), labels.copy()
        model.fit(X, labels, 2, verbose=False)
        assert np.array_equal(X, X_before)
        assert np.array_equal(labels, labels_before)
        expected = model.predict(X_before)
        X[...] = labels[...] = 1e6
        assert np.array_equal(model.predict(X_before), expected)

    def test_labels_of_one_output_may_be_a_vector(self, engine):
        X, labels = sequence(), labels_for(6, 1)
        column, vector = make(engine, outputs=1), make(engine, outputs=1)
        expected = column.fit(X, labels, 3, verbose=False, return_history=True)
        assert vector.fit(X, labels[:, 0], 3, verbose=False, return_history=True) == expected

    @pytest.mark.parametrize(("method", "rate"), [("fit", 1e60), ("train", 3e9)])
    def test_divergence_stops_with_the_parameters_of_the_last_good_epoch(self, engine, method, rate):
        # With the rate of `train` it happens within an epoch: updates that were made have to be taken back.
        model, other = (make_random(engine, activation="linear", learning_rate=rate) for _ in range(2))
        data = (sequence(), labels_for(6)) if method == "fit" else ragged()
        with pytest.raises(NonFiniteError, match=r"Training stopped at epoch \d+ of 50") as caught:
            getattr(model, method)(*data, 50, verbose=False)
        good_epochs = int(re.search(r"epoch (\d+)", str(caught.value))[1]) - 1
        assert good_epochs > 0
        getattr(other, method)(*data, good_epochs, verbose=False)
        assert_same(tensors(model), tensors(other))


class TestProgress:
    @pytest.mark.parametrize("method", ["fit", "train"])
    def test_ten_lines_with_the_loss_of_their_epoch(self, capsys, method):
        model = make()
        data = (sequence(2), labels_for(2)) if method == "fit" else ([sequence(2)], labels_for(1))
        history = getattr(model, method)(*data, 1000, return_history=True)  # verbose unless told otherwise
        expected = [f"Epoch {epoch:>4}/1000 - Loss: {history[epoch - 1]:.6f}" for epoch in range(100, 1001, 100)]
        assert capsys.readouterr().out.splitlines() == expected
        assert expected[0].startswith("Epoch  100/1000 - Loss: 0.")

    @pytest.mark.parametrize(
        ("epochs", "shown"),
        [
            (1, [1]),
            (7, [*range(1, 8)]),
            (10, [*range(1, 11)]),
            (20, [*range(2, 21, 2)]),
            (25, [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]),
        ],
    )
    def test_shorter_runs_show_every_epoch_or_evenly_some_and_always_the_last(self, capsys, epochs, shown):
        make().fit(sequence(), labels_for(6), epochs, verbose=True)
        lines = capsys.readouterr().out.splitlines()
        width = len(str(epochs))
        assert [line.partition(" - ")[0] for line in lines] == [f"Epoch {e:>{width}}/{epochs}" for e in shown]

    @pytest.mark.parametrize("epochs", [11, 19, 99, 101, 199, 333])
    def test_about_ten_lines_whatever_the_number_of_epochs(self, capsys, epochs):
        make().fit(sequence(2), labels_for(2), epochs)
        assert len(capsys.readouterr().out.splitlines()) == min(epochs, 10)

    @pytest.mark.parametrize("verbose", [False, np.bool_(False)])
    def test_silent_when_asked_to_be(self, capsys, verbose):
        make().fit(sequence(), labels_for(6), 30, verbose=verbose)
        make().train(*ragged(), 30, verbose=verbose)
        captured = capsys.readouterr()
        assert captured.out == captured.err == ""

    def test_printing_does_not_change_the_training(self, engine):
        loud, silent = make(engine), make(engine)
        loud.fit(sequence(), labels_for(6), 30, verbose=True)
        silent.fit(sequence(), labels_for(6), 30, verbose=False)
        assert_same(tensors(loud), tensors(silent))


# --- Clipping ---


class TestClipping:
    @pytest.mark.parametrize(("label", "change"), [(2.0, 4.0), (2.5, 5.0), (2.6, 5.0), (1e6, 5.0), (-1e6, -5.0)])
    def test_one_number_is_clipped_to_5(self, engine, label, change):
        # One step of zeros: by is all that has a gradient, and it is 2 (0 - label).
        model = make(engine, features=1, hidden=1, outputs=1, learning_rate=0.01)
        model.fit([[0.0]], [[label]], 1, verbose=False)
        assert_close(model.bias["by"], [[0.01 * change]], 1e-15)

    def test_each_tensor_is_clipped_by_itself(self, engine):
        model = make_random(engine, learning_rate=0.1)
        X, labels = 0.03 * sequence(), labels_for(6) + 20  # tiny inputs: a small gradient by wx, and only there
        loop, before = Loop(model), tensors(model)
        gradient = finite_differences(loop, lambda: loop.mean_loss(X, labels), 1e-4)
        norms = {name: float(np.sqrt((g**2).sum())) for name, g in gradient.items()}
        assert 0.05 < norms["wx"] < 4
        assert min(norms["by"], norms["wy"], norms["bh"]) > 6
        model.fit(X, labels, 1, verbose=False)
        changes = {name: (before[name] - after) / 0.1 for name, after in tensors(model).items()}
        assert_same(changes, {name: g * min(1.0, 5 / norms[name]) for name, g in gradient.items()}, 1e-7)

    @property_test
    @given(scale=st.floats(0.01, 1e6), seed=st.integers(0, 1000), many_to_one=st.booleans())
    def test_no_tensor_moves_further_than_5_times_the_rate_and_always_downhill(self, engine, scale, seed, many_to_one):
        model = make_random(engine, seed, learning_rate=0.001)
        X, labels = sequence(4, seed=seed), scale * labels_for(4, seed=seed)
        before, shares = tensors(model), [0.0, 0.0, 0.0, 1.0] if many_to_one else mean_of(X)
        gradient = Loop(model).gradient(X, labels, shares)
        if many_to_one:
            model.train([X], labels[-1:], 1, verbose=False)
        else:
            model.fit(X, labels, 1, verbose=False)
        for name, after in tensors(model).items():
            change, size = (before[name] - after) / 0.001, np.linalg.norm(gradient[name])
            assert_close(np.linalg.norm(change), min(size, 5.0), 1e-9)
            assert_close(change * max(size / 5.0, 1.0), gradient[name], 1e-8)

    def test_clipped_training_follows_the_loop(self, engine):
        model, X, labels = make_random(engine, activation="linear"), sequence(), 30 * labels_for(6)
        loop = Loop(model)
        expected = loop.fit(X, labels, 0.1, 12)
        assert_close(model.fit(X, labels, 12, verbose=False, return_history=True), expected, 1e-9)
        assert_same(tensors(model), loop.p, 1e-9)


# --- Weights that users read and write ---


class TestLiveWeights:
    @pytest.mark.parametrize("name", SHAPES)
    @pytest.mark.parametrize("how", ["in place", "assigned"])
    def test_a_change_takes_effect_in_the_next_predict_and_fit(self, engine, name, how):
        model, X, labels = make_random(engine), sequence(), labels_for(6)
        model.fit(X, labels, 1, verbose=False)  # the engine has packed its own copy by now
        group = model.weights if name in model.weights else model.bias
        if how == "in place":
            group[name][0, 0] += 0.75
            group[name] *= -1.5
        else:
            group[name] = np.random.default_rng(9).normal(size=group[name].shape).tolist()
        loop = Loop(model)
        assert_close(model.predict(X), loop.predict(X))
        group[name][-1, -1] = 0.25  # and once more, without a predict in between
        loop = Loop(model)
        expected = loop.fit(X, labels, 0.1, 2)
        assert_close(model.fit(X, labels, 2, verbose=False, return_history=True), expected)
        assert_same(tensors(model), loop.p, 1e-12)

    @pytest.mark.parametrize("name", SHAPES)
    def test_a_change_takes_effect_in_the_next_train_and_its_predict(self, engine, name):
        model, (X, vectors) = make_random(engine), ragged()
        model.train(X, vectors, 1, verbose=False)
        group = model.weights if name in model.weights else model.bias
        group[name][0, 0] += 0.75
        loop = Loop(model)
        assert_close(model.predict(X[0]), loop.predict(X[0])[-1])
        expected = loop.train(X, vectors, 0.1, 2)
        assert_close(model.train(X, vectors, 2, verbose=False, return_history=True), expected)
        assert_same(tensors(model), loop.p, 1e-12)

    def test_views_follow_the_training(self, engine):
        model = make(engine)
        views = [values for group in (model.weights, model.bias) for values in group.values()]
        before = [view.copy() for view in views]
        model.fit(sequence(), labels_for(6), 1, verbose=False)
        after_fit = [view.copy() for view in views]
        assert all((now != then).any() for now, then in zip(after_fit, before, strict=True))
        model.train(*ragged(), 1, verbose=False)
        assert all((now != then).any() for now, then in zip(views, after_fit, strict=True))
        assert_same(dict(zip(SHAPES, views, strict=True)), tensors(model))

    def test_assigning_copies_the_values(self):
        model, values = make(), np.ones((4, 3))
        view = model.weights["wx"]
        model.weights["wx"] = values
        values[...] = 7
        assert (model.weights["wx"] == 1).all()
        assert view is model.weights["wx"]

    def test_they_behave_like_dicts_with_fixed_keys(self):
        model = make()
        assert dict(model.bias).keys() == {"bh", "by"}
        assert (len(model.weights), "wx" in model.weights, "bh" in model.weights) == (3, True, False)
        assert repr(model.bias) == repr({"bh": np.zeros((4, 1)), "by": np.zeros((2, 1))})
        with pytest.raises(KeyError, match="wz"):
            model.weights["wz"]
        with pytest.raises(KeyError, match=r"weights has 'wx', 'wh', 'wy'\. Got 'wz'\."):
            model.weights["wz"] = 1.0
        with pytest.raises(TypeError, match=r"bias must keep 'by': write other values into it instead\."):
            del model.bias["by"]

    @pytest.mark.parametrize(
        ("value", "kind", "message"),
        [
            (np.zeros((3, 4)), ValueError, "weights['wx'] must be (4, 3). Got (3, 4)."),
            (np.zeros(3), ValueError, "weights['wx'] must be (4, 3). Got (3,)."),
            (0.0, ValueError, "weights['wx'] must be (4, 3). Got ()."),
            (np.full((4, 3), math.nan), ValueError, "weights['wx'] must be finite. Got nan at index (0, 0)."),
            (np.full((4, 3), "a"), TypeError, "weights['wx'] must be an array of real numbers. Got dtype <U1."),
            (None, TypeError, "weights['wx'] must be an array of real numbers. Got None."),
        ],
    )
    def test_bad_values_are_refused_and_nothing_is_written(self, value, kind, message):
        model = make()
        with nothing_changes(model):
            assert_refused(kind, message, model.weights.__setitem__, "wx", value)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_what_was_written_past_the_check_is_found_at_the_next_call(self, engine, value):
        model, X, labels = make(engine), sequence(), labels_for(6)
        here = model.weights["wh"][1, 2]
        model.weights["wh"][1, 2] = value
        before, message = tensors(model), f"weights['wh'] must be finite. Got {value} at index (1, 2)."
        for call, data in [(model.predict, (X,)), (model.fit, (X, labels, 2)), (model.train, ([X], labels[:1], 2))]:
            assert_refused(ValueError, message, call, *data)
        model.weights["wh"][1, 2] = before["wh"][1, 2] = here
        assert_same(tensors(model), before)
        assert_close(model.predict(X), Loop(model).predict(X))


# --- Many-to-one ---


class TestTrain:
    @every_loss
    @pytest.mark.parametrize("activation", ["tanh", "linear"])
    def test_train_follows_the_loop_over_ragged_sequences(self, engine, loss, output_activation, activation):
        model = make_random(
            engine, outputs=3, learning_rate=0.2, loss=loss, activation=activation, output_activation=output_activation
        )
        X, vectors = ragged(outputs=3)
        loop = Loop(model)
        expected = loop.train(X, vectors, 0.2, 15)
        assert_close(model.train(X, vectors, 15, verbose=False, return_history=True), expected, 1e-10)
        assert_same(tensors(model), loop.p, 1e-10)

    def test_there_is_an_update_per_sequence_in_the_given_order(self, engine):
        X, vectors = ragged()
        one_call, one_by_one, backwards = (make_random(engine) for _ in range(3))
        one_call.train(X, vectors, 1, verbose=False)
        for x, vector in zip(X, vectors, strict=True):
            one_by_one.train([x], [vector], 1, verbose=False)
        backwards.train(X[::-1], vectors[::-1], 1, verbose=False)
        assert_same(tensors(one_call), tensors(one_by_one))
        assert all((one_call.weights[name] != backwards.weights[name]).any() for name in one_call.weights)

    def test_history_is_the_mean_over_the_sequences_each_before_its_update(self, engine):
        X, vectors = ragged()
        model, other = make_random(engine), make_random(engine)
        losses = []
        for x, vector in zip(X, vectors, strict=True):
            losses += other.train([x], [vector], 1, verbose=False, return_history=True)
        found = model.train(X, vectors, 1, verbose=False, return_history=True)
        assert_close(found, [sum(losses) / 4])

    def test_predict_gives_the_one_output_afterwards_and_fit_turns_it_back(self, engine):
        model, (X, vectors) = make_random(engine), ragged()
        assert gives_every_step(model)
        model.train(X, vectors, 2, verbose=False)
        for x in X:
            y = model.predict(x)
            assert isinstance(y, np.ndarray)
            assert y.shape == (2, 1)
            assert_close(y, Loop(model).predict(x)[-1])
        model.fit(X[0], labels_for(4), 1, verbose=False)
        assert_close(model.predict(X[2]), Loop(model).predict(X[2]))
        assert gives_every_step(model)
        model.train(X, vectors, 1, verbose=False)
        assert not gives_every_step(model)

    def test_train_and_fit_go_on_from_each_others_weights(self, engine):
        model, (X, vectors), labels = make_random(engine), ragged(), labels_for(4)
        loop = Loop(model)
        for _ in range(2):
            loop.fit(X[0], labels, 0.1, 3)
            model.fit(X[0], labels, 3, verbose=False)
            loop.train(X, vectors, 0.1, 3)
            model.train(X, vectors, 3, verbose=False)
        assert_same(tensors(model), loop.p, 1e-10)

    def test_it_learns(self, engine):
        rng = np.random.default_rng(0)
        X = [rng.normal(size=(steps, 1)) for steps in rng.integers(2, 6, size=10)]
        vectors = [x[-1] - 0.5 * x[-2] for x in X]
        model = make(engine, features=1, hidden=8, outputs=1, learning_rate=0.1)
        history = model.train(X, vectors, 100, verbose=False, return_history=True)
        assert history[-1] < 0.05 * history[0]

    @pytest.mark.parametrize(
        "alike",
        [
            lambda X, y: (np.array(X), np.array(y)),
            lambda X, y: (tuple(X), tuple(y)),
            lambda X, y: (X, [vector[:, None] for vector in y]),
            lambda X, y: ([x.tolist() for x in X], [vector.tolist() for vector in y]),
            lambda X, y: (np.array(X), np.array(y)[:, :, None]),
        ],
        ids=["arrays", "tuples", "columns", "nested lists", "array of columns"],
    )
    def test_the_form_of_the_lists_does_not_matter(self, engine, alike):
        X, vectors = [sequence(4, seed=seed) for seed in range(3)], list(labels_for(3))
        model, other = make(engine), make(engine)
        expected = model.train(X, vectors, 3, verbose=False, return_history=True)
        assert other.train(*alike(X, vectors), 3, verbose=False, return_history=True) == expected

    def test_one_output_may_have_plain_numbers_as_labels(self, engine):
        X, vectors = ragged(outputs=1)
        model, other = make(engine, outputs=1), make(engine, outputs=1)
        expected = model.train(X, vectors, 3, verbose=False, return_history=True)
        assert other.train(X, [float(v[0]) for v in vectors], 3, verbose=False, return_history=True) == expected

    @property_test
    @given(seed=st.integers(0, 1000), epochs=st.integers(1, 4))
    def test_with_one_step_it_is_the_same_as_fit(self, engine, seed, epochs):
        x, label = sequence(1, seed=seed), labels_for(1, seed=seed)
        fitted, trained = make_random(engine, seed), make_random(engine, seed)
        expected = fitted.fit(x, label, epochs, verbose=False, return_history=True)
        assert_close(trained.train([x], label, epochs, verbose=False, return_history=True), expected)
        assert_same(tensors(trained), tensors(fitted), 1e-12)
        assert np.array_equal(trained.predict(x), fitted.predict(x)[-1])


# --- Edge cases and errors ---

X_GOOD, LABELS_GOOD = sequence(5), labels_for(5)


def with_value(array: np.ndarray, place: tuple[int, int], value: float) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


NOT_A_SEQUENCE = [
    (np.zeros((5, 2)), ValueError, "must be (T, D=3). Got (5, 2)."),
    (np.zeros((3, 5)), ValueError, "must be (T, D=3). Got (3, 5)."),
    (np.zeros(3), ValueError, "must be (T, D=3). Got (3,)."),
    (np.zeros((1, 5, 3)), ValueError, "must be (T, D=3). Got (1, 5, 3)."),
    (1.5, ValueError, "must be (T, D=3). Got ()."),
    ([], ValueError, "must be (T, D=3). Got (0,)."),
    (np.zeros((0, 3)), ValueError, "must have at least one step. Got (0, 3)."),
    (with_value(X_GOOD, (1, 2), math.nan), ValueError, "must be finite. Got nan at index (1, 2)."),
    (with_value(X_GOOD, (4, 0), math.inf), ValueError, "must be finite. Got inf at index (4, 0)."),
    (with_value(X_GOOD, (0, 1), -math.inf), ValueError, "must be finite. Got -inf at index (0, 1)."),
    ([["a", "b", "c"]], TypeError, "must be an array of real numbers. Got dtype <U1."),
    ("abc", TypeError, "must be an array of real numbers. Got 'abc'."),
    (X_GOOD.astype(object), TypeError, "must be an array of real numbers. Got dtype object."),
    (None, TypeError, "must be an array of real numbers. Got None."),
    ({"x": 1}, TypeError, "must be an array of real numbers. Got {'x': 1}."),
    (X_GOOD + 0j, TypeError, "must be an array of real numbers. Got dtype complex128."),
    (np.zeros((5, 3), "m8[s]"), TypeError, "must be an array of real numbers. Got dtype timedelta64[s]."),
    ([[1.0, 2.0, 3.0], [1.0]], ValueError, "must be a rectangular array of real numbers. Got rows of unequal shapes."),
]
NOT_LABELS = [
    (LABELS_GOOD[:4], ValueError, "must be (T=5, O=2), a row for each step of X. Got (4, 2)."),
    (np.zeros((6, 2)), ValueError, "must be (T=5, O=2), a row for each step of X. Got (6, 2)."),
    (LABELS_GOOD[:, :1], ValueError, "must be (T=5, O=2), a row for each step of X. Got (5, 1)."),
    (np.zeros((5, 3)), ValueError, "must be (T=5, O=2), a row for each step of X. Got (5, 3)."),
    (LABELS_GOOD.T, ValueError, "must be (T=5, O=2), a row for each step of X. Got (2, 5)."),
    (np.zeros(5), ValueError, "must be (T=5, O=2), a row for each step of X. Got (5,)."),
    (LABELS_GOOD[:, :, None], ValueError, "must be (T=5, O=2), a row for each step of X. Got (5, 2, 1)."),
    ([], ValueError, "must be (T=5, O=2), a row for each step of X. Got (0,)."),
    (with_value(LABELS_GOOD, (2, 1), math.nan), ValueError, "must be finite. Got nan at index (2, 1)."),
    (with_value(LABELS_GOOD, (3, 0), math.inf), ValueError, "must be finite. Got inf at index (3, 0)."),
    (
        LABELS_GOOD.astype(str),
        TypeError,
        f"must be an array of real numbers. Got dtype {LABELS_GOOD.astype(str).dtype}.",
    ),
    (LABELS_GOOD.astype(object), TypeError, "must be an array of real numbers. Got dtype object."),
    ([[1.0, 0.0], [1.0]], ValueError, "must be a rectangular array of real numbers. Got rows of unequal shapes."),
]
BAD_OPTIONS = {  # what is allowed, values that are out of range, values of another type
    "epochs": ("an int >= 1", [0, -3], [2.0, "10", None, True, [5], math.nan]),
    "learning_rate": ("a finite number > 0", [0, -0.1, math.nan, math.inf], ["0.1", True, [0.1]]),
    "verbose": ("True or False", [], [1, "yes", None]),
    "return_history": ("True or False", [], [1, "yes", None]),
}


class TestErrors:
    """Bad input is refused with the documented kind of error and message, before anything changes.

    The models had been used in the other mode, and the calls bring a new learning rate: both must be as before.
    """

    @pytest.mark.parametrize(("X", "kind", "message"), NOT_A_SEQUENCE)
    def test_fit_refuses_what_is_not_a_sequence(self, engine, X, kind, message, capsys):
        model = self.trained(engine)
        with nothing_changes(model):
            assert_refused(kind, f"X {message}", model.fit, X, LABELS_GOOD, 5, learning_rate=0.9)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(("X", "kind", "message"), NOT_A_SEQUENCE)
    @pytest.mark.parametrize("method", ["predict", "forward"])
    def test_predict_and_forward_refuse_it_too(self, engine, method, X, kind, message):
        for model in (self.trained(engine), self.fitted(engine)):
            with nothing_changes(model):
                assert_refused(kind, f"X {message}", getattr(model, method), X)

    @pytest.mark.parametrize(("labels", "kind", "message"), NOT_LABELS)
    def test_fit_refuses_labels_that_do_not_match(self, engine, labels, kind, message):
        model = self.trained(engine)
        with nothing_changes(model):
            assert_refused(kind, f"labels {message}", model.fit, X_GOOD, labels, 5, learning_rate=0.9)

    @pytest.mark.parametrize("output_activation", ["sigmoid", "softmax"])
    @pytest.mark.parametrize("value", [-0.25, 1.5, 2.0])
    def test_ce_refuses_labels_outside_0_and_1(self, engine, output_activation, value):
        labels = with_value(LABELS_GOOD, (2, 1), value)
        model = self.trained(engine, loss="ce", output_activation=output_activation)
        with nothing_changes(model):
            message = f"labels must lie in [0, 1] when the loss is 'ce'. Got {value}."
            assert_refused(ValueError, message, model.fit, X_GOOD, labels, 5, learning_rate=0.9)
        model = self.fitted(engine, loss="ce", output_activation=output_activation)
        with nothing_changes(model):
            message = f"y_train[2] must lie in [0, 1] when the loss is 'ce'. Got {value}."
            assert_refused(ValueError, message, model.train, [X_GOOD] * 5, labels, 5, learning_rate=0.9)

    def test_ce_accepts_0_and_1_themselves_and_mse_any_label(self, engine):
        model = make(engine, loss="ce", output_activation="sigmoid")
        assert len(model.fit(X_GOOD, LABELS_GOOD.round(), 2, verbose=False, return_history=True)) == 2
        model = make(engine)
        assert len(model.fit(X_GOOD, LABELS_GOOD - 7, 2, verbose=False, return_history=True)) == 2

    @pytest.mark.parametrize("name", BAD_OPTIONS)
    @pytest.mark.parametrize("method", ["fit", "train"])
    def test_options_are_checked(self, method, name, capsys):
        allowed, values, others = BAD_OPTIONS[name]
        model = self.trained("numpy") if method == "fit" else self.fitted("numpy")
        data = (X_GOOD, LABELS_GOOD) if method == "fit" else ([X_GOOD], LABELS_GOOD[:1])
        for kind, value in [(ValueError, value) for value in values] + [(TypeError, value) for value in others]:
            options = {"epochs": 5, "learning_rate": 0.9, name: value}
            message = f"{name} of RNNScratch.{method} must be {allowed}. Got {value!r}."
            with nothing_changes(model):
                assert_refused(kind, message, getattr(model, method), *data, **options)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(("x", "kind", "message"), NOT_A_SEQUENCE)
    def test_train_refuses_what_is_not_a_sequence_and_says_which(self, engine, x, kind, message):
        model = self.fitted(engine)
        with nothing_changes(model):
            call = (model.train, [X_GOOD, x], LABELS_GOOD[:2], 5)
            assert_refused(kind, f"X_train[1] {message}", *call, learning_rate=0.9)

    @pytest.mark.parametrize(
        ("vector", "kind", "message"),
        [
            (np.zeros(3), ValueError, "must be (O=2,). Got (3,)."),
            (np.zeros((1, 2)), ValueError, "must be (O=2,). Got (1, 2)."),
            (0.5, ValueError, "must be (O=2,). Got ()."),
            ([], ValueError, "must be (O=2,). Got (0,)."),
            ([0.5, math.nan], ValueError, "must be finite. Got nan at index (1,)."),
            (["a", "b"], TypeError, "must be an array of real numbers. Got dtype <U1."),
            (None, TypeError, "must be an array of real numbers. Got None."),
        ],
    )
    def test_train_refuses_label_vectors_that_do_not_match_and_says_which(self, engine, vector, kind, message):
        model = self.fitted(engine)
        with nothing_changes(model):
            call = (model.train, [X_GOOD, X_GOOD], [LABELS_GOOD[0], vector], 5)
            assert_refused(kind, f"y_train[1] {message}", *call, learning_rate=0.9)

    @pytest.mark.parametrize(
        ("X_train", "y_train", "kind", "message"),
        [
            ([], [], ValueError, "X_train must be a list of at least one item. Got []."),
            ("abc", [], ValueError, "X_train must be a list of at least one item. Got 'abc'."),
            (5, [], TypeError, "X_train must be a list. Got 5."),
            (None, [], TypeError, "X_train must be a list. Got None."),
            (X_GOOD, LABELS_GOOD, ValueError, "X_train[0] must be (T, D=3). Got (3,)."),
            ([X_GOOD], [], ValueError, "y_train must be a list of at least one item. Got []."),
            ([X_GOOD], 5, TypeError, "y_train must be a list. Got 5."),
            (
                [X_GOOD] * 3,
                LABELS_GOOD[:2],
                ValueError,
                "y_train must have one label vector for each of 3 sequences. Got 2.",
            ),
        ],
    )
    def test_train_refuses_lists_that_are_none_or_do_not_match(self, engine, X_train, y_train, kind, message):
        model = self.fitted(engine)
        with nothing_changes(model):
            assert_refused(kind, message, model.train, X_train, y_train, 5, learning_rate=0.9)

    def test_messages_stay_short_whatever_came(self):
        with pytest.raises(TypeError) as caught:
            make(activation=np.zeros((500, 500)))
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(("steps", "features", "hidden", "outputs"), [(1, 1, 1, 1), (1, 3, 4, 2), (200, 1, 1, 1)])
    def test_the_smallest_and_a_long_sequence(self, engine, steps, features, hidden, outputs):
        model = make_random(engine, features=features, hidden=hidden, outputs=outputs)
        X, labels = sequence(steps, features), labels_for(steps, outputs)
        loop = Loop(model)
        expected = loop.fit(X, labels, 0.1, 3)
        assert_close(model.fit(X, labels, 3, verbose=False, return_history=True), expected, 1e-10)
        assert_close(model.predict(X), loop.predict(X), 1e-10)

    @staticmethod
    def fitted(engine: str, **options: Any) -> RNNScratch:
        model = make_random(engine, **options)
        model.fit(X_GOOD, LABELS_GOOD, 1, verbose=False)
        return model

    @staticmethod
    def trained(engine: str, **options: Any) -> RNNScratch:
        model = make_random(engine, **options)
        model.train([X_GOOD], LABELS_GOOD[:1], 1, verbose=False)
        return model


# --- Copies, and the two engines ---


class TestCopies:
    @pytest.mark.parametrize("many_to_one", [False, True])
    @pytest.mark.parametrize(
        "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
    )
    def test_a_copy_is_the_same_model_on_its_own(self, engine, copied, many_to_one):
        model, X, labels = make_random(engine), sequence(), labels_for(6)
        data = ([X], labels[-1:]) if many_to_one else (X, labels)
        learn = RNNScratch.train if many_to_one else RNNScratch.fit
        learn(model, *data, 3, learning_rate=0.3, verbose=False)
        twin = copied(model)

        for name in ("input_features", "hidden_units", "num_output", "learning_rate", "loss", "output_activation"):
            assert getattr(twin, name) == getattr(model, name)
        assert_same(tensors(twin), tensors(model))
        assert gives_every_step(twin) is not many_to_one
        assert np.array_equal(twin.predict(X), model.predict(X))

        with nothing_changes(model):  # while the twin is edited and learns
            twin.weights["wx"][0, 0] += 1.0
            twin.bias["by"] = [[1.0], [2.0]]
            every_step = Loop(twin).predict(X)
            assert_close(twin.predict(X), every_step[-1] if many_to_one else every_step)
            learn(twin, *data, 2, verbose=False)
        twin = copied(model)
        assert learn(twin, *data, 4, verbose=False, return_history=True) == learn(
            model, *data, 4, verbose=False, return_history=True
        )
        assert_same(tensors(twin), tensors(model))

    def test_a_copy_can_still_do_both(self, engine):
        twin, (X, vectors), labels = copy.deepcopy(make_random(engine)), ragged(), labels_for(4)
        loop = Loop(twin)
        loop.train(X, vectors, 0.1, 2)
        loop.fit(X[0], labels, 0.1, 2)
        twin.train(X, vectors, 2, verbose=False)
        twin.fit(X[0], labels, 2, verbose=False)
        assert_same(tensors(twin), loop.p, 1e-11)


@pytest.mark.usefixtures("native")
class TestEngines:
    @every_activation
    @every_loss
    def test_both_follow_the_same_trajectory(self, loss, output_activation, activation):
        options = {"outputs": 3, "loss": loss, "activation": activation, "output_activation": output_activation}
        textbook, machine = (make_random(engine, **options) for engine in ("numpy", "native"))
        X, labels, (sequences, vectors) = sequence(9), labels_for(9, 3), ragged(outputs=3)
        histories = []
        for model in (textbook, machine):
            history = model.fit(X, labels, 40, verbose=False, return_history=True)
            histories.append(history + model.train(sequences, vectors, 10, verbose=False, return_history=True))
        assert_close(histories[1], histories[0], 1e-10)
        assert_same(tensors(machine), tensors(textbook), 1e-10)

    def test_auto_takes_the_native_one(self):
        models = [make(engine) for engine in ("auto", "native")]
        for model in models:
            model.fit(sequence(), labels_for(6), 20, verbose=False)
        assert_same(tensors(models[0]), tensors(models[1]))
