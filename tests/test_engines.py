"""One battery for every engine: what the contract in engines/base.py promises, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import require_native
from properties import given, settings, st
from support import EXACT, OUTPUTS, SINGLE, Case, Running, assert_close, assert_same_bits, cases, random_case

from rnn_from_scratch.clipping import GlobalNorm, NoClipping, TensorNorm
from rnn_from_scratch.engines.base import Updates, loss_of, zero_state
from rnn_from_scratch.optimizers import SGD, Adam
from rnn_from_scratch.specification import ACTIVATIONS, READOUTS, Elman
from rnn_from_scratch.textbook.readout import OUTPUT_ACTIVATIONS

ARCHITECTURES = {
    "one": [Elman(5)],
    "wide": [Elman(37)],
    "stack": [Elman(9), Elman(4, "sigmoid"), Elman(6, "relu")],
}


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(ARCHITECTURES))
def layers(request: pytest.FixtureRequest) -> list[Elman]:
    return ARCHITECTURES[request.param]


@pytest.fixture(params=READOUTS)
def readout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tolerance(dtype: str) -> float:
    return EXACT if dtype == "float64" else SINGLE


def make(layers: list[Elman], readout: str, seed: int = 0, **options: Any) -> Case:
    return random_case(np.random.default_rng(seed), layers, readout=readout, **options)


def random_gradients(running: Running, seed: int = 1) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A gradient by the pre-activations and one by the final state, all real entries random."""
    generator = np.random.default_rng(seed)
    d_a = generator.normal(size=running.case.output_shape)
    if running.case.specification.readout == "every":
        d_a[~running.case.real()] = 0
    d_T = {name: generator.normal(size=h.shape) for name, h in running.case.state.items()}
    return d_a.astype(running.dtype), {name: d.astype(running.dtype) for name, d in d_T.items()}


# --- forward --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_the_equation(engine: str, dtype: str, activation: str) -> None:
    case = make([Elman(4, activation)], "every", N=2, T=5, ragged=False)
    running = case.on(engine, dtype)
    W_x, W_h, b_h, W_y, b_y = running.parameters.named(case.vector).values()
    f: Any = {
        "tanh": np.tanh,
        "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
        "relu": lambda a: np.where(a > 0, a, 0),
        "linear": lambda a: a,
    }[activation]
    expected = np.empty((2, 5, 2))
    for n in range(2):
        h = case.state["layer0.h"][n]
        for t in range(5):
            h = f(W_x @ case.x[n, t] + W_h @ h + b_h)
            expected[n, t] = W_y @ h + b_y
    assert_close(running.forward().outputs, expected, tolerance(dtype))


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs_are_the_activated_preactivations(engine: str, dtype: str, output: tuple[str, str]) -> None:
    case = make([Elman(5)], "every", O=3, output=output)
    run = case.on(engine, dtype).forward()
    expected = OUTPUT_ACTIVATIONS[output[0]](run.preactivations.astype(np.float64))
    assert_close(run.outputs[case.real()], expected[case.real()], tolerance(dtype))


def test_past_the_end_outputs_are_zero(engine: str, dtype: str, layers: list[Elman]) -> None:
    case = make(layers, "every", output=("sigmoid", "mse"))
    assert not case.real().all()
    run = case.on(engine, dtype).forward()
    assert not run.outputs[~case.real()].any()
    assert not run.preactivations[~case.real()].any()
    assert (run.outputs[case.real()] > 0).all()


def test_zero_state_is_no_state(engine: str, dtype: str, layers: list[Elman]) -> None:
    # A first step with W_h = 0 must give the same as any state that is zero
    case = make(layers, "every")
    running = case.on(engine, dtype)
    zeros = zero_state(case.specification, case.N, running.dtype)
    with running.parameters.edit() as p:
        from_zero = running.forward(state=zeros).outputs[:, 0]
        for index in range(len(layers)):
            p[f"layer{index}.W_h"][:] = 0
    assert_close(running.forward().outputs[:, 0], from_zero, tolerance(dtype))


def test_step_by_step_is_the_sequence(engine: str, dtype: str, layers: list[Elman]) -> None:
    case = make(layers, "every", ragged=False)
    running = case.on(engine, dtype)
    whole = running.forward()
    state = running.state()
    for t in range(case.T):
        y, state = running.engine.step(running.plan, case.x[:, t].astype(dtype), state)
        assert_close(y, whole.outputs[:, t], tolerance(dtype), f"step {t}")
    for name, h in state.items():
        assert_close(h, whole.final_state[name], tolerance(dtype), name)


