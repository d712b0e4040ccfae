"""The estimators: scikit-learn's own checks, the trajectories of its perceptrons, forms of X and y, labels, weights."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need the extra `sklearn`")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.estimator_checks import check_estimator

import rnn_from_scratch
from rnn_from_scratch import CosineDecay, Network, NonFiniteError, estimators
from rnn_from_scratch.estimators import RNNClassifier, RNNRegressor, SequenceScaler
from rnn_from_scratch.estimators.convergence import Convergence, Progress
from rnn_from_scratch.prediction.forms import as_objects
from rnn_from_scratch.training.history import History

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
N, T, D = 24, 7, 3
X = RNG.normal(size=(N, T, D))
LENGTHS = RNG.integers(2, T + 1, size=N)
RAGGED = [x[:length] for x, length in zip(X, LENGTHS, strict=True)]
PADDED = np.where((np.arange(T) < LENGTHS[:, None])[:, :, None], X, np.nan)
Y = RNG.normal(size=N)
LABELS = np.array(["low", "middle", "high"])[np.digitize(Y, [-0.5, 0.5])]
SMALL: dict[str, Any] = {"hidden_layer_sizes": 5, "max_iter": 3, "random_state": 0, "learning_rate_init": 0.02}


# --- scikit-learn's own checks ---


@pytest.mark.parametrize("estimator", [RNNRegressor, RNNClassifier])
def test_check_estimator_passes_and_really_ran(estimator: type) -> None:
    small = estimator(8, max_iter=30, learning_rate_init=0.02, n_iter_no_change=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's checks, about what they pass
        with np.errstate(all="warn"):
            results = check_estimator(small, on_fail=None, on_skip=None)
    statuses = Counter(result["status"] for result in results)
    wrong = [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"]
    assert wrong == []
    assert statuses["passed"] >= 50
    assert set(statuses) <= {"passed", "skipped"}
    assert [r["check_name"] for r in results if r["status"] == "skipped"] in ([], ["check_array_api_input"])
    names = {result["check_name"] for result in results if result["status"] == "passed"}
    assert {"check_sample_weight_equivalence_on_dense_data", "check_fit_idempotent", "check_estimators_pickle"} <= names


def test_check_estimator_passes_for_the_scaler() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.errstate(all="warn"):
            results = check_estimator(SequenceScaler(), on_fail=None, on_skip=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert sum(result["status"] == "passed" for result in results) >= 40


# --- One step of an Elman network is a perceptron ---


CASES = {
    "adam": dict(solver="adam", learning_rate_init=0.01, epsilon=1e-14),  # which theirs adds in another place
    "plain descent": dict(solver="sgd", learning_rate_init=0.05, momentum=0.0),
    "momentum": dict(solver="sgd", learning_rate_init=0.05, nesterovs_momentum=False),
    "nesterov": dict(solver="sgd", learning_rate_init=0.05),
    "invscaling": dict(solver="sgd", learning_rate="invscaling", learning_rate_init=0.2, momentum=0.0),
    "adaptive": dict(solver="sgd", learning_rate="adaptive", learning_rate_init=0.3, momentum=0.0, tol=0.02),
}


def same_start(perceptron: Any, network: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Give both the same random weights, as if neither had learned anything yet."""
    for model, inputs in ((perceptron, x), (network, x[:, None])):
        model.set_params(max_iter=1, warm_start=True).fit(inputs, y)
    rng = np.random.default_rng(1)
    hidden, output = (rng.normal(scale=0.5, size=coefficients.shape) for coefficients in perceptron.coefs_)
    perceptron.coefs_, biases = [hidden, output], [rng.normal(size=b.shape) for b in perceptron.intercepts_]
    perceptron.intercepts_ = biases
    with network.network_.edit_parameters() as p:
        p["layer0.W_x"], p["layer0.b_h"], p["layer0.W_h"] = hidden.T, biases[0], np.zeros((6, 6))
        p["readout.W_y"], p["readout.b_y"] = output.T, biases[1]
    for model in (perceptron, network):
        model.t_ = 0
        model.set_params(max_iter=30)
    network._progress = Progress()
    perceptron.loss_curve_, perceptron.best_loss_, perceptron._no_improvement_count = [], np.inf, 0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["numbers", "two classes", "four classes"])
