"""The only training loop: epochs of mini-batches, handed to an engine in slices short enough to be interrupted."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.engines.base import Engine, PlanType, UpdateReport, UpdateRule, Updates
from rnn_from_scratch.optimizers import OptimizerState
from rnn_from_scratch.parameters import Parameters
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
    rule: UpdateRule
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
    state = how.rule.optimizer.init(len(parameters.vector), parameters.dtype)
    history = History()
    epochs = _Epochs(data, how, generator, int(generator.integers(2**63)) if plan.specification.drops else 0)
    slices = _Slices(seconds_per_update=_guess(len(parameters.vector), data.inputs, how.batch_size))
    shares = _Shares(data.targets, epochs.boundaries)
    recent: list[float] = []
    try:
        while len(history) < how.epochs:
            start = time.perf_counter()
            # Short epochs are handed over several at once, unless somebody wants to hear of each
            most = 1 if on_epoch is not None else max(1, slices.updates // epochs.updates)
            updates = epochs.next(min(most, how.epochs - len(history)))
            before = _Snapshot(parameters, state)
            report = slices.run(engine, plan, how, state, updates)
            if report.applied < len(updates) or not np.isfinite(parameters.vector).all():
                good = 0
                if len(updates) > epochs.updates:  # of several epochs, go back to the last good one
                    run = functools.partial(slices.run, engine, plan, how, state)
                    good, report = _replay(before, epochs.updates, updates, run)
                else:
                    before.restore()
                epochs.return_to(good)
                raise NonFiniteError(_non_finite_message(len(history) + good + 1, how.epochs, report, recent))
            recent = [*recent, *map(float, report.gradient_norms[-3:])][-3:]
            _record(history, report, shares.of(updates.order), how.learning_rate, time.perf_counter() - start)
            if on_epoch is not None:
                parameters.version += 1  # it may look at the parameters through another plan
                on_epoch(len(history), history)
    finally:
        parameters.version += 1  # other plans of the same parameters hold packed copies of their own
    return history


class _Epochs:
    """Draws the order of sequences and cuts it into mini-batches, one epoch after the other."""

    def __init__(self, data: TrainingData, how: TrainingPlan, generator: np.random.Generator, dropout_key: int) -> None:
        self.data, self.how, self.generator, self.dropout_key = data, how, generator, dropout_key
        self.drawn = 0
        self.N = len(data.inputs)
        self.generator_before = generator.bit_generator.state
        self.boundaries = np.append(np.arange(0, self.N, how.batch_size, dtype=np.int64), self.N)
        self.updates = len(self.boundaries) - 1

    def next(self, count: int) -> Updates:
        """The updates of the next `count` epochs."""
        self.generator_before = self.generator.bit_generator.state
        if self.how.shuffle:
            order = np.concatenate([self.generator.permutation(self.N) for _ in range(count)])
        else:
            order = np.tile(np.arange(self.N, dtype=np.int64), count)
        firsts = np.arange(count)[:, None] * self.N + self.boundaries[:-1]  # (count, updates)
        boundaries = np.append(firsts, count * self.N)
        rates = np.full(count * self.updates, self.how.learning_rate)
        epochs = np.repeat(np.arange(self.drawn, self.drawn + count), self.updates)
        self.drawn += count
        return Updates(self.data.inputs, self.data.targets, order, boundaries, rates, self.dropout_key, epochs)

    def return_to(self, good: int) -> None:
        """Put the generator where it was after the first `good` of the last epochs drawn, however many those were."""
        self.generator.bit_generator.state = self.generator_before
        if self.how.shuffle:
            for _ in range(good):
                self.generator.permutation(self.N)


class _Snapshot:
    """Parameters and what the optimiser remembers, as they were before some updates."""

    def __init__(self, parameters: Parameters, state: OptimizerState) -> None:
        self.parameters, self.state = parameters, state
        self.vector = parameters.vector.copy()
        self.remembered = {name: values.copy() for name, values in state.items()}

    def restore(self) -> None:
        self.parameters.vector[:] = self.vector
        for name, values in self.remembered.items():
            self.state[name][...] = values
        self.parameters.version += 1


def _replay(
    before: _Snapshot, per_epoch: int, updates: Updates, run: Callable[[Updates], UpdateReport]
) -> tuple[int, UpdateReport]:
    """Make the updates again, epoch by epoch, up to the last good one; how many were good, and what the bad one reported."""
    before.restore()
    for epoch in range(len(updates) // per_epoch):
        start = _Snapshot(before.parameters, before.state)
        report = run(_part(updates, epoch * per_epoch, (epoch + 1) * per_epoch))
        if report.applied < per_epoch or not np.isfinite(before.parameters.vector).all():
            start.restore()
            break
    return epoch, report


def _record(
    history: History, report: UpdateReport, shares: npt.NDArray[np.float64], learning_rate: float, seconds: float
) -> None:
    """Enter one or several epochs; shares (epochs, updates per epoch)."""
    epochs = len(shares)
    norms = report.gradient_norms.reshape(shares.shape)
    history.loss += (report.losses.reshape(shares.shape) * shares).sum(axis=1).tolist()
    history.learning_rate += [learning_rate] * epochs
    history.gradient_norm_mean += norms.mean(axis=1).tolist()
    history.gradient_norm_max += norms.max(axis=1).tolist()
    history.clipped += report.clipped.reshape(shares.shape).sum(axis=1).tolist()
    history.seconds += [seconds / epochs] * epochs


class _Shares:
    """The share of each update in the loss of an epoch: the weight of its rows, out of all."""

    def __init__(self, targets: Targets, boundaries: IndexArray) -> None:
        firsts = np.cumsum(targets.lengths) - targets.lengths
        self.weights = np.add.reduceat(targets.weights[targets.rows()].astype(np.float64), firsts)  # (N,)
        self.total = self.weights.sum()
        self.firsts = boundaries[:-1]

    def of(self, order: IndexArray) -> npt.NDArray[np.float64]:
        """(epochs, updates): the shares when sequences are visited in this order; each epoch's sum to 1."""
        weights = self.weights[order].reshape(-1, len(self.weights))  # (epochs, N)
        return np.add.reduceat(weights, self.firsts, axis=1) / self.total  # type: ignore[no-any-return]


