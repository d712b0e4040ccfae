"""The only training loop: epochs of mini-batches, handed to an engine in slices short enough to be interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, Protocol

import numpy as np

from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.engines.base import Engine, Plan, PlanType, UpdateReport, UpdateRule, Updates
from rnn_from_scratch.optimizers import OptimizerState
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.training.constant_rate import ConstantRate
from rnn_from_scratch.training.epochs import Drawn, Epochs, cut
from rnn_from_scratch.training.history import History
from rnn_from_scratch.training.progress import Progress

if TYPE_CHECKING:
    from rnn_from_scratch.metrics import Metric
    from rnn_from_scratch.training import evaluation
    from rnn_from_scratch.training.stopping import EarlyStopping
else:
    evaluation = deferred_module("rnn_from_scratch.training.evaluation")

__all__ = ["Callback", "NonFiniteError", "RunKeeper", "TrainingData", "TrainingPlan", "TrainingRun", "train"]

SLICE_SECONDS = 0.05
"""How long an engine may work before Python has its turn; within one update, an engine looks for Ctrl-C by itself."""

Callback = Callable[[int, History], Any]
"""Called with the number of the epoch, from 1, and the history; training stops if it returns True.

One with an attribute ``epochs_left`` says by it how many epochs may pass until it has to be called again.
"""


class NonFiniteError(ArithmeticError):
    """A loss or a gradient was not finite. The network holds the parameters of the last good epoch.

    Attributes
    ----------
    history : History
        Of the epochs that were finished.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


class TrainingData(NamedTuple):
    """A whole training set, and perhaps one that is only looked at."""

    inputs: Batch
    targets: Targets
    validation: tuple[Batch, Targets] | None = None


class TrainingPlan(NamedTuple):
    """How to train: everything that has been decided before the first epoch."""

    epochs: int
    batch_size: int
    learning_rate: float
    rule: UpdateRule
    schedule: ConstantRate = ConstantRate()
    shuffle: bool = True
    tbptt_steps: int | None = None
    stateful: bool = False
    early_stopping: EarlyStopping | None = None
    metrics: Mapping[str, Metric] = MappingProxyType({})
    callbacks: Sequence[Callback] = ()
    verbose: bool = False


