"""What the contract in engines/base.py promises of `backward` and of losses: gradients are slopes, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from properties import given, settings
from support import (
    OUTPUTS,
    STEPS,
    Case,
    Running,
    assert_close,
    assert_same_bits,
    cases,
    make,
    random_case,
    tolerance,
)

from rnn_from_scratch.engines.base import batch_loss, loss_of
from rnn_from_scratch.layers import ACTIVATIONS, GRU, LSTM, Elman
from rnn_from_scratch.textbook.readout import d_preactivations

STEP = 1e-6


def check_slopes(
    running: Running, value: Callable[[], float], moved: dict[str, np.ndarray], gradients: dict[str, np.ndarray]
) -> None:
    """Along a random direction in each array that can be moved, `value` has the slope that the gradient says."""
    assert moved.keys() == gradients.keys()
    generator = np.random.default_rng(2)
    for name, array in moved.items():
        V, before, ends = generator.normal(size=array.shape), array.copy(), []
        for sign in (1, -1):
            array[...] = before + sign * STEP * V
            running.parameters.version += 1
            ends.append(value())
        array[...] = before
        assert gradients[name].shape == array.shape, name
        expected = (ends[0] - ends[1]) / (2 * STEP)
        scale = max(1.0, float(np.abs(gradients[name]).max()) * np.sqrt(V.size))
        assert abs(float((gradients[name] * V).sum()) - expected) <= 1e-6 * scale, name
    running.parameters.version += 1


def check_backward(case: Case, engine: str) -> None:
    """Every parameter, the inputs and every initial state."""
    running = case.on(engine)
    batch, state, dropout = running.batch(), running.state(), running.dropout()
    d_a, d_T = running.random_gradients()
    result = running.engine.backward(running.plan, running.forward(batch, state, dropout=dropout).tape, d_a, d_T)

    def value() -> float:
        run = running.forward(batch, state, keep_tape=False, dropout=dropout)
        return float((run.preactivations * d_a).sum() + sum((run.final_state[name] * d_T[name]).sum() for name in d_T))

    moved = dict(running.parameters.named(running.parameters.vector))
    gradients = dict(running.parameters.named(result.gradient))
    for name in case.state:  # a learned state only matters where it is used: see test_learned_states_learn
        moved.pop(f"{name}_0", None)
        learned = gradients.pop(f"{name}_0", np.zeros(1))
        assert not learned.any()
        moved[f"state {name}"], gradients[f"state {name}"] = state[name], result.d_state[name]
    if not case.takes_tokens:
        moved["x"], gradients["x"] = batch.array, result.d_inputs.reshape(batch.array.shape)
    check_slopes(running, value, moved, gradients)
    if case.takes_tokens:
        real = case.real()
        expected = np.zeros_like(gradients["embedding.W_e"])
        np.add.at(expected, case.x[real][:, 0], result.d_inputs[real])
        assert_close(gradients["embedding.W_e"], expected, 1e-10, "embedding")


def check_loss(case: Case, engine: str) -> None:
    """The loss of a mini-batch, learned states included: the slope by every parameter."""
    running = case.on(engine)
    batch, targets = running.batch(), running.random_targets(np.random.default_rng(3))

    def value() -> float:
        return batch_loss(running.engine, running.plan, batch, targets, running.dropout())[0]

    gradient = batch_loss(running.engine, running.plan, batch, targets, running.dropout())[1]
    named = running.parameters.named
    check_slopes(running, value, named(running.parameters.vector), named(gradient))


@pytest.mark.parametrize("T", STEPS)
def test_gradient_is_the_slope(engine: str, architecture: str, readout: str, T: int) -> None:
    check_backward(make(architecture, readout, N=5, T=T), engine)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_every_activation_is_the_slope(engine: str, readout: str, activation: str) -> None:
    layers = [Elman(5, activation, bidirectional=True)]
    check_backward(random_case(np.random.default_rng(0), layers, readout=readout), engine)


def test_gradient_of_tokens_is_the_slope(engine: str, architecture: str, readout: str) -> None:
    check_backward(make(architecture, readout, vocabulary_size=5), engine)


@pytest.mark.parametrize("drops", ["between", "input", "recurrent", "all"])
@pytest.mark.parametrize("both_ways", [False, True])
def test_gradient_under_dropout_is_the_slope(engine: str, drops: str, both_ways: bool) -> None:
    how = {
        "bidirectional": both_ways,
        "input_dropout": 0.3 if drops in ("input", "all") else 0.0,
        "recurrent_dropout": 0.4 if drops in ("recurrent", "all") else 0.0,
    }
    layers = [GRU(6, **how), LSTM(5, **how), GRU(4, "before", **how), Elman(7, **how)]
    case = random_case(np.random.default_rng(6), layers, dropout=0.2 if drops in ("between", "all") else 0.0)
    assert case.specification.drops
    check_backward(case, engine)


# relu has a kink, and somewhere in a large network something always stands on it
@given(case=cases(activations=("tanh", "sigmoid", "linear")))
@settings(max_examples=40)
def test_gradient_of_any_architecture_is_the_slope(engine: str, case: Case) -> None:
    check_backward(case, engine)


@given(case=cases(activations=("tanh", "sigmoid", "linear")))
def test_loss_of_any_architecture_has_its_gradient(engine: str, case: Case) -> None:
    check_loss(case, engine)


@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
@pytest.mark.parametrize("ragged", [False, True])
def test_gradient_of_every_loss_is_the_slope(engine: str, readout: str, output: tuple[str, str], ragged: bool) -> None:
    layers = [Elman(4, bidirectional=True), GRU(3)]
    check_loss(
        random_case(np.random.default_rng(0), layers, readout=readout, output=output, O=3, ragged=ragged), engine
    )


def test_learned_states_learn(engine: str, dtype: str, readout: str) -> None:
    """Every learned state has the sum of the gradients of all sequences, and none where a state is not learned."""
    layers = [LSTM(4, learned_state=True, bidirectional=True), GRU(3), Elman(5, learned_state=True)]
    case = random_case(np.random.default_rng(0), layers, readout=readout)
    check_loss(case, engine)
    running = case.on(engine, dtype)
    learned = [name for name in running.parameters.views if name.endswith("_0")]
    assert [name.removeprefix("layer") for name in learned] == [
        "0.h_0",
        "0.c_0",
        "0.reverse.h_0",
        "0.reverse.c_0",
        "2.h_0",
    ]
    targets = running.random_targets(np.random.default_rng(3))
    _, gradient = batch_loss(running.engine, running.plan, running.batch(), targets)
    start = {
        name: np.tile(running.parameters.views.get(f"{name}_0", np.zeros(h.shape[1])), (case.N, 1))
        for name, h in case.state.items()
    }
    run = running.forward(state=running.state(start))
    d_a = loss_of(case.specification, run.preactivations, targets)[1]
    nothing = {name: np.zeros_like(h) for name, h in run.final_state.items()}
    d_state = running.engine.backward(running.plan, run.tape, d_a, nothing).d_state
    for name in learned:
        found = running.parameters.named(gradient)[name]
        assert np.abs(found).max() > 1e-5
        assert_close(found, d_state[name.removesuffix("_0")].sum(axis=0), tolerance(dtype), name)


def test_no_gradient_flows_into_the_padding(engine: str, dtype: str, architecture: str, readout: str) -> None:
    case = make(architecture, readout)
    running = case.on(engine, dtype)
    result = running.engine.backward(running.plan, running.forward().tape, *running.random_gradients())
    assert not result.d_inputs[~case.real()].any()
    assert (np.abs(result.d_inputs[case.real()]).max(axis=-1) > 0).all()


def test_one_tape_serves_many_backwards(engine: str, dtype: str, architecture: str, readout: str) -> None:
    running = make(architecture, readout).on(engine, dtype)
    case, tape = running.case, running.forward().tape
    running.forward(running.batch(case.x[:1], case.lengths[:1]), {k: h[:1] for k, h in running.state().items()})
    d_a, d_T = running.random_gradients()
    first = running.engine.backward(running.plan, tape, d_a, d_T)
    twice = running.engine.backward(running.plan, tape, 2 * d_a, {name: 2 * d for name, d in d_T.items()})
    again = running.engine.backward(running.plan, tape, d_a, d_T)
    assert_close(twice.gradient, 2 * first.gradient, tolerance(dtype))
    assert_close(twice.d_inputs, 2 * first.d_inputs, tolerance(dtype))
    assert_same_bits(again.gradient, first.gradient)
    assert_same_bits(again.d_inputs, first.d_inputs)
    for name, d in first.d_state.items():
        assert_close(twice.d_state[name], 2 * d, tolerance(dtype), name)
        assert_same_bits(again.d_state[name], d, name)


def test_backward_is_linear_in_both_gradients(engine: str, dtype: str, architecture: str, readout: str) -> None:
    """What comes from the outputs and what comes from the final state add up; nothing comes from nothing."""
    running = make(architecture, readout).on(engine, dtype)
    tape = running.forward().tape
    d_a, d_T = running.random_gradients()
    nothing = {name: np.zeros_like(d) for name, d in d_T.items()}
    both, outputs, states, none = (
        running.engine.backward(running.plan, tape, *given_)
        for given_ in ((d_a, d_T), (d_a, nothing), (np.zeros_like(d_a), d_T), (np.zeros_like(d_a), nothing))
    )
    assert_close(outputs.gradient + states.gradient, both.gradient, tolerance(dtype))
    assert_close(outputs.d_inputs + states.d_inputs, both.d_inputs, tolerance(dtype))
    assert not none.gradient.any()
    assert not none.d_inputs.any()
    assert np.abs(states.d_inputs).max() > 1e-3
    for name in d_T:
        assert_close(outputs.d_state[name] + states.d_state[name], both.d_state[name], tolerance(dtype), name)


def test_backward_changes_nothing_that_it_is_given(engine: str, dtype: str, architecture: str, readout: str) -> None:
    running = make(architecture, readout).on(engine, dtype)
    batch, state = running.batch(), running.state()
    run = running.forward(batch, state)
    d_a, d_T = running.random_gradients()
    arrays = [running.parameters.vector, batch.array, run.outputs, d_a, *state.values(), *d_T.values()]
    arrays += list(run.final_state.values())
    before = [array.copy() for array in arrays]
    result = running.engine.backward(running.plan, run.tape, d_a, d_T)
    for array, copy in zip(arrays, before, strict=True):
        assert_same_bits(array, copy)
    for name, d in result.d_state.items():
        assert not any(np.shares_memory(d, array) for array in arrays), name


@pytest.mark.parametrize("output", ["linear", "sigmoid", "softmax"])
def test_gradients_may_start_from_the_outputs(engine: str, readout: str, output: str) -> None:
    case = random_case(np.random.default_rng(0), [GRU(5)], readout=readout, O=3, output=(output, "mse"))
    running = case.on(engine)
    batch, state = running.batch(), running.state()
    d_y, d_T = running.random_gradients()
    run = running.forward(batch, state)
    d_a = d_preactivations(output, run.outputs, d_y)
    result = running.engine.backward(running.plan, run.tape, d_a, {name: 0 * d for name, d in d_T.items()})
    named = running.parameters.named
    check_slopes(
        running,
        lambda: float((running.forward(batch, state).outputs * d_y).sum()),
        named(running.parameters.vector),
        named(result.gradient),
    )


@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
def test_rows_without_weight_do_not_count(engine: str, dtype: str, readout: str, output: tuple[str, str]) -> None:
    """A sequence of weight zero changes neither the loss nor the gradient; doubling all weights changes nothing."""
    case = random_case(np.random.default_rng(0), [LSTM(4)], readout=readout, output=output, O=3, N=5)
    running = case.on(engine, dtype)
    generator = np.random.default_rng(1)
    rows = (5, case.T if case.every else 1)
    y, weights = generator.uniform(0.05, 0.95, (*rows, 3)), generator.uniform(0.5, 2, rows)
    weights[1] = 0
    without = np.array([0, 2, 3, 4])
    loss, gradient = batch_loss(running.engine, running.plan, running.batch(), running.targets(y, weights))
    few = running.targets(y, weights).select(without)
    kept_loss, kept_gradient = batch_loss(running.engine, running.plan, running.batch().select(without), few)
    assert_close(loss, kept_loss, tolerance(dtype))
    assert_close(gradient, kept_gradient, tolerance(dtype))
    doubled = batch_loss(running.engine, running.plan, running.batch(), running.targets(y, 2 * weights))
    assert_close(doubled[0], loss, tolerance(dtype))
    assert_close(doubled[1], gradient, tolerance(dtype))
