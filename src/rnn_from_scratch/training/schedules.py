"""Learning rates through a run: frozen descriptions that give the rate of every update of an epoch.

``rates(learning_rate, position, epochs, state)`` takes the position of updates in the run, in epochs from 0; `state` is what a
schedule has seen so far, handed in and given back by ``observe(state, value)`` after every epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rnn_from_scratch.training.constant_rate import ConstantRate, Rates, ScheduleState
from rnn_from_scratch.validation import choice, integer, non_negative, number, positive, shown

__all__ = [
    "ConstantRate",
    "CosineDecay",
    "ExponentialDecay",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "as_schedule",
]


@dataclass(eq=False, repr=False)
class StepDecay(ConstantRate):
    """Multiply by `factor` after every `every` epochs.

    >>> StepDecay(every=2, factor=0.1).rates(1.0, np.arange(5.0), 5, {})
    array([1.  , 1.  , 0.1 , 0.1 , 0.01])
    """

    every: int = 10
    factor: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", integer(self.every, "every", "StepDecay"))
        object.__setattr__(self, "factor", positive(self.factor, "factor", "StepDecay"))

    def rates(self, learning_rate: float, position: Rates, epochs: int, state: ScheduleState) -> Rates:
        return learning_rate * self.factor ** (np.floor(position) // self.every)


@dataclass(eq=False, repr=False)
class ExponentialDecay(ConstantRate):
    """Multiply by `factor` after every epoch.

    >>> ExponentialDecay(0.5).rates(1.0, np.array([0.0, 0.5, 1.0, 2.0]), 5, {})
    array([1.  , 1.  , 0.5 , 0.25])
    """

    factor: float = 0.95

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", positive(self.factor, "factor", "ExponentialDecay"))

    def rates(self, learning_rate: float, position: Rates, epochs: int, state: ScheduleState) -> Rates:
        rates: Rates = learning_rate * self.factor ** np.floor(position)
        return rates


@dataclass(eq=False, repr=False)
class CosineDecay(ConstantRate):
    """Half a cosine from the learning rate down to ``floor``, after a straight rise over the first `warmup` epochs.

    Parameters
    ----------
    warmup : float, default=0.0
        Epochs; the rate rises from 0, which the first update has.
    floor : float, default=0.0
        Share of the learning rate that is left at the end, in [0, 1].

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.

    Examples
    --------
    >>> CosineDecay(warmup=1).rates(1.0, np.array([0.0, 0.5, 1.0, 2.0, 3.0]), 3, {}).round(3)
    array([0. , 0.5, 1. , 0.5, 0. ])
    """

    warmup: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "warmup", non_negative(self.warmup, "warmup", "CosineDecay"))
        share = number(self.floor, "floor", "CosineDecay", "a number in [0, 1]")
        if not 0 <= share <= 1:
            raise ValueError(f"floor of CosineDecay must be a number in [0, 1]. Got {self.floor!r}.")
        object.__setattr__(self, "floor", share)

    def rates(self, learning_rate: float, position: Rates, epochs: int, state: ScheduleState) -> Rates:
        rising = position < self.warmup
        progress = np.clip((position - self.warmup) / max(epochs - self.warmup, 1e-12), 0, 1)
        falling = self.floor + (1 - self.floor) * 0.5 * (1 + np.cos(np.pi * progress))
        return learning_rate * np.where(rising, position / (self.warmup or 1.0), falling)


@dataclass(eq=False, repr=False)
class ReduceOnPlateau(ConstantRate):
    """Multiply by `factor` once the loss has not become smaller for more than `patience` epochs.

    It looks at the validation loss where there is one, else at the training loss. A loss that is not finite is not smaller.

    Parameters
    ----------
    factor : float, default=0.1
    patience : int, default=10
    threshold : float, default=1e-4
        A loss is smaller if it is below ``best · (1 − threshold)``.
    minimum : float, default=0.0
        The smallest rate.

    Examples
    --------
    >>> schedule = ReduceOnPlateau(factor=0.5, patience=1)
    >>> state, seen = schedule.init(), []
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
    ...     state = schedule.observe(state, loss)
    ...     seen.append(float(schedule.rates(1.0, np.zeros(1), 9, state)[0]))
    >>> seen
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    minimum: float = 0.0

    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        owner = "ReduceOnPlateau"
        object.__setattr__(self, "factor", positive(self.factor, "factor", owner))
        object.__setattr__(self, "patience", integer(self.patience, "patience", owner, minimum=0))
        object.__setattr__(self, "threshold", non_negative(self.threshold, "threshold", owner))
        object.__setattr__(self, "minimum", non_negative(self.minimum, "minimum", owner))

    def init(self) -> ScheduleState:
        return {"best": None, "bad": 0, "scale": 1.0}

    def rates(self, learning_rate: float, position: Rates, epochs: int, state: ScheduleState) -> Rates:
        return np.full(len(position), max(learning_rate * state["scale"], min(self.minimum, learning_rate)))

    def observe(self, state: ScheduleState, value: float) -> ScheduleState:
        best = state["best"]
        if best is None:
            smaller = math.isfinite(value)
        else:
            smaller = value < best * (1 - self.threshold if best > 0 else 1 + self.threshold)
        if smaller:
            return {**state, "best": value, "bad": 0}
        bad = state["bad"] + 1
        if bad > self.patience:
            return {**state, "bad": 0, "scale": state["scale"] * self.factor}
        return {**state, "bad": bad}


Schedule = ConstantRate
_BY_NAME: dict[str, Schedule] = {
    "constant": ConstantRate(),
    "step": StepDecay(),
    "exponential": ExponentialDecay(),
    "cosine": CosineDecay(),
    "plateau": ReduceOnPlateau(),
}


def as_schedule(schedule: object, owner: str) -> Schedule:
    """The schedule that a user's word or object stands for.

    >>> as_schedule("cosine", "Network.fit")
    CosineDecay(warmup=0.0, floor=0.0)
    """
    if isinstance(schedule, ConstantRate):
        return schedule
    if not isinstance(schedule, str):
        words = ", ".join(map(repr, _BY_NAME))
        raise TypeError(
            f"schedule of {owner} must be one of {words}, or a schedule such as StepDecay(). Got {shown(schedule)}."
        )
    return _BY_NAME[choice(schedule, "schedule", owner, _BY_NAME)]
