"""What the contract in engines/base.py promises of `train_updates`, for every engine by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support import DTYPES, OUTPUTS, Case, Running, assert_close, assert_same_bits, make, random_case, tolerance

from rnn_from_scratch.clipping import GlobalNorm, NoClipping, TensorNorm
from rnn_from_scratch.engines.base import UpdateRule, Updates, batch_loss, loss_of, zero_state
from rnn_from_scratch.layers import ACTIVATIONS, GRU, LSTM, Elman
from rnn_from_scratch.optimizers import SGD, Adam
from rnn_from_scratch.textbook.dropout import Dropout

PLAIN = UpdateRule(SGD(), NoClipping())


def train(running: Running, updates: Updates, rule: UpdateRule) -> tuple[Any, Any]:
    """The report, and what the optimiser remembers."""
    state = rule.optimizer.init(len(running.parameters.vector), running.dtype)
    return running.engine.train_updates(running.plan, updates, rule, state), state


def everything(readout: str = "every", **options: Any) -> Case:
    """A case with all that training knows: tokens, dropout of every kind, learned states, both directions."""
    layers = [
        GRU(6, input_dropout=0.2, recurrent_dropout=0.3, learned_state=True),
        LSTM(5, bidirectional=True, recurrent_dropout=0.3, learned_state=True),
    ]
    options = {"N": 6, "dropout": 0.25, "vocabulary_size": 7, **options}
    return random_case(np.random.default_rng(0), layers, readout=readout, **options)


def matrices(running: Running) -> list[str]:
    return [name for name, values in running.parameters.views.items() if values.ndim == 2]


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("frozen", [(), ("layer0.W_h", "readout.b_y", "layer1.reverse.c_0", "embedding.W_e")])
def test_updates_are_the_composed_ones(
    engine: str, dtype: str, readout: str, penalty: float, frozen: tuple[str, ...]
) -> None:
    """Against forward, loss, backward, penalty, freezing, clip and update called one by one, on the same engine."""
    case = everything(readout)
    fused, composed = case.on(engine, dtype), case.on(engine, dtype)
    updates = fused.updates(6)
    rule = UpdateRule(SGD(), GlobalNorm(0.1), penalty, frozen)
    report, _ = train(fused, updates, rule)
    assert report.applied == 6
    for u in range(6):
        chosen = updates.order[3 * u : 3 * u + 3]
        dropout = Dropout(updates.dropout_key, int(updates.epochs[u]), chosen)
        inputs, targets = updates.inputs.select(chosen), updates.targets.select(chosen)
        loss, flat = batch_loss(composed.engine, composed.plan, inputs, targets, dropout)
        with composed.parameters.edit() as p:
            gradient = composed.parameters.named(flat)
            for name in matrices(composed):
                loss += 0.5 * penalty * float((p[name].astype(np.float64) ** 2).sum())
                gradient[name] += penalty * p[name]
            for name in frozen:
                gradient[name][...] = 0
            size = float(np.sqrt((flat.astype(np.float64) ** 2).sum()))
            assert_close(report.losses[u], loss, tolerance(dtype), f"loss {u}")
            assert_close(report.gradient_norms[u], size, 10 * tolerance(dtype), f"norm {u}")
            assert report.clipped[u] == (size > 0.1)
            composed.parameters.vector[:] -= updates.learning_rates[u] * flat * min(1, 0.1 / size)
    assert_close(fused.parameters.vector, composed.parameters.vector, tolerance(dtype))


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=repr)
def test_frozen_tensors_stay_and_all_others_move(engine: str, dtype: str, architecture: str, optimizer: Any) -> None:
    case = make(architecture, N=6)
    names = list(case.on(engine).parameters.views)
    for frozen in (tuple(names[::2]), tuple(names[1::2]), tuple(names)):
        running = case.on(engine, dtype)
        before = {name: values.copy() for name, values in running.parameters.views.items()}
        report, _ = train(running, running.updates(3), UpdateRule(optimizer, TensorNorm(0.1), 0.1, frozen))
        assert report.applied == 3
        for name, values in running.parameters.views.items():
            assert (values.tobytes() == before[name].tobytes()) == (name in frozen), name
        assert report.gradient_norms.any() == (len(frozen) < len(names))


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty_is_its_definition(engine: str, dtype: str, architecture: str) -> None:
    """½ λ Σ ‖W‖² over weight matrices and nothing else, in the loss and by its slope in the step."""
    case = make(architecture, N=6)
    ends = []
    for penalty in (0.0, 0.7):
        running = case.on(engine, dtype)
        updates = running.updates(1)
        report, _ = train(running, updates, PLAIN._replace(penalty=penalty))
        ends.append((report.losses[0], {name: v.copy() for name, v in running.parameters.views.items()}))
    start = running.parameters.named(case.vector)
    weights = {name: W for name, W in start.items() if name.split(".")[-1][0] == "W"}
    assert len(weights) >= 3
    expected = 0.5 * 0.7 * sum((W**2).sum() for W in weights.values())
    assert_close(ends[1][0] - ends[0][0], expected, tolerance(dtype))
    for name, values in start.items():
        shrunk = 0.05 * 0.7 * values if name in weights else np.zeros_like(values)
        assert_close(ends[0][1][name] - ends[1][1][name], shrunk, tolerance(dtype), name)


def test_an_update_that_is_not_finite_is_not_applied(engine: str, dtype: str, architecture: str) -> None:
    case = make(architecture, N=6, ragged=False)
    running = case.on(engine, dtype)
    updates = running.updates(5)
    third = int(updates.order[6])
    updates.inputs.array[updates.inputs.starts[third]] = np.nan
    updates.order[:6] = [n for n in range(6) if n != third][:1] * 6
    report, _ = train(running, updates, PLAIN)
    assert report.applied == 2
    assert len(report.losses) == len(report.gradient_norms) == len(report.clipped) == 3
    assert np.isfinite(report.gradient_norms[:2]).all()
    assert not np.isfinite(report.gradient_norms[2]) or not np.isfinite(report.losses[2])
    after_two = case.on(engine, dtype)
    shorter = replace(
        updates,
        boundaries=updates.boundaries[:3],
        learning_rates=updates.learning_rates[:2],
        epochs=updates.epochs[:2],
    )
    train(after_two, shorter, PLAIN)
    assert_same_bits(running.parameters.vector, after_two.parameters.vector)


def test_same_start_same_bits(engine: str, dtype: str, readout: str) -> None:
    ends = []
    for _ in range(2):
        running = everything(readout).on(engine, dtype)
        train(running, running.updates(10), UpdateRule(Adam(), GlobalNorm(1.0)))
        ends.append(running.parameters.vector)
    assert_same_bits(*ends)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=repr)
def test_updates_one_by_one_are_updates_at_once(engine: str, dtype: str, readout: str, optimizer: Any) -> None:
    """However the updates of an epoch are cut into calls, masks and optimiser go on where they were."""
    whole, parts = everything(readout).on(engine, dtype), everything(readout).on(engine, dtype)
    rule, updates = UpdateRule(optimizer, GlobalNorm(0.2), 0.01), whole.updates(9)
    report, state = train(whole, updates, rule)
    other_state = optimizer.init(len(parts.parameters.vector), parts.dtype)
    losses = []
    for first, last in ((0, 1), (1, 5), (5, 9)):
        part = replace(
            updates,
            boundaries=updates.boundaries[first : last + 1],
            learning_rates=updates.learning_rates[first:last],
            epochs=updates.epochs[first:last],
        )
        losses += parts.engine.train_updates(parts.plan, part, rule, other_state).losses.tolist()
    assert_same_bits(np.array(losses), report.losses)
    assert_same_bits(parts.parameters.vector, whole.parameters.vector)
    for name in state:
        assert_same_bits(other_state[name], state[name], name)


@pytest.mark.parametrize("axis", ["key", "epoch"])
def test_masks_of_training_change_with(engine: str, axis: str) -> None:
    """Another key or another epoch gives other masks, and a network that drops nothing does not care."""
    for case, changes in ((everything(), True), (everything(dropout=0.0).with_(layers=(GRU(6, learned_state=True),
                          LSTM(5, bidirectional=True, learned_state=True))), False)):  # fmt: skip
        losses = []
        for shift in (0, 1):
            running = case.on(engine)
            updates = running.updates(4)
            if axis == "key":
                updates = replace(updates, dropout_key=updates.dropout_key + shift)
            else:
                updates = replace(updates, epochs=updates.epochs + shift)
            losses.append(train(running, updates, PLAIN)[0].losses)
        assert (np.abs(losses[0] - losses[1]).min() > 1e-6) == changes


def test_training_learns(engine: str, architecture: str, readout: str) -> None:
    """A hundred updates with Adam make the loss of a small task much smaller."""
    case = make(architecture, readout, N=6, T=4)
    running = case.on(engine, "float32")
    updates = replace(running.updates(100), learning_rates=np.full(100, 0.02))
    report, _ = train(running, updates, UpdateRule(Adam(), GlobalNorm(1.0)))
    assert report.losses[-10:].mean() < 0.3 * report.losses[:5].mean()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
def test_huge_preactivations_are_harmless(engine: str, dtype: str, activation: str, output: tuple[str, str]) -> None:
    """±1e4 inside the hidden layer and before the output: finite outputs, losses and gradients, and no warning."""
    case = random_case(np.random.default_rng(0), [Elman(6, activation)], O=3, output=output, T=1, ragged=False)
    running = case.on(engine, dtype)
    with running.parameters.edit() as p:
        p["layer0.W_x"][:] = 1e4 * np.sign(p["layer0.W_x"])
        scale = 1.0 if activation in ("relu", "linear") else 1e4
        p["readout.W_y"][:] = scale * np.sign(p["readout.W_y"])
    run = running.forward(running.batch(np.sign(case.x)))
    assert np.abs(run.preactivations).max() > 5e3
    targets = running.random_targets(np.random.default_rng(0))
    loss, d_a = loss_of(case.specification, run.preactivations, targets)
    zeros = zero_state(case.specification, case.N, running.dtype)
    gradient = running.engine.backward(running.plan, run.tape, d_a, zeros).gradient
    assert np.isfinite(run.outputs).all()
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    one = replace(
        running.updates(1),
        inputs=running.batch(np.sign(case.x)),
        targets=targets,
        order=np.arange(4),
        boundaries=np.array([0, 4]),
        learning_rates=np.array([1e-6]),
    )
    assert train(running, one, PLAIN)[0].applied == 1
