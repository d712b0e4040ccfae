"""The learning rate as it is, and what every other schedule is built on; those are in `schedules`, which few runs need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnn_from_scratch.frozen import Frozen

__all__ = ["ConstantRate", "Rates", "ScheduleState"]

Rates = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]
ScheduleState = dict[str, Any]
"""Numbers that JSON can say; empty for schedules that do not look at the losses."""


@dataclass(eq=False, repr=False)
class ConstantRate(Frozen):
    """The learning rate as it is."""

    observes: ClassVar[bool] = False

    def init(self) -> ScheduleState:
        """Nothing to remember."""
        return {}

    def rates(self, learning_rate: float, position: Rates, epochs: int, state: ScheduleState) -> Rates:
        """The rate of each update."""
        return np.full(len(position), learning_rate)

    def observe(self, state: ScheduleState, value: float) -> ScheduleState:
        """What is remembered after an epoch with this loss."""
        return state