class TrainingRun(Generic[PlanType]):
    """A run of training, between two epochs: everything that decides how it goes on.

    Parameters
    ----------
    engine, plan
        Who computes, and on which network.
    data : TrainingData
    how : TrainingPlan
    generator : numpy.random.Generator
        Decides the order of sequences in every epoch.

    Attributes
    ----------
    history : History
    optimizer_state, schedule_state, stopping_state
        What optimiser, schedule and early stopping remember.
    best : ndarray (P,) or None
        The parameters of the best epoch, where there is early stopping.
    """

    def __init__(
        self,
        engine: Engine[PlanType],
        plan: PlanType,
        data: TrainingData,
        how: TrainingPlan,
        generator: np.random.Generator,
        history: History | None = None,
    ) -> None:
        self.engine, self.plan, self.data, self.how = engine, plan, data, how
        self.history = History() if history is None else history
        self.parameters = plan.parameters
        self.optimizer_state: OptimizerState = how.rule.optimizer.init(
            len(self.parameters.vector), self.parameters.dtype
        )
        self.schedule_state = how.schedule.init()
        self.stopping_state = None if how.early_stopping is None else how.early_stopping.init()
        self.best = None if how.early_stopping is None else self.parameters.vector.copy()
        specification = plan.specification
        parts = None
        if how.tbptt_steps is not None or how.stateful:
            rows = how.batch_size if how.stateful else None
            parts = cut(data.inputs, data.targets, specification, how.tbptt_steps, rows)
        dropout_key = int(generator.integers(2**63)) if specification.drops else 0
        self.epochs = Epochs(
            data.inputs,
            data.targets,
            parts,
            how.batch_size,
            how.epochs,
            how.learning_rate,
            how.schedule,
            how.shuffle,
            generator,
            dropout_key,
        )
        self.slices = _Slices(plan, _guess(len(self.parameters.vector), data.inputs, how.batch_size))
        self.recent: list[float] = []

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        stopping = self.how.early_stopping
        stopped = stopping is not None and self.stopping_state is not None and stopping.stops(self.stopping_state)
        return stopped or len(self.history) >= self.how.epochs

    @property
    def looks_at_every_epoch(self) -> bool:
        """Whether anything has to be done between two epochs."""
        how = self.how
        eager = any(not hasattr(callback, "epochs_left") for callback in how.callbacks)
        watched = self.data.validation is not None or how.metrics or eager
        return bool(watched or how.early_stopping is not None or how.schedule.observes or self.epochs.parts is not None)

    def advance(self, most: int) -> None:
        """Train for some epochs, at most so many: several where they are short and nobody wants to look in between."""
        start = time.perf_counter()
        at_once = 1 if self.looks_at_every_epoch else max(1, self.slices.updates // self.epochs.updates_per_epoch)
        most = min(most, at_once)
        drawn = self.epochs.next(min(most, self.how.epochs - len(self.history)), self.schedule_state)
        before = _Snapshot(self)
        try:
            report = self._run(drawn.updates)
            if not self._good(report, drawn.updates):
                self._go_back(before, drawn, report)
            self._record(drawn, report)
            if self.looks_at_every_epoch:
                self._look()
            seconds = (time.perf_counter() - start) / len(drawn.per_epoch)
            self.history.seconds += [seconds] * len(drawn.per_epoch)
        except BaseException:
            self.history.keep(len(self.history.seconds))  # an epoch counts when it has its time, which comes last
            raise

    def _run(self, updates: Updates) -> UpdateReport:
        return self.slices.run(self.engine, self.plan, self.how.rule, self.optimizer_state, updates)

    def _good(self, report: UpdateReport, updates: Updates) -> bool:
        return report.applied == len(updates) and bool(np.isfinite(self.parameters.vector).all())

    def _go_back(self, before: _Snapshot, drawn: Drawn, report: UpdateReport) -> NoReturn:
        """To the last good epoch: from before all that were handed over, make the updates again up to the bad epoch."""
        before.restore(self)
        first, good = 0, 0
        for updates in drawn.per_epoch if len(drawn.per_epoch) > 1 else ():
            start, snapshot = time.perf_counter(), _Snapshot(self)
            one = Drawn(_part(drawn.updates, first, first + updates), [updates])
            report = self._run(one.updates)
            if not self._good(report, one.updates):
                snapshot.restore(self)
                break
            self._record(one, report)
            self.history.seconds.append(time.perf_counter() - start)
            first, good = first + updates, good + 1
        self.epochs.return_to(good)
        raise NonFiniteError(_non_finite_message(self, report), self.history)

    def _record(self, drawn: Drawn, report: UpdateReport) -> None:
        shares = self.epochs.shares(drawn.updates)
        taught = shares > 0  # the others only moved the states on
        self.recent = [*self.recent, *map(float, report.gradient_norms[taught][-3:])][-3:]
        history, epochs = self.history, len(drawn.per_epoch)
        by_epoch = (epochs, -1)  # all epochs drawn at once have as many updates
        norms = report.gradient_norms.reshape(by_epoch)
        history.loss += (report.losses * shares).reshape(by_epoch).sum(axis=1).tolist()
        history.learning_rate += drawn.updates.learning_rates.reshape(by_epoch)[:, -1].tolist()
        history.gradient_norm_mean += (norms.sum(axis=1) / taught.reshape(by_epoch).sum(axis=1)).tolist()
        history.gradient_norm_max += norms.max(axis=1).tolist()
        history.clipped += report.clipped.reshape(by_epoch).sum(axis=1).tolist()
        history.non_finite += [0] * epochs

    def _look(self) -> None:
        """Validation, metrics, schedule and early stopping after an epoch."""
        how, history = self.how, self.history
        self.parameters.version += 1  # others may look at the parameters through another plan
        if how.metrics:
            found = evaluation.evaluate(self.engine, self.plan, self.data.inputs, self.data.targets, how.metrics)[1]
            _append(history.metrics, found)
        if self.data.validation is not None:
            loss, found = evaluation.evaluate(self.engine, self.plan, *self.data.validation, how.metrics)
            history.validation_loss.append(loss)
            _append(history.validation_metrics, found)
        if how.schedule.observes:
            value = (history.validation_loss or history.loss)[-1]
            self.schedule_state = how.schedule.observe(self.schedule_state, value)
        if how.early_stopping is not None and self.stopping_state is not None:
            self.stopping_state = how.early_stopping.observe(self.stopping_state, history)
            if self.stopping_state["bad"] == 0:
                self.best = self.parameters.vector.copy()

    def restore_best(self) -> None:
        """Put the best parameters back, where early stopping has kept them."""
        if self.best is not None and self.history.loss:
            self.parameters.vector[:] = self.best
            self.parameters.version += 1


class RunKeeper(Protocol):
    """Who keeps a run, so that it can go on after whatever happens."""

    @property
    def epochs_left(self) -> int:
        """How many epochs may pass until it has to look."""

    def look(self) -> None:
        """Between two epochs."""

    def write(self) -> None:
        """Keep the run as it is."""


def train(run: TrainingRun[PlanType], keeper: RunKeeper | None = None) -> History:
    """Train the planned network in place, until the run is finished or a callback says so.

    Parameters
    ----------
    run : TrainingRun
        New, or as it was after some epochs.
    keeper : RunKeeper, optional
        Looks at the run after the callbacks have, and keeps it at its end, before the best parameters are put back.

    Returns
    -------
    History

    Raises
    ------
    NonFiniteError
        If a loss or gradient is not finite. That update is not applied, and the parameters are those of the end of the
        epoch before.
    """
    how = run.how
    try:
        with Progress(how.epochs, how.verbose, len(run.history)) as progress:
            while not run.finished:
                patience = [getattr(callback, "epochs_left", 1) for callback in how.callbacks]
                patience += [progress.epochs_at_once, keeper.epochs_left if keeper else how.epochs]
                run.advance(min(patience))
                progress.show(run.history)
                run.parameters.version += bool(how.callbacks)  # they may look at the parameters through another plan
                epoch = len(run.history)
                answers = [callback(epoch, run.history) for callback in how.callbacks]  # all of them hear of it
                if keeper is not None:
                    keeper.look()
                if any(answer is True for answer in answers):
                    break
        if keeper is not None:
            keeper.write()
        run.restore_best()
    finally:
        run.parameters.version += 1  # other plans of the same parameters hold packed copies of their own
    return run.history


class _Snapshot:
    """Everything that updates change, as it was before some of them."""

    def __init__(self, run: TrainingRun[Any]) -> None:
        self.vector = run.parameters.vector.copy()
        self.remembered = {name: values.copy() for name, values in run.optimizer_state.items()}

    def restore(self, run: TrainingRun[Any]) -> None:
        run.parameters.vector[:] = self.vector
        for name, values in self.remembered.items():
            run.optimizer_state[name][...] = values
        run.parameters.version += 1


class _Slices:
    """Cuts updates into slices of about `SLICE_SECONDS`, by the speed seen so far: in this run, or in one on the same plan."""

    def __init__(self, plan: Plan, guess: float) -> None:
        known = plan.seconds_per_update
        self.updates = max(1, int(SLICE_SECONDS / (guess if known is None else max(known, guess / 100))))

    def run(
        self, engine: Engine[PlanType], plan: PlanType, rule: UpdateRule, state: OptimizerState, whole: Updates
    ) -> UpdateReport:
        """All the updates, unless one is not finite."""
        reports: list[UpdateReport] = []
        first = 0
        while first < len(whole):
            last = min(first + self.updates, len(whole))
            start = time.perf_counter()
            report = engine.train_updates(plan, _part(whole, first, last), rule, state)
            seconds = time.perf_counter() - start
            plan.seconds_per_update = seconds / (last - first)
            self._adapt(last - first, seconds)
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
    where = slice(first, last)
    boundaries, rates, epochs = whole.boundaries[first : last + 1], whole.learning_rates[where], whole.epochs[where]
    return Updates(
        whole.inputs, whole.targets, whole.order, boundaries, rates, whole.dropout_key, epochs, whole.carried
    )


def _append(lists: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        lists.setdefault(name, []).append(value)


def _non_finite_message(run: TrainingRun[Any], report: UpdateReport) -> str:
    epoch, epochs = len(run.history) + 1, run.how.epochs
    *before, norm = [*run.recent, *map(float, report.gradient_norms)]
    loss = float(report.losses[-1])
    shown = ", ".join(f"{size:.3g}" for size in before[-3:]) or "none"
    finite = bool(np.isfinite(loss) and np.isfinite(norm))
    what = ", and the step led to parameters that are not finite" if finite else ""
    return (
        f"Training stopped at epoch {epoch} of {epochs}, update {len(report.losses)}: the loss was {loss:.3g} and the norm "
        f"of the gradient {norm:.3g}{what} (norms before it: {shown}). "
        "The network holds the parameters of the last good epoch. "
        "Try a smaller learning_rate, clip=1.0, or inputs scaled to about unit size."
    )
