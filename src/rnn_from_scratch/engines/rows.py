"""How the sequences of a batch lie in time-major arrays, and how they get there and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from rnn_from_scratch.alphabet import BoolArray, FloatArray, IndexArray
from rnn_from_scratch.engines.base import active_rows
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.validation import all_finite

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Rows", "few_whole", "rows_of"]

FEW = 1024
"""Steps in all sequences together: with more, nobody feels a question more or less."""

Numbers = TypeVar("Numbers", bound=np.number[Any])


class Rows(NamedTuple):
    """How the sequences of a batch lie in time-major arrays (T, N, …): sorted by falling length."""

    order: IndexArray | None  # (N,): which sequence each row is, or None where they come sorted
    lengths: IndexArray  # (N,), sorted
    active: Sequence[int]  # rows that run at each step
    real: BoolArray | None  # (T, N, 1): True at real steps, or None where all are real
    mirrored: IndexArray | None  # (T, N): the time of each step of a reverse direction, where there is one

    def sort(self, values: npt.NDArray[Numbers]) -> npt.NDArray[Numbers]:
        """(N, …) in the order of the batch, sorted."""
        return values if self.order is None else values[self.order]

    def unsort(self, values: FloatArray) -> FloatArray:
        """(N, …) as the batch has them."""
        if self.order is None:
            return values
        original = np.empty_like(values, order="C")
        original[self.order] = values
        return original

    def reverse(self, values: FloatArray) -> FloatArray:
        """(T, N, …) with every sequence reversed inside its length; past the end everything stays where it is."""
        if self.real is None:
            return values[::-1]
        reversed_: FloatArray = values[self.mirrored, np.arange(values.shape[1])]
        return reversed_

    def without_padding(self, values: FloatArray) -> FloatArray:
        """(T, N, …) with zeros past each sequence's end, whatever stood there."""
        return values if self.real is None else np.where(self.real, values, 0)


def rows_of(batch: Batch, bidirectional: bool) -> Rows:
    """How the rows of a batch lie.

    >>> from rnn_from_scratch.sequences import as_batch
    >>> rows = rows_of(as_batch([[[1.0]], [[2.0], [3.0]]], 1, np.dtype(np.float64)), bidirectional=True)
    >>> rows.order, rows.active, rows.mirrored.T
    (array([1, 0]), [2, 1], array([[1, 0],
           [0, 1]]))
    """
    N, T = len(batch), batch.steps
    if batch.unpadded:
        return _whole_rows(N, T)
    order = np.argsort(-batch.lengths, kind="stable")
    lengths = batch.lengths[order]
    steps = np.arange(T)[:, None]  # (T, 1)
    inside = steps < lengths
    mirrored = np.where(inside, lengths - 1 - steps, steps) if bidirectional else None
    return Rows(order, lengths, active_rows(lengths, T), inside[:, :, None], mirrored)


def few_whole(X: object, features: int, dtype: np.dtype[np.floating]) -> Batch | None:
    """A few sequences that `as_batch` would take as they are, as it would; None where somebody has to look at them first.

    >>> batch = few_whole(np.ones((2, 3, 1)), 1, np.dtype(np.float64))
    >>> batch.starts, batch.steps, few_whole([[[1.0]]], 1, np.dtype(np.float64))
    (array([0, 3]), 3, None)
    """
    if type(X) is not np.ndarray or X.ndim != 3 or X.dtype != dtype or not X.flags.carray:
        return None
    N, T, D = X.shape
    if features != D or not 0 < N * T <= FEW or not all_finite(X):
        return None
    starts, lengths = _whole_places(N, T)
    batch = object.__new__(Batch)  # a prediction of one sequence would feel the questions that a frozen class asks
    vars(batch).update(array=X.reshape(N * T, D), starts=starts, lengths=lengths, steps=T, unpadded=True)
    return batch


@lru_cache(maxsize=64)
def _whole_places(N: int, T: int) -> tuple[IndexArray, IndexArray]:
    """Starts and lengths of sequences of T steps that lie one after the other."""
    return np.arange(0, N * T, T, dtype=np.int64), np.full(N, T, np.int64)


@lru_cache(maxsize=64)
def _whole_rows(N: int, T: int) -> Rows:
    """Of sequences that all have T steps."""
    return Rows(None, np.full(N, T, np.int64), [N] * T, None, None)
