"""An Elman network that corrects a simple forecast of the next month's CO2.

Month by month the network reads what is known at its end; the last step of a window of some years or months says by how
much the next month will differ from a base forecast. The base is a pure function of the past, the scale of every number
comes from the training months, so no future value reaches any forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.forecasting.baselines import naive, usual_change
from rnn_from_scratch.forecasting.windows import windows
from rnn_from_scratch.layers import Elman
from rnn_from_scratch.network import Network

__all__ = ["Configuration", "Forecaster", "Inputs", "base_and_features", "train"]

Series = npt.NDArray[np.float64]
Inputs = Literal["change and season", "surprise", "surprise and next usual change"]

FEWEST_YEARS = 3
"""Years of the same calendar month behind a usual change before it is believed."""


@dataclass(frozen=True)
class Configuration:
    """Everything that is chosen by validation.

    Attributes
    ----------
    inputs : str
        What the network reads at each month. ``"change and season"``: the change from the month before, sine and cosine
        of the season. ``"surprise"``: by how much that change differed from the usual one of this calendar month.
        ``"surprise and next usual change"``: and the usual change into the next month.
    years : int
        Years that a usual change is averaged over (without effect on ``"change and season"``).
    window : int
        Months that the network reads for one forecast.
    hidden_size, learning_rate, epochs, batch_size
        The network and its training by Adam. The number of epochs is the only regularisation.
    """

    inputs: Inputs
    years: int
    window: int
    hidden_size: int
    learning_rate: float
    epochs: int
    batch_size: int = 32


def base_and_features(ppm: Series, configuration: Configuration) -> tuple[Series, Series]:
    """The forecast to be corrected, and what the network reads.

    Parameters
    ----------
    ppm : array of float64, shape (S,)
        One value per month.
    configuration : Configuration

    Returns
    -------
    base : array of float64, shape (S + 1,)
        Entry t is a forecast of ``ppm[t]`` from ``ppm[:t]``, in ppm.
    features : array of float64, shape (S, D)
        Row t is known at the end of month t, in ppm (sine and cosine have no unit). NaN where the past is too short.
    """
    last = naive(ppm)
    change = ppm - last[:-1]
    if configuration.inputs == "change and season":
        # The season of the month to be forecast; where the year starts does not matter to a sine and a cosine.
        angle = 2 * np.pi * np.arange(1, len(ppm) + 1) / 12
        return last, np.column_stack([change, np.sin(angle), np.cos(angle)])
    usual = usual_change(ppm, configuration.years, fewest=FEWEST_YEARS)
    surprise = change - usual[:-1]
    columns = [surprise] if configuration.inputs == "surprise" else [surprise, usual[1:]]
    return last + usual, np.column_stack(columns)


@dataclass(frozen=True, eq=False)
class Forecaster:
    """A trained network and the scales that it was trained with.

    Attributes
    ----------
    configuration : Configuration
    network : Network
        Reads windows (N, T, D) of scaled features, gives (N, 1) scaled corrections.
    center, scale : array of float64, shape (D,)
        Mean and standard deviation of the features over the training months.
    correction_center, correction_scale : float
        The same of the corrections, in ppm.
    """

    configuration: Configuration
    network: Network
    center: Series
    scale: Series
    correction_center: float
    correction_scale: float

    def forecast(self, ppm: Series) -> Series:
        """Forecast every month from the months before it.

        Parameters
        ----------
        ppm : array of float64, shape (S,)
            The series from its first training month on; it may go on after the last one.

        Returns
        -------
        array of float64, shape (S + 1,)
            Entry t is the forecast of ``ppm[t]`` from ``ppm[:t]``; the last one is of the month after the end. NaN
            where the past is too short.
        """
        base, features = base_and_features(ppm, self.configuration)
        first = _first_complete(features)
        steps = windows((features[first:] - self.center) / self.scale, self.configuration.window)
        correction = self.network.predict(steps)[:, 0] * self.correction_scale + self.correction_center
        forecast = np.full_like(base, np.nan)
        forecast[first + self.configuration.window :] = base[first + self.configuration.window :] + correction
        return forecast


def train(
    ppm: Series, interpolated: npt.NDArray[np.bool_], configuration: Configuration, seed: int, engine: str = "auto"
) -> Forecaster:
    """Train one network on all the months that it is given.

    Parameters
    ----------
    ppm : array of float64, shape (S,)
        The training months.
    interpolated : array of bool, shape (S,)
        Months that were not measured. Changes into and out of them are no targets.
    configuration : Configuration
    seed : int
        Decides initial weights and the order of the windows.
    engine : {"auto", "numpy", "native"}, default="auto"

    Returns
    -------
    Forecaster
    """
    base, features = base_and_features(ppm, configuration)
    first = _first_complete(features)
    center, scale = features[first:].mean(axis=0), features[first:].std(axis=0)
    # The window that ends with the last month has no target yet.
    steps = windows((features[first:] - center) / scale, configuration.window)[:-1]
    targets = np.arange(first + configuration.window, len(ppm))
    measured = ~(interpolated[targets] | interpolated[targets - 1])
    correction = (ppm[targets] - base[targets])[measured]
    network = Network(
        features.shape[1], [Elman(configuration.hidden_size)], 1, readout="last", random_state=seed, engine=engine
    )
    forecaster = Forecaster(configuration, network, center, scale, float(correction.mean()), float(correction.std()))
    network.fit(
        steps[measured],
        ((correction - forecaster.correction_center) / forecaster.correction_scale)[:, np.newaxis],
        configuration.epochs,
        configuration.batch_size,
        optimizer="adam",
        learning_rate=configuration.learning_rate,
    )
    return forecaster


def _first_complete(features: Series) -> int:
    """The first month whose features are all known."""
    return int(np.argmax(np.isfinite(features).all(axis=1)))
