"""What all cells share: products over all steps at once, views of the rows that run, and arrays to work in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, Tensors

__all__ = [
    "FRESH",
    "BriefWorkspaces",
    "Room",
    "Workspace",
    "back_through_time",
    "clear_ended",
    "flat",
    "keep_last",
    "lasting",
    "on_cache_lines",
    "over_time",
    "project_gates",
    "rows_to_see",
    "running",
    "side_by_side",
    "stretches",
    "taken_apart",
    "through_time",
    "times",
    "total",
    "transposed_times",
]


CACHE_LINE = 64
"""Bytes."""
MOST_NUMBERS, MOST_WORK = 1 << 20, 1 << 28
"""Numbers that one operation makes, and multiplications of one product, at most: Python answers Ctrl-C between operations."""
MOST_STEPS = 1024
"""A longer run does not feel what its views cost to make, and would feel what they cost to keep."""


class Rows(NamedTuple):
    """An array (T + 1, N, H + D + 1) that has room for a state more than there are steps, and its parts."""

    seen: FloatArray  # (T, N, H + D + 1)
    h: FloatArray  # (T + 1, N, H)
    x: FloatArray  # (T, N, D)


class Room:
    """Where the cells get their large arrays: here they are new, and belong to whoever holds them.

    Attributes
    ----------
    given : mapping of str to ndarray
        Arrays that somebody else has made, and wants used under these names.
    """

    given: Mapping[str, FloatArray] = MappingProxyType({})

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
        """An array with anything in it."""
        return np.empty(shape, dtype)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
        """An array of zeros, of which those that nobody overwrites stay."""
        return np.zeros(shape, dtype)

    def rows(self, shape: tuple[int, ...], H: int, dtype: np.dtype[Any]) -> Rows:
        """Rows [h, x, 1], whose ones are there and overwritten by nobody."""
        rows = self.empty("rows", shape, dtype)
        rows[..., -1] = 1
        return Rows(rows[:-1], rows[:, :, :H], rows[:-1, :, H:-1])

    def steps(self, name: str, active: Sequence[int], *arrays: FloatArray | None) -> list[tuple[Any, ...]]:
        """`through_time` for arrays that all come from here."""
        return through_time(active, *arrays)

    def weights(self, name: str, make: Callable[[], FloatArray]) -> FloatArray:
        """Parameters as products want them."""
        return on_cache_lines(make())


class Workspace(Room):
    """The same arrays again for the same names: an update of training needs nothing of the one before.

    New arrays of some size come as untouched pages from the operating system, and the first touch of each costs more than
    the arithmetic on it.

    >>> workspace = Workspace()
    >>> a = workspace.empty("a", (2, 3), np.dtype(np.float32))
    >>> b = workspace.empty("a", (2, 2), np.dtype(np.float32))
    >>> b.shape, np.shares_memory(a, b)
    ((2, 2), True)
    """

    def __init__(self, given: Mapping[str, FloatArray] = Room.given) -> None:
        self.given = given
        self._last: dict[str, FloatArray] = dict(given)
        self._whole: dict[str, FloatArray] = {}
        self._zeros: dict[str, FloatArray] = {}
        self._steps: dict[str, list[tuple[Any, ...]]] = {}
        self._rows: tuple[tuple[int, ...], Rows] | None = None

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
        """The array of this name, cut to shape; larger where it has to be."""
        last = self._last.get(name)
        if last is not None and last.shape == shape:
            return last
        size = int(np.prod(shape))
        whole = self._whole.get(name)
        if whole is None or whole.size < size:
            whole = self._whole[name] = np.empty(size, dtype)
        self._steps.clear()  # they look at the array that goes; first of all, for Ctrl-C may come between two lines
        found = self._last[name] = whole[:size].reshape(shape)
        return found

    def zeros(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
        """The array of this name as it was left; a new one for another shape."""
        last = self._zeros.get(name)
        if last is None or last.shape != shape:
            self._steps.clear()
            last = self._zeros[name] = np.zeros(shape, dtype)
        return last

    def rows(self, shape: tuple[int, ...], H: int, dtype: np.dtype[Any]) -> Rows:
        """The same rows again, with the same ones."""
        if self._rows is None or self._rows[0] != shape:
            self._rows = None  # Ctrl-C may come before the ones are there
            self._rows = shape, super().rows(shape, H, dtype)
        return self._rows[1]

    def weights(self, name: str, make: Callable[[], FloatArray]) -> FloatArray:
        """As they are: an update takes longer to turn them round than it gains."""
        given = self.given.get(name)
        return make() if given is None else given

    def steps(self, name: str, active: Sequence[int], *arrays: FloatArray | None) -> list[tuple[Any, ...]]:
        """The same views again, by name, as long as the arrays are the same: making one takes a third of a small product."""
        if active[-1] < active[0] or len(active) > MOST_STEPS:
            return super().steps(name, active, *arrays)
        found = self._steps.get(name)
        if found is None:
            found = self._steps[name] = super().steps(name, active, *arrays)
        return found


class BriefWorkspace(Workspace):
    """A workspace that knows the weights of the last run."""

    def __init__(self) -> None:
        super().__init__()
        self._version = -1
        self._weights: dict[str, FloatArray] = {}

    def at(self, version: int) -> BriefWorkspace:
        """The same for parameters of this version."""
        if version != self._version:
            self._weights.clear()  # first, for Ctrl-C may come between two lines
            self._version = version
        return self

    def weights(self, name: str, make: Callable[[], FloatArray]) -> FloatArray:
        found = self._weights.get(name)
        if found is None:
            found = self._weights[name] = Room.weights(self, name, make)
        return found


class BriefWorkspaces(threading.local):
    """One for each thread: several may predict with one network at once."""

    def __init__(self) -> None:
        self.of_thread = BriefWorkspace()


FRESH = Room()


def on_cache_lines(values: FloatArray) -> FloatArray:
    """A contiguous copy that begins where a line of the processor's cache does: products run up to a third faster on it.

    >>> copy = on_cache_lines(np.eye(3)[::-1].T)
    >>> copy.ctypes.data % CACHE_LINE, copy.flags.c_contiguous, copy[0]
    (0, True, array([0., 0., 1.]))
    """
    room = np.empty(values.nbytes + CACHE_LINE, np.uint8)
    first = -room.ctypes.data % CACHE_LINE
    copy: FloatArray = room[first : first + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def through_time(active: Sequence[int], *arrays: FloatArray | None) -> list[tuple[Any, ...]]:
    """Step after step, the rows of each array that run: views (…, active[t], K).

    Arrays are (T, …, N, K); one that is the same at every step is (N, K), or None.

    >>> values = np.arange(6.0).reshape(2, 3, 1)
    >>> [(v.ravel().tolist(), mask) for v, mask in through_time([3, 1], values, None)]
    [([0.0, 1.0, 2.0], None), ([3.0], None)]
    """
    return list(zip(*[running(active, values) for values in arrays], strict=True))


def back_through_time(steps: list[tuple[Any, ...]], active: Sequence[int], *more: FloatArray) -> Iterator[Any]:
    """From the last step to the first: what `through_time` gave, and the running rows of more arrays."""
    return zip(reversed(steps), *[reversed(running(active, values)) for values in more], strict=True)


def lasting(room: Room, mask: FloatArray | None) -> Room:
    """Who gives the steps: without a mask the room, which may know them; a mask is another one in every run."""
    return room if mask is None else FRESH


def running(active: Sequence[int], values: FloatArray | None) -> list[Any]:
    """The rows of one array that run, step after step."""
    if values is None:
        return [None] * len(active)
    steps = list(values) if values.ndim > 2 else [values] * len(active)
    if active[-1] == values.shape[-2]:  # every sequence has all steps: no need to cut
        return steps
    return [rows[..., :n, :] for rows, n in zip(steps, active, strict=True)]


def keep_last(states: FloatArray, active: Sequence[int]) -> None:
    """Rows whose sequence has ended keep their last state: states (T + 1, N, H), where states[t] is that before step t."""
    if active[-1] < states.shape[1]:
        for t, n in enumerate(active):
            states[t + 1, n:] = states[t, n:]


def clear_ended(values: FloatArray, active: Sequence[int]) -> None:
    """Zeros in values (T, …, N, K) where a sequence has ended."""
    if active[-1] < values.shape[-2]:
        for rows, n in zip(values, active, strict=True):
            rows[..., n:, :] = 0


def stretches(numbers: int, *arrays: FloatArray) -> Sequence[tuple[FloatArray, ...]]:
    """Arrays (T, …) for operations on so many numbers each: whole, or in several stretches of time where they are many.

    >>> values = np.arange(3)
    >>> stretches(1000, values)
    ((array([0, 1, 2]),),)
    >>> stretches(2 * MOST_NUMBERS, values, 10 * values)
    [(array([0]), array([0])), (array([1]), array([10])), (array([2]), array([20]))]
    """
    if numbers <= MOST_NUMBERS:
        return (arrays,)
    steps = len(arrays[0])
    return [tuple([values[part] for values in arrays]) for part in _parts(steps, steps * MOST_NUMBERS // numbers)]


def _parts(length: int, at_once: int) -> list[slice]:
    at_once = max(at_once, 1)
    return [slice(first, first + at_once) for first in range(0, length, at_once)]


def times(rows: FloatArray, W: FloatArray) -> FloatArray:
    """rows (M, K) and W (K, L) give their product (M, L)."""
    if rows.size * W.shape[1] <= MOST_WORK:
        return rows.dot(W)  # type: ignore[no-any-return]
    found = np.empty((len(rows), W.shape[1]), rows.dtype)
    for part in _parts(len(rows), MOST_WORK // W.size):
        rows[part].dot(W, found[part])
    return found


def transposed_times(a: FloatArray, b: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """a (M, K) and b (M, L) give Σ_m a_m b_mᵀ (K, L)."""
    product = np.ndarray.dot if a.flags.c_contiguous else np.matmul  # of a part of longer rows, dot would make a copy
    if a.size * b.shape[1] <= MOST_WORK:
        return product(a.T, b, out)
    found = np.empty((a.shape[1], b.shape[1]), a.dtype) if out is None else out
    found.fill(0)
    for part in _parts(len(a), MOST_WORK // found.size):
        found += product(a[part].T, b[part])
    return found


def flat(values: FloatArray) -> FloatArray:
    """(T, N, K) as rows (T·N, K)."""
    return values.reshape(-1, values.shape[-1])


def project_gates(x: FloatArray, W_x: FloatArray, b_h: FloatArray, out: FloatArray) -> FloatArray:
    """W_x x_t + b_h for G gates, each by itself: x (T, N, D), W_x (G, H, D) and b_h (G, H, 1) give out (T, G, N, H)."""
    W_T, b_T = W_x.swapaxes(1, 2), b_h.swapaxes(1, 2)
    for some, gates in stretches(max(out.size, x.size), x, out):
        np.matmul(some[:, None], W_T, out=gates)
        gates += b_T
    return out


def side_by_side(p: Tensors) -> FloatArray:
    """[W_h, W_x, b_h] (G·H, H + D + 1), whose product with [h_{t-1}, x_t, 1] is the whole pre-activation of step t."""
    return np.concatenate([p["W_h"], p["W_x"], p["b_h"][:, None]], axis=1)


def taken_apart(d_W: FloatArray, H: int) -> dict[str, FloatArray]:
    """The gradient of `side_by_side` as those of its parts."""
    return {"W_h": d_W[:, :H], "W_x": d_W[:, H:-1], "b_h": d_W[:, -1]}


def rows_to_see(
    x: FloatArray, state: FloatArray, mask: FloatArray | None, room: Room
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Room for what the weights see at each step, for every h, and for m ⊙ h where there is a mask.

    Returns
    -------
    seen : ndarray (T, N, H + D + 1)
        [m ⊙ h_{t-1}, x_t, 1]: x and 1 are there, of the states only the first.
    h : ndarray (T + 1, N, H)
        h[t] is the state before step t, and so far only the first is there. Without a mask this is a part of `seen`, so that
        a state is where the next step looks for it.
    masked : None or ndarray (T, N, H)
        Where the next step looks for m ⊙ h_t.
    """
    (T, N, D), H = x.shape, state.shape[1]
    shape = (T + 1, N, H + D + 1)
    if mask is None:
        found = room.rows(shape, H, x.dtype)
        found.x[...], found.h[0] = x, state
        return found.seen, found.h, None
    rows = room.empty("masked rows", shape, x.dtype)
    rows[:T, :, H:-1], rows[:, :, -1], states = x, 1, rows[:, :, :H]  # the ones of ended rows become zeros
    h = room.empty("h", (T + 1, N, H), x.dtype)
    h[0] = state
    np.multiply(state, mask, states[0])
    return rows[:T], h, states[1:]


def over_time(d_a: FloatArray, seen: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """d_a (T, N, K) and what its weights saw (T, N, L) give Σ_t d_a_t seen_tᵀ (K, L), summed over the batch as well."""
    return transposed_times(flat(d_a), flat(seen), out)


def total(d_a: FloatArray) -> FloatArray:
    """d_a (T, N, K) gives Σ_t d_a_t (K,), summed over the batch as well: a product with ones, which is faster than a sum."""
    rows = flat(d_a)
    return times(np.ones((1, len(rows)), rows.dtype), rows)[0]  # type: ignore[no-any-return]
