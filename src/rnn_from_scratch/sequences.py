"""From what users pass to one form that every engine reads: rows of steps, and where each sequence lies in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray
from rnn_from_scratch.validation import all_finite, numeric_array, require_finite, shown

BatchType = TypeVar("BatchType", bound="Batch")

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "MOST_ROWS",
    "Batch",
    "Targets",
    "as_batch",
    "as_lengths",
    "as_targets",
    "as_tokens",
    "is_list_of_sequences",
    "model_dtype",
]

MOST_ROWS, LEAST_SEQUENCES = 1 << 16, 16
"""Steps that are run at once where nothing is learned, but never fewer sequences, which would be slow."""


@dataclass(eq=False, repr=False)
class Batch:
    """N sequences of one kind, stored as rows: sequence n is ``array[starts[n] : starts[n] + lengths[n]]``.

    Nothing is ever padded or copied to form a batch: sequences of different lengths lie one after the other, windows over
    one long series overlap, and a subset is a choice of starts.

    Attributes
    ----------
    array : ndarray (S, D)
        The rows of all steps, C-contiguous, of the model's dtype; tokens are (S, 1) of int64.
    starts, lengths : ndarray (N,) of int64
        First row and number of steps of each sequence; every length is at least 1.
    steps : int
        T of the (N, T, …) arrays that belong to this batch; at least the longest length.
    """

    array: FloatArray
    starts: IndexArray
    lengths: IndexArray
    steps: int

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def unpadded(self) -> bool:
        """Whether every sequence has all T steps, so that no row of a (N, T, …) array is padding."""
        return int(self.lengths.min()) == self.steps

    def select(self, index: IndexArray | slice) -> Batch:
        """The sequences at the given positions, in that order, over the same rows; T is that of the longest of them."""
        return self._chosen(index)

    def _chosen(self: BatchType, index: IndexArray | slice, *more: Any) -> BatchType:
        """The same kind of thing for some of the sequences; `more` are the arguments that it has beyond those of a Batch."""
        starts, lengths = self.starts[index], self.lengths[index]
        if not self.unpadded:
            return type(self)(self.array, starts, lengths, int(lengths.max()), *more)
        chosen = object.__new__(type(self))
        own = chosen.__dict__
        own.update(self.__dict__)  # what is known of all is true of some, too
        own["starts"], own["lengths"] = starts, lengths
        return chosen

    def pieces(self) -> Iterator[slice]:
        """Consecutive sequences, as many together as a run over them takes bounded memory for."""
        at_once = max(LEAST_SEQUENCES, MOST_ROWS // self.steps)
        for first in range(0, len(self), at_once):
            yield slice(first, min(first + at_once, len(self)))

    def real_steps(self) -> npt.NDArray[np.bool_]:
        """(N, T): True where a sequence has a step, False past its end."""
        return np.arange(self.steps) < self.lengths[:, None]

    def rows(self) -> IndexArray:
        """(S,): the positions in `array` of all steps, sequence after sequence."""
        if self.unpadded:
            return (self.starts[:, None] + np.arange(self.steps)).ravel()
        offsets = np.cumsum(self.lengths) - self.lengths  # where each sequence begins in the answer
        return np.repeat(self.starts - offsets, self.lengths) + np.arange(int(self.lengths.sum()))

    def time_major(self, shared: bool = False) -> FloatArray:
        """(T, N, D): step after step, zeros past the end of a sequence. Padding is never read. Shared, it may be a view."""
        if len(self.starts) == 1 and self.unpadded:
            start = int(self.starts[0])
            only = self.array[start : start + self.steps, None]
            return only if shared else only.copy()
        steps = np.arange(self.steps)[:, None]  # (T, 1)
        if self.unpadded:
            every: FloatArray = self.array[self.starts + steps]
            return every
        inside = steps < self.lengths  # (T, N)
        x: FloatArray = self.array[self.starts + np.minimum(steps, self.lengths - 1)]
        x[~inside] = 0
        return x


@dataclass(eq=False, repr=False)
class Targets(Batch):
    """What a network should say: rows of outputs as in `Batch`, and the weight of each row in the loss.

    Attributes
    ----------
    weights : ndarray (S,)
        Non-negative weight of each row of `array`.
    """

    weights: FloatArray

    def select(self, index: IndexArray | slice) -> Targets:
        chosen = self._chosen(index, self.weights)
        vars(chosen)["even"] = self.even
        return chosen

    @cached_property
    def even(self) -> bool:
        """Whether all rows are known to weigh the same, so that the weights make no difference to the loss."""
        return bool(self.weights[0] > 0 and (self.shared or (self.weights == self.weights[0]).all()))

    def where(self) -> IndexArray | slice:
        """Where the rows of all steps lie in `array` and `weights`: for one sequence a slice, which copies nothing."""
        if len(self.starts) == 1:
            start = int(self.starts[0])
            return slice(start, start + int(self.lengths[0]))
        return self.rows()

    @property
    def shared(self) -> bool:
        """Whether one weight is stored for all rows, and rows may be shared, as windows over a series have it."""
        return self.weights.strides == (0,)

    def gathered(self) -> Targets:
        """The same in arrays of their own, sequence after sequence."""
        rows, ends = self.rows(), np.cumsum(self.lengths)
        return Targets(self.array[rows], ends - self.lengths, self.lengths, self.steps, self.weights[rows])


def model_dtype(X: object) -> np.dtype[np.floating]:
    """The dtype that a model takes from its first data: float32 stays float32, everything else becomes float64."""
    first = X[0] if isinstance(X, (list, tuple)) and X else X
    is_float32 = getattr(first, "dtype", None) == np.float32
    return np.dtype(np.float32 if is_float32 else np.float64)


def as_batch(X: object, features: int, dtype: np.dtype[np.floating], lengths: object = None, name: str = "X") -> Batch:
    """Sequences as users pass them, checked and in one form.

    Parameters
    ----------
    X : array_like (N, T, D), or list of N array_like (T_i, D)
        Values past a sequence's end are never looked at: NaN may stand there.
    features : int
        D.
    dtype : numpy.dtype
        What the numbers are cast to; no copy is made of a C-contiguous array that has it already.
    lengths : array_like (N,) of int, optional
        Real steps of each sequence of a three-dimensional X; all T when not given.

    Raises
    ------
    TypeError, ValueError
        Naming `name`, what is allowed and what came.

    Examples
    --------
    >>> batch = as_batch([[[1.0], [2.0]], [[3.0]]], 1, np.dtype(np.float64))
    >>> batch.starts, batch.lengths, batch.array.ravel()
    (array([0, 2]), array([2, 1]), array([1., 2., 3.]))
    """
    if is_list_of_sequences(X):
        if lengths is not None:
            raise ValueError(f"lengths must be None when {name} is a list of sequences. Got {shown(lengths)}.")
        return _from_list(X, features, dtype, name)  # type: ignore[arg-type]  # checked in the line above
    values = numeric_array(X, name)
    if values.ndim != 3 or values.shape[2] != features:
        single = f" A single sequence goes in a list: [{name}]." if values.shape[1:] == (features,) else ""
        raise ValueError(f"{name} must be (N, T, D={features}). Got {values.shape}.{single}")
    N, T, _ = values.shape
    if N == 0 or T == 0:
        raise ValueError(f"{name} must hold at least one sequence of at least one step. Got {values.shape}.")
    starts, whole = _side_by_side(N, T)
    real = whole if lengths is None else as_lengths(lengths, N, T)
    array = _cast(values, dtype, name).reshape(N * T, features)
    batch = Batch(array, starts, real, T)
    if lengths is None:
        vars(batch)["unpadded"] = True
    _require_finite_steps(array, batch, name)
    return batch


def as_tokens(X: object, vocabulary_size: int, lengths: object = None, name: str = "X") -> Batch:
    """Sequences of tokens as users pass them, checked and in one form.

    Parameters
    ----------
    X : array_like (N, T) of int, or list of N array_like (T_i,) of int
        Values past a sequence's end are never looked at: -1 may stand there.
    vocabulary_size : int
        V: real tokens lie in [0, V).
    lengths : array_like (N,) of int, optional
        Real steps of each sequence of a two-dimensional X; all T when not given.

    Returns
    -------
    Batch
        Its array is (S, 1) of int64.

    Raises
    ------
    TypeError, ValueError
        Naming `name`, what is allowed and what came.

    Examples
    --------
    >>> batch = as_tokens([[2, 0], [1]], 3)
    >>> batch.array.ravel(), batch.lengths
    (array([2, 0, 1]), array([2, 1]))
    >>> as_tokens([[2, 0], [3]], 3)
    Traceback (most recent call last):
    ValueError: X[1] must hold tokens in [0, V=3). Got 3 at step 0.
    """
    if is_list_of_sequences(X):
        if lengths is not None:
            raise ValueError(f"lengths must be None when {name} is a list of sequences. Got {shown(lengths)}.")
        batch = _tokens_from_list(X, name)  # type: ignore[arg-type]  # checked in the line above
    else:
        values = _whole_numbers(X, name)
        if values.ndim != 2:
            raise ValueError(f"{name} must be (N, T) of tokens. Got {values.shape}.")
        N, T = values.shape
        if N == 0 or T == 0:
            raise ValueError(f"{name} must hold at least one sequence of at least one step. Got {values.shape}.")
        starts, whole = _side_by_side(N, T)
        real = whole if lengths is None else as_lengths(lengths, N, T)
        array = np.ascontiguousarray(values).reshape(N * T, 1)
        batch = Batch(array, starts, real, T)  # type: ignore[arg-type]  # tokens are ints
    _require_known(batch, vocabulary_size, name)
    return batch


def _tokens_from_list(X: Sequence[object], name: str) -> Batch:
    if len(X) == 0:
        raise ValueError(f"{name} must hold at least one sequence. Got an empty list.")
    arrays = [_whole_numbers(item, f"{name}[{n}]") for n, item in enumerate(X)]
    for n, values in enumerate(arrays):
        if values.ndim != 1:
            raise ValueError(f"{name}[{n}] must be (T,) of tokens. Got {values.shape}.")
        if len(values) == 0:
            raise ValueError(f"{name}[{n}] must have at least one step. Got {values.shape}.")
    lengths = np.array([len(values) for values in arrays], dtype=np.int64)
    rows: Any = np.concatenate(arrays)[:, None]
    return Batch(rows, np.cumsum(lengths) - lengths, lengths, int(lengths.max()))


def _whole_numbers(values: object, name: str) -> IndexArray:
    """An array of ints as int64; what is too large for it becomes the largest, which nobody's vocabulary holds."""
    array = numeric_array(values, name)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of ints, since tokens are ints. Got dtype {array.dtype}.")
    if array.dtype == np.uint64:
        array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))
    return array.astype(np.int64, copy=False)