def test_split_sequence_with_carried_state_is_the_whole(engine: str, dtype: str, layers: list[Elman]) -> None:
    case = make(layers, "every", T=7, ragged=False)
    running = case.on(engine, dtype)
    whole = running.forward()
    first = running.forward(running.batch(case.x[:, :3], np.full(case.N, 3)))
    second = running.forward(running.batch(case.x[:, 3:], np.full(case.N, 4)), first.final_state)
    assert_close(np.concatenate([first.outputs, second.outputs], axis=1), whole.outputs, tolerance(dtype))
    for name, h in second.final_state.items():
        assert_close(h, whole.final_state[name], tolerance(dtype), name)


def test_last_readout_and_final_state_are_those_of_the_last_real_step(
    engine: str, dtype: str, layers: list[Elman]
) -> None:
    every = make(layers, "every")
    last = make(layers, "last")
    run_every, run_last = every.on(engine, dtype).forward(), last.on(engine, dtype).forward()
    ends = every.lengths - 1
    assert_close(run_last.outputs, run_every.outputs[np.arange(every.N), ends], tolerance(dtype))
    for n in range(every.N):
        alone = every.on(engine, dtype)
        cut = alone.batch(every.x[n : n + 1, : every.lengths[n]], every.lengths[n : n + 1])
        run = alone.forward(cut, {name: h[n : n + 1] for name, h in alone.state().items()})
        for name, h in run.final_state.items():
            assert_close(run_every.final_state[name][n], h[0], tolerance(dtype), name)


def test_row_of_a_batch_is_that_row_alone(engine: str, dtype: str, layers: list[Elman], readout: str) -> None:
    case = make(layers, readout, N=7)
    running = case.on(engine, dtype)
    together = running.forward()
    for n in range(case.N):
        state = {name: h[n : n + 1] for name, h in running.state().items()}
        alone = running.forward(running.batch(case.x[n : n + 1], case.lengths[n : n + 1]), state)
        assert_close(alone.outputs[0], together.outputs[n], tolerance(dtype), f"row {n}")


def test_order_of_rows_does_not_matter(engine: str, dtype: str, layers: list[Elman], readout: str) -> None:
    case = make(layers, readout, N=7)
    running = case.on(engine, dtype)
    order = np.random.default_rng(5).permutation(case.N)
    mixed = running.forward(
        running.batch(case.x[order], case.lengths[order]), {name: h[order] for name, h in running.state().items()}
    )
    assert_close(mixed.outputs, running.forward().outputs[order], tolerance(dtype))


def test_windows_of_one_series_need_no_copy(engine: str, dtype: str) -> None:
    case = make([Elman(6)], "every", N=1, T=9, ragged=False)
    running = case.on(engine, dtype)
    series = running.batch().array
    windows = type(running.batch())(series, np.array([0, 1, 4]), np.array([5, 5, 3]), 5)
    state = zero_state(case.specification, 3, running.dtype)
    run = running.forward(windows, state)
    for n, (start, length) in enumerate([(0, 5), (1, 5), (4, 3)]):
        copy = series[None, start : start + length].copy()
        alone = running.forward(
            running.batch(copy, np.array([length])), zero_state(case.specification, 1, running.dtype)
        )
        assert_close(run.outputs[n, :length], alone.outputs[0], tolerance(dtype), f"window {n}")


def test_predicting_changes_nothing(engine: str, dtype: str, layers: list[Elman], readout: str) -> None:
    case = make(layers, readout)
    running = case.on(engine, dtype)
    state, batch = running.state(), running.batch()
    before = [running.parameters.vector.copy(), batch.array.copy(), *(h.copy() for h in state.values())]
    first = running.forward(batch, state)
    second = running.forward(batch, state, keep_tape=False)
    assert second.tape is None
    assert_same_bits(first.outputs, second.outputs)
    for a, b in zip([running.parameters.vector, batch.array, *state.values()], before, strict=True):
        assert_same_bits(a, b)


def test_edited_parameters_are_seen(engine: str, dtype: str, layers: list[Elman]) -> None:
    case = make(layers, "every", ragged=False)
    running = case.on(engine, dtype)
    running.forward()
    with running.parameters.edit() as p:
        p["readout.b_y"] += 10
    fresh = case.on(engine, dtype)
    assert_close(running.forward().outputs, fresh.forward().outputs + 10, tolerance(dtype))


# --- backward -------------------------------------------------------------------------------------------------------


