"""Engine against engine: outputs, gradients, states, masks, and whole trajectories of training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import require_native
from properties import given, settings, st
from support import DTYPES, OUTPUTS, Case, Running, assert_all_close, assert_close, cases, make, random_case, tolerance

from rnn_from_scratch.clipping import GlobalNorm, NoClipping, TensorNorm
from rnn_from_scratch.engines.base import Backward, Forward, UpdateRule, batch_loss, loss_of
from rnn_from_scratch.layers import GRU, LSTM, Elman, Layer
from rnn_from_scratch.optimizers import SGD, Adam
from rnn_from_scratch.specification import READOUTS

RULES = [
    UpdateRule(SGD(), NoClipping()),
    UpdateRule(SGD(), GlobalNorm(0.05)),
    UpdateRule(Adam(), NoClipping()),
    UpdateRule(Adam(beta1=0.5, beta2=0.9, epsilon=1e-4), TensorNorm(0.02)),
]


def one_pass(
    case: Case, engine: str, dtype: str, n_threads: int | None = None
) -> tuple[Running, Forward, float, Backward]:
    """Forward under the case's dropout, loss, backward."""
    running = case.on(engine, dtype, n_threads)
    run = running.forward(dropout=running.dropout())
    loss, d_a = loss_of(case.specification, run.preactivations, running.random_targets(np.random.default_rng(3)))
    return running, run, loss, running.engine.backward(running.plan, run.tape, d_a, running.random_gradients()[1])


def check_agreement(case: Case, dtype: str, n_threads: int | None = None) -> None:
    oracle, run, loss, back = one_pass(case, "numpy", "float64")
    other, other_run, other_loss, other_back = one_pass(case, "native", dtype, n_threads)
    allowed = tolerance(dtype)
    assert_close(other_run.outputs, run.outputs, allowed, "outputs")
    assert_close(other_run.preactivations, run.preactivations, allowed, "preactivations")
    assert_close(other_loss, loss, allowed, "loss")
    assert_all_close(other_run.final_state, run.final_state, allowed, "final")
    named = oracle.parameters.named
    assert_all_close(named(other_back.gradient), named(back.gradient), 10 * allowed, "gradient")
    assert_close(other_back.d_inputs, back.d_inputs, 10 * allowed, "d_inputs")
    assert_all_close(other_back.d_state, back.d_state, 10 * allowed, "d_state")
    assert other_run.outputs.dtype == other_back.gradient.dtype == other_back.d_inputs.dtype == other.dtype
    whole = [
        batch_loss(r.engine, r.plan, r.batch(), r.random_targets(np.random.default_rng(3)), r.dropout())
        for r in (oracle, other)
    ]
    assert_close(whole[1][0], whole[0][0], allowed, "loss of the batch")
    assert_all_close(named(whole[1][1]), named(whole[0][1]), 10 * allowed, "gradient of the batch")


@given(case=cases(), dtype=st.sampled_from(DTYPES))
@settings(max_examples=250)
def test_engines_agree_on_any_architecture(case: Case, dtype: str) -> None:
    require_native()
    check_agreement(case, dtype)


@pytest.mark.parametrize("T", [1, 2, 40])
@pytest.mark.parametrize("vocabulary_size", [None, 6])
def test_engines_agree(
    native: None, dtype: str, architecture: str, readout: str, T: int, vocabulary_size: int | None
) -> None:
    check_agreement(make(architecture, readout, T=T, vocabulary_size=vocabulary_size), dtype)


@pytest.mark.parametrize("N", [1, 2, 5, 33, 70])
@pytest.mark.parametrize("H", [1, 4, 8, 16, 31, 64, 65])
@pytest.mark.parametrize("layer", [Elman, GRU, LSTM])
def test_engines_agree_on_every_remainder_of_a_vector(native: None, dtype: str, layer: Any, H: int, N: int) -> None:
    """Batches and layers around the widths of vectors and blocks."""
    check_agreement(random_case(np.random.default_rng(H), [layer(H, bidirectional=N == 5)], N=N, D=H, T=3), dtype)


@pytest.mark.parametrize("layer", [Elman(260), GRU(130), GRU(130, "before"), LSTM(120)], ids=repr)
@pytest.mark.parametrize("both_ways", [False, True])
def test_engines_agree_on_one_row_and_large_matrices(native: None, dtype: str, layer: Any, both_ways: bool) -> None:
    """Which are walked through in another order than small ones, or than for several rows."""
    layers = [replace(layer, bidirectional=both_ways), replace(layer, bidirectional=both_ways)]
    check_agreement(random_case(np.random.default_rng(0), layers, N=1, D=7, T=3, ragged=False), dtype)
    case = random_case(np.random.default_rng(1), layers, N=2, D=7, T=3, ragged=False)
    together = case.on("native", dtype)
    state = {name: h[:1] for name, h in together.state().items()}
    alone = together.forward(together.batch(case.x[:1], case.lengths[:1]), state)
    assert_close(alone.outputs[0], together.forward().outputs[0], tolerance(dtype))


@pytest.mark.parametrize(("N", "T"), [(1, 150), (13, 33), (43, 9), (129, 3), (400, 1)])
@pytest.mark.parametrize("layer", [Elman(9), GRU(9), GRU(9, "before"), LSTM(9)], ids=repr)
def test_engines_agree_on_gradients_made_in_parts(native: None, dtype: str, layer: Any, N: int, T: int) -> None:
    """The native engine adds up what the weights get whenever so many rows are behind it, and ends with the rest."""
    layers = [replace(layer, bidirectional=True), layer]
    for ragged in (False, True):
        check_agreement(random_case(np.random.default_rng(N), layers, N=N, D=5, T=T, ragged=ragged), dtype)