def _require_known(batch: Batch, vocabulary_size: int, name: str) -> None:
    tokens = batch.array[:, 0] if batch.unpadded else batch.array[batch.rows(), 0]
    outside = np.flatnonzero((tokens < 0) | (tokens >= vocabulary_size))
    if outside.size:
        first = int(outside[0])
        ends = np.cumsum(batch.lengths)
        n = int(np.searchsorted(ends, first, side="right"))
        step = first - int(ends[n] - batch.lengths[n])
        raise ValueError(
            f"{name}[{n}] must hold tokens in [0, V={vocabulary_size}). Got {int(tokens[first])} at step {step}."
        )


def as_targets(
    y: object, inputs: Batch, outputs: int, readout: str, dtype: np.dtype[np.floating], *, labels: bool = False
) -> Targets:
    """Targets as users pass them, one row for every output that the loss looks at.

    Parameters
    ----------
    y : array_like
        With ``readout="every"`` (N, T, O), or (N, T) for one output, or a list of arrays (T_i, O) or (T_i,); otherwise
        (N, O), or (N,) for one output.
    inputs : Batch
        The sequences that the targets belong to.
    labels : bool, default=False
        Whether y may also name classes by ints in [0, O): (N, T) or a list of (T_i,), otherwise (N,). They become rows of
        zeros and a one.

    Raises
    ------
    TypeError, ValueError
        Naming what is allowed and what came.
    """
    if labels:
        y = _rows_of_labels(y, inputs, outputs, readout, dtype)
    if readout != "every":
        batch = _last_targets(y, len(inputs), outputs, dtype)
    elif is_list_of_sequences(y):
        batch = _list_targets(y, inputs, outputs, dtype)
    else:
        batch = _padded_targets(y, inputs, outputs, dtype)
    return Targets(batch.array, batch.starts, batch.lengths, batch.steps, np.ones(len(batch.array), dtype))


