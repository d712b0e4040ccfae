"""A forecast against what happened, and the errors of two forecasts side by side."""

from __future__ import annotations

from os import PathLike

import numpy as np
import numpy.typing as npt

__all__ = ["plot_forecast"]

Series = npt.NDArray[np.float64]


def plot_forecast(
    path: str | PathLike[str],
    months: npt.NDArray[np.datetime64],
    observed: Series,
    forecasts: Series,
    reference: Series,
    *,
    title: str,
    unit: str,
    reference_name: str,
) -> None:
    """Write a picture: above, the observations and the mean forecast; below, its errors and those of a reference.

    Parameters
    ----------
    path : path
        Where to write; the ending chooses the format, ``.png`` for instance.
    months : array of datetime64[M], shape (T,)
    observed : array of float64, shape (T,)
    forecasts : array of float64, shape (K, T)
        Of K networks. Their mean is drawn as a line, from the lowest to the highest as a band.
    reference : array of float64, shape (T,)
        The forecast to compare with.
    title, unit, reference_name : str

    Raises
    ------
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> months = np.arange("2000-01", "2000-04", dtype="datetime64[M]")
    >>> observed = np.array([1.0, 2.0, 3.0])
    >>> plot_forecast("forecast.png", months, observed, observed[np.newaxis] + 0.1, observed - 0.2,
    ...               title="A test", unit="ppm", reference_name="naive")  # doctest: +SKIP
    """
    try:
        # The figure is made without pyplot: no window, no global state, no change of the user's backend.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'plot_forecast needs matplotlib, which is not installed: pip install "rnn-from-scratch[plot]"'
        ) from error
    days = months.astype("datetime64[D]")
    mean = forecasts.mean(axis=0)
    figure = Figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=[2, 1])
    above.fill_between(days, forecasts.min(axis=0), forecasts.max(axis=0), color="tab:blue", alpha=0.3, linewidth=0)
    above.plot(days, mean, color="tab:blue", label="Elman network, one step ahead")
    above.plot(days, observed, "o", color="black", markersize=3, label="observed")
    above.set(title=title, ylabel=unit)
    above.legend(loc="upper left")
    below.axhline(0, color="black", linewidth=0.5)
    below.plot(days, reference - observed, color="tab:orange", label=reference_name)
    below.plot(days, mean - observed, color="tab:blue", label="Elman network")
    below.set(ylabel=f"error [{unit}]")
    # Between the panels, where it hides no error.
    below.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
