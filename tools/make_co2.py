"""Make `src/rnn_from_scratch/datasets/co2.csv` from the weekly Mauna Loa record that statsmodels ships.

    pip install statsmodels
    python tools/make_co2.py

A weekly value belongs to the month of its date (a Saturday). A month is the mean of its weekly values that are not
missing; a month without any is interpolated linearly between its neighbours and carries ``weeks = 0``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).parents[1] / "src" / "rnn_from_scratch" / "datasets" / "co2.csv"


def monthly_means(days: Any, values: Any) -> tuple[Any, Any, Any]:
    """Aggregate dated values to months.

    Parameters
    ----------
    days : array of datetime64[D], shape (W,)
        In ascending order.
    values : array of float, shape (W,)
        NaN where nothing was measured. The first and the last month must hold a measurement.

    Returns
    -------
    months : array of datetime64[M], shape (M,)
        Every month from the first day to the last.
    means : array of float64, shape (M,)
        Mean of the month's values, interpolated linearly where there is none.
    weeks : array of int64, shape (M,)
        How many values the mean is made of; 0 marks an interpolated month.

    Examples
    --------
    >>> days = np.array(["2000-01-01", "2000-01-08", "2000-02-05", "2000-03-04"], dtype="datetime64[D]")
    >>> months, means, weeks = monthly_means(days, np.array([1.0, 2.0, np.nan, 4.5]))
    >>> means.tolist(), weeks.tolist()
    ([1.5, 3.0, 4.5], [2, 0, 1])
    """
    measured = ~np.isnan(values)
    month = days.astype("datetime64[M]")
    months = np.arange(month[0], month[-1] + np.timedelta64(1, "M"))
    index = (month - months[0]).astype(np.int64)
    weeks = np.bincount(index[measured], minlength=len(months))
    totals = np.bincount(index[measured], weights=values[measured], minlength=len(months))
    known = np.flatnonzero(weeks)
    if known[0] != 0 or known[-1] != len(months) - 1:
        raise ValueError("The first and the last month must hold a measurement: nothing is extrapolated.")
    means = np.interp(np.arange(len(months)), known, totals[known] / weeks[known])
    return months, means, weeks


def main() -> None:
    """Write the file."""
    # Imported here so that the aggregation above can be tested without statsmodels and pandas.
    from statsmodels.datasets import co2

    weekly = co2.load_pandas().data["co2"]
    months, means, weeks = monthly_means(weekly.index.to_numpy().astype("datetime64[D]"), weekly.to_numpy())
    rows = [f"{month},{mean:.4f},{count}" for month, mean, count in zip(months, means, weeks, strict=True)]
    TARGET.write_text("\n".join(["month,ppm,weeks", *rows]) + "\n", encoding="utf-8", newline="\n")
    print(f"{TARGET.name}: {len(months)} months, {months[0]} to {months[-1]}, interpolated: {months[weeks == 0]}")


if __name__ == "__main__":
    main()
