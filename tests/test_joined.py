"""Training of an Elman layer and its readout as one matrix: the same updates as by the definition, and only where it can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support import Running, assert_close, assert_same_bits, interrupted_at, random_case

from rnn_from_scratch import GRU, Elman, Network
from rnn_from_scratch.clipping import ByValue, Clipping, GlobalNorm, NoClipping, TensorNorm
from rnn_from_scratch.engines import joined
from rnn_from_scratch.engines.base import Carried, Engine, UpdateReport, UpdateRule, Updates
from rnn_from_scratch.engines.joined import LEAST_EPSILON, JoinedParameters, JoinedPlan
from rnn_from_scratch.engines.numpy_engine import NumpyEngine
from rnn_from_scratch.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.textbook import elman_and_readout, products

WHOLE = NetworkSpecification(3, [Elman(5)], 2)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
LINES = (joined, elman_and_readout, products)


def running(
    layer: Elman, outputs: int = 2, N: int = 4, T: int = 5, seed: int = 0, dtype: Any = FLOAT64, **words: Any
) -> Running:
    """Sequences that all have T steps, with random weights and biases."""
    case = random_case(np.random.default_rng(seed), [layer], N=N, T=T, D=3, O=outputs, ragged=False, **words)
    return Running(case, NumpyEngine(), dtype)


def trained(run: Running, updates: Updates, rule: UpdateRule, by_definition: bool) -> tuple[Any, UpdateReport]:
    """The parameters and what the optimiser remembers after the updates, and the report."""
    parameters = Parameters(run.case.specification, run.dtype)
    parameters.vector[:] = run.case.vector
    state = rule.optimizer.init(parameters.vector.size, run.dtype)
    plan = run.engine.plan(run.case.specification, parameters)
    train = Engine.train_updates if by_definition else NumpyEngine.train_updates
    report = train(run.engine, plan, updates, rule, state)
    return (parameters.vector, *state.values()), report


def assert_same_training(run: Running, updates: Updates, rule: UpdateRule) -> UpdateReport:
    """All numbers of the two ways agree, and training moved the parameters."""
    tolerance = 1e-11 if run.dtype == FLOAT64 else 1e-4
    found, report = trained(run, updates, rule, by_definition=False)
    expected, expected_report = trained(run, updates, rule, by_definition=True)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, tolerance)
    for a, b in zip(report[:2], expected_report[:2], strict=True):
        assert_close(a, b, tolerance)
    assert_same_bits(report.clipped, expected_report.clipped)
    assert report.applied == expected_report.applied == len(updates)
    assert np.abs(found[0] - run.case.vector).max() > 1e-4
    return report


@pytest.fixture
def joined_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of sequences of every forward run on a joined plan."""
    runs: list[int] = []
    forward = JoinedPlan.forward

    def counted(plan: JoinedPlan, batch: Any, state: Any) -> Any:
        runs.append(len(batch))
        return forward(plan, batch, state)

    monkeypatch.setattr(JoinedPlan, "forward", counted)
    return runs


def test_the_numbers_are_those_of_the_original() -> None:
    original, joined = Parameters(WHOLE, FLOAT64), JoinedParameters(WHOLE, FLOAT64)
    original.vector[:] = np.arange(1.0, original.vector.size + 1)
    before = original.vector.copy()
    state = Adam().init(before.size, before.dtype)
    state["m"][:], state["v"][:], state["updates"][0] = -before, 2 * before, 9
    with joined.in_place_of(original, state) as own:
        M = joined.matrix(joined.vector)  # (5 + 3 + 1, 8): one column more than there are units and outputs
        p = original.views
        assert_same_bits(M[:5], np.hstack([p["layer0.W_h"].T, p["readout.W_y"].T, np.zeros((5, 1))]))
        assert_same_bits(M[5:8], np.hstack([p["layer0.W_x"].T, np.zeros((3, 3))]))
        assert_same_bits(M[8], np.hstack([p["layer0.b_h"], p["readout.b_y"], [0.0]]))
        assert_same_bits(own["m"], 0.0 - joined.vector)
        joined.vector *= 3
        own["v"] += 1
        own["updates"] += 1
        assert_same_bits(original.vector, before)
    assert_same_bits(original.vector, 3 * before)
    assert_same_bits(state["m"], -before)
    assert_same_bits(state["v"], 2 * before + 1)
    assert state["updates"][0] == 10


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "linear"])
@pytest.mark.parametrize(("hidden", "outputs", "T"), [(1, 1, 1), (5, 2, 5), (7, 1, 4), (9, 8, 3)])
def test_updates_are_those_of_the_definition(
    activation: Any, hidden: int, outputs: int, T: int, joined_runs: list[int]
) -> None:
    run = running(Elman(hidden, activation=activation), outputs, T=T)
    assert_same_training(run, run.updates(6), UpdateRule(SGD(), GlobalNorm(0.5)))
    assert joined_runs == [3] * 6


