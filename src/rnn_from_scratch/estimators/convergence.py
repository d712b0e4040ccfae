"""When training ends, and how fast it goes: the rules of scikit-learn's multi-layer perceptrons, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from rnn_from_scratch.training.constant_rate import ConstantRate, Rates, ScheduleState
from rnn_from_scratch.training.history import History

__all__ = ["AdaptiveRate", "Convergence", "InverseScaling", "Progress"]

MANY = 1 << 30
SMALLEST_RATE = 1e-6
"""Below it an adaptive rate is not divided any more."""


@dataclass
class Progress:
    """How far training has come, over all calls that go on from each other.

    Attributes
    ----------
    loss_curve, validation_scores : list of float
    best_loss, best_score : float
    waited : int
        Epochs in a row that were not better by more than the tolerance.
    rate_scale : float
        By how much an adaptive rate has come down.
    """

    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_score: float = -math.inf
    waited: int = 0
    rate_scale: float = 1.0

    def copy(self) -> Progress:
        """One that goes on by itself."""
        return replace(self, loss_curve=list(self.loss_curve), validation_scores=list(self.validation_scores))


@dataclass
class Convergence:
    """A callback of `Network.fit` that ends training when it no longer gets better.

    Parameters
    ----------
    progress : Progress
        Brought up to date after every epoch.
    tol : float
        How much better an epoch has to be.
    patience : float
        How many epochs in a row need not be; training stops at the next.
    scale : float
        By which losses of the network are multiplied to be those of scikit-learn.
    learning_rate : float or None
        The first rate, if it is adaptive: divided by 5 instead of stopping, until it is small.
    score : callable or None
        The score of a validation set at present; None looks at the training loss.
    keep : callable or None
        Called after every epoch whose score is the best so far.
    """

    progress: Progress
    tol: float
    patience: float
    scale: float = 1.0
    learning_rate: float | None = None
    score: Callable[[], float] | None = None
    keep: Callable[[], None] | None = None
    converged: bool = False
    seen: int = 0

    @property
    def epochs_left(self) -> int:
        """How many epochs can pass until training might have to stop, or its rate to come down."""
        if self.score is not None:
            return 1
        return int(min(max(self.patience - self.progress.waited + 1, 1), MANY))

    def __call__(self, epoch: int, history: History) -> bool:
        """Whether training is over."""
        for loss in history.loss[self.seen :]:
            self._observe(self.scale * loss)
        self.seen = len(history.loss)
        return self.converged

    def _observe(self, loss: float) -> None:
        progress = self.progress
        progress.loss_curve.append(loss)
        if self.score is None:
            worse = loss > progress.best_loss - self.tol
            progress.best_loss = min(progress.best_loss, loss)
        else:
            score = self.score()
            progress.validation_scores.append(score)
            worse = score < progress.best_score + self.tol
            if score > progress.best_score:
                progress.best_score = score
                if self.keep is not None:
                    self.keep()
        progress.waited = progress.waited + 1 if worse else 0
        if progress.waited > self.patience:
            if self.learning_rate is None or self.learning_rate * progress.rate_scale <= SMALLEST_RATE:
                self.converged = True
            else:
                progress.rate_scale /= 5
                progress.waited = 0


class AdaptiveRate(ConstantRate):
    """The rate as `Convergence` has brought it down."""

    def __init__(self, progress: Progress) -> None:
        vars(self)["progress"] = (
            progress  # descriptions of schedules are frozen; this one looks at something that moves
        )

    def rates(self, learning_rate: float, position: Rates, epochs: int, state: ScheduleState) -> Rates:
        """The same for all updates of an epoch."""
        progress: Progress = vars(self)["progress"]
        return np.full(len(position), learning_rate * progress.rate_scale)


@dataclass(eq=False, repr=False)
class InverseScaling(ConstantRate):
    """``η / (t + 1)^power``, where t is how many sequences were seen before the epoch.

    >>> InverseScaling(sequences=9, power=0.5).rates(1.0, np.array([0.0, 0.5, 1.0, 11.0]), 20, {}).round(3)
    array([1.   , 1.   , 0.316, 0.1  ])
    """

    sequences: int
    power: float
    seen: int = 0

    def rates(self, learning_rate: float, position: Rates, epochs: int, state: ScheduleState) -> Rates:
        """The same for all updates of an epoch."""
        t = self.seen + self.sequences * np.floor(position)
        rates: Rates = learning_rate / (t + 1) ** self.power
        return rates
