"""Arrays of every wrong kind at every native entry: a clear Python error or the right answer, never a crash.

Run under AddressSanitizer and UndefinedBehaviorSanitizer, this is where an unchecked index would show.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from properties import given, settings, st
from support import EXACT, assert_close

from rnn_from_scratch import GRU, LSTM, Elman, Network, NetworkSpecification
from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.parameters import Parameters

pytestmark = pytest.mark.usefixtures("native")

D, O, N, T, V = 3, 2, 4, 6, 7  # noqa: E741
NAMES = {"Plan32": np.float32, "Plan64": np.float64}

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


def misaligned(array: np.ndarray) -> np.ndarray:
    room = np.zeros(array.nbytes + 1, np.uint8)
    moved = room[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def strided(array: np.ndarray) -> np.ndarray:
    room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    room[..., ::2] = array
    return room[..., ::2]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


# Each turns a right array into a wrong or at least unusual one.
DAMAGE: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda a: a,
    "misaligned": misaligned,
    "strided": strided,
    "reversed": lambda a: a[::-1],
    "fortran": np.asfortranarray,
    "read-only": read_only,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "longer": lambda a: np.concatenate([a, a]),
    "shorter": lambda a: a[:-1],
    "empty": lambda a: a[:0],
    "wider": lambda a: np.repeat(a, 2, axis=-1),
    "flat": lambda a: a.ravel(),
    "deeper": lambda a: a[None],
    "scalar": lambda a: np.zeros((), a.dtype),
    "int8": lambda a: a.astype(np.int8),
    "other float": lambda a: a.astype(np.float32 if a.dtype == np.float64 else np.float64),
    "complex": lambda a: a.astype(complex),
    "object": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
    "list": lambda a: a.tolist(),
    "None": lambda a: None,
    "number": lambda a: 3,
    "huge": lambda a: np.full_like(a, 2**62) if a.dtype == np.int64 else np.full_like(a, np.inf),
    "negative": lambda a: ~a if a.dtype == bool else -a - 1,
    "zero": np.zeros_like,
    "NaN": lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a,
}

REFUSED = (TypeError, ValueError)
LENGTHS = np.array([6, 2, 5, 1])
REAL = np.arange(T) < LENGTHS[:, None]  # kernels write real steps only; the engine hands them zeros


def vector_of(kind: str, dtype: Any) -> np.ndarray:
    size = Parameters(NETWORKS[kind], np.dtype(dtype)).vector.size
    return np.linspace(-1, 1, size).astype(dtype)


def plan_arguments(name: str, kind: str) -> dict[str, Any]:
    dtype = NAMES[name]
    return native_engine.compiled_arguments(NETWORKS[kind], vector_of(kind, dtype))


def make_plan(name: str, kind: str = "plain", **changes: Any) -> Any:
    return getattr(native_engine._module, name)(**{**plan_arguments(name, kind), **changes})


def state_size(kind: str) -> int:
    return sum(NETWORKS[kind].state_shapes.values())


def input_arrays(kind: str, dtype: Any, generator: np.random.Generator) -> list[Any]:
    """Rows of features, tokens, starts, lengths; of features and tokens one is empty."""
    features = generator.normal(size=(N * T, D)).astype(dtype)
    positions = [np.arange(N) * T, LENGTHS.copy()]
    if kind == "tokens":
        return [features[:0], generator.integers(0, V, N * T), *positions]
    return [features, np.empty(0, np.int64), *positions]


def forward_arguments(kind: str, dtype: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    names, first_steps = (np.array([3, 1, 4, 5]), np.arange(4)) if kind == "wide" else (np.empty(0, np.int64),) * 2
    return {
        "inputs": input_arrays(kind, dtype, generator),
        "steps": [T],
        "dropout": [7, 2, names, first_steps],
        "state": [generator.normal(size=(N, state_size(kind))).astype(dtype)],
        "outputs": [np.zeros((N, T, O), dtype)],
        "preactivations": [np.zeros((N, T, O), dtype)],
        "final_state": [np.zeros((N, state_size(kind)), dtype)],
        "keep_tape": [True],
    }


def backward_arguments(kind: str, dtype: Any) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    return {
        "steps": [T],
        "d_preactivations": [generator.normal(size=(N, T, O)).astype(dtype)],
        "d_final_state": [generator.normal(size=(N, state_size(kind))).astype(dtype)],
        "gradient": [np.zeros_like(vector_of(kind, dtype))],
        "d_inputs": [np.zeros((N, T, D), dtype)],
        "d_state": [np.zeros((N, state_size(kind)), dtype)],
    }


def train_arguments(kind: str, dtype: Any) -> dict[str, list[Any]]:
    generator = np.random.default_rng(2)
    P = vector_of(kind, dtype).size
    targets = np.abs(generator.normal(size=(N * T, O))).astype(dtype)
    return {
        "inputs": input_arrays(kind, dtype, generator),
        "targets": [targets, np.arange(N) * T, np.ones(N * T, dtype)],
        "updates": [np.array([2, 0, 1, 3, 3]), np.array([0, 2, 5]), np.full(2, 0.1), np.array([4, 5])],
        "dropout_key": [11],
        "carried": [np.array([0, 1, 1, 0]), np.array([0, 0, 3, 3]), np.zeros((2, state_size(kind)), dtype)],
        "optimizer": [
            *(3, 0.9, 0.999, 1e-8, 0.01, False),
            *(np.zeros(P, dtype), np.zeros(P, dtype), np.zeros(1, np.int64)),
        ],
        "regularization": [0.01, np.arange(len(NETWORKS[kind].tensors())) == 1],
        "clipping": [1, 5.0],
        "report": [np.zeros(2), np.zeros(2), np.zeros(2, bool)],
    }


def call(function: Callable[..., Any], arguments: dict[str, list[Any]]) -> Any:
    """Groups of several are tuples, single ones are themselves."""
    return function(**{key: value[0] if len(value) == 1 else tuple(value) for key, value in arguments.items()})


def damaged(arguments: dict[str, list[Any]], data: st.DataObject) -> tuple[str, int, str]:
    """Does some damage to one argument; which group and place, and what kind."""
    group = data.draw(st.sampled_from(list(arguments)))
    index = data.draw(st.integers(0, len(arguments[group]) - 1))
    damage = data.draw(st.sampled_from(list(DAMAGE)))
    if isinstance(arguments[group][index], np.ndarray):
        arguments[group][index] = DAMAGE[damage](arguments[group][index])
    return group, index, damage


KINDS = st.sampled_from(list(NETWORKS))
PLANS = st.sampled_from(list(NAMES))


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
        plan = make_plan(name, kind, parameters=DAMAGE[damage](vector_of(kind, NAMES[name])))
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
        make_plan(name, layers=layers, outputs=outputs, vocabulary=vocabulary, words=words, dropout=dropout)


def test_stacks_that_do_not_fit_are_refused() -> None:
    right = plan_arguments("Plan64", "wide")["layers"]
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
            make_plan("Plan64", "wide", layers=wrong)


@given(PLANS, KINDS, st.data())
@settings(max_examples=600)
def test_forward(name: str, kind: str, data: st.DataObject) -> None:
    right, wrong = forward_arguments(kind, NAMES[name]), forward_arguments(kind, NAMES[name])
    call(make_plan(name, kind).forward, right)
    group, index, damage = damaged(wrong, data)
    try:
        tape = call(make_plan(name, kind).forward, wrong)
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    assert tape is not None
    is_output = group in ("outputs", "preactivations", "final_state")
    if is_output or same_numbers(wrong[group][index], right[group][index]):
        assert_close(wrong["outputs"][0][REAL], right["outputs"][0][REAL], EXACT)
        assert_close(wrong["final_state"][0], right["final_state"][0], EXACT)


@given(PLANS, KINDS, st.data())
@settings(max_examples=400)
def test_backward(name: str, kind: str, data: st.DataObject) -> None:
    plan = make_plan(name, kind)
    tape = call(plan.forward, forward_arguments(kind, NAMES[name]))
    right, wrong = backward_arguments(kind, NAMES[name]), backward_arguments(kind, NAMES[name])
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
        assert_close(wrong["d_inputs"][0][REAL], right["d_inputs"][0][REAL], EXACT)


@given(PLANS, KINDS, st.data())
@settings(max_examples=800)
def test_train_updates(name: str, kind: str, data: st.DataObject) -> None:
    right, wrong = train_arguments(kind, NAMES[name]), train_arguments(kind, NAMES[name])
    vectors = [vector_of(kind, NAMES[name]) for _ in range(2)]
    assert call(make_plan(name, kind, parameters=vectors[0]).train_updates, right) == (2, 2)
    group, index, damage = damaged(wrong, data)
    try:
        call(make_plan(name, kind, parameters=vectors[1]).train_updates, wrong)
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    if group == "report" or same_numbers(wrong[group][index], right[group][index]):
        assert_close(vectors[1], vectors[0], EXACT)


@given(st.lists(st.integers(-3, 8), max_size=6), st.lists(st.integers(-3, 8), max_size=5), KINDS)
@settings(max_examples=200)
def test_orders_and_boundaries_stay_inside(order: list[int], boundaries: list[int], kind: str) -> None:
    arguments = train_arguments(kind, np.float64)
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
        assert call(make_plan("Plan64", kind).train_updates, arguments) == (updates, updates)
    else:
        with pytest.raises(REFUSED):
            call(make_plan("Plan64", kind).train_updates, arguments)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, N * T - 1))
def test_tokens_outside_the_vocabulary_are_refused_where_they_are_read(token: int, place: int) -> None:
    read = bool(REAL.ravel()[place])
    for make, method in ((forward_arguments, "forward"), (train_arguments, "train_updates")):
        arguments = make("tokens", np.float64)
        arguments["inputs"][1][place] = token
        function = getattr(make_plan("Plan64", "tokens"), method)
        if read and not 0 <= token < V:
            with pytest.raises(ValueError, match="vocabulary"):
                call(function, arguments)
        else:
            call(function, arguments)


def test_a_tape_of_another_network_or_precision_is_refused() -> None:
    tape = call(make_plan("Plan64").forward, forward_arguments("plain", np.float64))
    with pytest.raises(TypeError):
        call(lambda **rest: make_plan("Plan32").backward(tape, **rest), backward_arguments("plain", np.float32))
    with pytest.raises(ValueError, match="tape"):
        call(lambda **rest: make_plan("Plan64", "wide").backward(tape, **rest), backward_arguments("wide", np.float64))


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


class Holder:
    """What has the version of the parameters."""

    version = 0


def rows_of(kind: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    generator = np.random.default_rng(3)
    return generator.integers(0, V, shape) if kind == "tokens" else generator.normal(size=(*shape, D)).astype(dtype)


@given(PLANS, KINDS, st.sampled_from(["x", "out"]), st.sampled_from(list(DAMAGE)), st.booleans())
@settings(max_examples=400)
def test_steppers(name: str, kind: str, which: str, damage: str, alone: bool) -> None:
    """A step on what is right; on everything else None, and nothing has changed."""
    dtype, streams = NAMES[name], () if alone else (N,)
    plan = make_plan(name, kind, version=Holder.version)
    stepper = plan.stepper(Holder(), *streams)
    arguments = {"x": rows_of(kind, streams, dtype), "out": np.zeros((*streams, O), dtype)}
    if kind == "tokens" and alone:
        arguments["x"] = int(arguments["x"])
    expected = stepper(arguments["x"], None)
    before, after = (np.zeros((1 if alone else N, state_size(kind)), dtype) for _ in range(2))
    assert expected.shape == (*streams, O)
    assert expected.dtype == dtype
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
    stepper = make_plan(name, kind, version=Holder.version).stepper(Holder(), N)
    state = np.random.default_rng(0).normal(size=(N, state_size(kind))).astype(NAMES[name])
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
    dtype = NAMES[name]
    predictor = make_plan(name, kind, version=Holder.version).predictor(Holder())
    X = rows_of(kind, (count, steps), dtype)
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
    plan = make_plan("Plan64", version=Holder.version)
    stepper, predictor, x = plan.stepper(Holder(), N), plan.predictor(Holder()), rows_of("plain", (N,), np.float64)
    for wrong in (lambda: stepper(x), lambda: stepper(x, None, 1), lambda: predictor(), lambda: predictor(X=x)):
        with pytest.raises(TypeError, match=r"a (stepper|predictor) takes [12] arguments by position"):
            wrong()
    with pytest.raises(TypeError):
        type(stepper)()
    with pytest.raises(AttributeError):
        plan.stepper(object(), N)(x, None)  # nobody has a version
    with pytest.raises(ValueError, match="possible size"):
        plan.stepper(Holder(), 0)
    stale = make_plan("Plan64", version=Holder.version + 1)
    assert stale.stepper(Holder(), N)(x, None) is None
    assert stale.predictor(Holder())(x[None]) is None
    stale.refresh(Holder.version)
    assert stale.predictor(Holder())(x[None]) is not None


def test_positions_are_not_read_again_after_kernels_have_written() -> None:
    """An index array that shares memory with a report: what was checked is what is used."""
    arguments = train_arguments("plain", np.float64)
    room = np.zeros(4)
    starts = room.view(np.int64)
    starts[:] = np.arange(N) * T
    arguments["inputs"][2] = starts
    arguments["carried"] = [np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 5))]
    arguments["report"][0] = room[:2]
    assert call(make_plan("Plan64").train_updates, arguments) == (2, 2)


def test_sizes_whose_products_overflow_are_refused() -> None:
    for outputs in (2**62, 2**63 - 1, 2**24 + 1):
        with pytest.raises(ValueError, match="possible size"):
            make_plan("Plan64", outputs=outputs, parameters=np.zeros(15))