class _Slices:
    """Cuts updates into slices of about `SLICE_SECONDS`, by the speed seen so far."""

    def __init__(self, seconds_per_update: float) -> None:
        self.updates = max(1, int(SLICE_SECONDS / seconds_per_update))

    def run(
        self, engine: Engine[PlanType], plan: PlanType, how: TrainingPlan, state: OptimizerState, whole: Updates
    ) -> UpdateReport:
        """All the updates, unless one is not finite."""
        reports: list[UpdateReport] = []
        first = 0
        while first < len(whole):
            last = min(first + self.updates, len(whole))
            start = time.perf_counter()
            report = engine.train_updates(plan, _part(whole, first, last), how.rule, state)
            self._adapt(last - first, time.perf_counter() - start)
            reports.append(report)
            if report.applied < last - first:
                break
            first = last
        if len(reports) == 1:
            return reports[0]
        if not reports:
            return UpdateReport(np.empty(0), np.empty(0), np.empty(0, np.bool_), 0)
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
    rates, epochs = whole.learning_rates[first:last], whole.epochs[first:last]
    return Updates(whole.inputs, whole.targets, whole.order, boundaries, rates, whole.dropout_key, epochs)


def _non_finite_message(epoch: int, epochs: int, report: UpdateReport, recent: list[float]) -> str:
    *before, norm = [*recent, *map(float, report.gradient_norms)]
    loss = float(report.losses[-1])
    shown = ", ".join(f"{size:.3g}" for size in before[-3:]) or "none"
    what = (
        "" if not (np.isfinite(loss) and np.isfinite(norm)) else ", and the step led to parameters that are not finite"
    )
    return (
        f"Training stopped at epoch {epoch} of {epochs}, update {len(report.losses)}: the loss was {loss:.3g} and the norm "
        f"of the gradient {norm:.3g}{what} (norms before it: {shown}). "
        "The network holds the parameters of the last good epoch. "
        "Try a smaller learning_rate, clip=1.0, or inputs scaled to about unit size."
    )
