"""Forecasting a series one step ahead: baselines to beat, windows, and the CO2 demo."""

from __future__ import annotations

from rnn_from_scratch.forecasting.baselines import naive, rmse, seasonal, seasonal_with_drift, usual_change
from rnn_from_scratch.forecasting.windows import windows

__all__ = ["naive", "rmse", "seasonal", "seasonal_with_drift", "usual_change", "windows"]