def slope(running: Running, d_a: np.ndarray, d_T: dict[str, np.ndarray], array: np.ndarray, V: np.ndarray) -> float:
    """The slope along V of Σ d_a ⊙ a + Σ d_T ⊙ h_T, where `array` (a parameter view, inputs or a state) is moved."""
    step = 1e-6
    before = array.copy()
    values = []
    for sign in (1, -1):
        array[...] = before + sign * step * V
        running.parameters.version += 1
        run = running.forward(running.moving_batch, running.moving_state)  # type: ignore[attr-defined]
        values.append(float((run.preactivations * d_a).sum() + sum((run.final_state[k] * d_T[k]).sum() for k in d_T)))
    array[...] = before
    return (values[0] - values[1]) / (2 * step)


def check_finite_differences(case: Case, engine: str) -> None:
    """Every parameter, the inputs and the initial state: the gradient along a random direction is the slope."""
    running = case.on(engine)
    running.moving_batch, running.moving_state = running.batch(), running.state()  # type: ignore[attr-defined]
    d_a, d_T = random_gradients(running)
    run = running.forward(running.moving_batch, running.moving_state)  # type: ignore[attr-defined]
    result = running.engine.backward(running.plan, run.tape, d_a, d_T)
    moved = dict(running.parameters.named(running.parameters.vector))
    gradients = dict(running.parameters.named(result.gradient))
    moved["x"], gradients["x"] = running.moving_batch.array, result.d_inputs.reshape(-1, case.x.shape[2])  # type: ignore[attr-defined]
    for name in case.state:
        moved[f"state {name}"], gradients[f"state {name}"] = running.moving_state[name], result.d_state[name]  # type: ignore[attr-defined]
    generator = np.random.default_rng(2)
    for name, array in moved.items():
        V = generator.normal(size=array.shape)
        expected = slope(running, d_a, d_T, array, V)
        scale = max(1.0, float(np.abs(gradients[name]).max()) * np.sqrt(V.size))
        assert abs(float((gradients[name] * V).sum()) - expected) <= 1e-6 * scale, name


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("T", [1, 2, 8])
def test_gradient_is_the_slope(engine: str, readout: str, activation: str, T: int) -> None:
    check_finite_differences(make([Elman(5, activation)], readout, T=T), engine)


def test_gradient_of_stacks_is_the_slope(engine: str, readout: str, layers: list[Elman]) -> None:
    check_finite_differences(make(layers, readout, N=5, T=7), engine)


@given(case=cases(activations=("tanh", "sigmoid", "linear")))
def test_gradient_of_any_architecture_is_the_slope(case: Case) -> None:
    check_finite_differences(case, "numpy")


def test_no_gradient_flows_into_the_padding(engine: str, dtype: str, readout: str, layers: list[Elman]) -> None:
    case = make(layers, readout)
    running = case.on(engine, dtype)
    result = running.engine.backward(running.plan, running.forward().tape, *random_gradients(running))
    assert not result.d_inputs[~case.real()].any()
    assert (np.abs(result.d_inputs[case.real()]).max(axis=-1) > 0).all()


def test_one_tape_serves_many_backwards(engine: str, dtype: str, readout: str) -> None:
    case = make([Elman(5), Elman(3)], readout)
    running = case.on(engine, dtype)
    tape = running.forward().tape
    running.forward(running.batch(case.x[:1], case.lengths[:1]), {k: h[:1] for k, h in running.state().items()})
    d_a, d_T = random_gradients(running)
    first = running.engine.backward(running.plan, tape, d_a, d_T)
    twice = running.engine.backward(running.plan, tape, 2 * d_a, {name: 2 * d for name, d in d_T.items()})
    assert_close(twice.gradient, 2 * first.gradient, tolerance(dtype))
    assert_close(twice.d_inputs, 2 * first.d_inputs, tolerance(dtype))


# --- padding --------------------------------------------------------------------------------------------------------


def test_poison_in_the_padding_changes_no_bit(engine: str, dtype: str, layers: list[Elman], readout: str) -> None:
    case = make(layers, readout, N=5, T=8)
    clean = case.on(engine, dtype)
    poisoned_x = np.where(case.real()[:, :, None], case.x, np.nan)
    d_a, d_T = random_gradients(clean)
    run = clean.forward()
    expected = clean.engine.backward(clean.plan, run.tape, d_a, d_T)

    dirty = case.on(engine, dtype)
    dirty_run = dirty.forward(dirty.batch(poisoned_x))
    if readout == "every":
        d_a = np.where(case.real()[:, :, None], d_a, np.asarray(np.nan, dtype))
    result = dirty.engine.backward(dirty.plan, dirty_run.tape, d_a, d_T)
    assert_same_bits(dirty_run.outputs, run.outputs, "outputs")
    assert_same_bits(result.gradient, expected.gradient, "gradient")
    assert_same_bits(result.d_inputs, expected.d_inputs, "d_inputs")
    for name in d_T:
        assert_same_bits(dirty_run.final_state[name], run.final_state[name], name)
        assert_same_bits(result.d_state[name], expected.d_state[name], name)