DROPPED: dict[str, list[Layer]] = {
    "elman": [Elman(9, input_dropout=0.3, recurrent_dropout=0.4)],
    "gru": [GRU(9, input_dropout=0.3, recurrent_dropout=0.4, bidirectional=True)],
    "gru reset before": [GRU(9, "before", input_dropout=0.3, recurrent_dropout=0.4, bidirectional=True)],
    "lstm": [LSTM(9, input_dropout=0.3, recurrent_dropout=0.4, bidirectional=True)],
    "stack": [GRU(6, recurrent_dropout=0.2), LSTM(5, bidirectional=True, input_dropout=0.5), Elman(7)],
}


@pytest.mark.parametrize("name", DROPPED)
@pytest.mark.parametrize("epoch", [0, 3, 2**40])
def test_engines_drop_the_same_numbers(native: None, dtype: str, readout: str, name: str, epoch: int) -> None:
    case = random_case(np.random.default_rng(0), DROPPED[name], readout=readout, dropout=0.3, D=5, N=6)
    runs = []
    for engine, precision in (("numpy", "float64"), ("native", dtype)):
        running = case.on(engine, precision)
        runs.append(running.forward(dropout=running.dropout(epoch)))
    free = running.forward()
    assert_close(runs[1].preactivations, runs[0].preactivations, tolerance(dtype))
    assert_all_close(runs[1].final_state, runs[0].final_state, tolerance(dtype))
    assert np.abs(free.preactivations - runs[0].preactivations).max() > 0.01


TRAINED: dict[str, tuple[list[Layer], dict[str, Any]]] = {
    "elman": ([Elman(6), Elman(5, "sigmoid")], {}),
    "gru": ([GRU(6, bidirectional=True)], {"output": ("linear", "huber")}),
    "gru reset before": ([GRU(6, "before"), GRU(3, "before")], {"output": ("linear", "mae")}),
    "lstm": ([LSTM(6, bidirectional=True), LSTM(4)], {"output": ("softmax", "ce"), "O": 3}),
    "learned": ([LSTM(5, learned_state=True), GRU(4, learned_state=True, bidirectional=True)], {}),
    "tokens": ([GRU(5)], {"vocabulary_size": 6, "output": ("softmax", "ce"), "O": 6}),
    "dropped": (DROPPED["stack"], {"dropout": 0.3}),
    "everything": (
        [GRU(5, learned_state=True, recurrent_dropout=0.3), LSTM(4, bidirectional=True, learned_state=True)],
        {"vocabulary_size": 6, "dropout": 0.2, "output": ("sigmoid", "ce")},
    ),
}


def check_trajectory(case: Case, dtype: str, rule: UpdateRule, n_threads: int | None = None) -> None:
    """Fifty updates on both engines."""
    ends = []
    for engine in ("numpy", "native"):
        running = case.on(engine, dtype, n_threads)
        state = rule.optimizer.init(len(case.vector), running.dtype)
        report = running.engine.train_updates(running.plan, running.updates(50), rule, state)
        assert report.applied == 50
        ends.append((report, running, state))
    (report, running, state), (other, other_running, other_state) = ends
    allowed = 1e-9 if dtype == "float64" else 1e-3  # where a clip or a |g| decides, single precision walks apart
    assert_close(other.losses, report.losses, allowed, "losses")
    assert_close(other.gradient_norms, report.gradient_norms, allowed, "norms")
    if dtype == "float64":
        assert other.clipped.tolist() == report.clipped.tolist()
    assert report.clipped.any() == (rule.clipping.kind != "none")
    assert_all_close(dict(other_running.parameters.views), dict(running.parameters.views), allowed, "parameters")
    assert_all_close(dict(other_state), dict(state), allowed, "optimizer")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.optimizer.kind}-{rule.clipping.kind}")
@pytest.mark.parametrize("name", TRAINED)
def test_engines_follow_the_same_trajectory(native: None, dtype: str, name: str, rule: UpdateRule) -> None:
    layers, options = TRAINED[name]
    readout = READOUTS[(list(TRAINED).index(name) + RULES.index(rule)) % 3]
    check_trajectory(random_case(np.random.default_rng(0), layers, readout=readout, N=6, **options), dtype, rule)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=repr)
@pytest.mark.parametrize("name", TRAINED)
def test_engines_shrink_and_freeze_the_same_tensors(native: None, dtype: str, name: str, optimizer: Any) -> None:
    layers, options = TRAINED[name]
    case = random_case(np.random.default_rng(0), layers, N=6, **options)
    frozen = tuple(list(case.on("numpy").parameters.views)[::3])
    check_trajectory(case, dtype, UpdateRule(optimizer, GlobalNorm(0.05), penalty=0.02, frozen=frozen))


@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=repr)
def test_engines_make_every_loss_small_alike(native: None, dtype: str, output: tuple[str, str], optimizer: Any) -> None:
    case = random_case(np.random.default_rng(0), [GRU(6)], output=output, N=6, O=3)
    check_trajectory(case, dtype, UpdateRule(optimizer, NoClipping()))
