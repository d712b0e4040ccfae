"""What stands past the end of a sequence changes nothing, bit for bit; what stands inside it comes through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from properties import given, settings
from support import OUTPUTS, Case, Running, assert_same_bits, cases, make, random_case

from rnn_from_scratch.clipping import GlobalNorm
from rnn_from_scratch.engines.base import UpdateRule, batch_loss
from rnn_from_scratch.layers import GRU, LSTM, Elman
from rnn_from_scratch.optimizers import Adam

LARGEST = np.iinfo(np.int64).max


def poisoned_inputs(case: Case) -> np.ndarray:
    """NaN past every end; where there are tokens, numbers that no vocabulary has."""
    x, padding = case.x.copy(), ~case.real()
    if case.takes_tokens:
        x[padding] = np.resize([-1, LARGEST, -LARGEST, case.specification.vocabulary_size or 0], (padding.sum(), 1))
    else:
        x[padding] = np.nan
    return x


def poisoned_targets(running: Running) -> tuple[Any, Any]:
    """Targets and weights, and the same with NaN past every end."""
    clean = running.random_targets(np.random.default_rng(3))
    if not running.case.every:
        return clean, clean
    padding = ~running.case.real().ravel()
    array, weights = clean.array.copy(), clean.weights.copy()
    array[padding], weights[padding] = np.nan, np.nan
    return clean, replace(clean, array=array, weights=weights)


def check_poison(case: Case, engine: str, dtype: str) -> None:
    clean, dirty = case.on(engine, dtype), case.on(engine, dtype)
    d_a, d_T = clean.random_gradients()
    dropout = clean.dropout()
    run = clean.forward(dropout=dropout)
    expected = clean.engine.backward(clean.plan, run.tape, d_a, d_T)

    batch = dirty.batch(poisoned_inputs(case))
    dirty_run = dirty.forward(batch, dropout=dropout)
    if case.every:
        d_a = np.where(case.real()[:, :, None], d_a, np.asarray(np.nan, dtype))
    result = dirty.engine.backward(dirty.plan, dirty_run.tape, d_a, d_T)
    assert np.isfinite(expected.gradient).all()
    for name in ("outputs", "preactivations"):
        assert_same_bits(getattr(dirty_run, name), getattr(run, name), name)
    for name in ("gradient", "d_inputs"):
        assert_same_bits(getattr(result, name), getattr(expected, name), name)
    for name in d_T:
        assert_same_bits(dirty_run.final_state[name], run.final_state[name], name)
        assert_same_bits(result.d_state[name], expected.d_state[name], name)

    targets, dirty_targets = poisoned_targets(clean)
    loss, gradient = batch_loss(clean.engine, clean.plan, clean.batch(), targets, dropout)
    dirty_loss, dirty_gradient = batch_loss(dirty.engine, dirty.plan, batch, dirty_targets, dropout)
    assert np.isfinite(loss)
    assert_same_bits(dirty_loss, loss, "loss")
    assert_same_bits(dirty_gradient, gradient, "gradient of the loss")


@pytest.mark.parametrize("vocabulary_size", [None, 5])
def test_poison_in_the_padding_changes_no_bit(
    engine: str, dtype: str, architecture: str, readout: str, vocabulary_size: int | None
) -> None:
    case = make(architecture, readout, N=5, T=8, vocabulary_size=vocabulary_size)
    assert (~case.real()).sum() > 5
    check_poison(case, engine, dtype)


@given(case=cases())
@settings(max_examples=80)
def test_poison_in_the_padding_of_any_architecture(engine: str, case: Case) -> None:
    check_poison(case, engine, "float64")


@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
def test_poison_under_every_loss(engine: str, dtype: str, readout: str, output: tuple[str, str]) -> None:
    layers = [LSTM(4, bidirectional=True, recurrent_dropout=0.3), GRU(3, input_dropout=0.3)]
    case = random_case(np.random.default_rng(0), layers, readout=readout, output=output, O=3, N=5, T=8, dropout=0.2)
    check_poison(case, engine, dtype)


def test_poison_changes_no_training(engine: str, architecture: str, readout: str) -> None:
    dtype, vocabulary_size = ("float32", 5) if readout == "last" else ("float64", None)
    case = make(architecture, readout, N=6, T=8, vocabulary_size=vocabulary_size)
    rule, ends = UpdateRule(Adam(), GlobalNorm(0.3), penalty=0.01), []
    for poisoned in (False, True):
        running = case.on(engine, dtype)
        updates = running.updates(5)
        if poisoned:
            targets = replace(updates.targets)
            if case.every:
                padding = ~case.real().ravel()
                targets.array[padding], targets.weights[padding] = np.nan, np.nan
            updates = replace(updates, inputs=running.batch(poisoned_inputs(case)), targets=targets)
        state = rule.optimizer.init(len(case.vector), running.dtype)
        report = running.engine.train_updates(running.plan, updates, rule, state)
        assert report.applied == 5
        ends.append((running.parameters.vector, report.losses, report.gradient_norms, state["m"], state["v"]))
    for a, b in zip(*ends, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("T", [1, 4])
def test_longer_padding_changes_nothing(engine: str, dtype: str, architecture: str, readout: str, T: int) -> None:
    """The same sequences in an array with room for more steps."""
    case = make(architecture, readout, N=5, T=T)
    running = case.on(engine, dtype)
    roomy_x = np.full((5, T + 3, case.x.shape[2]), np.nan)
    roomy_x[:, :T] = case.x
    tight, roomy = running.forward(), running.forward(running.batch(roomy_x))
    expected = np.pad(tight.outputs, ((0, 0), (0, 3), (0, 0))) if case.every else tight.outputs
    assert np.abs(roomy.outputs - expected).max() <= (1e-14 if dtype == "float64" else 1e-6)
    for name, h in tight.final_state.items():
        assert np.abs(roomy.final_state[name] - h).max() <= (1e-14 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("step", [0, 2, 5])
def test_not_a_number_comes_through(engine: str, dtype: str, architecture: str, readout: str, step: int) -> None:
    """NaN in a real step reaches every output that depends on it, and no other sequence."""
    case = make(architecture, readout, ragged=False)
    x = case.x.copy()
    x[1, step, 0] = np.nan
    running = case.on(engine, dtype)
    clean = running.forward()
    with np.errstate(invalid="ignore"):
        run = running.forward(running.batch(x))
        result = running.engine.backward(running.plan, run.tape, *running.random_gradients())
    others = [0, 2, 3]
    assert np.isnan(run.outputs[1, step:] if case.every else run.outputs[1]).all()
    if case.every and not case.specification.bidirectional:
        assert_same_bits(run.outputs[1, :step], clean.outputs[1, :step])
    assert np.isfinite(run.outputs[others]).all()
    assert np.isnan(result.gradient).any()
    assert np.isfinite(result.d_inputs[others]).all()
    for name, h in run.final_state.items():
        assert np.isnan(h[1]).all(), name
        assert np.isfinite(h[others]).all(), name


@pytest.mark.parametrize("activation", ["relu", "linear", "sigmoid", "tanh"])
def test_no_activation_hides_not_a_number(engine: str, dtype: str, activation: str) -> None:
    case = random_case(np.random.default_rng(0), [Elman(19, activation, bidirectional=True)], N=3, ragged=False)
    x = case.x.copy()
    x[1, 2, 1] = np.nan
    with np.errstate(invalid="ignore"):
        outputs = case.on(engine, dtype).forward(case.on(engine, dtype).batch(x)).outputs
    assert np.isnan(outputs[1]).all()
    assert np.isfinite(outputs[[0, 2]]).all()
