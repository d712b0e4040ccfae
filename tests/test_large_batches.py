"""What an engine does in parts, because it is large, comes out as it does in one piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnn_from_scratch import GRU, LSTM, Elman, Network
from rnn_from_scratch.engines import numpy_engine
from rnn_from_scratch.textbook import products

NETWORKS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "elman": ([Elman(5, activation="relu")], {"readout": "every"}),
    "gru": ([GRU(4), GRU(3, reset="before")], {"readout": "last"}),
    "lstm": ([LSTM(4, learned_state=True)], {"readout": "mean"}),
    "both ways": ([LSTM(3, bidirectional=True), Elman(4, bidirectional=True)], {"readout": "every"}),
    "masked": (
        [GRU(4, recurrent_dropout=0.4), LSTM(3, input_dropout=0.3)],
        {"readout": "last", "dropout": 0.2},
    ),
    "tokens": ([LSTM(4)], {"readout": "every", "vocabulary_size": 7}),
}
O = 2  # noqa: E741  # the alphabet's letter


def make(name: str) -> Network:
    layers, words = NETWORKS[name]
    network = Network(3, layers, O, dtype="float64", random_state=3, engine="numpy", **words)
    rng = np.random.default_rng(1)
    with network.edit_parameters() as p:
        for values in p.values():
            values[...] = rng.normal(size=values.shape) * 0.5
    return network


def data(name: str) -> tuple[Any, Any]:
    """Eleven sequences of two to nine steps, not sorted."""
    rng = np.random.default_rng(2)
    lengths = rng.permutation([2, 9, 9, 5, 3, 4, 8, 9, 6, 7, 2])
    tokens = "vocabulary_size" in NETWORKS[name][1]
    X = [rng.integers(7, size=T) if tokens else rng.normal(size=(T, 3)) for T in lengths]
    every = NETWORKS[name][1]["readout"] == "every"
    return X, [rng.normal(size=(T, O)) for T in lengths] if every else rng.normal(size=(11, O))


@pytest.fixture(params=["groups of rows", "stretches of time", "both"])
def in_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes everything from here on large."""

    def begin() -> None:
        if request.param != "stretches of time":
            monkeypatch.setattr(numpy_engine, "MOST_STATES", 1)
            monkeypatch.setattr(numpy_engine, "LEAST_ROWS", 2)
        if request.param != "groups of rows":
            monkeypatch.setattr(products, "MOST_NUMBERS", 70)
            monkeypatch.setattr(products, "MOST_WORK", 90)

    return begin


def assert_close(a: Any, b: Any, what: str) -> None:
    assert np.abs(a - b).max() <= 1e-13 * max(1.0, np.abs(b).max()), what


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_and_its_gradients(name: str, in_parts: Callable[[], None]) -> None:
    network, (X, _) = make(name), data(name)
    rng = np.random.default_rng(5)
    state = {n: rng.normal(size=(11, H)) for n, H in network.specification.state_shapes.items()}
    d_state = {n: rng.normal(size=values.shape) for n, values in state.items()}
    key = 7 if name == "masked" else None

    def run() -> dict[str, Any]:
        found = network.forward(X, state=state, dropout_key=key)
        gradients = network.backward(
            found, np.cos(np.arange(found.outputs.size)).reshape(found.outputs.shape), d_state=d_state
        )
        outputs, states = network.predict(X, state=state, return_states=True)
        named = {"outputs": found.outputs, "preactivations": found.preactivations, "predicted": outputs}
        named |= {f"final {n}": values for n, values in found.final_state.items()}
        named |= {f"predicted {n}": values for n, values in states.items()}
        named |= {f"d {n}": values for n, values in (gradients.gradient | gradients.d_state).items()}
        return named | {"d inputs": gradients.d_inputs}

    whole = run()
    in_parts()
    for what, values in run().items():
        assert_close(values, whole[what], what)


@pytest.mark.parametrize("name", NETWORKS)
def test_training(name: str, in_parts: Callable[[], None]) -> None:
    X, y = data(name)
    alike = [make(name), make(name)]
    whole = alike[0].fit(X, y, 4, batch_size=9, learning_rate=0.01)
    in_parts()
    history = alike[1].fit(X, y, 4, batch_size=9, learning_rate=0.01)
    assert_close(np.array(history.loss), np.array(whole.loss), "losses")
    for what, values in alike[1].parameters.items():
        assert_close(values, alike[0].parameters[what], what)


def test_groups_of_rows_are_of_nearly_one_size() -> None:
    assert numpy_engine._groups(130, 1 << 20) == [slice(0, 65), slice(65, 130)]
    assert numpy_engine._groups(127, 1 << 20) == [slice(0, 127)]
    sizes = [group.stop - group.start for group in numpy_engine._groups(1000, 1 << 12)]
    assert sizes == [333, 333, 334]
