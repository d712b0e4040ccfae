"""What counts how much: weights of samples and classes, the penalty, frozen tensors, losses of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close, assert_same_bits

from rnn_from_scratch import GRU, LSTM, SGD, Adam, Elman, Network

LENGTHS = np.array([5, 2, 4, 1, 3, 5])


def data(N: int = 6, T: int = 5, D: int = 3, O: int = 2) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, T, D)), generator.normal(size=(N, T, O))


def network(engine: str, **options: Any) -> Network:
    layers = [GRU(4, learned_state=True), LSTM(3)]
    return Network(3, layers, 2, **{"random_state": 0, "engine": engine, **options})


def assert_same_training(a: Network, b: Network, call_a: dict[str, Any], call_b: dict[str, Any]) -> None:
    histories = [
        net.fit(**call, epochs=4, batch_size=2, learning_rate=0.05) for net, call in ((a, call_a), (b, call_b))
    ]
    assert histories[0].loss == pytest.approx(histories[1].loss, abs=EXACT)
    for name, W in a.parameters.items():
        assert_close(W, b.parameters[name], EXACT, name)


@pytest.mark.parametrize("readout", ["every", "last", "mean"])
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_weighted_loss_is_the_weighted_mean(engine: str, readout: str, loss: str) -> None:
    X, y = data()
    y = y if readout == "every" else y[:, 0]
    net = network(engine, readout=readout, loss=loss, huber_delta=0.7)
    weight = np.random.default_rng(1).uniform(0.1, 3, len(X))
    error = net.predict(X, lengths=LENGTHS) - y
    near = np.minimum(np.abs(error), 0.7)
    elements = {"mse": error**2, "mae": np.abs(error), "huber": near * (np.abs(error) - near / 2)}[loss].mean(axis=-1)
    rows = (np.arange(5) < LENGTHS[:, None]) * weight[:, None] if readout == "every" else weight
    expected = (elements * rows).sum() / rows.sum()
    assert net.loss_and_gradient(X, y, lengths=LENGTHS, sample_weight=weight)[0] == pytest.approx(expected, abs=EXACT)
    scaled = net.loss_and_gradient(X, y, lengths=LENGTHS, sample_weight=weight * 1e-300)[0]
    assert scaled == pytest.approx(expected, abs=EXACT)
    huge = net.loss_and_gradient(X, y, lengths=LENGTHS, sample_weight=weight * 5e307)[0]
    assert huge == pytest.approx(expected, abs=EXACT)


def test_weights_of_steps_in_every_form(engine: str) -> None:
    X, y = data()
    net = network(engine)
    weight = np.random.default_rng(1).uniform(0.1, 3, X.shape[:2])
    weight[2, 1] = weight[0] = 0  # a step, and a whole sequence
    real = np.arange(5) < LENGTHS[:, None]
    errors = ((net.predict(X, lengths=LENGTHS) - y) ** 2).mean(axis=2)
    expected = (errors * weight)[real].sum() / weight[real].sum()
    poisoned = np.where(real, weight, np.nan)
    lists = [w[:n] for w, n in zip(weight, LENGTHS, strict=True)]
    ragged = [x[:n] for x, n in zip(X, LENGTHS, strict=True)]
    losses = [
        net.loss_and_gradient(X, y, lengths=LENGTHS, sample_weight=weight),
        net.loss_and_gradient(X, y, lengths=LENGTHS, sample_weight=poisoned),
        net.loss_and_gradient(X, y, lengths=LENGTHS, sample_weight=lists),
        net.loss_and_gradient(ragged, y, sample_weight=weight),
        net.loss_and_gradient(ragged, [t[:n] for t, n in zip(y, LENGTHS, strict=True)], sample_weight=lists),
    ]
    for loss, gradient in losses:
        assert loss == pytest.approx(expected, abs=EXACT)
        for name, d in gradient.items():
            assert_close(d, losses[0][1][name], EXACT, name)


def test_a_weight_of_two_is_the_same_sequence_twice(engine: str) -> None:
    X, y = data()
    net = network(engine)
    loss, gradient = net.loss_and_gradient(X, y, sample_weight=[1, 2, 1, 3, 1, 1])
    again = np.repeat(np.arange(6), [1, 2, 1, 3, 1, 1])
    expected_loss, expected = net.loss_and_gradient(X[again], y[again])
    assert loss == pytest.approx(expected_loss, abs=EXACT)
    for name, d in gradient.items():
        assert_close(d, expected[name], EXACT, name)


@pytest.mark.parametrize("readout", ["every", "last"])
def test_training_with_weights_of_zero_is_training_without_those_sequences(engine: str, readout: str) -> None:
    X, y = data()
    y = y if readout == "every" else y[:, 0]
    kept = np.array([0, 2, 5])
    weight = np.zeros(6)
    weight[kept] = [3, 1, 2]
    assert_same_training(
        network(engine, readout=readout, dropout=0.3),
        network(engine, readout=readout, dropout=0.3),
        dict(X=X, y=y, lengths=LENGTHS, sample_weight=weight),
        dict(X=X[kept], y=y[kept], lengths=LENGTHS[kept], sample_weight=weight[kept]),
    )


def test_history_is_the_weighted_mean_of_the_updates(engine: str) -> None:
    X, y = data()
    net = network(engine)
    weight = np.random.default_rng(1).uniform(0.1, 3, X.shape[:2])
    expected = net.loss_and_gradient(X, y, lengths=LENGTHS, sample_weight=weight)[0]
    options: dict[str, Any] = dict(batch_size=4, optimizer="sgd", learning_rate=1e-12)
    history = net.fit(X, y, 1, lengths=LENGTHS, sample_weight=weight, **options)
    assert history.loss[0] == pytest.approx(expected, rel=1e-6)


def classes(engine: str, **options: Any) -> tuple[Network, np.ndarray, np.ndarray]:
    X, _ = data()
    words: dict[str, Any] = dict(output_activation="softmax", loss="ce", readout="last", random_state=0, engine=engine)
    return Network(3, [Elman(4)], 3, **{**words, **options}), X, np.array([0, 0, 1, 0, 1, 0])


def test_class_weights_multiply_sample_weights(engine: str) -> None:
    net, X, y = classes(engine)
    samples = np.array([1.0, 2, 3, 4, 5, 6])
    ways: list[tuple[Any, Any]] = [
        ([5, 0.5, 9], np.array([5, 5, 0.5, 5, 0.5, 5])),
        ({0: 5, 1: 0.5}, np.array([5, 5, 0.5, 5, 0.5, 5])),
        ({np.int64(1): 0.25}, np.array([1, 1, 0.25, 1, 0.25, 1])),
        ("balanced", np.array([1 / 13, 1 / 13, 1 / 8, 1 / 13, 1 / 8, 1 / 13])),
    ]
    for class_weight, of_row in ways:
        loss, gradient = net.loss_and_gradient(X, y, sample_weight=samples, class_weight=class_weight)
        expected_loss, expected = net.loss_and_gradient(X, y, sample_weight=samples * of_row)
        assert loss == pytest.approx(expected_loss, abs=EXACT)
        for name, d in gradient.items():
            assert_close(d, expected[name], EXACT, name)
    without = net.loss_and_gradient(X, y, class_weight=[0, 1, 1])[0]
    assert without == pytest.approx(net.loss_and_gradient(X[y == 1], y[y == 1])[0], abs=EXACT)


def test_class_weights_of_one_sigmoid_output_and_of_every_step(engine: str) -> None:
    X, _ = data()
    generator = np.random.default_rng(2)
    yes = Network(3, [Elman(4)], 1, output_activation="sigmoid", loss="ce", random_state=0, engine=engine)
    t = (generator.random((6, 5)) < 0.3).astype(float)
    real = np.arange(5) < LENGTHS[:, None]
    p = yes.predict(X, lengths=LENGTHS)[:, :, 0]
    w = np.where(t == 1, 4.0, 0.5)[real]
    losses = -np.log(np.where(t == 1, p, 1 - p)[real])
    loss = yes.loss_and_gradient(X, t, lengths=LENGTHS, class_weight=[0.5, 4])[0]
    assert loss == pytest.approx((w * losses).sum() / w.sum(), abs=EXACT)
    balanced = yes.loss_and_gradient(X, t, lengths=LENGTHS, class_weight="balanced")[0]
    expected = np.mean([losses[t[real] == c].mean() for c in (0, 1)])
    assert balanced == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize(
    ("class_weight", "options", "message"),
    [
        ("equal", {}, "class_weight of Network.fit must be one of 'balanced'. Got 'equal'."),
        ([1, 2], {}, "class_weight of Network.fit must be a mapping, 'balanced', or (3,). Got (2,)."),
        ([1, 2, -3], {}, "class_weight of Network.fit must hold finite numbers >= 0. Got -3."),
        ({3: 1}, {}, "class_weight of Network.fit must name classes in [0, 3). Got 3."),
        ({"a": 1}, {}, "a class in class_weight of Network.fit must be an int >= 0. Got 'a'."),
        ({0: np.nan}, {}, "class_weight[0] of Network.fit must be a finite number >= 0. Got nan."),
        ({0: -1.0}, {}, "class_weight of Network.fit must hold finite numbers >= 0. Got -1.0."),
        ({0: 0, 1: 0}, {}, "class_weight of Network.fit must leave at least one row a positive weight. All are zero."),
        (
            "balanced",
            dict(y=np.full((6, 3), 1 / 3)),
            "class_weight of Network.fit must be None unless every target is one",
        ),
        (
            [1, 1, 1],
            dict(output_activation="sigmoid"),
            "must be None unless the outputs are 'softmax' or one 'sigmoid'. Got",
        ),
    ],
)
def test_wrong_class_weights_are_refused(class_weight: Any, options: dict[str, Any], message: str) -> None:
    y = options.pop("y", None)
    net, X, labels = classes("auto", **options)
    rows = np.eye(3)[labels] if y is None else y
    with pytest.raises((TypeError, ValueError)) as caught:
        net.fit(X, rows, 1, class_weight=class_weight)
    assert message in str(caught.value)


def test_the_penalty_is_part_of_loss_gradient_and_training(engine: str) -> None:
    X, y = data()
    net = network(engine)
    plain, d_plain = net.loss_and_gradient(X, y)
    loss, gradient = net.loss_and_gradient(X, y, l2=0.3)
    matrices = {name: W for name, W in net.parameters.items() if W.ndim == 2}
    assert loss == pytest.approx(plain + 0.15 * sum((W**2).sum() for W in matrices.values()), abs=EXACT)
    for name, d in gradient.items():
        shrink = 0.3 * matrices[name] if name in matrices else 0
        assert_close(d, d_plain[name] + shrink, EXACT, name)
    before = {name: W.copy() for name, W in net.parameters.items()}
    history = net.fit(X, y, 1, optimizer="sgd", learning_rate=0.1, l2=0.3, clip=1e-2)
    norm = np.sqrt(sum((d**2).sum() for d in gradient.values()))
    assert history.loss == pytest.approx([loss], abs=EXACT)
    assert history.gradient_norm_max == pytest.approx([norm], abs=EXACT)
    for name, W in net.parameters.items():
        assert_close(W, before[name] - 0.1 * gradient[name] * 1e-2 / norm, EXACT, name)


@pytest.mark.parametrize(
    ("frozen", "expected"),
    [
        ("layer0.W_h", {"layer0.W_h"}),
        (["layer1", "readout.b_y"], {"layer1.W_x", "layer1.W_h", "layer1.b_h", "readout.b_y"}),
        (
            ("layer0",),
            {f"layer0.{symbol}" for symbol in ("W_x", "W_h", "b_h", "b_hn", "h_0")},
        ),
        ({"readout"}, {"readout.W_y", "readout.b_y"}),
    ],
    ids=["tensor", "places", "tuple", "set"],
)
@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=lambda o: o.kind)
def test_frozen_tensors_stay_and_all_others_move(engine: str, frozen: Any, expected: set[str], optimizer: Any) -> None:
    X, y = data()
    net = network(engine)
    before = {name: W.copy() for name, W in net.parameters.items()}
    net.fit(X, y, 3, batch_size=2, optimizer=optimizer, learning_rate=0.05, l2=0.1, frozen=frozen)
    for name, W in net.parameters.items():
        if name in expected:
            assert_same_bits(W, before[name], name)
        else:
            assert not np.array_equal(W, before[name]), name


def test_a_frozen_direction_leaves_the_other_one_free(engine: str) -> None:
    X, y = data()
    net = Network(3, [GRU(4, bidirectional=True)], 2, random_state=0, engine=engine)
    before = {name: W.copy() for name, W in net.parameters.items()}
    net.fit(X, y, 1, frozen="layer0.reverse")
    changed = {name for name, W in net.parameters.items() if not np.array_equal(W, before[name])}
    assert changed == {"layer0.W_x", "layer0.W_h", "layer0.b_h", "layer0.b_hn", "readout.W_y", "readout.b_y"}


# --- Losses of one's own ---


def mean_square(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    error = outputs - targets
    return float((error**2).mean()), 2 * error / error.size


@pytest.mark.parametrize("readout", ["every", "last", "mean"])
@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
def test_a_callable_that_says_mse_is_mse(engine: str, readout: str, activation: str) -> None:
    X, y = data()
    y = y if readout == "every" else y[:, 0]
    options: dict[str, Any] = dict(readout=readout, output_activation=activation, dropout=0.2)
    words = dict(X=X, y=y, lengths=LENGTHS, l2=0.1, frozen="layer0.W_h", clip=0.5)
    own, built_in = network(engine, **options, loss=mean_square), network(engine, **options)
    assert_same_training(own, built_in, words, words)


def writes_into_what_it_gets(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean square, with nothing of its arguments left as it was."""
    outputs -= targets
    targets[:] = 0
    loss = float((outputs**2).mean())
    outputs *= 2 / outputs.size
    return loss, outputs