def test_one_step_of_an_elman_network_learns_as_scikit_learns_perceptron(case: str, kind: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 4))
    words = dict(activation="relu", alpha=0.5, batch_size=10, shuffle=False, random_state=0, n_iter_no_change=3)
    words |= dict(tol=1e-9) | CASES[case]
    pair: tuple[Any, Any] = (
        MLPRegressor(hidden_layer_sizes=(6,), **words),
        RNNRegressor(6, "elman", clip_norm=None, **words),
    )
    y = x[:, 0] * 2 + x[:, 1] + 1
    if "classes" in kind:
        pair = (MLPClassifier(hidden_layer_sizes=(6,), **words), RNNClassifier(6, "elman", clip_norm=None, **words))
        y = np.digitize(y, [1.0] if kind == "two classes" else [-1.0, 1.0, 2.0])
    same_start(*pair, x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        perceptron, network = pair[0].fit(x, y), pair[1].fit(x[:, None], y)
    assert len(network.loss_curve_) == network.n_iter_ == perceptron.n_iter_
    assert np.allclose(network.loss_curve_, perceptron.loss_curve_, rtol=1e-5)
    assert np.allclose(network.network_.parameters["layer0.W_x"].T, perceptron.coefs_[0], rtol=1e-4, atol=1e-5)
    assert np.allclose(network.predict(x[:, None]), perceptron.predict(x), rtol=1e-4, atol=1e-5)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "t_", "validation_scores_", "best_validation_score_"):
        assert getattr(network, name) == getattr(perceptron, name), name
    assert network.best_loss_ == pytest.approx(perceptron.best_loss_, rel=1e-5)
    if "classes" in kind:
        assert np.allclose(network.predict_proba(x[:, None]), perceptron.predict_proba(x), rtol=1e-4, atol=1e-6)
        assert np.allclose(network.predict_log_proba(x[:, None]), perceptron.predict_log_proba(x), rtol=1e-3, atol=1e-5)


def test_partial_fit_goes_on_as_scikit_learns_does() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 4))
    y = x[:, 0] * 2 + x[:, 1]
    words = dict(activation="relu", alpha=0.5, batch_size=10, shuffle=False, random_state=0)
    pair = MLPRegressor(hidden_layer_sizes=(6,), **words), RNNRegressor(6, "elman", clip_norm=None, **words)
    same_start(*pair, x, y)
    pair[1]._optimizer = None
    del pair[0]._optimizer
    for _ in range(8):
        pair[0].partial_fit(x, y)
        pair[1].partial_fit(x[:, None], y)
    assert len(pair[1].loss_curve_) == 8
    assert np.allclose(pair[1].loss_curve_, pair[0].loss_curve_, rtol=1e-5)
    assert pair[1].t_ == 8 * 40
    pickled = pickle.loads(pickle.dumps(pair[1]))  # with what Adam remembers
    pair[1].partial_fit(x[:, None], y)
    assert pickled.partial_fit(x[:, None], y).loss_curve_ == pair[1].loss_curve_


def test_weights_count_in_the_penalty_as_scikit_learns_do() -> None:
    rng = np.random.default_rng(2)
    x, weights = rng.normal(size=(20, 4)), rng.integers(1, 4, size=20)
    y = np.digitize(x[:, 0], [0.0])
    words = dict(solver="sgd", momentum=0.0, alpha=2.0, batch_size=20, shuffle=False, max_iter=20, tol=0.0)
    pair = (
        MLPClassifier(hidden_layer_sizes=(6,), activation="tanh", **words),
        RNNClassifier(6, "elman", clip_norm=None, **words),
    )
    same_start(*pair, x, y)
    pair[0].fit(x, y, sample_weight=weights)
    by_class = {0: 1.0, 1: 3.0}
    pair[1].fit(x[:, None], y, sample_weight=weights)
    assert np.allclose(pair[1].network_.parameters["layer0.W_x"].T, pair[0].coefs_[0], rtol=1e-6)
    same_start(*pair, x, y)
    pair[0].fit(x, y, sample_weight=weights * np.where(y == 1, 3.0, 1.0))
    pair[1].set_params(class_weight=by_class).fit(x[:, None], y, sample_weight=weights)
    assert np.allclose(pair[1].network_.parameters["layer0.W_x"].T, pair[0].coefs_[0], rtol=1e-6)


