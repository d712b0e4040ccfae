"""The demo: next month's CO2 at Mauna Loa, forecast by Elman networks and by the baselines that they have to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.datasets import MonthlyCO2, load_co2
from rnn_from_scratch.explain import plot_forecast
from rnn_from_scratch.forecasting.baselines import naive, rmse, seasonal, seasonal_with_drift, usual_change
from rnn_from_scratch.forecasting.co2_model import Configuration, Forecaster, base_and_features, train

__all__ = ["CONFIGURATION", "TEST_MONTHS", "DemoResult", "baselines", "run"]

Series = npt.NDArray[np.float64]

TEST_MONTHS = 60
"""The last months of the record are held out: nothing is trained, scaled or chosen on them."""

CONFIGURATION = Configuration(
    inputs="surprise and next usual change",
    years=20,
    window=12,
    hidden_size=8,
    learning_rate=1e-2,
    epochs=10,
)
"""Chosen on the months before by ``tools/choose_co2_configuration.py``; its table is ``docs/co2_validation.md``."""


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What came out; ``print`` shows it as a table.

    Attributes
    ----------
    months : array of datetime64[M], shape (T,)
        The held-out months.
    interpolated : int
        How many of them were not measured.
    baselines : dict of str to float
        RMSE of each baseline, in ppm.
    base : float
        RMSE of the forecast that the networks correct, in ppm.
    forecasts : array of float64, shape (K, T)
        Of the network of each seed, in ppm.
    networks : tuple of float
        RMSE of the network of each seed, in ppm.
    average : float
        RMSE of the mean of the K forecasts, in ppm.
    seconds : float
        Training and scoring of all networks.
    """

    months: npt.NDArray[np.datetime64]
    interpolated: int
    baselines: dict[str, float]
    base: float
    forecasts: Series
    networks: tuple[float, ...]
    average: float
    seconds: float

    @property
    def mean(self) -> float:
        """Mean RMSE of a single network, in ppm."""
        return float(np.mean(self.networks))

    @property
    def deviation(self) -> float:
        """Standard deviation of the RMSE over the seeds (0 for a single one), in ppm."""
        return float(np.std(self.networks, ddof=1)) if len(self.networks) > 1 else 0.0

    def __str__(self) -> str:
        rows = [(f"baseline: {name}", f"{value:.3f}") for name, value in self.baselines.items()]
        rows += [(f"Elman network, seed {seed}", f"{value:.3f}") for seed, value in enumerate(self.networks)]
        rows.append(("Elman network, mean ± sd over seeds", f"{self.mean:.3f} ± {self.deviation:.3f}"))
        rows.append(("Elman network, mean forecast of all seeds", f"{self.average:.3f}"))
        measured = f"{len(self.months)} held-out months, {self.interpolated} of them interpolated"
        lines = [
            f"Mauna Loa CO2, one month ahead, {self.months[0]} to {self.months[-1]} ({measured})",
            f"{'':46}RMSE in ppm",
            *(f"  {name:44}{value}" for name, value in rows),
            f"The networks correct a base forecast with RMSE {self.base:.3f}: their correction adds "
            f"{self.mean - self.base:+.3f} to it.",
        ]
        return "\n".join(lines)


def baselines(ppm: Series, years: int) -> dict[str, Series]:
    """The baselines' forecasts of every month and of the one after the last.

    The last one is what networks that read surprises start from.

    Parameters
    ----------
    ppm : array of float64, shape (S,)
    years : int
        Years that the usual change of a calendar month is averaged over.

    Returns
    -------
    dict of str to array of float64, shape (S + 1,)
    """
    return {
        "naive": naive(ppm),
        "seasonal": seasonal(ppm),
        "seasonal with drift": seasonal_with_drift(ppm),
        f"usual change, {years} years": naive(ppm) + usual_change(ppm, years),
    }


def run(
    output_folder: str | PathLike[str],
    seeds: int = 5,
    *,
    engine: str = "auto",
    configuration: Configuration = CONFIGURATION,
    data: MonthlyCO2 | None = None,
    show: Callable[[str], object] = print,
) -> DemoResult:
    """Train on all but the last 60 months, forecast these one by one, show the table and draw the forecast.

    Parameters
    ----------
    output_folder : path
        Made when it is missing; the picture is its ``co2_forecast.png``.
    seeds : int, default=5
        Networks to train, with the seeds 0, 1, ….
    engine : {"auto", "numpy", "native"}, default="auto"
    configuration : Configuration, optional
        Default: the one that validation has chosen.
    data : MonthlyCO2, optional
        Default: the record that comes with the package.
    show : callable, default=print
        Called with each piece of text.

    Returns
    -------
    DemoResult
    """
    data = load_co2() if data is None else data
    start = perf_counter()
    forecasts = np.stack(
        [forecaster.forecast(data.ppm) for forecaster in _train_all(data, seeds, configuration, engine)]
    )
    seconds = perf_counter() - start
    result = _score(data, forecasts, configuration, seconds)
    show(str(result))
    show(f"{seeds} network(s) trained and scored in {seconds:.1f} s.")
    show(_draw(Path(output_folder), data, result))
    return result


def _train_all(data: MonthlyCO2, seeds: int, configuration: Configuration, engine: str) -> list[Forecaster]:
    """One network per seed, shown the training months only."""
    past = slice(0, len(data.ppm) - TEST_MONTHS)
    return [train(data.ppm[past], data.interpolated[past], configuration, seed, engine) for seed in range(seeds)]


def _score(data: MonthlyCO2, forecasts: Series, configuration: Configuration, seconds: float) -> DemoResult:
    """Compare forecasts (K, S + 1) and baselines on the held-out months."""
    # The very last forecast is of a month that is not in the record.
    test = slice(len(data.ppm) - TEST_MONTHS, len(data.ppm))
    actual = data.ppm[test]
    simple = baselines(data.ppm, configuration.years)
    base, _ = base_and_features(data.ppm, configuration)
    return DemoResult(
        months=data.months[test],
        interpolated=int(data.interpolated[test].sum()),
        baselines={name: rmse(forecast[test], actual) for name, forecast in simple.items()},
        base=rmse(base[test], actual),
        forecasts=forecasts[:, test],
        networks=tuple(rmse(forecast[test], actual) for forecast in forecasts),
        average=rmse(forecasts.mean(axis=0)[test], actual),
        seconds=seconds,
    )


def _draw(folder: Path, data: MonthlyCO2, result: DemoResult) -> str:
    """Write the picture; a line that says where it is, or why there is none."""
    path = folder / "co2_forecast.png"
    folder.mkdir(parents=True, exist_ok=True)
    test = slice(len(data.ppm) - TEST_MONTHS, len(data.ppm))
    try:
        plot_forecast(
            path,
            result.months,
            data.ppm[test],
            result.forecasts,
            seasonal_with_drift(data.ppm)[test],
            title=f"CO2 at Mauna Loa, one month ahead: RMSE {result.mean:.3f} ppm",
            unit="ppm",
            reference_name="seasonal with drift",
        )
    except ImportError as error:
        return f"No picture: {error}"
    return f"Picture: {path}"
