"""The only training loop: epochs of mini-batches, handed to an engine in slices short enough to be interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.clipping import Clipping
from rnn_from_scratch.engines.base import Engine, PlanType, UpdateReport, Updates
from rnn_from_scratch.optimizers import Optimizer, OptimizerState
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.training.history import History

__all__ = ["NonFiniteError", "TrainingData", "TrainingPlan", "train"]

SLICE_SECONDS = 0.05
"""How long an engine may work before Python looks for Ctrl-C."""

EpochCallback = Callable[[int, History], None]


class NonFiniteError(ArithmeticError):
    """A loss or a gradient was not finite. The network holds the parameters of the last good epoch."""


@dataclass(frozen=True)
class TrainingData:
    """A whole training set."""

    inputs: Batch
    targets: Targets


@dataclass(frozen=True)
class TrainingPlan:
    """How to train: everything that has been decided before the first epoch."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Optimizer
    clipping: Clipping
    shuffle: bool = True


def train(
    engine: Engine[PlanType],
    plan: PlanType,
    data: TrainingData,
    how: TrainingPlan,
    generator: np.random.Generator,
    on_epoch: EpochCallback | None = None,
) -> History:
    """Train the planned network in place.

    Parameters
    ----------
    engine, plan
        Who computes, and on which network.
    data : TrainingData
    how : TrainingPlan
    generator : numpy.random.Generator
        Decides the order of sequences in every epoch.
    on_epoch : callable (epoch, history), optional
        Called after each epoch, counted from 1.

    Returns
    -------
    History

    Raises
    ------
    NonFiniteError
        If a loss or gradient is not finite. That update is not applied, and the parameters are those of the end of the
        epoch before.
    """
    parameters = plan.parameters
    state = how.optimizer.init(len(parameters.vector), parameters.dtype)
    history = History()
    N = len(data.inputs)
    boundaries = np.append(np.arange(0, N, how.batch_size, dtype=np.int64), N)
    learning_rates = np.full(len(boundaries) - 1, how.learning_rate)
    slices = _Slices(seconds_per_update=_guess(len(parameters.vector), data.inputs, how.batch_size))
    shares = _Shares(data.targets, boundaries)
    order = np.arange(N, dtype=np.int64)
    for epoch in range(1, how.epochs + 1):
        start = time.perf_counter()
        if how.shuffle:
            order = generator.permutation(N)
        last_good = parameters.vector.copy()
        whole = Updates(data.inputs, data.targets, order, boundaries, learning_rates)
        try:
            report = slices.run(engine, plan, whole, how, state)
        finally:
            parameters.version += 1  # other plans of the same parameters hold packed copies of their own
        if report.applied < len(whole):
            parameters.vector[:] = last_good
            raise NonFiniteError(_non_finite_message(epoch, how.epochs, report, len(whole)))
        _record(history, report, shares.of(order), how.learning_rate, time.perf_counter() - start)
        if on_epoch is not None:
            on_epoch(epoch, history)
    return history


def _record(
    history: History, report: UpdateReport, shares: npt.NDArray[np.float64], learning_rate: float, seconds: float
) -> None:
    norms = report.gradient_norms
    history.loss.append(float(np.dot(report.losses, shares)))
    history.learning_rate.append(learning_rate)
    history.gradient_norm_mean.append(float(np.add.reduce(norms)) / len(norms))
    history.gradient_norm_max.append(float(np.maximum.reduce(norms)))
    history.clipped.append(int(np.count_nonzero(report.clipped)))
    history.seconds.append(seconds)


class _Shares:
    """The share of each update in the loss of an epoch: the weight of its rows, out of all."""

    def __init__(self, targets: Targets, boundaries: IndexArray) -> None:
        firsts = np.cumsum(targets.lengths) - targets.lengths
        self.weights = np.add.reduceat(targets.weights[targets.rows()].astype(np.float64), firsts)  # (N,)
        self.firsts = boundaries[:-1]
        # With equal sequences the shares are the same whatever the order: worth knowing where an epoch takes microseconds
        self.fixed = bool((self.weights == self.weights[0]).all())
        self.shares = self._of(np.arange(len(targets)))

    def of(self, order: IndexArray) -> npt.NDArray[np.float64]:
        """(U,): the shares when sequences are visited in this order; they sum to 1."""
        return self.shares if self.fixed else self._of(order)

    def _of(self, order: IndexArray) -> npt.NDArray[np.float64]:
        return np.add.reduceat(self.weights[order], self.firsts) / self.weights.sum()  # type: ignore[no-any-return]


class _Slices:
    """Cuts an epoch into slices of about `SLICE_SECONDS`, by the speed seen so far."""

    def __init__(self, seconds_per_update: float) -> None:
        self.updates = max(1, int(SLICE_SECONDS / seconds_per_update))

    def run(
        self, engine: Engine[PlanType], plan: PlanType, whole: Updates, how: TrainingPlan, state: OptimizerState
    ) -> UpdateReport:
        """All updates of the epoch, unless one is not finite."""
        reports: list[UpdateReport] = []
        first = 0
        while first < len(whole):
            last = min(first + self.updates, len(whole))
            start = time.perf_counter()
            report = engine.train_updates(plan, _part(whole, first, last), how.optimizer, state, how.clipping)
            self._adapt(last - first, time.perf_counter() - start)
            reports.append(report)
            if report.applied < last - first:
                break
            first = last
        if len(reports) == 1:
            return reports[0]
        losses, norms, clipped, applied = zip(*reports, strict=True)
        return UpdateReport(np.concatenate(losses), np.concatenate(norms), np.concatenate(clipped), sum(applied))

    def _adapt(self, updates: int, seconds: float) -> None:
        affordable = int(updates * SLICE_SECONDS / max(seconds, 1e-9))
        self.updates = max(1, min(affordable, 8 * self.updates))


def _guess(parameters: int, inputs: Batch, batch_size: int) -> float:
    """Seconds that an update may take at first: six operations per parameter and step, on a slow engine."""
    steps = float(inputs.lengths.mean()) * min(batch_size, len(inputs))
    return 1e-4 + 6 * parameters * steps / 2e8


def _part(whole: Updates, first: int, last: int) -> Updates:
    if first == 0 and last == len(whole):
        return whole
    boundaries = whole.boundaries[first : last + 1]
    return Updates(whole.inputs, whole.targets, whole.order, boundaries, whole.learning_rates[first:last])


def _non_finite_message(epoch: int, epochs: int, report: UpdateReport, updates: int) -> str:
    before = ", ".join(f"{size:.3g}" for size in report.gradient_norms[-4:-1]) or "none in this epoch"
    return (
        f"Training stopped at epoch {epoch} of {epochs}, update {report.applied + 1} of {updates}: the loss was "
        f"{report.losses[-1]:.3g} and the norm of the gradient {report.gradient_norms[-1]:.3g} (norms before it: {before}). "
        "The update was not applied; the network holds the parameters of the last good epoch. "
        "Try a smaller learning_rate, clip=1.0, or inputs scaled to about unit size."
    )