# --- The network behind ---


def test_it_is_the_network_that_it_says(engine: str) -> None:
    model = RNNRegressor((6, 4), "lstm", bidirectional=True, readout="mean", dropout=0.3, alpha=0.01, engine=engine)
    model.set_params(batch_size=8, max_iter=4, random_state=3, clip_norm=0.5, solver="rmsprop").fit(X, Y)
    layers = [rnn_from_scratch.LSTM(6, bidirectional=True), rnn_from_scratch.LSTM(4, bidirectional=True)]
    network = Network(D, layers, 1, readout="mean", dropout=0.3, random_state=3, engine=engine)
    rule = rnn_from_scratch.RMSprop(epsilon=2e-8)
    words = {"optimizer": rule, "clip": 1.0, "l2": 2 * 0.01 / 8}  # of the mean of squares, not of half of it
    history = network.fit(X, Y, 4, 8, **words)
    assert np.allclose(model.loss_curve_, 0.5 * np.array(history.loss), rtol=1e-12)
    assert np.array_equal(model.predict(X), network.predict(X)[:, 0])
    assert model.network_.engine == engine


def test_every_parameter_has_an_effect() -> None:
    """On the weights after three epochs, but for those that speak of something else."""
    base = RNNClassifier(**{**SMALL, "hidden_layer_sizes": (4, 3)}, cell="elman", solver="sgd", batch_size=10)
    changes: dict[str, Any] = {
        "hidden_layer_sizes": (3, 4), "cell": "gru", "bidirectional": True, "readout": "mean", "activation": "relu",
        "dropout": 0.5, "solver": "adam", "alpha": 1.0, "batch_size": 5, "learning_rate": "cosine",
        "learning_rate_init": 0.5, "max_iter": 2, "shuffle": False, "random_state": 1, "momentum": 0.1,
        "nesterovs_momentum": False, "early_stopping": True, "class_weight": {"low": 9.0}, "clip_norm": 1e-3,
        "tbptt_steps": 2, "dtype": "float32",
    }  # fmt: skip
    other: dict[str, dict[str, Any]] = {
        "power_t": {"learning_rate": "invscaling"},
        "beta_1": {"solver": "adam"},
        "beta_2": {"solver": "adam"},
        "epsilon": {"solver": "adam"},
        "validation_fraction": {"early_stopping": True},
    }
    changes |= {"power_t": 1.5, "beta_1": 0.1, "beta_2": 0.1, "epsilon": 1.0, "validation_fraction": 0.4}
    says_nothing = {"tol", "n_iter_no_change", "verbose", "warm_start", "engine", "n_threads"}
    assert set(changes) | says_nothing == set(base.get_params())
    for name, value in changes.items():
        before = clone(base).set_params(**other.get(name, {})).fit(X, LABELS).predict_proba(X)
        after = clone(base).set_params(**other.get(name, {}), **{name: value}).fit(X, LABELS).predict_proba(X)
        assert np.abs(before - after).max() > 1e-9, name


