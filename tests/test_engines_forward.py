"""What the contract in engines/base.py promises of `forward` and `step`, in numbers, for every engine."""

from __future__ import annotations

import numpy as np
import pytest
from equations import by_hand
from properties import given, settings, st
from support import (
    DTYPES,
    EXACT,
    OUTPUTS,
    STEPS,
    Case,
    Running,
    assert_all_close,
    assert_close,
    assert_same_bits,
    cases,
    make,
    random_case,
    tolerance,
)

from rnn_from_scratch.engines.base import first_state, zero_state
from rnn_from_scratch.layers import ACTIVATIONS, GRU, LSTM, Elman
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.textbook.readout import OUTPUT_ACTIVATIONS


def check_equations(case: Case, engine: str, dtype: str) -> None:
    """Pre-activations and final states are those of the equations, number by number."""
    running = case.on(engine, dtype)
    a, final = by_hand(case, running.dropout())
    run = running.forward(dropout=running.dropout())
    assert_close(run.preactivations, a, tolerance(dtype), "preactivations")
    assert_all_close(run.final_state, final, tolerance(dtype), "final")
    assert run.outputs.dtype == run.preactivations.dtype == running.dtype


@pytest.mark.parametrize("T", STEPS)
def test_forward_is_the_equation(engine: str, dtype: str, architecture: str, readout: str, T: int) -> None:
    check_equations(make(architecture, readout, T=T, N=3), engine, dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("ragged", [False, True])
def test_every_activation_is_its_function(engine: str, dtype: str, activation: str, ragged: bool) -> None:
    layers = [Elman(4, activation, bidirectional=True)]
    check_equations(random_case(np.random.default_rng(1), layers, ragged=ragged), engine, dtype)


def test_tokens_are_rows_of_the_embedding(engine: str, dtype: str, architecture: str, readout: str) -> None:
    check_equations(make(architecture, readout, vocabulary_size=7), engine, dtype)


@given(case=cases())
@settings(max_examples=60)
def test_any_architecture_is_its_equations(engine: str, case: Case) -> None:
    check_equations(case, engine, "float64")


@pytest.mark.parametrize("output", sorted({output for output, _ in OUTPUTS}))
def test_outputs_are_the_activated_preactivations(
    engine: str, dtype: str, architecture: str, readout: str, output: str
) -> None:
    case = make(architecture, readout, O=3, output=(output, "mse"))
    run = case.on(engine, dtype).forward()
    expected = OUTPUT_ACTIVATIONS[output](run.preactivations.astype(np.float64))
    if case.every:
        expected[~case.real()] = 0
    assert_close(run.outputs, expected, tolerance(dtype))


def test_past_the_end_outputs_are_zero(engine: str, dtype: str, architecture: str) -> None:
    case = make(architecture, output=("sigmoid", "mse"))
    assert not case.real().all()
    run = case.on(engine, dtype).forward()
    assert not run.outputs[~case.real()].any()
    assert not run.preactivations[~case.real()].any()
    assert (run.outputs[case.real()] > 0).all()


@pytest.mark.parametrize("T", STEPS)
def test_zero_state_is_no_state(engine: str, dtype: str, architecture: str, readout: str, T: int) -> None:
    """From zeros, the first step of every direction sees nothing of W_h."""
    case = make(architecture, readout, T=T)
    running = case.on(engine, dtype)
    zeros = zero_state(case.specification, case.N, running.dtype)
    first = running.batch(case.x[:, :1], np.ones(case.N, np.int64))
    from_zero = running.forward(first, zeros).outputs
    with running.parameters.edit() as p:
        for direction in case.specification.directions:
            p[f"{direction.name}.W_h"][:] = 0
    assert_close(running.forward(first, zeros).outputs, from_zero, tolerance(dtype))
    # And the state that the engine's users begin with is this one, or the learned one
    for name, values in first_state(running.plan, case.N).items():
        learned = running.parameters.views.get(f"{name}_0", np.zeros(values.shape[1]))
        assert np.array_equal(values, np.tile(learned, (case.N, 1)))


@pytest.mark.parametrize("T", STEPS)
@pytest.mark.parametrize("vocabulary_size", [None, 5])
def test_step_by_step_is_the_sequence(
    engine: str, dtype: str, one_way: str, T: int, vocabulary_size: int | None
) -> None:
    case = make(one_way, T=T, ragged=False, vocabulary_size=vocabulary_size, output=("softmax", "ce"))
    running = case.on(engine, dtype)
    whole, state = running.forward(), running.state()
    steps = running.batch().array.reshape(case.x.shape)
    for t in range(T):
        y, state = running.engine.step(running.plan, steps[:, t], state)
        assert_close(y, whole.outputs[:, t], tolerance(dtype), f"step {t}")
    assert_all_close(state, whole.final_state, tolerance(dtype))


@pytest.mark.parametrize("split", [1, 3, 6])
def test_split_sequence_with_carried_state_is_the_whole(engine: str, dtype: str, one_way: str, split: int) -> None:
    case = make(one_way, T=7, ragged=False)
    running = case.on(engine, dtype)
    whole = running.forward()
    first = running.forward(running.batch(case.x[:, :split], np.full(case.N, split)))
    second = running.forward(running.batch(case.x[:, split:], np.full(case.N, 7 - split)), first.final_state)
    assert_close(np.concatenate([first.outputs, second.outputs], axis=1), whole.outputs, tolerance(dtype))
    assert_all_close(second.final_state, whole.final_state, tolerance(dtype))


def test_last_readout_is_that_of_the_final_states(engine: str, dtype: str, architecture: str) -> None:
    """Of the last real step; with two directions, of the last state of each."""
    case = make(architecture, "last", N=6, T=7)
    running = case.on(engine, dtype)
    run = running.forward()
    top = [d for d in case.specification.directions if d.level == len(case.specification.layers) - 1]
    seen = np.concatenate([run.final_state[f"{d.name}.h"] for d in top], axis=1)
    p = running.parameters.views
    assert_close(run.preactivations, seen @ p["readout.W_y"].T + p["readout.b_y"], tolerance(dtype))
    if len(top) == 1:
        every = case.with_(readout="every").on(engine, dtype).forward()
        assert_close(run.outputs, every.outputs[np.arange(case.N), case.lengths - 1], tolerance(dtype))


@pytest.mark.parametrize("T", STEPS)
def test_mean_readout_is_the_mean_of_every(engine: str, dtype: str, architecture: str, T: int) -> None:
    case = make(architecture, "mean", N=6, T=T)
    every = case.with_(readout="every").on(engine, dtype).forward().preactivations
    expected = every.sum(axis=1) / case.lengths[:, None]  # zero past the end
    assert_close(case.on(engine, dtype).forward().preactivations, expected, tolerance(dtype))


def test_row_of_a_batch_is_that_row_alone(engine: str, dtype: str, architecture: str, readout: str) -> None:
    case = make(architecture, readout, N=7)
    running = case.on(engine, dtype)
    together = running.forward()
    for n in range(case.N):
        length = case.lengths[n]
        state = {name: h[n : n + 1] for name, h in running.state().items()}
        alone = running.forward(running.batch(case.x[n : n + 1, :length], case.lengths[n : n + 1]), state)
        expected = together.outputs[n, :length] if case.every else together.outputs[n]
        assert_close(alone.outputs[0], expected, tolerance(dtype), f"row {n}")
        for name, h in alone.final_state.items():
            assert_close(h[0], together.final_state[name][n], tolerance(dtype), name)


def test_order_of_rows_does_not_matter(engine: str, dtype: str, architecture: str, readout: str) -> None:
    case = make(architecture, readout, N=7)
    running = case.on(engine, dtype)
    order = np.random.default_rng(5).permutation(case.N)
    mixed = running.forward(
        running.batch(case.x[order], case.lengths[order]), {name: h[order] for name, h in running.state().items()}
    )
    straight = running.forward()
    assert_close(mixed.outputs, straight.outputs[order], tolerance(dtype))
    assert_all_close(
        mixed.final_state, {name: h[order] for name, h in straight.final_state.items()}, tolerance(dtype)
    )  # fmt: skip


def test_windows_of_one_series_need_no_copy(engine: str, dtype: str, architecture: str) -> None:
    case = make(architecture, N=1, T=9, ragged=False)
    running = case.on(engine, dtype)
    series = running.batch().array
    windows = Batch(series, np.array([0, 1, 4]), np.array([5, 5, 3]), 5)
    run = running.forward(windows, zero_state(case.specification, 3, running.dtype))
    for n, (start, length) in enumerate([(0, 5), (1, 5), (4, 3)]):
        copy = running.batch(series[None, start : start + length], np.array([length]))
        alone = running.forward(copy, zero_state(case.specification, 1, running.dtype))
        assert_close(run.outputs[n, :length], alone.outputs[0], tolerance(dtype), f"window {n}")


def test_predicting_changes_nothing(engine: str, dtype: str, architecture: str, readout: str) -> None:
    running = make(architecture, readout).on(engine, dtype)
    state, batch = running.state(), running.batch()
    before = [running.parameters.vector.copy(), batch.array.copy(), *(h.copy() for h in state.values())]
    first = running.forward(batch, state)
    second = running.forward(batch, state, keep_tape=False)
    assert second.tape is None
    assert_same_bits(first.outputs, second.outputs)
    for a, b in zip([running.parameters.vector, batch.array, *state.values()], before, strict=True):
        assert_same_bits(a, b)
    for name, h in first.final_state.items():
        assert_same_bits(h, second.final_state[name], name)
        assert not any(np.shares_memory(h, given_) for given_ in state.values())


def test_edited_parameters_are_seen(engine: str, dtype: str, architecture: str, readout: str) -> None:
    case = make(architecture, readout)
    running = case.on(engine, dtype)
    running.forward()
    generator = np.random.default_rng(8)
    vector = np.array(case.vector * generator.uniform(0.5, 1, case.vector.shape), running.dtype)
    with running.parameters.edit():
        running.parameters.vector[:] = vector
    fresh = Running(case, running.engine, running.dtype)
    fresh.parameters.vector[:] = vector
    fresh.plan = fresh.engine.plan(case.specification, fresh.parameters)
    assert_same_bits(running.forward().outputs, fresh.forward().outputs)


@pytest.mark.parametrize("layers", [[GRU(6)], [GRU(6, "before")], [LSTM(6)]], ids=repr)
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_saturated_gates_are_harmless(engine: str, dtype: str, layers: list[GRU | LSTM], scale: float) -> None:
    """Pre-activations of ±1e30 inside a gate: finite outputs and gradients, and no warning."""
    case = random_case(np.random.default_rng(0), layers, T=3)
    running = case.on(engine, dtype)
    with running.parameters.edit() as p:
        p["layer0.W_x"][:] = scale * np.sign(p["layer0.W_x"])
    run = running.forward(running.batch(np.sign(case.x)))
    assert np.isfinite(run.outputs).all()
    assert (np.abs(run.final_state["layer0.h"]) <= np.abs(case.state["layer0.h"]).max() + 1).all()
    result = running.engine.backward(running.plan, run.tape, *running.random_gradients())
    assert np.isfinite(result.gradient).all()


@given(value=st.floats(-1e3, 1e3), dtype=st.sampled_from(DTYPES))
def test_integrators_count(engine: str, value: float, dtype: str) -> None:
    """A linear unit with W_x = W_h = 1 adds up what it hears, and with two directions from both ends."""
    case = random_case(np.random.default_rng(0), [Elman(1, "linear", bidirectional=True)], D=1, O=2, N=1, T=4)
    running = case.on(engine, dtype)
    with running.parameters.edit() as p:
        for name, values in p.items():
            values[...] = 0 if "b_" in name else np.eye(*values.shape) if name == "readout.W_y" else 1
    batch = running.batch(np.full((1, 4, 1), value), np.array([3]))
    outputs = running.forward(batch, zero_state(case.specification, 1, running.dtype)).outputs
    expected = value * np.array([[1, 3], [2, 2], [3, 1], [0, 0]])
    assert_close(outputs[0], expected, EXACT if dtype == "float64" else 1e-6)
