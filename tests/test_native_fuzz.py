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

from rnn_from_scratch import Elman, Network
from rnn_from_scratch.engines import native_engine

pytestmark = pytest.mark.usefixtures("native")

D, H, O, N, T = 3, 5, 2, 4, 6  # noqa: E741
P = H * D + H * H + H + O * H + O
NAMES = {"Plan32": np.float32, "Plan64": np.float64}


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


def make_plan(name: str, **changes: Any) -> Any:
    dtype = NAMES[name]
    arguments: dict[str, Any] = {
        "layers": [(0, D, H)],
        "outputs": O,
        "readout": 0,
        "output_activation": 0,
        "loss": 0,
        "parameters": np.linspace(-1, 1, P).astype(dtype),
    }
    return getattr(native_engine._module, name)(**{**arguments, **changes})


def forward_arguments(dtype: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "array": generator.normal(size=(N * T, D)).astype(dtype),
        "starts": np.arange(N) * T,
        "lengths": LENGTHS.copy(),
        "steps": T,
        "state": generator.normal(size=(N, H)).astype(dtype),
        "outputs": np.zeros((N, T, O), dtype),
        "preactivations": np.zeros((N, T, O), dtype),
        "final_state": np.zeros((N, H), dtype),
        "keep_tape": True,
    }


def backward_arguments(dtype: Any) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    return {
        "steps": T,
        "d_preactivations": generator.normal(size=(N, T, O)).astype(dtype),
        "d_final_state": generator.normal(size=(N, H)).astype(dtype),
        "gradient": np.zeros(P, dtype),
        "d_inputs": np.zeros((N, T, D), dtype),
        "d_state": np.zeros((N, H), dtype),
    }


def train_arguments(dtype: Any) -> dict[str, list[Any]]:
    generator = np.random.default_rng(2)
    return {
        "inputs": [generator.normal(size=(N * T, D)).astype(dtype), np.arange(N) * T, LENGTHS.copy()],
        "targets": [generator.normal(size=(N * T, O)).astype(dtype), np.arange(N) * T, np.ones(N * T, dtype)],
        "updates": [np.array([2, 0, 1, 3, 3]), np.array([0, 2, 5]), np.full(2, 0.1)],
        "optimizer": [1, 0.9, 0.999, 1e-8, np.zeros(P, dtype), np.zeros(P, dtype), np.zeros(1, np.int64)],
        "clipping": [1, 5.0],
        "report": [np.zeros(2), np.zeros(2), np.zeros(2, bool)],
    }


def same_numbers(a: Any, b: Any) -> bool:
    """Whether a damaged array still says the same, so that an accepted call must give the right answer."""
    try:
        return bool(np.array_equal(np.asarray(a), np.asarray(b))) and np.shape(a) == np.shape(b)
    except (TypeError, ValueError):
        return False


@given(st.sampled_from(list(NAMES)), st.sampled_from(list(DAMAGE)))
@settings(max_examples=200)
def test_parameters(name: str, damage: str) -> None:
    right = np.linspace(-1, 1, P).astype(NAMES[name])
    try:
        plan = make_plan(name, parameters=DAMAGE[damage](right))
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
    else:
        plan.refresh()
        assert damage in ("as it is", "fortran", "flat", "huge", "negative", "zero", "NaN")


@given(
    st.sampled_from(list(NAMES)),
    st.lists(st.tuples(st.integers(-2, 9), st.integers(-3, 2**62), st.integers(-3, 2**62)), max_size=3),
    st.integers(-3, 2**62),
    st.tuples(st.integers(-2, 5), st.integers(-2, 5), st.integers(-2, 5)),
)
def test_shapes_of_networks(name: str, layers: Any, outputs: int, words: tuple[int, int, int]) -> None:
    readout, output_activation, loss = words
    with pytest.raises(REFUSED):
        make_plan(name, layers=layers, outputs=outputs, readout=readout, output_activation=output_activation, loss=loss)


@given(st.sampled_from(list(NAMES)), st.sampled_from(list(forward_arguments(float))), st.sampled_from(list(DAMAGE)))
@settings(max_examples=400)
def test_forward(name: str, damaged: str, damage: str) -> None:
    dtype = NAMES[name]
    right, wrong = forward_arguments(dtype), forward_arguments(dtype)
    make_plan(name).forward(**right)
    if isinstance(wrong[damaged], np.ndarray):
        wrong[damaged] = DAMAGE[damage](wrong[damaged])
    try:
        tape = make_plan(name).forward(**wrong)
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    assert tape is not None
    is_output = damaged in ("outputs", "preactivations", "final_state")
    if is_output or same_numbers(wrong[damaged], right[damaged]):
        assert_close(wrong["outputs"][REAL], right["outputs"][REAL], EXACT)
        assert_close(wrong["final_state"], right["final_state"], EXACT)