@pytest.mark.parametrize("clipping", [NoClipping(), GlobalNorm(0.1), ByValue(0.01)])
@pytest.mark.parametrize("optimizer", [SGD(momentum=0.5, nesterov=True), RMSprop(), Adam()])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
def test_whatever_takes_the_gradient_as_one(
    optimizer: Optimizer, clipping: Clipping, dtype: Any, joined_runs: list[int]
) -> None:
    run = running(Elman(6), 3, dtype=dtype)
    report = assert_same_training(run, run.updates(8), UpdateRule(optimizer, clipping))
    assert report.clipped.any() == (clipping.kind != "none")
    assert joined_runs == [3] * 8


def absolute(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """A loss of the user's."""
    return float(np.abs(outputs - targets).sum()), np.sign(outputs - targets)


@pytest.mark.parametrize(
    "output",
    [
        ("sigmoid", "ce"),
        ("softmax", "ce"),
        ("linear", "mae"),
        ("sigmoid", "mse"),
        ("linear", "huber"),
        ("linear", absolute),
    ],
)
def test_every_loss(output: Any, joined_runs: list[int]) -> None:
    run = running(Elman(4), 3, output=output)
    assert_same_training(run, run.updates(5), UpdateRule(SGD(), NoClipping()))
    assert joined_runs == [3] * 5


def test_long_sequences(joined_runs: list[int]) -> None:
    """More steps than views are kept for."""
    run = running(Elman(2), 1, T=products.MOST_STEPS + 1)
    assert_same_training(run, run.updates(2), UpdateRule(SGD(), GlobalNorm(1.0)))
    assert joined_runs == [3] * 2


def test_an_update_that_is_not_finite_is_not_made(joined_runs: list[int]) -> None:
    run = running(Elman(3, activation="linear"), 1)
    updates = replace(run.updates(5), learning_rates=np.array([0.01, 0.01, 1e200, 0.01, 0.01]))
    found, report = trained(run, updates, UpdateRule(SGD(), NoClipping()), by_definition=False)
    expected, expected_report = trained(run, updates, UpdateRule(SGD(), NoClipping()), by_definition=True)
    assert report.applied == expected_report.applied == 3
    assert not np.isfinite(report.losses[3])
    assert np.isfinite(found[0]).all()
    assert_close(found[0] / 1e190, expected[0] / 1e190, 1e-11)
    assert joined_runs == [3] * 4


def test_where_the_matrix_is_zero_it_stays_zero() -> None:
    run = running(Elman(5))
    parameters = Parameters(run.case.specification, run.dtype)
    parameters.vector[:] = run.case.vector
    plan = run.engine.plan(run.case.specification, parameters)
    state = Adam().init(parameters.vector.size, run.dtype)
    NumpyEngine().train_updates(plan, run.updates(6), UpdateRule(Adam(), GlobalNorm(0.1)), state)
    M = plan.joined.parameters.matrix(plan.joined.parameters.vector)
    assert_same_bits(M[5:8, 5:], np.zeros((3, 3)))
    assert_same_bits(M[:, 7:], np.zeros((9, 1)))
    assert np.count_nonzero(M) == parameters.vector.size


def test_an_interruption_at_any_line_leaves_nothing_behind() -> None:
    """Of a plan that has run before, with mini-batches of other sizes."""
    run, rule = running(Elman(3), 1, T=2), UpdateRule(SGD(), NoClipping())
    three = run.updates(1)
    two = replace(three, boundaries=np.array([0, 2]))
    expected, _ = trained(run, three, rule, by_definition=False)
    parameters = Parameters(run.case.specification, run.dtype)
    plan = run.engine.plan(run.case.specification, parameters)
    line = 0
    while True:
        line += 1
        run.engine.train_updates(plan, two, rule, {})
        was = interrupted_at(line, LINES, lambda: run.engine.train_updates(plan, three, rule, {}))
        parameters.vector[:] = run.case.vector
        run.engine.train_updates(plan, three, rule, {})
        assert_same_bits(parameters.vector, expected[0], f"after line {line}")
        if not was:
            break
    assert line > 50


def test_carried_states(joined_runs: list[int]) -> None:
    """Three parts of each of two sequences, one after the other, the second and third from where the one before ended."""
    run = running(Elman(5), N=6)
    order, owners, steps = np.arange(6), np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 5, 5, 10, 10])
    states = []
    for by_definition in (False, True):
        carried = Carried(owners, steps, np.random.default_rng(3).normal(size=(2, 5)))
        updates = replace(run.updates(3), order=order, boundaries=np.array([0, 2, 4, 6]), carried=carried)
        (vector, *_), _ = trained(run, updates, UpdateRule(SGD(), NoClipping()), by_definition)
        states.append((vector, carried.state))
    for found, expected in zip(*states, strict=True):
        assert_close(found, expected, 1e-11)
    assert joined_runs == [2] * 3