BAD: dict[str, list[Any]] = {
    "hidden_layer_sizes": [0, (), (3, -1), 2.5, "many"], "cell": ["rnn", 3], "activation": ["sigmoid"],
    "bidirectional": [1], "readout": ["first"], "dropout": [1.0, -0.1], "solver": ["lbfgs"], "alpha": [-1.0],
    "batch_size": [0, "all"], "learning_rate": ["slow", 0.1], "learning_rate_init": [0.0], "power_t": [-1.0],
    "max_iter": [0, 2.5], "shuffle": ["yes"], "random_state": [-1, "seed"], "tol": [-1.0], "verbose": [-1],
    "warm_start": [None], "momentum": [1.0], "nesterovs_momentum": [2], "early_stopping": [5],
    "validation_fraction": [0.0, 1.0], "beta_1": [1.0], "beta_2": [-0.1], "epsilon": [0.0],
    "n_iter_no_change": [0, 1.5], "clip_norm": [0.0, "no"], "tbptt_steps": [0], "engine": ["gpu"], "n_threads": [0],
    "dtype": ["float16", "int"], "loss": ["poisson"],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_wrong_parameters_are_named_and_nothing_changes(name: str) -> None:
    model = RNNRegressor(**SMALL).fit(X, Y)
    assert set(BAD) == set(model.get_params())
    before, state = model.predict(X), set(vars(model))
    for value in BAD[name]:
        with pytest.raises((TypeError, ValueError), match=f"{name} of RNNRegressor"):
            model.set_params(**{name: value}).fit(X, Y)
    assert set(vars(model)) == state
    assert np.array_equal(model.set_params(**SMALL).predict(X), before)


# --- Forms of X and y ---


def test_ragged_padded_and_univariate_sequences_say_the_same() -> None:
    ragged = RNNRegressor(**SMALL).fit(RAGGED, Y)
    padded = RNNRegressor(**SMALL).fit(PADDED, Y, lengths=LENGTHS)
    objects = RNNRegressor(**SMALL).fit(as_objects(RAGGED), Y)
    expected = ragged.predict(RAGGED)
    for model in (padded, objects):
        assert np.allclose(model.predict(RAGGED), expected, rtol=1e-12)
    assert np.allclose(ragged.predict(PADDED, lengths=LENGTHS), expected, rtol=1e-12)
    assert ragged.score(RAGGED, Y) == pytest.approx(padded.score(PADDED, Y, lengths=LENGTHS))
    assert ragged.n_features_in_ == D

    flat = RNNRegressor(**SMALL).fit(X[:, :, 0], Y)
    deep = RNNRegressor(**SMALL).fit(X[:, :, :1], Y)
    assert np.array_equal(flat.predict(X[:, :, 0]), deep.predict(X[:, :, :1]))
    assert np.array_equal(deep.predict(X[:, :, 0]), deep.predict(X[:, :, :1]))  # one feature: N sequences as ever
    assert (flat.n_features_in_, deep.n_features_in_) == (T, 1)
    for wrong in (X[:, :5, 0], X[:, :, :1], [x[:, :1] for x in RAGGED]):
        with pytest.raises(ValueError, match="X"):
            flat.predict(wrong)
    with pytest.raises(ValueError, match=r"X must be \(N, T, D=3\) or a list of"):
        ragged.predict(X[:, :, 0])
    with pytest.raises(ValueError, match="D=3"):
        ragged.predict(X[:, :, :2])
    with pytest.raises(ValueError, match=r"X\[1\] must be"):
        ragged.fit([X[0], X[1, :, :2]], Y[:2])
    with pytest.raises(ValueError, match=r"X\[0\] must be finite"):
        ragged.predict(PADDED[:, ::-1])


def test_one_sequence_and_one_step() -> None:
    one = RNNRegressor(**SMALL).fit(X[:1], Y[:1])
    assert one.predict(X[:1]).shape == (1,)
    step = RNNClassifier(**SMALL).fit(X[:, :1], LABELS)
    assert step.predict_proba(X[:3, :1]).shape == (3, 3)
    constant = RNNRegressor(**{**SMALL, "max_iter": 400, "learning_rate_init": 0.05}).fit(X, np.full(N, 7.0))
    assert np.allclose(constant.predict(X), 7.0, atol=0.5)


@pytest.mark.parametrize("outputs", [None, 1, 2])
def test_an_output_for_every_step(outputs: int | None) -> None:
    shape = (N, T) if outputs is None else (N, T, outputs)
    y = np.random.default_rng(4).normal(size=shape)
    model = RNNRegressor(readout="every", **SMALL).fit(X, y)
    assert model.predict(X).shape == shape
    cut = [row[:length] for row, length in zip(y, LENGTHS, strict=True)]
    ragged = RNNRegressor(readout="every", **SMALL).fit(RAGGED, cut)
    padded = RNNRegressor(readout="every", **SMALL).fit(PADDED, y, lengths=LENGTHS)
    found, same = ragged.predict(RAGGED), padded.predict(PADDED, lengths=LENGTHS)
    assert found.dtype == same.dtype == object
    for one, other, item in zip(found, same, cut, strict=True):
        assert one.shape == item.shape
        assert np.allclose(one, other, rtol=1e-12)
    rows, said = np.concatenate(cut).reshape(-1, outputs or 1), np.concatenate(list(found)).reshape(-1, outputs or 1)
    r2 = 1 - ((rows - said) ** 2).sum(axis=0) / ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
    assert ragged.score(RAGGED, cut) == pytest.approx(r2.mean())
    assert padded.score(PADDED, y, lengths=LENGTHS) == pytest.approx(r2.mean())


def test_a_tagger_of_steps() -> None:
    tags = [np.where(x[:, 0].cumsum() > 0, "up", "down") for x in RAGGED]
    model = RNNClassifier(8, readout="every", max_iter=150, learning_rate_init=0.02, random_state=0).fit(RAGGED, tags)
    assert list(model.classes_) == ["down", "up"]
    found = model.predict(RAGGED)
    right = np.concatenate([one == other for one, other in zip(found, tags, strict=True)])
    assert model.score(RAGGED, tags) == pytest.approx(right.mean())
    assert right.mean() > 0.95
    weights = [np.linspace(0.1, 1.0, len(x)) for x in RAGGED]
    assert model.score(RAGGED, tags, weights) == pytest.approx(np.average(right, weights=np.concatenate(weights)))
    per_sequence = np.arange(N) + 1.0
    repeated = np.repeat(per_sequence, LENGTHS)
    assert model.score(RAGGED, tags, per_sequence) == pytest.approx(np.average(right, weights=repeated))
    probabilities = model.predict_proba(RAGGED)
    assert [p.shape for p in probabilities] == [(length, 2) for length in LENGTHS]
    assert np.allclose(np.concatenate(list(probabilities)).sum(axis=1), 1)
    padded = np.full((N, T), "nonsense")
    for row, tag in zip(padded, tags, strict=True):
        row[: len(tag)] = tag
    again = RNNClassifier(8, readout="every", max_iter=2, random_state=0).fit(PADDED, padded, lengths=LENGTHS)
    assert list(again.classes_) == ["down", "up"]
    assert again.score(PADDED, padded, lengths=LENGTHS) == again.score(RAGGED, tags)
    with pytest.raises(ValueError, match=r"y\[3\] must have"):
        model.fit(RAGGED, [*tags[:3], tags[3][:1], *tags[4:]])


def test_several_numbers_for_each_sequence() -> None:
    model = RNNRegressor(**SMALL).fit(RAGGED, np.stack([Y, -Y], axis=1))
    assert model.predict(RAGGED).shape == (N, 2)
    assert model.n_outputs_ == 2
    with pytest.warns(DataConversionWarning):
        column = RNNRegressor(**SMALL).fit(X, Y[:, None])
    assert column.predict(X).shape == (N,)


class Frame:
    """Something with three dimensions that becomes an array, as xarray's and PyTorch's things do."""

    ndim = 3

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return X if dtype is None else X.astype(dtype)


def test_things_that_become_arrays() -> None:
    model = RNNRegressor(**SMALL).fit(Frame(), Y)
    assert np.array_equal(model.predict(Frame()), RNNRegressor(**SMALL).fit(X, Y).predict(X))
    scaled = SequenceScaler().fit(Frame())
    assert np.array_equal(scaled.transform(Frame()), scaled.transform(X))
    assert np.array_equal(RNNRegressor(**SMALL).fit(X.tolist(), Y.tolist()).predict(X), model.predict(X))


def test_what_does_not_fit_is_named() -> None:
    every = RNNRegressor(readout="every", **SMALL)
    y = np.zeros((N, T))
    for wrong in (
        np.zeros((N, T + 1)),
        np.zeros((N, T - 1)),
        np.zeros(N),
        np.zeros((N - 1, T)),
        list(y[1:]),
        [*y, y[0]],
    ):
        with pytest.raises(ValueError, match="y"):
            every.fit(X, wrong)
        with pytest.raises(ValueError, match="y"):
            every.fit(X, y).score(X, wrong)
    with pytest.raises(ValueError, match="sample_weight"):
        every.fit(X, y, np.ones((N, T + 1)))
    last = RNNRegressor(**SMALL)
    for lengths in ([3] * (N - 1), [0] * N, [T + 1] * N, [2.5] * N):
        for call in (last.fit, RNNRegressor(early_stopping=True, **SMALL).fit, last.fit(X, Y).score):
            with pytest.raises(ValueError, match="lengths"):
                call(X, Y, lengths=lengths)
    with pytest.raises(ValueError, match="lengths must be None when X is a list"):
        last.fit(RAGGED, Y, lengths=LENGTHS)
    with pytest.raises(ValueError, match="entries, as X"):
        RNNRegressor(early_stopping=True, **SMALL).fit(X, Y[1:])
    with pytest.raises(ValueError, match="y must be"):
        RNNClassifier(**SMALL).fit(X, LABELS).score(X, as_objects(LABELS[1:]))
    with pytest.raises(ValueError, match="NaN"):
        last.fit(X, np.where(Y > 0, np.nan, Y))


def test_sequences_without_weight_are_as_if_not_there() -> None:
    weights = np.where(np.arange(N) % 3 == 0, 0.0, 1.0)
    words: dict[str, Any] = {**SMALL, "batch_size": 5, "shuffle": False, "alpha": 2.0}
    weighed = RNNRegressor(**words).fit(X, Y, weights)
    without = RNNRegressor(**words).fit(X[weights > 0], Y[weights > 0])
    assert np.allclose(weighed.predict(X), without.predict(X), rtol=1e-10)


# --- Labels ---


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b"], [3, 5, -1], [0.5, 1.5], [True, False], [("x", 1), ("y", 2), ("x", 2)], [None, "a", 3], ["only"],
        [2, 2.5, "b"], [b"x", b"y"],
    ],
    ids=repr,
)  # fmt: skip
def test_labels_of_any_kind(labels: list[Any]) -> None:
    plain = all(type(label) is type(labels[0]) for label in labels) and not isinstance(labels[0], (tuple, bytes))
    values = [labels[n % len(labels)] for n in range(N)]
    y = np.array(values) if plain else as_objects(values)
    if y.dtype.kind == "f":
        y = as_objects(values)  # floats with fractions are numbers for scikit-learn, not labels
    model = RNNClassifier(**SMALL).fit(X, y)
    assert set(model.classes_.tolist()) == set(labels)
    found = model.predict(X).tolist()
    assert set(found) <= set(labels)
    if len(labels) == 1:
        assert model.predict_proba(X).tolist() == [[1.0]] * N
        assert np.array_equal(model.predict_log_proba(X), np.zeros((N, 1)))
    else:
        best = model.classes_[model.predict_proba(X).argmax(axis=1)].tolist()
        assert best == found
    right = sum(one == other for one, other in zip(found, values, strict=True)) / N
    assert model.score(X, y) == pytest.approx(right)


