"""Arrays of every wrong kind at every native entry: a clear Python error or the right answer, never a crash.

Run under AddressSanitizer and UndefinedBehaviorSanitizer, this is where an unchecked index would show.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from native_calls import DAMAGE, PRECISIONS, REFUSED, Calls, Holder, call
from properties import given, settings, st
from support import EXACT, assert_close

from rnn_from_scratch import GRU, LSTM, Elman, Network, NetworkSpecification

pytestmark = pytest.mark.usefixtures("native")

D, O, N, T, V = 3, 2, 4, 6, 7  # noqa: E741

NETWORKS = {
    "plain": NetworkSpecification(D, [Elman(5)], O),
    "wide": NetworkSpecification(
        D,
        [GRU(3, bidirectional=True, input_dropout=0.3), LSTM(5, learned_state=True, recurrent_dropout=0.2)],
        O,
        output_activation="softmax",
        loss="ce",
        dropout=0.4,
    ),
    "tokens": NetworkSpecification(D, [GRU(4, reset="before")], O, loss="huber", vocabulary_size=V),
}


LENGTHS = (6, 2, 5, 1)


def calls(name: str, kind: str) -> Calls:
    return Calls(name, NETWORKS[kind], LENGTHS, T)


def damaged(arguments: dict[str, list[Any]], data: st.DataObject) -> tuple[str, int, str]:
    """Does some damage to one argument; which group and place, and what kind."""
    group = data.draw(st.sampled_from(list(arguments)))
    index = data.draw(st.integers(0, len(arguments[group]) - 1))
    damage = data.draw(st.sampled_from(list(DAMAGE)))
    if isinstance(arguments[group][index], np.ndarray):
        arguments[group][index] = DAMAGE[damage](arguments[group][index])
    return group, index, damage


KINDS = st.sampled_from(list(NETWORKS))
PLANS = st.sampled_from(list(PRECISIONS))


def same_numbers(a: Any, b: Any) -> bool:
    """Whether a damaged array still says the same, so that an accepted call must give the right answer."""
    try:
        return bool(np.array_equal(np.asarray(a), np.asarray(b))) and np.shape(a) == np.shape(b)
    except (TypeError, ValueError):
        return False


@given(PLANS, KINDS, st.sampled_from(list(DAMAGE)))
@settings(max_examples=200)
def test_parameters(name: str, kind: str, damage: str) -> None:
    try:
        right = calls(name, kind)
        plan = right.plan(parameters=DAMAGE[damage](right.vector()))
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
    else:
        plan.refresh()
        assert damage in ("as it is", "fortran", "flat", "huge", "negative", "zero", "NaN")


SIZES = st.integers(-3, 2**62)
CODES = st.integers(-2, 5)


@given(
    PLANS,
    st.lists(
        st.tuples(CODES, CODES, SIZES, SIZES, CODES, st.booleans(), st.booleans(), st.floats(), st.floats()), max_size=3
    ),
    SIZES,
    SIZES,
    st.tuples(CODES, CODES, CODES),
    st.floats(),
)
def test_shapes_of_networks(name: str, layers: Any, outputs: int, vocabulary: int, words: Any, dropout: float) -> None:
    with pytest.raises(REFUSED):
        calls(name, "plain").plan(layers=layers, outputs=outputs, vocabulary=vocabulary, words=words, dropout=dropout)


def test_stacks_that_do_not_fit_are_refused() -> None:
    right = calls("Plan64", "wide").plan_arguments()["layers"]
    forward, reverse, above = right
    for wrong in (
        [reverse, forward, above],
        [forward, reverse, reverse, above],
        [forward, above],
        [above, forward, reverse],
        [forward, reverse, (*above[:4], 2, *above[5:])],
        [forward, (*reverse[:3], 4, *reverse[4:]), above],
        [],
    ):
        with pytest.raises(ValueError, match=r"layer|twin"):
            calls("Plan64", "wide").plan(layers=wrong)


@given(PLANS, KINDS, st.data())
@settings(max_examples=600)
def test_forward(name: str, kind: str, data: st.DataObject) -> None:
    made = calls(name, kind)
    right, wrong = made.forward(), made.forward()
    call(made.plan().forward, right)
    group, index, damage = damaged(wrong, data)
    try:
        tape = call(made.plan().forward, wrong)
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    assert tape is not None
    is_output = group in ("outputs", "preactivations", "final_state")
    if is_output or same_numbers(wrong[group][index], right[group][index]):
        assert_close(wrong["outputs"][0][made.real], right["outputs"][0][made.real], EXACT)
        assert_close(wrong["final_state"][0], right["final_state"][0], EXACT)


@given(PLANS, KINDS, st.data())
@settings(max_examples=400)
def test_backward(name: str, kind: str, data: st.DataObject) -> None:
    made = calls(name, kind)
    plan = made.plan()
    tape = call(plan.forward, made.forward())
    right, wrong = made.backward(), made.backward()
    call(lambda **rest: plan.backward(tape, **rest), right)
    group, index, damage = damaged(wrong, data)
    try:
        call(lambda **rest: plan.backward(tape, **rest), wrong)
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    if group in ("gradient", "d_inputs", "d_state") or same_numbers(wrong[group][index], right[group][index]):
        assert_close(wrong["gradient"][0], right["gradient"][0], EXACT)
        assert_close(wrong["d_inputs"][0][made.real], right["d_inputs"][0][made.real], EXACT)


@given(PLANS, KINDS, st.data())
@settings(max_examples=800)
def test_train_updates(name: str, kind: str, data: st.DataObject) -> None:
    made = calls(name, kind)
    right, wrong = made.train_updates(), made.train_updates()
    vectors = [made.vector() for _ in range(2)]
    assert call(made.plan(parameters=vectors[0]).train_updates, right) == (2, 2)
    group, index, damage = damaged(wrong, data)
    try:
        call(made.plan(parameters=vectors[1]).train_updates, wrong)
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    if group == "report" or same_numbers(wrong[group][index], right[group][index]):
        assert_close(vectors[1], vectors[0], EXACT)


@given(st.lists(st.integers(-3, 8), max_size=6), st.lists(st.integers(-3, 8), max_size=5), KINDS)
@settings(max_examples=200)
def test_orders_and_boundaries_stay_inside(order: list[int], boundaries: list[int], kind: str) -> None:
    arguments = calls("Plan64", kind).train_updates()
    updates = max(len(boundaries) - 1, 0)
    epochs = np.zeros(updates, np.int64)
    arguments["updates"] = [np.array(order, np.int64), np.array(boundaries, np.int64), np.full(updates, 0.01), epochs]
    arguments["report"] = [np.zeros(updates), np.zeros(updates), np.zeros(updates, bool)]
    rising = bool(boundaries) and all(a < b for a, b in itertools.pairwise(boundaries))
    visited = order[boundaries[0] : boundaries[-1]] if updates and boundaries[0] >= 0 else []
    valid = rising and (
        updates == 0 or (boundaries[0] >= 0 and boundaries[-1] <= len(order) and all(0 <= n < N for n in visited))
    )
    if valid:
        assert call(calls("Plan64", kind).plan().train_updates, arguments) == (updates, updates)
    else:
        with pytest.raises(REFUSED):
            call(calls("Plan64", kind).plan().train_updates, arguments)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, N * T - 1))
def test_tokens_outside_the_vocabulary_are_refused_where_they_are_read(token: int, place: int) -> None:
    made = calls("Plan64", "tokens")
    read = bool(made.real.ravel()[place])
    for method in ("forward", "train_updates"):
        arguments = getattr(made, method)()
        arguments["inputs"][1][place] = token
        function = getattr(made.plan(), method)
        if read and not 0 <= token < V:
            with pytest.raises(ValueError, match="vocabulary"):
                call(function, arguments)
        else:
            call(function, arguments)


def test_a_tape_of_another_network_or_precision_is_refused() -> None:
    right, single, wide = calls("Plan64", "plain"), calls("Plan32", "plain"), calls("Plan64", "wide")
    tape = call(right.plan().forward, right.forward())
    with pytest.raises(TypeError):
        call(lambda **rest: single.plan().backward(tape, **rest), single.backward())
    with pytest.raises(ValueError, match="tape"):
        call(lambda **rest: wide.plan().backward(tape, **rest), wide.backward())


@given(st.sampled_from(["float32", "float64"]), st.sampled_from(list(DAMAGE)), st.booleans())
@settings(max_examples=200)
def test_public_calls(dtype: str, damage: str, ragged: bool) -> None:
    """`predict` and `fit` take any array that says the same, and refuse the rest in words."""
    X = np.random.default_rng(0).normal(size=(N, T, D)).astype(dtype)
    lengths = LENGTHS if ragged else None
    network = Network(D, [Elman(5)], O, dtype=dtype, random_state=0, engine="native")
    expected = network.predict(X, lengths=lengths)
    X_damaged = DAMAGE[damage](X)
    try:
        outputs = network.predict(X_damaged, lengths=lengths)
        network.fit(X_damaged, np.zeros((N, T, O)), 1, lengths=lengths)
    except REFUSED as error:
        assert any(word in str(error) for word in ("X", "lengths", "y must"))
        assert damage != "as it is"
        return
    if same_numbers(X_damaged, X):
        assert_close(outputs, expected, EXACT if dtype == "float64" else 1e-6)


@given(PLANS, KINDS, st.sampled_from(["x", "out"]), st.sampled_from(list(DAMAGE)), st.booleans())
@settings(max_examples=400)
def test_steppers(name: str, kind: str, which: str, damage: str, alone: bool) -> None:
    """A step on what is right; on everything else None, and nothing has changed."""
    made, streams = calls(name, kind), () if alone else (N,)
    plan = made.plan(version=Holder.version)
    stepper = plan.stepper(Holder(), *streams)
    arguments = {"x": made.rows(*streams), "out": np.zeros((*streams, O), made.dtype)}
    if kind == "tokens" and alone:
        arguments["x"] = int(arguments["x"])
    expected = stepper(arguments["x"], None)
    before, after = (np.zeros((1 if alone else N, made.state_size), made.dtype) for _ in range(2))
    assert expected.shape == (*streams, O)
    assert expected.dtype == made.dtype
    stepper.write(before)
    if isinstance(arguments[which], np.ndarray):
        arguments[which] = DAMAGE[damage](arguments[which])
    y = stepper(arguments["x"], arguments["out"])
    stepper.read(after)
    if y is None:
        assert damage != "as it is"
        assert not after.any()
        return
    assert after.any()
    assert y.shape == (*streams, O)
    if arguments["out"] is not None:
        assert y is arguments["out"]
    if damage not in ("reversed", "negative", "zero") or which == "out":
        assert_close(y, expected, EXACT if name == "Plan64" else 1e-6)


@given(PLANS, KINDS, st.sampled_from(list(DAMAGE)), st.sampled_from(["write", "read"]))
@settings(max_examples=200)
def test_states_of_steppers(name: str, kind: str, damage: str, method: str) -> None:
    made = calls(name, kind)
    stepper = made.plan(version=Holder.version).stepper(Holder(), N)
    state = made.states(0)
    wrong = DAMAGE[damage](state)
    try:
        getattr(stepper, method)(wrong)
    except ValueError as error:
        assert "state must be a plain array" in str(error)
        assert damage != "as it is"
        return
    after = np.empty_like(state)
    stepper.read(after)
    assert_close(after, wrong, 0.0) if method == "read" or np.isfinite(wrong).all() else None
    assert damage not in ("longer", "wider", "deeper", "list", "misaligned")


@given(PLANS, KINDS, st.sampled_from(list(DAMAGE)), st.integers(0, 5), st.integers(0, 40))
@settings(max_examples=400)
def test_predictors(name: str, kind: str, damage: str, count: int, steps: int) -> None:
    """The outputs of what is right, None for everything else, at any size."""
    made = calls(name, kind)
    predictor = made.plan(version=Holder.version).predictor(Holder())
    X = made.rows(count, steps)
    y = predictor(X)
    if not X.size:
        assert y is None
        return
    assert y.shape == (count, steps, O)
    again = predictor(DAMAGE[damage](X))
    if damage in ("as it is", "read-only"):
        assert again.tobytes() == y.tobytes()
    elif damage in ("misaligned", "byte-swapped", "deeper", "flat", "scalar", "object", "list", "None", "NaN"):
        assert again is None or (damage == "NaN" and kind == "tokens")


def test_fast_calls_mind_their_manners() -> None:
    made = calls("Plan64", "plain")
    plan, x = made.plan(version=Holder.version), made.rows(N)
    stepper, predictor = plan.stepper(Holder(), N), plan.predictor(Holder())
    for wrong in (lambda: stepper(x), lambda: stepper(x, None, 1), lambda: predictor(), lambda: predictor(X=x)):
        with pytest.raises(TypeError, match=r"a (stepper|predictor) takes [12] arguments by position"):
            wrong()
    with pytest.raises(TypeError):
        type(stepper)()
    with pytest.raises(AttributeError):
        plan.stepper(object(), N)(x, None)  # nobody has a version
    with pytest.raises(ValueError, match="possible size"):
        plan.stepper(Holder(), 0)
    stale = made.plan(version=Holder.version + 1)
    assert stale.stepper(Holder(), N)(x, None) is None
    assert stale.predictor(Holder())(x[None]) is None
    stale.refresh(Holder.version)
    assert stale.predictor(Holder())(x[None]) is not None


def test_positions_are_not_read_again_after_kernels_have_written() -> None:
    """An index array that shares memory with a report: what was checked is what is used."""
    made = calls("Plan64", "plain")
    arguments = made.train_updates()
    room = np.zeros(4)
    starts = room.view(np.int64)
    starts[:] = np.arange(N) * T
    arguments["inputs"][2] = starts
    arguments["carried"] = [np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 5))]
    arguments["report"][0] = room[:2]
    assert call(made.plan().train_updates, arguments) == (2, 2)


def test_counts_of_updates_that_would_overflow_are_refused() -> None:
    made = calls("Plan64", "plain")
    for count in (-1, 2**63 - 1):
        arguments = made.train_updates()
        arguments["optimizer"][-1][0] = count
        with pytest.raises(ValueError, match="updates must be a possible count"):
            call(made.plan().train_updates, arguments)


def test_sizes_whose_products_overflow_are_refused() -> None:
    for outputs in (2**62, 2**63 - 1, 2**24 + 1):
        with pytest.raises(ValueError, match="possible size"):
            calls("Plan64", "plain").plan(outputs=outputs, parameters=np.zeros(15))