def _rows_of_labels(y: Any, inputs: Batch, outputs: int, readout: str, dtype: np.dtype[np.floating]) -> Any:
    """Labels turned into rows with a one at the class; anything that has rows already is handed on."""
    if readout == "every" and is_list_of_sequences(y):
        items = [_numeric_labels(item, f"y[{n}]") for n, item in enumerate(y)]
        if not items or any(item.ndim != 1 for item in items):
            return y
        return [_one_hot(item, outputs, dtype, f"y[{n}]") for n, item in enumerate(items)]
    values = _numeric_labels(y, "y")
    if readout != "every":
        return _one_hot(values, outputs, dtype, "y") if values.shape == (len(inputs),) else y
    real = inputs.real_steps()
    if values.shape != real.shape:
        return y
    rows = np.zeros((*real.shape, outputs), dtype)
    rows[real] = _one_hot(values[real], outputs, dtype, "y")
    return rows


def _numeric_labels(y: object, name: str) -> npt.NDArray[Any]:
    try:
        return numeric_array(y, name)
    except TypeError as error:  # names of classes, most likely
        raise TypeError(f"{error} To number classes: names, y = np.unique(y, return_inverse=True).") from None


def _one_hot(labels: npt.NDArray[Any], outputs: int, dtype: np.dtype[np.floating], name: str) -> FloatArray:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold int labels, or a row of O={outputs} for each. Got dtype {labels.dtype}.")
    outside = (labels < 0) | (labels >= outputs)
    if outside.any():
        raise ValueError(f"{name} must hold labels in [0, O={outputs}). Got {int(labels[outside][0])}.")
    rows = np.zeros((len(labels), outputs), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def _last_targets(y: object, N: int, outputs: int, dtype: np.dtype[np.floating]) -> Batch:
    values = numeric_array(y, "y")
    if values.shape != (N, outputs) and not (outputs == 1 and values.shape == (N,)):
        raise ValueError(f"y must be (N={N}, O={outputs}). Got {values.shape}.")
    array = _cast(values, dtype, "y").reshape(N, outputs)
    require_finite(array, "y")
    return Batch(array, np.arange(N, dtype=np.int64), np.ones(N, dtype=np.int64), 1)


def _list_targets(y: Any, inputs: Batch, outputs: int, dtype: np.dtype[np.floating]) -> Batch:
    items = [numeric_array(item, f"y[{n}]") for n, item in enumerate(y)]
    if outputs == 1:
        items = [item[:, None] if item.ndim == 1 else item for item in items]
    batch = _from_list(items, outputs, dtype, "y")
    if not np.array_equal(batch.lengths, inputs.lengths):
        expected, came = shown(inputs.lengths.tolist()), shown(batch.lengths.tolist())
        raise ValueError(f"y must have the lengths of X, {expected}. Got {came}.")
    return replace(batch, steps=inputs.steps)  # a padded X may have more steps than its longest sequence


def _padded_targets(y: object, inputs: Batch, outputs: int, dtype: np.dtype[np.floating]) -> Batch:
    values = numeric_array(y, "y")
    N, T = len(inputs), inputs.steps
    if values.shape != (N, T, outputs) and not (outputs == 1 and values.shape == (N, T)):
        raise ValueError(f"y must be (N={N}, T={T}, O={outputs}). Got {values.shape}.")
    array = _cast(values, dtype, "y").reshape(N * T, outputs)
    batch = Batch(array, np.arange(N, dtype=np.int64) * T, inputs.lengths, T)
    _require_finite_steps(array, batch, "y")
    return batch


def is_list_of_sequences(X: object) -> bool:
    """A list (or object array) whose items differ in length or are arrays: not one rectangular nested list."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1
    return isinstance(X, (list, tuple))


def _from_list(X: Sequence[object], features: int, dtype: np.dtype[np.floating], name: str) -> Batch:
    if len(X) == 0:
        raise ValueError(f"{name} must hold at least one sequence. Got an empty list.")
    arrays: list[npt.NDArray[Any]] = []
    for n, item in enumerate(X):
        values = numeric_array(item, f"{name}[{n}]")
        if values.ndim != 2 or values.shape[1] != features:
            raise ValueError(f"{name}[{n}] must be (T, {'O' if name == 'y' else 'D'}={features}). Got {values.shape}.")
        if len(values) == 0:
            raise ValueError(f"{name}[{n}] must have at least one step. Got {values.shape}.")
        arrays.append(values)
    lengths = np.array([len(values) for values in arrays], dtype=np.int64)
    array = _cast(np.concatenate(arrays), dtype, name)
    batch = Batch(array, np.cumsum(lengths) - lengths, lengths, int(lengths.max()))
    _require_finite_steps(array, batch, name)
    return batch


def _side_by_side(N: int, T: int) -> tuple[IndexArray, IndexArray]:
    """Starts and lengths of N sequences of T steps that lie one after the other."""
    return np.arange(0, N * T, T, dtype=np.int64), np.full(N, T, dtype=np.int64)


def as_lengths(lengths: object, N: int, T: int) -> IndexArray:
    """The real steps of each of N padded sequences, checked."""
    values = numeric_array(lengths, "lengths")
    if values.shape != (N,) or values.dtype.kind not in "iu":
        raise ValueError(f"lengths must be (N={N},) of ints. Got {values.shape} of {values.dtype}.")
    outside = np.flatnonzero((values < 1) | (values > T))
    if outside.size:
        n = int(outside[0])
        raise ValueError(f"lengths must lie between 1 and T={T}. Got {int(values[n])} for sequence {n}.")
    return values.astype(np.int64)


def _cast(values: npt.NDArray[Any], dtype: np.dtype[np.floating], name: str) -> FloatArray:
    """The same numbers as a C-contiguous, aligned array of the model's dtype; a copy only where one is needed."""
    if values.dtype == dtype and values.flags.carray:
        return values
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which the check of finiteness names
        return np.require(values, dtype, ["C", "A"])


def _require_finite_steps(array: FloatArray, batch: Batch, name: str) -> None:
    """Refuse NaN and infinity in real steps; what stands past the end of a sequence is nobody's business."""
    if all_finite(array):
        return
    for n, (start, length) in enumerate(zip(batch.starts, batch.lengths, strict=True)):
        require_finite(array[start : start + length], f"{name}[{n}]")