def test_labels_that_cannot_be() -> None:
    with pytest.raises(TypeError, match="hashable"):
        RNNClassifier(**SMALL).fit(X[:2], as_objects([["a"], ["b"]]))
    with pytest.raises(ValueError, match="NaN"):
        RNNClassifier(**SMALL).fit(X[:2], as_objects(["a", float("nan")]))
    with pytest.raises(ValueError, match="Unknown label type"):
        RNNClassifier(**SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="one label for each sequence"):
        RNNClassifier(**SMALL).fit(X, np.zeros((N, 2), int))


def test_partial_fit_needs_its_classes_and_refuses_others() -> None:
    model = RNNClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, LABELS)
    model.partial_fit(X[:2], ["low", "low"], classes=["high", "low", "middle"])
    assert model.predict_proba(X).shape == (N, 3)
    model.partial_fit(X, LABELS)
    with pytest.raises(ValueError, match=r"classes that it knows, \['high', 'low', 'middle'\]. Got .*'new'"):
        model.partial_fit(X[:1], ["new"])
    with pytest.raises(ValueError, match="those of the first call"):
        model.partial_fit(X[:1], ["low"], classes=["high", "low"])
    with pytest.raises(ValueError, match="early_stopping"):
        model.set_params(early_stopping=True).partial_fit(X, LABELS)