@pytest.mark.parametrize("N", [1, 6])
@pytest.mark.parametrize("readout", ["every", "last"])
@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
def test_a_callable_may_write_into_its_arguments(engine: str, activation: str, readout: str, N: int) -> None:
    X, y = data()
    X, y = X[:N], y[:N] if readout == "every" else y[:N, 0].copy()
    before = y.copy()
    options: dict[str, Any] = dict(readout=readout, output_activation=activation)
    words = dict(X=X, y=y, metrics="rmse", validation=(X, y))
    own, built_in = network(engine, **options, loss=writes_into_what_it_gets), network(engine, **options)
    assert_same_training(own, built_in, words, words)
    assert own.history is not None
    assert built_in.history is not None
    assert_close(own.history.metrics["rmse"], built_in.history.metrics["rmse"], 1e-9)
    assert_close(own.history.validation_loss, built_in.history.validation_loss, 1e-9)
    assert_same_bits(y, before)


def test_a_callable_sees_real_rows_alone(engine: str) -> None:
    X, y = data()
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def listen(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        seen.append((outputs.copy(), targets.copy()))
        return mean_square(outputs, targets)

    net = network(engine, loss=listen)
    real = np.arange(5) < LENGTHS[:, None]
    net.loss_and_gradient(np.where(real[:, :, None], X, np.nan), np.where(real[:, :, None], y, np.nan), lengths=LENGTHS)
    assert_close(seen[0][0], net.predict(X, lengths=LENGTHS)[real], EXACT)
    assert_same_bits(seen[0][1], y[real])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (3.0, "loss of Network must return a pair, the loss and its gradient. Got 3.0."),
        ((1.0, np.zeros((2, 2))), "loss of Network must return a number and a gradient of shape (30, 2). Got shapes () and"),
        ((np.zeros(3), np.zeros((30, 2))), "loss of Network must return a number and a gradient of shape (30, 2). Got"),
    ],
)  # fmt: skip
def test_a_callable_that_returns_something_else_is_refused(returned: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        network("numpy", loss=lambda outputs, targets: returned).fit(*data(), 1)
    assert message in str(caught.value)


@pytest.mark.parametrize("weights", [dict(sample_weight=np.ones(6)), dict(class_weight=[1, 2])])
def test_a_callable_takes_no_weights(weights: dict[str, Any]) -> None:
    message = f"{next(iter(weights))} of Network.fit must be None when the loss is a callable"
    with pytest.raises(ValueError, match=message):
        network("numpy", loss=mean_square).fit(*data(), 1, **weights)
