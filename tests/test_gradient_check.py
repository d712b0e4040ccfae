"""`check_gradients` passes for right gradients of every kind of network, and names the tensor whose gradient is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close

from rnn_from_scratch import GRU, LSTM, Elman, Network, check_gradients
from rnn_from_scratch.textbook.losses import loss_and_gradient


def data(N: int = 12, T: int = 5, D: int = 3, O: int = 2) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, T, D)), generator.normal(size=(N, T, O))


def network(engine: str = "auto", **options: Any) -> Network:
    return Network(3, [Elman(6)], 2, **{"random_state": 0, "engine": engine, **options})


def stir(net: Network) -> Network:
    """Random numbers far from zero in every tensor, biases and learned states too."""
    generator = np.random.default_rng(5)
    with net.edit_parameters() as p:
        for W in p.values():
            W[...] = generator.uniform(0.3, 0.8, W.shape) * generator.choice([-1, 1], W.shape)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_check_gradients_passes_for_right_gradients(engine: str, dtype: str) -> None:
    X, y = data()
    net = Network(3, [Elman(6), Elman(4, "sigmoid")], 2, random_state=0, engine=engine, dtype=dtype)
    check = check_gradients(net, X, y, lengths=np.arange(12) % 5 + 1)
    assert check.passed, str(check)
    assert [row.tensor for row in check.rows] == list(net.parameters)
    assert all(abs(row.by_gradient) > 1e-6 for row in check.rows)
    assert check.max_error <= check.tolerance == (1e-6 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize("size", [1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("layer", [Elman(12), GRU(12)], ids=lambda layer: layer.cell)
def test_check_gradients_passes_where_there_is_hardly_any_slope_left(layer: Any, size: float) -> None:
    rng = np.random.default_rng(0)
    X, net = rng.normal(size=(8, 6, 2)), stir(Network(2, [layer], 1, readout="last"))
    y = net.predict(X) + rng.normal(size=(8, 1)) * size  # as at the end of training
    loss, gradient = net.loss_and_gradient(X, y)
    assert 0 < loss < 10 * size**2
    assert all(np.abs(d_W).max() < 100 * size for d_W in gradient.values())
    assert check_gradients(net, X, y).passed


def test_check_gradients_names_the_wrong_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data()
    net = network("numpy")
    right = Network.loss_and_gradient

    def wrong(self: Network, *arguments: Any, **options: Any) -> Any:
        loss, gradient = right(self, *arguments, **options)
        gradient["layer0.b_h"] = gradient["layer0.b_h"] * 1.001
        return loss, gradient

    monkeypatch.setattr(Network, "loss_and_gradient", wrong)
    check = check_gradients(net, X, y)
    assert not check.passed
    marked = [line.split()[0] for line in str(check).splitlines() if line.endswith("WRONG")]
    assert marked == ["layer0.b_h"]
    assert check_gradients(net, X, y, tolerance=0.01).passed


def test_check_gradients_refuses_other_things() -> None:
    with pytest.raises(TypeError, match=r"must be a Network\. Got 3\."):
        check_gradients(3, *data())  # type: ignore[arg-type]


def test_loss_is_that_of_the_textbook(engine: str) -> None:
    X, y = data()
    net = network(engine)
    loss, gradient = net.loss_and_gradient(X, y)
    rows = net.predict(X).reshape(-1, 2)
    expected, d_a = loss_and_gradient("mse", "linear", rows, y.reshape(-1, 2), np.ones(len(rows)))
    assert loss == pytest.approx(expected, abs=EXACT)
    assert_close(gradient["readout.b_y"], d_a.sum(axis=0), EXACT)


LAYERS = [
    [GRU(4, learned_state=True), LSTM(3, bidirectional=True, learned_state=True)],
    [LSTM(3, input_dropout=0.5, recurrent_dropout=0.5, learned_state=True), GRU(4, reset="before", bidirectional=True)],
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", LAYERS, ids=repr)
@pytest.mark.parametrize("readout", ["every", "last", "mean"])
def test_check_gradients_of_tokens_weights_and_learned_states(
    engine: str, dtype: str, layers: Any, readout: str
) -> None:
    generator = np.random.default_rng(1)
    X, y = generator.integers(0, 6, (7, 5)), generator.integers(0, 4, (7, 5))
    net = stir(
        Network(
            3, layers, 4, readout=readout, output_activation="softmax", loss="ce", dropout=0.5, vocabulary_size=6,
            dtype=dtype, engine=engine,
        )
    )  # fmt: skip
    weights = {"sample_weight": [1, 0, 2, 3, 0.5, 1, 1], "class_weight": [1, 2, 0, 3], "l2": 0.1}
    lengths = generator.integers(1, 6, 7)
    check = check_gradients(net, X, y if readout == "every" else y[:, 0], lengths=lengths, **weights)
    assert check.passed, str(check)
    assert [row.tensor for row in check.rows] == list(net.parameters)
    assert {"embedding.W_e", "layer0.h_0", "layer1.reverse.W_h"} <= set(net.parameters)
    assert all(abs(row.by_gradient) > 1e-9 for row in check.rows)


@pytest.mark.parametrize("loss", ["mae", "huber", "mse", "own"])
def test_check_gradients_of_every_loss(engine: str, loss: Any) -> None:
    X, y = data()
    if loss == "own":

        def loss(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
            return np.logaddexp(outputs, targets).mean(), 1 / (1 + np.exp(targets - outputs)) / outputs.size

    net = stir(network(engine, loss=loss, output_activation="sigmoid", huber_delta=0.3))
    check = check_gradients(net, X, y, lengths=np.arange(12) % 5 + 1, l2=0.01)
    assert check.passed, str(check)


def test_check_gradients_checks_its_own_arguments_first() -> None:
    net = Network(3, [Elman(6)], 2)
    with pytest.raises(ValueError, match=r"tolerance of check_gradients must be a finite number > 0\. Got 0\."):
        check_gradients(net, *data(), tolerance=0)
    with pytest.raises(ValueError, match=r"random_state of check_gradients must be None, an int >= 0"):
        check_gradients(net, *data(), random_state=-1)
    assert net.dtype is None
