"""Next month's CO2 at Mauna Loa once more: Elman, GRU and LSTM, each stopped by months of its own training part.

Run it: ``python examples/co2_cells.py [--quick]``

The protocol is that of ``rnn-from-scratch demo``: one month ahead, the last 60 months held out, five seeds, and a network
that corrects the usual change of the calendar month. Beside the demo's network, which trains for a number of epochs that
validation has chosen, these hold back the last years of their training months, lower the learning rate, and keep the
parameters that forecast those years best.
"""

import sys
from dataclasses import dataclass

import numpy as np

from rnn_from_scratch import GRU, LSTM, Elman, Network
from rnn_from_scratch.datasets import load_co2
from rnn_from_scratch.forecasting.baselines import rmse
from rnn_from_scratch.forecasting.co2_demo import CONFIGURATION, TEST_MONTHS, baselines
from rnn_from_scratch.forecasting.co2_model import base_and_features
from rnn_from_scratch.forecasting.co2_model import train as train_demo
from rnn_from_scratch.forecasting.windows import windows

CELLS = {"Elman": Elman, "GRU": GRU, "LSTM": LSTM}


@dataclass(frozen=True)
class Settings:
    """A network and its training."""

    cell: str
    window: int
    hidden_size: int
    learning_rate: float
    schedule: str


# Chosen on the months before the held-out ones, by tools/choose_co2_cells.py; its table is in docs/tasks.md.
CHOSEN = [
    Settings("Elman", 12, 4, 1e-2, "constant"),
    Settings("GRU", 24, 8, 3e-3, "cosine"),
    Settings("LSTM", 24, 8, 1e-2, "cosine"),
]


def forecast(ppm, interpolated, training_months, settings, seed):
    """Train on the first months, and forecast every month from those before it: (S + 1,), NaN where they are too few."""
    base, features = base_and_features(ppm, CONFIGURATION)  # (S + 1,) and (S, D), pure functions of the past
    first = int(np.isfinite(features).all(axis=1).argmax())
    past = features[first:training_months]
    steps = windows((features[first:] - past.mean(axis=0)) / past.std(axis=0), settings.window)  # (N, T, D)
    month = np.arange(first + settings.window, len(ppm) + 1)  # that each window forecasts

    targets = month[month < training_months]
    measured = ~(interpolated[targets] | interpolated[targets - 1])
    correction = (ppm[targets] - base[targets])[measured]
    center, scale = correction.mean(), correction.std()

    layer = CELLS[settings.cell](settings.hidden_size)
    network = Network(features.shape[1], [layer], 1, readout="last", random_state=seed)
    network.fit(
        steps[: len(targets)][measured],
        (correction - center) / scale,
        epochs=80,
        batch_size=32,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
        validation=0.15,  # the last of the training months
        early_stopping=15,
    )
    found = np.full(len(ppm) + 1, np.nan)
    found[month] = base[month] + center + scale * network.predict(steps)[:, 0]
    return found


def main(quick=False):
    """Print the table and return {name: RMSE in ppm, one for each seed}."""
    data = load_co2()
    ppm, interpolated, cut = data.ppm, data.interpolated, len(data.ppm) - TEST_MONTHS
    seeds = range(1 if quick else 5)
    forecasts = {f"baseline: {name}": [found] for name, found in baselines(ppm, CONFIGURATION.years).items()}
    forecasts["Elman of the demo"] = [
        train_demo(ppm[:cut], interpolated[:cut], CONFIGURATION, seed).forecast(ppm) for seed in seeds
    ]
    for settings in CHOSEN:
        forecasts[f"{settings.cell}, the whole loop"] = [
            forecast(ppm, interpolated, cut, settings, seed) for seed in seeds
        ]
    print(f"Mauna Loa CO2, one month ahead, the last {TEST_MONTHS} months, {len(seeds)} seed(s): RMSE in ppm")
    figures = {}
    for name, found in forecasts.items():
        figures[name] = [rmse(each[cut:-1], ppm[cut:]) for each in found]
        deviation = f" ± {np.std(figures[name], ddof=1):.3f}" if len(found) > 1 else ""
        print(f"  {name:36}{np.mean(figures[name]):.3f}{deviation}")
    return figures


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
