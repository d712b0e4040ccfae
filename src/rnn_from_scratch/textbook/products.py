"""What all cells share: products over all steps at once, views of the rows that run, and arrays to work in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray

__all__ = [
    "FRESH",
    "Room",
    "Workspace",
    "back_through_time",
    "clear_ended",
    "flat",
    "keep_last",
    "over_time",
    "project_gates",
    "through_time",
    "total",
]


class Room:
    """Where the cells get their large arrays: here they are new, and belong to whoever holds them."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
        """An array with anything in it."""
        return np.empty(shape, dtype)


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

    def __init__(self) -> None:
        self._last: dict[str, FloatArray] = {}
        self._whole: dict[str, FloatArray] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
        """The array of this name, cut to shape; larger where it has to be."""
        last = self._last.get(name)
        if last is not None and last.shape == shape:
            return last
        size = int(np.prod(shape))
        whole = self._whole.get(name)
        if whole is None or whole.size < size:
            whole = self._whole[name] = np.empty(size, dtype)
        found = self._last[name] = whole[:size].reshape(shape)
        return found


FRESH = Room()


def through_time(active: Sequence[int], *arrays: FloatArray | None) -> Iterator[tuple[Any, ...]]:
    """Step after step, the rows of each array that run: views (…, active[t], K).

    Arrays are (T, …, N, K); one that is the same at every step is (N, K), or None.

    >>> values = np.arange(6.0).reshape(2, 3, 1)
    >>> [(v.ravel().tolist(), mask) for v, mask in through_time([3, 1], values, None)]
    [([0.0, 1.0, 2.0], None), ([3.0], None)]
    """
    return zip(*(_running(active, values) for values in arrays), strict=True)


def back_through_time(active: Sequence[int], *arrays: FloatArray | None) -> Iterator[tuple[Any, ...]]:
    """The same from the last step to the first."""
    return zip(*(_running(active, values)[::-1] for values in arrays), strict=True)


def _running(active: Sequence[int], values: FloatArray | None) -> list[Any]:
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
    """Zeros in values (T, N, K) where a sequence has ended."""
    if active[-1] < values.shape[1]:
        for rows, n in zip(values, active, strict=True):
            rows[n:] = 0


def flat(values: FloatArray) -> FloatArray:
    """(T, N, K) as rows (T·N, K)."""
    return values.reshape(-1, values.shape[-1])


def project_gates(x: FloatArray, W_x: FloatArray, b_h: FloatArray, out: FloatArray) -> FloatArray:
    """W_x x_t + b_h, what the inputs contribute, for all steps at once and G gates, each by itself: x (T, N, D), W_x (G, H, D), b_h (G, H, 1), out (T, G, N, H) that lies in memory as (G, T, N, H)."""
    T, G, N, H = out.shape
    a = out.swapaxes(0, 1).reshape(G, T * N, H)  # the same memory
    np.matmul(flat(x), W_x.swapaxes(1, 2), out=a)
    a += b_h.swapaxes(1, 2)
    return out


def over_time(d_a: FloatArray, seen: FloatArray) -> FloatArray:
    """d_a (T, N, K) and what its weights saw (T, N, L) give Σ_t d_a_t seen_tᵀ (K, L), summed over the batch as well."""
    return np.matmul(flat(d_a).T, flat(seen))  # where d_a is a part of rows, np.dot would copy it


def total(d_a: FloatArray) -> FloatArray:
    """d_a (T, N, K) gives Σ_t d_a_t (K,), summed over the batch as well: a product with ones, which is faster than a sum."""
    rows = flat(d_a)
    return np.ones(len(rows), rows.dtype).dot(rows)  # type: ignore[no-any-return]
