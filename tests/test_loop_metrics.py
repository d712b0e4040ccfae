"""Metrics and validation: against values by hand, formulas written down a second time, and an evaluation by `predict`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from loop_problem import network, parameters, problem, real, squared_error
from properties import given, st
from support import EXACT, assert_all_close, assert_same_bits

from rnn_from_scratch import GRU, Elman, History, Network
from rnn_from_scratch.metrics import METRICS, accuracy, f1, mae, r2, rmse

ROWS = {
    "outputs": np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]]),
    "targets": np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]]),
    "weights": np.array([1.0, 2.0, 3.0, 4.0]),
}


def test_values_by_hand() -> None:
    assert accuracy(**ROWS) == pytest.approx(3 / 10)
    # class 0: right 1, said 1, is 4; class 1: right 2, said 5, is 6; class 2: right 0, said 4, is 0
    assert f1(**ROWS) == pytest.approx((2 / 5 + 4 / 11 + 0) / 3)
    binary = {"outputs": np.array([[0.5], [0.4], [0.9], [0.2]]), "targets": np.array([[1.0], [1], [0], [0]])}
    assert f1(**binary, weights=np.ones(4)) == pytest.approx(2 * 0.5 * 0.5 / (0.5 + 0.5))
    assert f1(**binary, weights=np.array([3.0, 1, 1, 1])) == pytest.approx(2 * 0.75 * 0.75 / 1.5)
    assert accuracy(**binary, weights=np.array([3.0, 1, 1, 1])) == pytest.approx(4 / 6)
    y, t, w = np.array([[1.0, 5], [2, 2]]), np.array([[0.0, 1], [2, 5]]), np.array([1.0, 3])
    assert mae(y, t, w) == pytest.approx((1 * (1 + 4) / 2 + 3 * (0 + 3) / 2) / 4)
    assert rmse(y, t, w) == pytest.approx(np.sqrt((1 * (1 + 16) / 2 + 3 * (0 + 9) / 2) / 4))
    first = 1 - (1 * 1 + 3 * 0) / (1 * 1.5**2 + 3 * 0.5**2)  # the weighted mean of the targets is 1.5
    second = 1 - (1 * 16 + 3 * 9) / (1 * 3**2 + 3 * 1**2)  # and here 4
    assert r2(y, t, w) == pytest.approx((first + second) / 2)


def test_nothing_to_find_and_nothing_to_explain() -> None:
    nothing, ones = np.zeros((3, 1)), np.ones(3)
    assert f1(nothing, nothing, ones) == 0.0  # no row is of class 1, and none was said to be
    assert f1(np.ones((3, 1)), nothing, ones) == 0.0
    assert r2(nothing + 0.1, nothing + 0.1, ones) == 1.0
    assert r2(nothing, nothing + 0.1, ones) == 0.0
    assert f1(np.eye(3)[[0, 1]], np.eye(3)[[0, 1]], np.ones(2)) == 1.0  # the class that does not occur does not count


def independent(name: str, y: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    """Each measure once more, row by row in Python."""
    rows, O = range(len(y)), y.shape[1]  # noqa: E741
    total = sum(float(w[m]) for m in rows)
    kind = [
        (int(a[0] >= 0.5), int(b[0] >= 0.5)) if O == 1 else (int(np.argmax(a)), int(np.argmax(b)))
        for a, b in zip(y, t, strict=True)
    ]
    if name == "accuracy":
        return sum(float(w[m]) for m in rows if kind[m][0] == kind[m][1]) / total
    if name == "f1":
        scores = []
        for k in [1] if O == 1 else sorted({k for pair in kind for k in pair}):
            hit, wrong, missed = (
                sum(float(w[m]) for m in rows if (kind[m][0] == k, kind[m][1] == k) == which)
                for which in ((True, True), (True, False), (False, True))
            )
            precision, recall = hit / (hit + wrong or 1), hit / (hit + missed or 1)
            scores.append(2 * precision * recall / (precision + recall or 1))
        return float(np.mean(scores))
    if name in ("mae", "rmse"):
        power = 1 if name == "mae" else 2
        mean = sum(float(w[m]) * abs(float(y[m, o] - t[m, o])) ** power for m in rows for o in range(O)) / (total * O)
        return mean ** (1 / power)
    explained = []
    for o in range(O):
        centre = sum(float(w[m] * t[m, o]) for m in rows) / total
        left = sum(float(w[m]) * float(y[m, o] - t[m, o]) ** 2 for m in rows)
        explained.append(1 - left / sum(float(w[m]) * float(t[m, o] - centre) ** 2 for m in rows))
    return float(np.mean(explained))


@given(seed=st.integers(0, 2**32), outputs=st.integers(1, 4), count=st.integers(2, 9), cut=st.integers(1, 8))
def test_measures_of_pieces_are_measures_of_all(seed: int, outputs: int, count: int, cut: int) -> None:
    generator = np.random.default_rng(seed)
    y, w = generator.normal(size=(count, outputs)), generator.uniform(0.1, 2, count)
    t = (
        np.eye(outputs)[generator.integers(outputs, size=count)]
        if outputs > 1
        else generator.integers(2, size=(count, 1)) * 1.0
    )
    t += generator.uniform(-0.1, 0.1, t.shape)  # so that there is something to explain
    for name, metric in METRICS.items():
        places = [slice(0, min(cut, count - 1)), slice(min(cut, count - 1), count)]
        pieces = [metric.look(y[where], t[where], w[where]) for where in places]
        assert metric.conclude(pieces) == pytest.approx(independent(name, y, t, w), rel=1e-9), name
        assert metric(y, t, w) == pytest.approx(independent(name, y, t, w), rel=1e-9), name


def largest_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    return float(np.abs(outputs - targets).max())


@pytest.mark.parametrize("pieces", [1 << 16, 4], ids=["at once", "in pieces"])
def test_metrics_in_training(engine: str, readout: str, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnn_from_scratch.sequences.MOST_ROWS", pieces)
    monkeypatch.setattr("rnn_from_scratch.sequences.LEAST_SEQUENCES", 1)
    X, y = problem()
    t = y if readout == "every" else y[:, -1]
    lengths, w = np.array([5, 1, 2, 5, 3, 4, 1, 5, 2, 3]), np.array([1, 0.5, 2, 1, 0, 3, 1, 1, 0.2, 1])
    held_out = {"X": X[::-1], "y": -t, "lengths": lengths, "sample_weight": w[::-1]}
    net = network(engine, readout=readout)
    metrics = {"first": "mae", "second": "r2", "third": "rmse", "worst": largest_error, "f1": "f1", "hits": "accuracy"}
    words: dict[str, Any] = {"lengths": lengths, "sample_weight": w, "validation": held_out, "metrics": metrics}
    history = net.fit(X, t, 3, batch_size=4, **words)
    for entered, inputs, targets, weights in (
        (history.metrics, X, t, w),
        (history.validation_metrics, X[::-1], -t, w[::-1]),
    ):
        y_hat = net.predict(inputs, lengths=lengths)
        kept = np.repeat(weights, lengths) if readout == "every" else weights
        rows = [real(a, lengths) if readout == "every" else a for a in (y_hat, targets)]
        a, b, kept = rows[0][kept > 0], rows[1][kept > 0], kept[kept > 0]
        for name, what in metrics.items():
            expected = largest_error(a, b) if callable(what) else independent(what, a, b, kept)
            assert entered[name][-1] == pytest.approx(expected, abs=EXACT), name
            assert len(entered[name]) == 3
    assert history.validation_loss[-1] == pytest.approx(squared_error(a, b, kept), abs=EXACT)


@pytest.mark.parametrize("outputs", [1, 3])
def test_metrics_of_classes_in_training(engine: str, outputs: int) -> None:
    generator = np.random.default_rng(0)
    X, labels = generator.normal(size=(30, 4, 3)), generator.integers(max(outputs, 2), size=30)
    kind = "sigmoid" if outputs == 1 else "softmax"
    net = Network(
        3, [Elman(5)], outputs, readout="last", output_activation=kind, loss="ce", random_state=0, engine=engine
    )
    history = net.fit(X, labels, 4, metrics=["accuracy", "f1"], class_weight={0: 0.5}, validation=0.3)
    y_hat, rows = net.predict(X), np.eye(3)[labels] if outputs > 1 else labels[:, None] * 1.0
    weights = np.where(labels == 0, 0.5, 1.0)
    for name in ("accuracy", "f1"):
        expected = independent(name, y_hat[:21], rows[:21], weights[:21])
        assert history.metrics[name][-1] == pytest.approx(expected, abs=EXACT)
        expected = independent(name, y_hat[21:], rows[21:], weights[21:])
        assert history.validation_metrics[name][-1] == pytest.approx(expected, abs=EXACT)


def loss_by_hand(net: Network, X: Any, t: Any, lengths: Any = None, weights: Any = None) -> float:
    y_hat = net.predict(X, lengths=lengths)
    if y_hat.ndim == 2:
        return squared_error(y_hat, t, weights)
    rows = None if weights is None else np.repeat(weights, lengths if lengths is not None else X.shape[1])
    return squared_error(real(y_hat, lengths), real(t, lengths), rows)


@pytest.mark.parametrize("form", ["fraction", "pair", "mapping"])
def test_validation_is_an_evaluation_that_nothing_leaks_from(engine: str, readout: str, form: str) -> None:
    X, y = problem()
    t = y if readout == "every" else y[:, 0]
    own_X, own_y = problem(N=4, seed=3)
    own_t = own_y if readout == "every" else own_y[:, 0]
    lengths, w = np.array([5, 2, 1, 4]), np.array([1.0, 0, 2, 3])
    forms: dict[str, Any] = {
        "fraction": (0.3, (X[7:], t[7:]), X[:7], t[:7]),
        "pair": ((own_X, own_t), (own_X, own_t), X, t),
        "mapping": (
            {"X": own_X, "y": own_t, "lengths": lengths, "sample_weight": w},
            (own_X, own_t, lengths, w),
            X,
            t,
        ),
    }
    validation, held_out, train_X, train_t = forms[form]
    with_, without = network(engine, readout=readout), network(engine, readout=readout)
    losses: list[float] = []

    def remember(epoch: int, history: History) -> None:
        losses.append(loss_by_hand(with_, *held_out))

    history = with_.fit(X, t, 4, batch_size=3, validation=validation, callbacks=remember)
    reference = without.fit(train_X, train_t, 4, batch_size=3)
    assert history.validation_loss == pytest.approx(losses, abs=EXACT)
    assert history.loss == reference.loss
    assert reference.validation_loss == []
    for name, W in with_.parameters.items():
        assert_same_bits(W, without.parameters[name], name)


def test_validation_has_no_penalty_and_no_dropout(engine: str) -> None:
    X, y = problem()
    net = network(engine, [GRU(4, input_dropout=0.5, recurrent_dropout=0.5)])
    history = net.fit(X, y, 2, l2=3.0, validation=(X, y), metrics="mae")
    assert history.validation_loss[-1] == pytest.approx(loss_by_hand(net, X, y), abs=EXACT)
    assert history.metrics == history.validation_metrics
    assert history.loss[-1] > history.validation_loss[-1] + 1


def test_validation_of_sequences_of_other_lengths(engine: str) -> None:
    X, y = problem()
    longer_X, longer_y = problem(N=3, T=9, seed=2)
    net = network(engine)
    history = net.fit(X, y, 2, validation=([*longer_X[:2], longer_X[2][:1]], [*longer_y[:2], longer_y[2][:1]]))
    expected = loss_by_hand(net, longer_X, longer_y, np.array([9, 9, 1]))
    assert history.validation_loss[-1] == pytest.approx(expected, abs=EXACT)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"metrics": "precision"}, ValueError, "metrics of Network.fit must be one of 'accuracy', .* Got 'precision'."),
    ({"metrics": ["mae", 3]}, TypeError, "metrics of Network.fit must be one of 'accuracy', .* Got 3."),
    ({"metrics": 3}, TypeError, "metrics of Network.fit must be words or callables. Got 3."),
    ({"metrics": ["mae", "mae"]}, ValueError, "metrics of Network.fit must have different names."),
    (
        {"metrics": {"loss": "mae"}},
        ValueError,
        "metrics of Network.fit must not have names of other lists .* Got 'loss'.",
    ),
    ({"metrics": {"mae": "mae", "validation_mae": "mae"}}, ValueError, "names of other lists .* Got 'mae'."),
    ({"validation": 1.0}, ValueError, r"validation of Network.fit must be a number in \[0, 1\). Got 1.0."),
    ({"validation": 0.01}, ValueError, "validation of Network.fit must leave sequences on both sides. Got 0.01 of 10."),
    ({"validation": 0.99}, ValueError, "validation of Network.fit must leave sequences on both sides. Got 0.99 of 10."),
    ({"validation": "some"}, TypeError, r"must be a number in \[0, 1\), a tuple \(X, y\) or a mapping. Got 'some'."),
    ({"validation": (1, 2, 3)}, ValueError, r"validation of Network.fit must be a pair \(X, y\). Got 3 things."),
    ({"validation": {"X": 1}}, ValueError, r"must have X and y, and may have lengths .* Got \['X'\]."),
    ({"validation": {"X": 1, "y": 2, "Z": 3}}, ValueError, "validation of Network.fit must have X and y, and may"),
    (
        {"validation": (np.zeros((2, 3, 4)), np.zeros((2, 3, 2)))},
        ValueError,
        r"In validation of Network.fit: X must be \(N, T, D=3\)",
    ),
    (
        {"validation": (np.zeros((2, 3, 3)), np.zeros((2, 3, 1)))},
        ValueError,
        r"In validation of Network.fit: y must be \(N=2, T=3, O=2\)",
    ),
]


@pytest.mark.parametrize(("words", "error", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_what_is_refused_changes_nothing(words: dict[str, Any], error: type[Exception], message: str) -> None:
    net = network()
    before = parameters(net)
    with pytest.raises(error, match=message):
        net.fit(*problem(), 2, **words)
    assert_all_close(parameters(net), before, 0)
    assert net.history is None


def test_validation_without_weight_is_refused() -> None:
    X, y = problem()
    net = network()
    weights = np.ones((10, 5))
    weights[8:] = 0
    with pytest.raises(ValueError, match=r"validation of Network.fit must hold a row with a positive weight"):
        net.fit(X, y, 2, batch_size=2, stateful=True, validation=0.2, sample_weight=weights)
    own = {"X": X, "y": y, "sample_weight": np.zeros(10)}
    with pytest.raises(ValueError, match=r"sample_weight of Network.fit must leave at least one row a positive weight"):
        net.fit(X, y, 2, validation=own)


def test_steps_without_weight_do_not_count(engine: str) -> None:
    X, y = problem()
    w = np.random.default_rng(1).uniform(0.1, 1, (10, 5))
    w[w < 0.4] = 0
    net = network(engine)
    held_out = {"X": X, "y": -y, "sample_weight": w}
    history = net.fit(X, y, 2, sample_weight=w, metrics=["mae", largest_error], validation=held_out)
    for entered, t in ((history.metrics, y), (history.validation_metrics, -y)):
        error = np.abs(net.predict(X) - t)
        assert entered["mae"][-1] == pytest.approx(np.average(error.mean(axis=2), weights=w), abs=EXACT)
        assert entered["largest_error"][-1] == pytest.approx(error[w > 0].max(), abs=EXACT)
    assert history.validation_loss[-1] == pytest.approx(np.average((error**2).mean(axis=2), weights=w), abs=EXACT)