def test_balanced_classes_weigh_the_same() -> None:
    y = np.array([0] * 18 + [1] * 6)
    words: dict[str, Any] = {**SMALL, "max_iter": 5, "shuffle": False, "batch_size": N}
    balanced = RNNClassifier(class_weight="balanced", **words).fit(X, y)
    by_hand = RNNClassifier(class_weight={0: N / 36, 1: N / 12}, **words).fit(X, y)
    as_weights = RNNClassifier(**words).fit(X, y, sample_weight=np.where(y == 1, N / 12, N / 36))
    assert np.allclose(balanced.predict_proba(X), by_hand.predict_proba(X), rtol=1e-10)
    assert np.allclose(balanced.predict_proba(X), as_weights.predict_proba(X), rtol=1e-10)
    assert not np.allclose(balanced.predict_proba(X), RNNClassifier(**words).fit(X, y).predict_proba(X))
    for wrong in ({"2": 1.0}, {0: -1.0}, [1, 2], "even"):
        with pytest.raises((TypeError, ValueError), match="class_weight"):
            RNNClassifier(class_weight=wrong, **words).fit(X, y)


def test_weights_of_steps_count() -> None:
    y = np.sin(np.arange(N * T)).reshape(N, T)
    weights = np.random.default_rng(5).integers(0, 3, size=(N, T)) + 0.0
    words: dict[str, Any] = {**SMALL, "readout": "every", "batch_size": N, "shuffle": False, "max_iter": 5}
    padded = RNNRegressor(**words).fit(X, y, weights)
    listed = RNNRegressor(**words).fit(X, y, list(weights))
    assert np.array_equal(padded.predict(X), listed.predict(X))
    twice = RNNRegressor(**{**words, "alpha": 0.0}).fit(X, y, weights)
    doubled = RNNRegressor(**{**words, "alpha": 0.0}).fit(X, y, 2 * weights)
    assert np.array_equal(twice.predict(X), doubled.predict(X))
    assert not np.allclose(padded.predict(X), RNNRegressor(**words).fit(X, y).predict(X))