@pytest.mark.parametrize(
    "rule",
    [
        UpdateRule(SGD(), TensorNorm(0.1)),
        UpdateRule(AdamW(weight_decay=0.5), NoClipping()),
        UpdateRule(SGD(), NoClipping(), penalty=0.5),
        UpdateRule(SGD(), NoClipping(), frozen=("layer0.W_x",)),
        UpdateRule(Adam(epsilon=LEAST_EPSILON / 2), NoClipping()),  # zero by zero might be divided
    ],
)
def test_what_looks_at_single_tensors_goes_the_long_way(rule: UpdateRule, joined_runs: list[int]) -> None:
    run = running(Elman(5))
    assert_same_training(run, run.updates(4), rule)
    assert joined_runs == []


def test_sequences_of_several_lengths_go_the_long_way(joined_runs: list[int]) -> None:
    run = running(Elman(5))
    updates = run.updates(4)
    lengths = np.array([5, 3, 5, 1])
    ragged = replace(updates, inputs=run.batch(lengths=lengths), targets=replace(updates.targets, lengths=lengths))
    assert_same_training(run, ragged, UpdateRule(SGD(), NoClipping()))
    assert joined_runs == []


@pytest.mark.parametrize(
    "specification",
    [
        NetworkSpecification(3, [GRU(5)], 2),
        NetworkSpecification(3, [Elman(5), Elman(5)], 2),
        NetworkSpecification(3, [Elman(5, bidirectional=True)], 2),
        NetworkSpecification(3, [Elman(5, learned_state=True)], 2),
        NetworkSpecification(3, [Elman(5, input_dropout=0.5)], 2),
        NetworkSpecification(3, [Elman(5, recurrent_dropout=0.5)], 2),
        NetworkSpecification(3, [Elman(5)], 2, readout="last"),
        NetworkSpecification(3, [Elman(5)], 2, readout="mean"),
        NetworkSpecification(3, [Elman(5)], 2, vocabulary_size=7),
        NetworkSpecification(2000, [Elman(16)], 2000),  # sixty times as many zeros as numbers
        NetworkSpecification(1000, [Elman(1)], 1),
    ],
)
def test_only_one_plain_layer_read_at_every_step(specification: NetworkSpecification) -> None:
    assert JoinedPlan.fits(WHOLE)
    assert JoinedPlan.fits(NetworkSpecification(64, [Elman(64)], 64))
    assert not JoinedPlan.fits(specification)


def test_batches_of_all_sizes_leave_nothing_behind(joined_runs: list[int]) -> None:
    """The last mini-batch of each epoch is smaller, and other lengths follow: arrays used again are as good as new ones."""
    rng = np.random.default_rng(5)
    data = [(rng.normal(size=(7, T, 3)), rng.normal(size=(7, T, 2))) for T in (4, 6, 4, 1)]
    words: dict[str, Any] = {"batch_size": 3, "optimizer": "sgd", "learning_rate": 0.1, "shuffle": False}
    kept = Network(3, [Elman(5)], 2, random_state=0, engine="numpy")
    for X, y in data:
        new = Network(3, [Elman(5)], 2, random_state=0, engine="numpy")
        with new.edit_parameters() as p:
            for name, values in kept.parameters.items():
                p[name][...] = values
        kept.fit(X, y, 2, **words)
        new.fit(X, y, 2, **words)
        for name, values in new.parameters.items():
            assert_same_bits(kept.parameters[name], values, name)
    assert joined_runs == [3, 3, 1] * 16


@pytest.mark.parametrize(("limit", "most"), [("MOST_NUMBERS", 3 * 5 * 5), ("MOST_WORK", 3 * 9 * 8)])
def test_large_mini_batches_go_the_long_way(
    limit: str, most: int, joined_runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that Ctrl-C finds a moment between two operations."""
    run = running(Elman(5))
    monkeypatch.setattr(joined, limit, most)
    assert_same_training(run, run.updates(2), UpdateRule(SGD(), NoClipping()))
    assert joined_runs == [3] * 2
    monkeypatch.setattr(joined, limit, most - 1)
    assert_same_training(run, run.updates(2), UpdateRule(SGD(), NoClipping()))
    assert joined_runs == [3] * 2
