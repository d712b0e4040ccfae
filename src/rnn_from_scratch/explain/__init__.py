"""Pictures of what a network does. They need matplotlib: ``pip install "rnn-from-scratch[plot]"``."""

from __future__ import annotations

from rnn_from_scratch.explain.forecast_plot import plot_forecast

__all__ = ["plot_forecast"]
