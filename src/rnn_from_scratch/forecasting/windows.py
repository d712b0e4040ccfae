"""Overlapping windows of one long series, without a copy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["windows"]


def windows(series: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Every run of `length` consecutive steps, as a view.

    Parameters
    ----------
    series : array of float64, shape (S, D)
        S steps of D features.
    length : int
        Steps per window, T.

    Returns
    -------
    read-only view, shape (S - T + 1, T, D)
        Window n holds the steps ``series[n : n + T]``, so what it can forecast is step ``n + T``.

    Examples
    --------
    >>> series = np.arange(8.0).reshape(4, 2)
    >>> view = windows(series, 3)
    >>> view.shape, bool((view[1] == series[1:4]).all()), np.shares_memory(view, series)
    ((2, 3, 2), True, True)
    """
    # NumPy puts the steps of a window last; a sequence is (T, D).
    return np.lib.stride_tricks.sliding_window_view(series, length, axis=0).transpose(0, 2, 1)
