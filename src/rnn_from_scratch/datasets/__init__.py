"""Real series that come with the package, so that examples and the demo need no download."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MonthlyCO2", "load_co2"]


class MonthlyCO2(NamedTuple):
    """CO2 in the air at Mauna Loa, Hawaii, month by month.

    Attributes
    ----------
    months : array of datetime64[M], shape (T,)
        Consecutive months, none missing.
    ppm : array of float64, shape (T,)
        Mean concentration of the month in parts per million.
    interpolated : array of bool, shape (T,)
        Months without a single measurement, interpolated linearly between their neighbours. Such a value knows its
        future, so it must not be a forecast's target.
    """

    months: npt.NDArray[np.datetime64]
    ppm: npt.NDArray[np.float64]
    interpolated: npt.NDArray[np.bool_]


def load_co2() -> MonthlyCO2:
    """Load the monthly Mauna Loa CO2 record, March 1958 to December 2001.

    The source, the licence (public domain) and how the months were made of weekly values stand in
    ``co2_source.md`` beside the data.

    Returns
    -------
    MonthlyCO2
        Three new arrays of 526 months.

    Examples
    --------
    >>> from rnn_from_scratch.datasets import load_co2
    >>> months, ppm, interpolated = load_co2()
    >>> len(ppm), str(months[0]), str(months[-1]), float(ppm[-1])
    (526, '1958-03', '2001-12', 371.02)
    >>> months[interpolated].astype(str).tolist()
    ['1958-06', '1958-10', '1964-02', '1964-03', '1964-04']
    """
    text = files(__name__).joinpath("co2.csv").read_text(encoding="utf-8")
    months, ppm, weeks = zip(*(line.split(",") for line in text.splitlines()[1:]), strict=True)
    return MonthlyCO2(
        np.array(months, dtype="datetime64[M]"),
        np.array(ppm, dtype=np.float64),
        np.array(weeks, dtype=np.int64) == 0,
    )