# --- When training ends ---


def test_early_stopping_keeps_the_best_weights() -> None:
    rng = np.random.default_rng(6)
    x, noise = rng.normal(size=(60, 5, 2)), rng.normal(size=60)
    words: dict[str, Any] = {"learning_rate_init": 0.05, "early_stopping": True, "validation_fraction": 0.3}
    model = RNNRegressor(16, random_state=1, max_iter=300, **words).fit(x, x[:, -1, 0] + noise)
    assert model.n_iter_ < 300
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    held_out = train_test_split(np.arange(60), test_size=0.3, random_state=1)[1]
    assert model.score(x[held_out], (x[:, -1, 0] + noise)[held_out]) == pytest.approx(model.best_validation_score_)
    labels = np.where(noise > 0, "yes", "no")
    classifier = RNNClassifier(8, random_state=1, max_iter=5, **words).fit(list(x), labels, sample_weight=noise**2)
    assert 0 <= classifier.best_validation_score_ <= 1
    rare = RNNClassifier(8, random_state=1, max_iter=2, **words).fit(x, [*labels[:-1], "rare"])  # nothing to stratify
    assert len(rare.validation_scores_) == 2
    generator = np.random.default_rng(1)
    assert RNNRegressor(8, random_state=generator, max_iter=2, **words).fit(x, noise).n_iter_ == 2
    padded = RNNRegressor(8, random_state=1, max_iter=2, **words).fit(x, noise, lengths=[3, 5] * 30)
    assert len(padded.validation_scores_) == 2
    tagger = RNNClassifier(8, readout="every", random_state=1, max_iter=3, **words)
    tagger.fit(list(x), [np.where(row[:, 0] > 0, "yes", "no") for row in x])
    assert len(tagger.validation_scores_) == 3
    with pytest.raises(ValueError, match="at least 2 sequences to validate on"):
        RNNRegressor(early_stopping=True, **SMALL).fit(x[:5], noise[:5])


def test_the_rule_waits_as_long_as_it_says() -> None:
    watch, history = Convergence(Progress(), tol=0.1, patience=2, scale=0.5), History()
    answers = []
    for loss in (4.0, 3.0, 2.9, 2.6, 2.85, 2.5, 2.45):
        history.loss.append(loss)
        answers.append(watch(len(history), history))
    assert answers == [False, False, False, False, False, False, True]
    assert watch.progress.best_loss == 1.225
    assert watch.progress.loss_curve == [2.0, 1.5, 1.45, 1.3, 1.425, 1.25, 1.225]


