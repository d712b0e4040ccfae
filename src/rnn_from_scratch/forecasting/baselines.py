"""Forecasts that cost nothing: what a network has to beat before it is of any use.

Every function takes a series of T values and returns T + 1 forecasts. Entry t is the forecast of ``series[t]``, made
from ``series[:t]`` alone; the last entry looks one step past the end. NaN stands where the past is too short.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["naive", "rmse", "seasonal", "seasonal_with_drift", "usual_change"]

Series = npt.NDArray[np.float64]


def naive(series: Series) -> Series:
    """The next value is the last one.

    Parameters
    ----------
    series : array of float64, shape (T,)

    Returns
    -------
    array of float64, shape (T + 1,)

    Examples
    --------
    >>> naive(np.array([1.0, 2.0, 4.0]))
    array([nan,  1.,  2.,  4.])
    """
    return np.concatenate([[np.nan], series])


def seasonal(series: Series, period: int = 12) -> Series:
    """The next value is that of one period ago.

    Parameters
    ----------
    series : array of float64, shape (T,)
    period : int, default=12
        Steps per season.

    Returns
    -------
    array of float64, shape (T + 1,)

    Examples
    --------
    >>> seasonal(np.array([1.0, 2.0, 4.0]), period=2)
    array([nan, nan,  1.,  2.])
    """
    forecast = np.full(len(series) + 1, np.nan)
    forecast[period:] = series[: len(series) + 1 - period]
    return forecast


def seasonal_with_drift(series: Series, period: int = 12) -> Series:
    """The series changes as it did one period ago: ``y[t-1] + (y[t-period] - y[t-period-1])``.

    Parameters
    ----------
    series : array of float64, shape (T,)
    period : int, default=12
        Steps per season.

    Returns
    -------
    array of float64, shape (T + 1,)

    Examples
    --------
    >>> seasonal_with_drift(np.array([1.0, 2.0, 4.0, 5.0]), period=2)
    array([nan, nan, nan,  5.,  7.])
    """
    return naive(series) + usual_change(series, years=1, period=period)


def usual_change(series: Series, years: int, period: int = 12, fewest: int = 1) -> Series:
    """The mean change into this step of the season over the last few seasons.

    Parameters
    ----------
    series : array of float64, shape (T,)
    years : int
        How many seasons at most are averaged.
    period : int, default=12
        Steps per season.
    fewest : int, default=1
        With fewer seasons than this behind it an entry is NaN.

    Returns
    -------
    array of float64, shape (T + 1,)
        Entry t is a forecast of the change ``series[t] - series[t - 1]``, made from ``series[:t]``.

    Examples
    --------
    A series that rises by 3, then by 1, and once by 5:

    >>> usual_change(np.array([0.0, 3.0, 4.0, 7.0, 8.0, 13.0, 14.0]), years=2, period=2)
    array([nan, nan, nan,  3.,  1.,  3.,  1.,  4.])
    """
    changes = np.diff(series, prepend=np.nan)
    usual = np.full(len(series) + 1, np.nan)
    for t in range(fewest * period + 1, len(series) + 1):
        usual[t] = changes[t - period : 0 : -period][:years].mean()
    return usual


def rmse(forecast: Series, actual: Series) -> float:
    """Root mean squared error, in the unit of the series.

    Examples
    --------
    >>> rmse(np.array([1.0, 2.0]), np.array([2.0, 9.0]))
    5.0
    """
    return float(np.sqrt(np.mean((forecast - actual) ** 2)))