@given(st.sampled_from(list(NAMES)), st.sampled_from(list(backward_arguments(float))), st.sampled_from(list(DAMAGE)))
@settings(max_examples=300)
def test_backward(name: str, damaged: str, damage: str) -> None:
    dtype = NAMES[name]
    plan = make_plan(name)
    tape = plan.forward(**forward_arguments(dtype))
    right, wrong = backward_arguments(dtype), backward_arguments(dtype)
    plan.backward(tape, **right)
    if isinstance(wrong[damaged], np.ndarray):
        wrong[damaged] = DAMAGE[damage](wrong[damaged])
    try:
        plan.backward(tape, **wrong)
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    if damaged in ("gradient", "d_inputs", "d_state") or same_numbers(wrong[damaged], right[damaged]):
        assert_close(wrong["gradient"], right["gradient"], EXACT)
        assert_close(wrong["d_inputs"][REAL], right["d_inputs"][REAL], EXACT)


@given(st.sampled_from(list(NAMES)), st.data())
@settings(max_examples=600)
def test_train_updates(name: str, data: st.DataObject) -> None:
    dtype = NAMES[name]
    right, wrong = train_arguments(dtype), train_arguments(dtype)
    vectors = [np.linspace(-1, 1, P).astype(dtype) for _ in range(2)]
    expected = make_plan(name, parameters=vectors[0]).train_updates(
        **{key: tuple(value) for key, value in right.items()}
    )
    assert expected == (2, 2)
    group = data.draw(st.sampled_from(list(wrong)))
    index = data.draw(st.integers(0, len(wrong[group]) - 1))
    damage = data.draw(st.sampled_from(list(DAMAGE)))
    if isinstance(wrong[group][index], np.ndarray):
        wrong[group][index] = DAMAGE[damage](wrong[group][index])
    try:
        make_plan(name, parameters=vectors[1]).train_updates(**{key: tuple(value) for key, value in wrong.items()})
    except REFUSED as error:
        assert str(error)
        assert damage != "as it is"
        return
    if group == "report" or same_numbers(wrong[group][index], right[group][index]):
        assert_close(vectors[1], vectors[0], EXACT)


@given(st.lists(st.integers(-3, 8), max_size=6), st.lists(st.integers(-3, 8), max_size=5))
@settings(max_examples=200)
def test_orders_and_boundaries_stay_inside(order: list[int], boundaries: list[int]) -> None:
    arguments = train_arguments(np.float64)
    updates = max(len(boundaries) - 1, 0)
    arguments["updates"] = [np.array(order, np.int64), np.array(boundaries, np.int64), np.full(updates, 0.1)]
    arguments["report"] = [np.zeros(updates), np.zeros(updates), np.zeros(updates, bool)]
    rising = bool(boundaries) and all(a < b for a, b in itertools.pairwise(boundaries))
    visited = order[boundaries[0] : boundaries[-1]] if updates and boundaries[0] >= 0 else []
    valid = rising and (
        updates == 0 or (boundaries[0] >= 0 and boundaries[-1] <= len(order) and all(0 <= n < N for n in visited))
    )
    call = {key: tuple(value) for key, value in arguments.items()}
    if valid:
        assert make_plan("Plan64").train_updates(**call) == (updates, updates)
    else:
        with pytest.raises(REFUSED):
            make_plan("Plan64").train_updates(**call)


def test_a_tape_of_another_network_or_precision_is_refused() -> None:
    tape = make_plan("Plan64").forward(**forward_arguments(np.float64))
    with pytest.raises(TypeError):
        make_plan("Plan32").backward(tape, **backward_arguments(np.float32))
    bigger = 2 * H
    parameters = np.zeros(bigger * D + bigger * bigger + bigger + O * bigger + O)
    other = make_plan("Plan64", parameters=parameters, layers=[(0, D, bigger)])
    arguments = backward_arguments(np.float64)
    arguments["gradient"] = np.zeros_like(parameters)
    arguments["d_final_state"] = arguments["d_state"] = np.zeros((N, bigger))
    with pytest.raises(ValueError, match="tape"):
        other.backward(tape, **arguments)


@given(st.sampled_from(["float32", "float64"]), st.sampled_from(list(DAMAGE)), st.booleans())
@settings(max_examples=200)
def test_public_calls(dtype: str, damage: str, ragged: bool) -> None:
    """`predict` and `fit` take any array that says the same, and refuse the rest in words."""
    X = np.random.default_rng(0).normal(size=(N, T, D)).astype(dtype)
    lengths = LENGTHS if ragged else None
    network = Network(D, [Elman(H)], O, dtype=dtype, random_state=0, engine="native")
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


def test_positions_are_not_read_again_after_kernels_have_written() -> None:
    """An index array that shares memory with a report: what was checked is what is used."""
    arguments = train_arguments(np.float64)
    room = np.zeros(4)
    starts = room.view(np.int64)
    starts[:] = np.arange(N) * T
    arguments["inputs"][1] = starts
    arguments["report"][0] = room[:2]
    assert make_plan("Plan64").train_updates(**{key: tuple(value) for key, value in arguments.items()}) == (2, 2)


def test_sizes_whose_products_overflow_are_refused() -> None:
    for outputs in (2**62, 2**63 - 1, 2**24 + 1):
        with pytest.raises(ValueError, match="layers and outputs"):
            make_plan("Plan64", layers=[(0, 1, 3)], outputs=outputs, parameters=np.zeros(15))