def test_warnings_of_training() -> None:
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        RNNRegressor(**SMALL).fit(X, Y)
    with pytest.warns(UserWarning, match="batch_size of RNNRegressor must be at most"):
        RNNRegressor(batch_size=1000, **SMALL).fit(X, Y)
    with pytest.warns(UserWarning, match="dropout of RNNRegressor"):
        RNNRegressor(dropout=0.5, **SMALL).fit(X, Y)


def test_an_interrupted_training_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Network.fit

    def interrupted(self: Network, *arguments: Any, **words: Any) -> Any:
        train(self, *arguments, **words)
        raise KeyboardInterrupt

    monkeypatch.setattr(Network, "fit", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = RNNRegressor(**SMALL).fit(X, Y)
    assert len(model.loss_curve_) == model.n_iter_ == 3
    assert np.isfinite(model.predict(X)).all()


def test_warm_start_goes_on_with_the_network_that_is_there() -> None:
    model = RNNRegressor(warm_start=True, **SMALL).fit(X, Y)
    network = model.network_
    assert model.fit(X, Y).network_ is network
    assert (len(model.loss_curve_), model.n_iter_, model.t_) == (6, 3, 6 * N)
    with pytest.raises(ValueError, match="can only go on with the network that is there"):
        model.set_params(cell="lstm").fit(X, Y)
    assert model.network_ is network
    labels = RNNClassifier(warm_start=True, **SMALL).fit(X, LABELS)
    with pytest.raises(ValueError, match="since warm_start=True"):
        labels.fit(X[:1], ["low"])
    fresh = model.set_params(cell="lstm", warm_start=False).fit(X, Y)
    assert fresh.network_ is not network
    assert fresh.n_iter_ == len(fresh.loss_curve_) == 3


def test_a_failed_training_leaves_what_was_there() -> None:
    model = RNNRegressor(4, "elman", activation="identity", max_iter=3, random_state=0).fit(X, Y)
    before = model.predict(X)
    with pytest.raises(NonFiniteError):
        model.set_params(solver="sgd", learning_rate_init=1e200, clip_norm=None, max_iter=50).fit(X, Y)
    assert np.array_equal(model.predict(X), before)


def test_seeds() -> None:
    seeds = [7, np.random.RandomState(7), np.random.default_rng(7)]
    predictions = [RNNRegressor(**{**SMALL, "random_state": seed}).fit(X, Y).predict(X) for seed in seeds]
    again = [RNNRegressor(**{**SMALL, "random_state": seed}).fit(X, Y).predict(X) for seed in seeds]
    assert np.array_equal(predictions[0], again[0])
    assert not np.allclose(predictions[1], again[1])  # as everywhere in scikit-learn, a generator goes on
    network = Network(D, [rnn_from_scratch.GRU(5)], 1, readout="last", random_state=7)
    network.fit(X, Y, 3, 24, learning_rate=0.02, clip=2.0, l2=2e-4 / 24, optimizer=rnn_from_scratch.Adam(epsilon=2e-8))
    assert np.array_equal(predictions[0], network.predict(X)[:, 0])  # an int means what it means for a network


def test_schedules_of_the_library_work_too() -> None:
    cosine = RNNRegressor(learning_rate=CosineDecay(), **SMALL).fit(X, Y)
    word = RNNRegressor(learning_rate="cosine", **SMALL).fit(X, Y)
    assert np.array_equal(cosine.predict(X), word.predict(X))


def test_not_fitted_and_not_there() -> None:
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(RNNClassifier(), method)(X)
    with pytest.raises(NotFittedError):
        RNNRegressor().score(X, Y)
    assert not hasattr(RNNRegressor(), "predict_proba")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        estimators.nothing  # noqa: B018
    assert set(estimators.__all__) <= set(dir(estimators))


def test_dtypes() -> None:
    narrow = RNNRegressor(**SMALL).fit(X.astype(np.float32), Y)
    assert narrow.predict(X).dtype == narrow.network_.dtype == np.float32
    assert RNNRegressor(dtype="float32", **SMALL).fit(X, Y).predict(X).dtype == np.float32
    assert RNNRegressor(**SMALL).fit(X.astype(int), Y).predict(X).dtype == np.float64