def test_not_a_number_comes_through(engine: str, dtype: str, readout: str) -> None:
    case = make([Elman(5), Elman(4, "relu"), Elman(3, "sigmoid")], readout, ragged=False)
    x = case.x.copy()
    x[1, 2, 0] = np.nan
    running = case.on(engine, dtype)
    with np.errstate(invalid="ignore"):
        outputs = running.forward(running.batch(x)).outputs
    assert np.isnan(outputs[1, -1]).all()
    assert np.isfinite(outputs[[0, 2, 3]]).all()


# --- engine against engine ------------------------------------------------------------------------------------------


def random_targets(running: Running, generator: np.random.Generator) -> Any:
    N, T, O = running.case.N, running.case.T, running.case.specification.output_size  # noqa: E741
    T = T if running.case.specification.readout == "every" else 1
    y = generator.uniform(0.05, 0.95, (N, T, O))
    return running.targets(y, generator.uniform(0.2, 2.0, (N, T)))


@given(case=cases(), dtype=st.sampled_from(["float64", "float32"]))
@settings(max_examples=150)
def test_engines_agree_on_any_architecture(case: Case, dtype: str) -> None:
    require_native()
    results = []
    for engine, precision in (("numpy", "float64"), ("native", dtype)):
        running = case.on(engine, precision)
        run = running.forward()
        targets = random_targets(running, np.random.default_rng(3))
        loss, d_a = loss_of(case.specification, run.preactivations, targets)
        back = running.engine.backward(running.plan, run.tape, d_a, random_gradients(running)[1])
        results.append((run, loss, back, running))
    (run, loss, back, oracle), (other_run, other_loss, other_back, _) = results
    allowed = tolerance(dtype)
    assert_close(other_run.outputs, run.outputs, allowed, "outputs")
    assert_close(other_loss, loss, allowed, "loss")
    for name, expected in oracle.parameters.named(back.gradient).items():
        assert_close(oracle.parameters.named(other_back.gradient)[name], expected, 10 * allowed, name)
    assert_close(other_back.d_inputs, back.d_inputs, 10 * allowed, "d_inputs")
    for name in case.state:
        assert_close(other_run.final_state[name], run.final_state[name], allowed, name)
        assert_close(other_back.d_state[name], back.d_state[name], 10 * allowed, f"d_{name}")


CLIPPINGS = [NoClipping(), GlobalNorm(0.05), TensorNorm(0.02)]


def updates_of(running: Running, count: int, learning_rate: float = 0.05) -> Updates:
    """`count` mini-batches of three sequences in random order."""
    generator = np.random.default_rng(4)
    order = np.concatenate([generator.permutation(running.case.N)[:3] for _ in range(count)])
    boundaries = np.arange(count + 1, dtype=np.int64) * 3
    rates = learning_rate / np.arange(1, count + 1)
    return Updates(running.batch(), random_targets(running, generator), order, boundaries, rates)


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=lambda c: c.kind)
@pytest.mark.parametrize("optimizer", [SGD(), Adam(), Adam(0.5, 0.9, 1e-4)], ids=repr)
@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
def test_engines_follow_the_same_trajectory(
    native: None, dtype: str, readout: str, output: tuple[str, str], optimizer: Any, clipping: Any
) -> None:
    case = make([Elman(6), Elman(5, "sigmoid")], readout, N=6, O=3, output=output)
    ends = []
    for engine in ("numpy", "native"):
        running = case.on(engine, dtype)
        state = optimizer.init(len(case.vector), running.dtype)
        report = running.engine.train_updates(running.plan, updates_of(running, 20), optimizer, state, clipping)
        assert report.applied == 20
        ends.append((report, running.parameters.vector, state))
    (report, vector, state), (other, other_vector, other_state) = ends
    allowed = 1e-9 if dtype == "float64" else 2e-4
    assert_close(other.losses, report.losses, allowed, "losses")
    assert_close(other.gradient_norms, report.gradient_norms, allowed, "norms")
    assert other.clipped.tolist() == report.clipped.tolist()
    assert report.clipped.any() == (clipping.kind != "none")
    assert_close(other_vector, vector, allowed, "parameters")
    for name in state:
        assert_close(other_state[name], state[name], allowed, name)


