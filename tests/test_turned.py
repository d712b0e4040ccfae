"""Parameters in the layout of training: the same numbers, and back they come whatever happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import assert_same_bits

from rnn_from_scratch import GRU, LSTM, Elman, Network
from rnn_from_scratch.engines.numpy_engine import NumpyEngine
from rnn_from_scratch.engines.turned import TurnedParameters
from rnn_from_scratch.optimizers import Adam
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.specification import NetworkSpecification

STACKS: dict[str, list[Any]] = {
    "elman": [Elman(5, learned_state=True)],
    "both ways": [Elman(4, bidirectional=True), GRU(3)],
    "on top": [LSTM(3), Elman(1), Elman(6)],
    "not turned": [GRU(4), LSTM(2)],
}


def filled(name: str, vocabulary_size: int | None = None) -> tuple[Parameters, TurnedParameters]:
    """Parameters that are all different, and as many zeros in the other layout."""
    specification = NetworkSpecification(3, STACKS[name], 2, vocabulary_size=vocabulary_size)
    original = Parameters(specification, np.dtype(np.float64))
    original.vector[:] = np.arange(1.0, original.vector.size + 1)
    return original, TurnedParameters(specification, np.dtype(np.float64))


@pytest.mark.parametrize("vocabulary_size", [None, 7])
@pytest.mark.parametrize("name", STACKS)
def test_the_numbers_are_those_of_the_original(name: str, vocabulary_size: int | None) -> None:
    original, turned = filled(name, vocabulary_size)
    before = original.vector.copy()
    state = Adam().init(before.size, before.dtype)
    state["m"][:], state["v"][:], state["updates"][0] = -before, 2 * before, 9
    with turned.in_place_of(original, state) as own:
        assert sorted(turned.vector) == sorted(before)  # every number once
        for tensor, values in original.views.items():
            assert_same_bits(turned.views[tensor], values, tensor)
            assert_same_bits(turned.named(own["m"])[tensor], -values, tensor)
            assert_same_bits(turned.named(own["v"])[tensor], 2 * values, tensor)
            where = turned.slices[tensor]
            assert sorted(turned.vector[where]) == sorted(values.ravel())  # each tensor is one stretch
        assert own["updates"][0] == 9
        turned.vector *= 3
        own["m"] += 1
        own["updates"] += 1
        assert_same_bits(original.vector, before)
    assert_same_bits(original.vector, 3 * before)
    assert_same_bits(state["m"], 1 - before)
    assert_same_bits(state["v"], 2 * before)
    assert state["updates"][0] == 10


def test_an_elman_layer_is_one_matrix() -> None:
    original, turned = filled("both ways")
    with turned.in_place_of(original, {}):
        for place in ("layer0", "layer0.reverse"):
            p = {symbol: original.views[f"{place}.{symbol}"] for symbol in ("W_h", "W_x", "b_h")}
            expected = np.concatenate([p["W_h"].T, p["W_x"].T, p["b_h"][None]])
            assert_same_bits(turned.side_by_side(place, turned.vector), expected)
            assert np.shares_memory(turned.side_by_side(place, turned.vector), turned.vector)


def test_an_error_hands_back_what_has_been_done() -> None:
    original, turned = filled("elman")
    before, version = original.vector.copy(), original.version
    state = {"u": before.copy()}

    def interrupted() -> None:
        with turned.in_place_of(original, state) as own:
            turned.vector += 1
            own["u"] -= 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_same_bits(original.vector, before + 1)
    assert_same_bits(state["u"], before - 1)
    assert original.version > version


def test_networks_without_elman_layers_train_where_they_are() -> None:
    engine = NumpyEngine()
    for name, turns in (("elman", True), ("not turned", False)):
        original, _ = filled(name)
        plan = engine.plan(NetworkSpecification(3, STACKS[name], 2), original)
        assert (plan.training.parameters is original) == (not turns)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_epoch_by_itself_is_all_of_them_at_once(optimizer: str) -> None:
    """Numbers that go over and come back between epochs are those that stay."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 4, 2))
    networks = [Network(3, STACKS["on top"], 2, random_state=1, engine="numpy") for _ in range(2)]
    for network, callbacks in zip(networks, ((), (lambda epoch, history: None,)), strict=True):
        network.fit(X, y, 5, batch_size=2, optimizer=optimizer, callbacks=callbacks)
    for tensor, values in networks[0].parameters.items():
        assert_same_bits(networks[1].parameters[tensor], values, tensor)


def test_a_callback_sees_the_parameters_of_its_epoch() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 4, 2))
    network = Network(3, STACKS["elman"], 2, random_state=1, engine="numpy")
    seen: list[np.ndarray] = []
    network.fit(X, y, 3, shuffle=False, callbacks=lambda e, h: seen.append(network.parameters["layer0.W_h"].copy()))
    for epochs, values in enumerate(seen, start=1):
        other = Network(3, STACKS["elman"], 2, random_state=1, engine="numpy")
        other.fit(X, y, epochs, shuffle=False)
        assert_same_bits(values, other.parameters["layer0.W_h"])
