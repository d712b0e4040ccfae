"""Windows over one long series, in memory or in a file that is larger than it, without copying any."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.validation import integer, numeric_array, shown

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Windows", "window_inputs", "window_targets"]

MOST_BYTES = 1 << 28
"""A series of another dtype or layout is cast if the copy is no larger than this."""
BLOCK = 1 << 18
"""Numbers that are looked at together."""


class Windows:
    """The overlapping runs of `steps` consecutive steps of one long series, as N sequences that share its rows.

    Window n is ``series[n · stride : n · stride + steps]``; N = (S − steps) // stride + 1. Wherever a `Network` takes X, and
    where it takes y with ``readout="every"``, it takes windows. The series is never copied if it has the model's dtype (int64
    for tokens) and is C-contiguous, so that it may be a `numpy.memmap` of a file larger than memory. Training needs some 50
    bytes for each window beside it; with ``tbptt_steps`` for each part of one, and the window's state.

    Parameters
    ----------
    series : array_like (S,) or (S, D)
        Features, outputs, tokens or labels, step after step.
    steps : int
        T, of each window; at most S.
    stride : int, default=1
        Steps from the beginning of one window to that of the next.

    Attributes
    ----------
    series : ndarray
    steps, stride : int
    dtype : numpy.dtype
        Of the series.
    shape : tuple of int
        (N, T) or (N, T, D): of the array that would hold the windows one by one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    Learn to say the next number, at every step:

    >>> from rnn_from_scratch import GRU, Network
    >>> series = np.sin(np.arange(200.0))
    >>> X, y = Windows(series[:-1], 20, stride=10), Windows(series[1:], 20, stride=10)
    >>> X
    Windows of 20 steps over (199,) of float64, stride 10: 18
    >>> network = Network(1, [GRU(8)], 1, random_state=0)
    >>> history = network.fit(X, y, epochs=20, batch_size=6, learning_rate=0.02)
    >>> history.loss[-1] < 0.1 * history.loss[0]
    True
    """

    def __init__(self, series: Any, steps: int, *, stride: int = 1) -> None:
        self.series = numeric_array(series, "series of Windows")
        if self.series.ndim not in (1, 2) or self.series.size == 0:
            raise ValueError(f"series of Windows must be (S,) or (S, D), and not empty. Got {self.series.shape}.")
        self.steps = integer(steps, "steps", "Windows")
        self.stride = integer(stride, "stride", "Windows")
        if self.steps > len(self.series):
            raise ValueError(f"steps of Windows must be at most S={len(self.series)}. Got {steps}.")

    def __len__(self) -> int:
        return (len(self.series) - self.steps) // self.stride + 1

    def __getitem__(self, n: int) -> npt.NDArray[Any]:
        """A view of window n.

        >>> Windows([1, 2, 3, 4], 2)[-1]
        array([3, 4])
        """
        place = range(len(self))[operator.index(n)]
        window: npt.NDArray[Any] = self.series[place * self.stride : place * self.stride + self.steps]
        return window

    def __repr__(self) -> str:
        series = f"{self.series.shape} of {self.series.dtype}"
        return f"Windows of {self.steps} steps over {series}, stride {self.stride}: {len(self)}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the series."""
        return self.series.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T) or (N, T, D)."""
        return (len(self), self.steps, *self.series.shape[1:])


def window_inputs(
    windows: Windows, features: int, dtype: np.dtype[Any], vocabulary_size: int | None, name: str
) -> Batch:
    """Windows of features or of tokens as a batch over the rows of the series, all of them checked.

    Every epoch reads all windows; so does the check, once and in order, before anything changes.

    >>> batch = window_inputs(Windows([5.0, 6.0, 7.0, 8.0], 2), 1, np.dtype(float), None, "X")
    >>> batch.starts, batch.lengths, batch.array.shape
    (array([0, 1, 2]), array([2, 2, 2]), (4, 1))
    """
    series = windows.series
    if vocabulary_size is None:
        batch = _batch(windows, _rows(series, features, "D", name), dtype, name)
        _require(windows, batch.array, np.isfinite, f"{name} must be finite.")
        return batch
    if series.ndim != 1 or series.dtype.kind not in "iu":
        raise ValueError(f"{name} must be Windows over (S,) of int tokens. Got {series.shape} of {series.dtype}.")
    batch = _batch(windows, series[:, None], np.dtype(np.int64), name)
    allowed = f"{name} must hold tokens in [0, V={vocabulary_size})."
    _require(windows, batch.array, lambda tokens: (tokens >= 0) & (tokens < vocabulary_size), allowed)
    return batch


def window_targets(
    windows: Windows, inputs: Batch, outputs: int, readout: str, dtype: np.dtype[Any], *, labels: bool, shares: bool
) -> Targets:
    """Windows of outputs or of labels as targets, every row with the weight 1, which is stored once for all.

    Parameters
    ----------
    labels, shares : bool
        Whether a series of ints names classes, and whether numbers must lie in [0, 1].
    """
    if readout != "every":
        raise ValueError(f"y must be an array with a row for each sequence when readout={readout!r}. Got Windows.")
    if (len(windows), windows.steps) != (len(inputs), inputs.steps) or not inputs.unpadded:
        expected = f"N={len(inputs)} windows of T={inputs.steps} steps, as X has"
        raise ValueError(f"y must have {expected}. Got {len(windows)} of {windows.steps}.")
    series = windows.series
    if labels and series.ndim == 1 and series.dtype.kind in "iu":
        array: Any = _label_rows(windows, outputs, dtype)
    else:
        array = _contiguous(_rows(series, outputs, "O", "y"), dtype, "y")
        _require(windows, array, np.isfinite, "y must be finite.")
        if shares:
            _require(windows, array, lambda y: (y >= 0) & (y <= 1), "y must lie in [0, 1] when the loss is 'ce'.")
    weights = np.broadcast_to(np.ones((), dtype), len(array))  # one weight for all
    targets = Targets(array, _starts(windows), inputs.lengths, inputs.steps, weights)
    vars(targets)["unpadded"] = True
    return targets


def _rows(series: npt.NDArray[Any], width: int, letter: str, name: str) -> npt.NDArray[Any]:
    rows = series[:, None] if series.ndim == 1 else series
    if rows.shape[1] != width:
        raise ValueError(f"{name} must be Windows over (S, {letter}={width}). Got {series.shape}.")
    return rows


def _batch(windows: Windows, rows: npt.NDArray[Any], dtype: np.dtype[Any], name: str) -> Batch:
    """The windows over the rows as they are, or over a copy if that is small."""
    lengths = np.full(len(windows), windows.steps, np.int64)
    batch = Batch(_contiguous(rows, dtype, name), _starts(windows), lengths, windows.steps)
    vars(batch)["unpadded"] = True
    return batch


def _starts(windows: Windows) -> IndexArray:
    return np.arange(0, len(windows) * windows.stride, windows.stride, dtype=np.int64)


def _contiguous(rows: npt.NDArray[Any], dtype: np.dtype[Any], name: str) -> npt.NDArray[Any]:
    """The rows as engines read them: as they are, or a copy if that is small."""
    if rows.dtype == dtype and rows.flags.c_contiguous and rows.flags.aligned:
        return rows
    size = rows.size * dtype.itemsize
    if size > MOST_BYTES:
        came = f"{rows.dtype}, of which a copy would take {size / 2**30:.1f} GiB"
        raise ValueError(f"{name} must be Windows over a C-contiguous series of {dtype}, or a small one. Got {came}.")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is not finite
        return np.require(rows, dtype, ["C", "A"])


class LabelRows:
    """(S, O): a row with a one at the class of each label, made when it is asked for: the labels may be a file.

    >>> LabelRows(np.array([2, 0, 1]), 3, np.dtype(float))[1:]
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """

    def __init__(self, labels: npt.NDArray[Any], outputs: int, dtype: np.dtype[Any]) -> None:
        self.labels, self.shape, self.dtype = labels, (len(labels), outputs), dtype

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, where: Any) -> npt.NDArray[Any]:
        chosen = self.labels[where]
        rows = np.zeros((len(chosen), self.shape[1]), self.dtype)
        rows[np.arange(len(chosen)), chosen] = 1
        return rows

    def astype(self, dtype: np.dtype[Any]) -> LabelRows:
        """The same rows in another precision."""
        return LabelRows(self.labels, self.shape[1], dtype)


def _label_rows(windows: Windows, outputs: int, dtype: np.dtype[Any]) -> LabelRows:
    good = f"y must hold labels in [0, O={outputs})."
    _require(windows, windows.series[:, None], lambda values: (values >= 0) & (values < outputs), good)
    return LabelRows(windows.series, outputs, dtype)


def _require(windows: Windows, rows: npt.NDArray[Any], good: Any, allowed: str) -> None:
    """Refuse rows (S, D) that hold something else where a window reads them."""
    for first, values in _blocks(windows, rows):
        fine = good(values)
        if not fine.all():
            block, step, *_ = (int(i) for i in np.argwhere(~fine)[0])
            row = first + block * windows.stride + step
            raise ValueError(f"{allowed} Got {shown(values[~fine][0].item())} at step {row} of the series.")


def _blocks(windows: Windows, rows: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Views (n, t, D) of all that the windows read, from which row on; no step comes twice."""
    T, stride, N, width = windows.steps, windows.stride, len(windows), rows.shape[1]
    if stride < T:  # one window after the other reads everything
        end, at_once = (N - 1) * stride + T, max(1, BLOCK // width)
        for first in range(0, end, at_once):
            yield first, rows[None, first : min(first + at_once, end)]
        return
    bytes_of_row = rows.strides[0]
    at_once = max(1, BLOCK // (T * width))
    for n in range(0, N, at_once):
        part = rows[n * stride :]
        strides = (stride * bytes_of_row, *rows.strides)
        shape = (min(at_once, N - n), T, width)
        yield n * stride, np.lib.stride_tricks.as_strided(part, shape, strides, writeable=False)
