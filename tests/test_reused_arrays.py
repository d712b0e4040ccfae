"""Runs of the NumPy engine that use arrays again give what runs with new arrays give, and take nothing back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import assert_same_bits, interrupted_at

from rnn_from_scratch import GRU, LSTM, Elman, Network
from rnn_from_scratch.engines.numpy_engine import NumpyTrainingPlan
from rnn_from_scratch.textbook import products
from rnn_from_scratch.textbook.products import Room


class NewArrays(Room):
    """New arrays all the time, and the weights as training has them."""

    def weights(self, name: str, make: Callable[[], Any]) -> Any:
        return make()


STACKS: dict[str, list[Any]] = {
    "elman": [Elman(5)],
    "gru": [GRU(4), GRU(3, reset="before")],
    "lstm": [LSTM(4)],
    "both ways": [LSTM(3, bidirectional=True), Elman(4, bidirectional=True)],
    "masked": [GRU(4, recurrent_dropout=0.4), Elman(3, recurrent_dropout=0.3), LSTM(3, recurrent_dropout=0.2)],
}


def a_network(layers: list[Any], **words: Any) -> Network:
    network = Network(2, layers, 2, dtype="float64", random_state=3, engine="numpy", **words)
    rng = np.random.default_rng(1)
    with network.edit_parameters() as p:
        for values in p.values():
            values[...] = rng.normal(size=values.shape) * 0.5
    return network


def inputs(rng: np.random.Generator) -> Any:
    """Arrays and lists of many shapes, the same ones coming again."""
    N, T = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    if rng.random() < 0.4:
        return [rng.normal(size=(int(rng.integers(1, T + 1)), 2)) for _ in range(N)]
    return rng.normal(size=(N, T, 2))


@pytest.mark.parametrize("name", STACKS)
def test_predictions_do_not_depend_on_those_before(name: str) -> None:
    network, rng = a_network(STACKS[name]), np.random.default_rng(0)
    kept = []
    for n in range(60):
        if n % 20 == 10:
            with network.edit_parameters() as p:
                p["layer0.W_h"][0, 0] += 0.25
        X = inputs(rng)
        alone = a_network(STACKS[name])
        with alone.edit_parameters() as p:
            p["layer0.W_h"][...] = network.parameters["layer0.W_h"]
        outputs, states = network.predict(X, return_states=True)
        expected, expected_states = alone.predict(X, return_states=True)
        assert_same_bits(outputs, expected)
        for state, values in expected_states.items():
            assert_same_bits(states[state], values, state)
        kept.append((outputs, outputs.copy(), states, {state: values.copy() for state, values in states.items()}))
    for outputs, copy, states, copies in kept:  # nobody has written to what was given away
        assert_same_bits(outputs, copy)
        for state, values in copies.items():
            assert_same_bits(states[state], values, state)


@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_a_prediction_after_an_interruption_sees_the_parameters(name: str) -> None:
    """Whatever line it fell on, in the first prediction after an edit."""
    network, X = a_network(STACKS[name]), np.random.default_rng(8).normal(size=(2, 3, 2))
    line, was = 0, True
    while was:
        line += 1
        network.predict(X)
        with network.edit_parameters() as p:
            p["layer0.W_h"][0, 0] += 0.25
        was = interrupted_at(line, [products], lambda: network.predict(X))
        alone = a_network(STACKS[name])
        with alone.edit_parameters() as p:
            p["layer0.W_h"][...] = network.parameters["layer0.W_h"]
        assert_same_bits(network.predict(X), alone.predict(X), f"after line {line}")
    assert line > 10


@pytest.mark.parametrize("name", STACKS)
def test_a_run_by_hand_keeps_its_tape(name: str) -> None:
    network, rng = a_network(STACKS[name]), np.random.default_rng(2)
    X = rng.normal(size=(2, 4, 2))
    first = network.forward(X, dropout_key=5)
    expected = network.backward(first, d_outputs=np.ones_like(first.outputs))
    again = network.forward(X, dropout_key=5)
    for other in (rng.normal(size=(2, 4, 2)), rng.normal(size=(3, 2, 2))):
        run = network.forward(other)
        network.backward(run, d_outputs=np.ones_like(run.outputs))
        network.predict(other)
    network.loss_and_gradient(rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 2)))
    found = network.backward(again, d_outputs=np.ones_like(again.outputs))
    for tensor, values in expected.gradient.items():
        assert_same_bits(found.gradient[tensor], values, tensor)
    assert_same_bits(found.d_inputs, expected.d_inputs)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("readout", ["every", "last", "mean"])
def test_training_is_that_with_new_arrays(name: str, readout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    X = [rng.normal(size=(length, 2)) for length in (4, 4, 2, 4, 4, 4, 1, 3, 4, 4)]
    y = [rng.normal(size=(len(x), 2)) for x in X] if readout == "every" else rng.normal(size=(len(X), 2))
    found = a_network(STACKS[name], readout=readout, dropout=0.2)
    found.fit(X, y, 4, batch_size=2, learning_rate=0.01)
    monkeypatch.setattr(NumpyTrainingPlan, "room", lambda plan, direction: NewArrays())
    expected = a_network(STACKS[name], readout=readout, dropout=0.2)
    expected.fit(X, y, 4, batch_size=2, learning_rate=0.01)
    for tensor, values in expected.parameters.items():
        assert_same_bits(found.parameters[tensor], values, tensor)


def test_threads_predict_with_one_network() -> None:
    network, rng = a_network(STACKS["both ways"]), np.random.default_rng(6)
    jobs = [rng.normal(size=(1 + n % 3, 3 + n % 4, 2)) for n in range(8)]
    expected = [network.predict(X) for X in jobs]
    wrong: list[int] = []

    def work(n: int) -> None:
        for _ in range(60):
            if not np.array_equal(network.predict(jobs[n]), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