def test_fused_updates_are_the_composed_ones(engine: str, dtype: str, readout: str) -> None:
    """`train_updates` against forward, loss, backward, clip and update called one by one, on the same engine."""
    case = make([Elman(7)], readout, N=6)
    fused, composed = case.on(engine, dtype), case.on(engine, dtype)
    updates = updates_of(fused, 6)
    report = fused.engine.train_updates(fused.plan, updates, SGD(), {}, GlobalNorm(0.1))
    for u in range(6):
        chosen = updates.order[3 * u : 3 * u + 3]
        zeros = zero_state(case.specification, 3, composed.dtype)
        run = composed.forward(updates.inputs.select(chosen), zeros)
        loss, d_a = loss_of(case.specification, run.preactivations, updates.targets.select(chosen))
        gradient = composed.engine.backward(composed.plan, run.tape, d_a, zeros).gradient
        size = float(np.sqrt((gradient.astype(np.float64) ** 2).sum()))
        assert_close(report.losses[u], loss, tolerance(dtype))
        assert_close(report.gradient_norms[u], size, tolerance(dtype))
        with composed.parameters.edit():
            composed.parameters.vector[:] -= updates.learning_rates[u] * gradient * min(1, 0.1 / size)
    assert_close(fused.parameters.vector, composed.parameters.vector, tolerance(dtype))


def test_an_update_that_is_not_finite_is_not_applied(engine: str, dtype: str) -> None:
    case = make([Elman(5)], "every", N=6, ragged=False)
    running = case.on(engine, dtype)
    updates = updates_of(running, 5)
    third = int(updates.order[6])
    updates.inputs.array[updates.inputs.starts[third]] = np.inf
    updates.order[:6] = [n for n in range(6) if n != third][:1] * 6
    report = running.engine.train_updates(running.plan, updates, SGD(), {}, NoClipping())
    assert report.applied == 2
    assert len(report.losses) == len(report.gradient_norms) == len(report.clipped) == 3
    assert np.isfinite(report.gradient_norms[:2]).all()
    assert not np.isfinite(report.gradient_norms[2]) or not np.isfinite(report.losses[2])
    after_two = case.on(engine, dtype)
    shorter = Updates(
        updates.inputs, updates.targets, updates.order, updates.boundaries[:3], updates.learning_rates[:2]
    )
    after_two.engine.train_updates(after_two.plan, shorter, SGD(), {}, NoClipping())
    assert_same_bits(running.parameters.vector, after_two.parameters.vector)


def test_same_seed_same_bits(engine: str, dtype: str) -> None:
    case = make([Elman(9)], "every", N=6)
    ends = []
    for _ in range(2):
        running = case.on(engine, dtype)
        state = Adam().init(len(case.vector), running.dtype)
        running.engine.train_updates(running.plan, updates_of(running, 10), Adam(), state, GlobalNorm(1.0))
        ends.append(running.parameters.vector)
    assert_same_bits(*ends)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
def test_huge_preactivations_are_harmless(engine: str, dtype: str, activation: str, output: tuple[str, str]) -> None:
    """±1e4 inside the hidden layer and before the output: finite outputs, losses and gradients, and no warning."""
    case = make([Elman(6, activation)], "every", O=3, output=output, T=1, ragged=False)
    running = case.on(engine, dtype)
    with running.parameters.edit() as p:
        p["layer0.W_x"][:] = 1e4 * np.sign(p["layer0.W_x"])
        scale = 1.0 if activation in ("relu", "linear") else 1e4
        p["readout.W_y"][:] = scale * np.sign(p["readout.W_y"])
    run = running.forward(running.batch(np.sign(case.x)))
    assert np.abs(run.preactivations).max() > 5e3
    targets = random_targets(running, np.random.default_rng(0))
    loss, d_a = loss_of(case.specification, run.preactivations, targets)
    zeros = zero_state(case.specification, case.N, running.dtype)
    gradient = running.engine.backward(running.plan, run.tape, d_a, zeros).gradient
    assert np.isfinite(run.outputs).all()
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    updates = Updates(running.batch(np.sign(case.x)), targets, np.arange(4), np.array([0, 4]), np.array([1e-6]))
    report = running.engine.train_updates(running.plan, updates, SGD(), {}, NoClipping())
    assert report.applied == 1
