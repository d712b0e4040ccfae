"""Checkpoints of a run: how often they are written, and how a run goes on from one as if it had never stopped."""

from __future__ import annotations

import hashlib
import os
import platform
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch._version import __version__
from rnn_from_scratch.engines.base import Engine
from rnn_from_scratch.file_format import FileFormatError, as_path, naming
from rnn_from_scratch.generator_state import generator_words, restore_generator
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.training.checkpoint import Checkpoint, differences
from rnn_from_scratch.training.history import History
from rnn_from_scratch.training.loop import TrainingData, TrainingPlan, TrainingRun
from rnn_from_scratch.validation import integer, positive, shown

__all__ = ["Checkpoints", "Keeper", "Moment", "as_checkpoints", "keeper_of", "read_moment"]

DEFAULT_SECONDS = 60.0
SAMPLED_ROWS = 1024  # whose numbers tell a data set from another one
LISTS_BY_NAME = ("metrics", "validation_metrics")  # fields of a history
RUN_WORDS = {"drawn", "dropout_key", "schedule_state", "stopping_state", "recent_norms"}


@dataclass(frozen=True)
class Checkpoints:
    """Where a training run is kept, and how often. One is always written at the end of the run.

    Parameters
    ----------
    path : str or os.PathLike
        Of the file; each checkpoint takes the place of the one before, as a whole or not at all.
    every_epochs : None or int, default=None
        Write after every so many epochs.
    every_seconds : None or float, default=None
        Write after the first epoch that ends so many seconds after the last checkpoint. With both None: 60 seconds.

    Examples
    --------
    >>> Checkpoints("run.npz", every_epochs=10)
    Checkpoints(path='run.npz', every_epochs=10, every_seconds=None)
    """

    path: str | os.PathLike[str]
    every_epochs: int | None = None
    every_seconds: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", as_path(self.path, "Checkpoints"))
        if self.every_epochs is not None:
            object.__setattr__(self, "every_epochs", integer(self.every_epochs, "every_epochs", "Checkpoints"))
        elif self.every_seconds is None:
            object.__setattr__(self, "every_seconds", DEFAULT_SECONDS)
        if self.every_seconds is not None:
            object.__setattr__(self, "every_seconds", positive(self.every_seconds, "every_seconds", "Checkpoints"))


def as_checkpoints(checkpoint: object, resume: bool, owner: str) -> Checkpoints | None:
    """What a user's `checkpoint` stands for: None, a path, or the object itself.

    Raises
    ------
    TypeError, ValueError
    FileExistsError
        If the file is there and is not to be resumed from: it may be hours of somebody's work.
    """
    if checkpoint is None:
        if resume:
            raise ValueError(f"resume of {owner} must be False without a checkpoint to resume from. Got True.")
        return None
    if not isinstance(checkpoint, (str, os.PathLike, Checkpoints)):
        raise TypeError(f"checkpoint of {owner} must be None, a path or Checkpoints. Got {shown(checkpoint)}.")
    found = checkpoint if isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint)
    if not resume and os.path.lexists(found.path):
        raise FileExistsError(
            f"checkpoint of {owner} must be a new file unless resume=True, which goes on from it. Got {str(found.path)!r}."
        )
    return found


@dataclass(frozen=True)
class Moment:
    """A checkpoint in which everything has been found right for the run that is to go on from it."""

    checkpoint: Checkpoint
    history: History

    @property
    def run(self) -> dict[str, Any]:
        """What the run itself remembers."""
        words: dict[str, Any] = self.checkpoint.words["run"]
        return words


class Keeper:
    """Writes the checkpoints of one run, and puts it where one of them stands.

    Parameters
    ----------
    run : TrainingRun
    checkpoints : Checkpoints
    """

    def __init__(self, run: TrainingRun[Any], checkpoints: Checkpoints) -> None:
        self.run, self.checkpoints = run, checkpoints
        self.kept_epoch = -1
        self.kept_time = time.monotonic()
        self.conditions = _conditions(run.how, run.data)

    @property
    def epochs_left(self) -> int:
        """How many epochs may pass until the next checkpoint is due by their number."""
        every = self.checkpoints.every_epochs
        return self.run.how.epochs if every is None else every - len(self.run.history) % every

    def look(self) -> None:
        """Between two epochs: write a checkpoint if one is due."""
        every, seconds = self.checkpoints.every_epochs, self.checkpoints.every_seconds
        due = every is not None and len(self.run.history) % every == 0
        if due or (seconds is not None and time.monotonic() - self.kept_time >= seconds):
            self.write()

    def write(self) -> None:
        """Write a checkpoint of the run as it is, unless that is there already."""
        run = self.run
        if len(run.history) == self.kept_epoch:
            return
        words = {
            "drawn": run.epochs.drawn,
            "dropout_key": run.epochs.dropout_key,
            "schedule_state": run.schedule_state,
            "stopping_state": run.stopping_state,
            "recent_norms": run.recent,
        }
        Checkpoint(
            run.plan.specification,
            run.parameters.vector,
            run.optimizer_state,
            generator_words(run.epochs.generator),
            _columns(run.history),
            _ran_on(run.engine),
            {"run": words, **self.conditions},
            {} if run.best is None else {"best": run.best},
        ).write(str(self.checkpoints.path))
        self.kept_epoch, self.kept_time = len(run.history), time.monotonic()

    def resume(self, moment: Moment) -> None:
        """Put the run where the checkpoint stands."""
        run, found, words = self.run, moment.checkpoint, moment.run
        restore_generator(run.epochs.generator, found.generator_state)
        run.parameters.vector[:] = found.parameters
        run.parameters.version += 1
        run.optimizer_state = dict(found.optimizer_state)
        run.best = found.arrays.get("best")
        run.schedule_state, run.stopping_state, run.recent = (
            words[name] for name in ("schedule_state", "stopping_state", "recent_norms")
        )
        run.epochs.drawn, run.epochs.dropout_key = words["drawn"], words["dropout_key"]
        for entry in fields(History):
            setattr(run.history, entry.name, getattr(moment.history, entry.name))
        self.kept_epoch = len(run.history)


def keeper_of(run: TrainingRun[Any], checkpoints: Checkpoints | None, moment: Moment | None) -> Keeper | None:
    """Who keeps a run; the run goes on from the moment, if there is one. None without checkpoints."""
    if checkpoints is None:
        return None
    keeper = Keeper(run, checkpoints)
    if moment is None:
        keeper.write()  # if the file cannot be written, this is the time to hear of it
    else:
        keeper.resume(moment)
    return keeper


def read_moment(
    checkpoints: Checkpoints | None,
    specification: NetworkSpecification,
    dtype: np.dtype[np.floating],
    how: TrainingPlan,
    data: TrainingData,
    engine: Engine[Any],
    generator: np.random.Generator,
) -> Moment | None:
    """The checkpoint to resume from, or None without checkpoints or file. Nothing changes.

    Raises
    ------
    FileFormatError
        If the file is damaged or no checkpoint of a run.
    ValueError
        If it is one of another network, or of a run under other conditions, naming every difference.

    Warns
    -----
    UserWarning
        If it was written on another engine, instruction set or version, which may add numbers in another order.
    """
    if checkpoints is None or not os.path.lexists(checkpoints.path):
        return None
    path = str(checkpoints.path)
    found = Checkpoint.read(path, specification, dtype)
    conditions = _conditions(how, data)
    conditions["generator"] = type(generator.bit_generator).__name__
    then = {**{name: found.words.get(name) for name in conditions}, "generator": found.generator_state["bit_generator"]}
    unlike = list(differences(then, conditions))
    if unlike:
        raise ValueError(f"The checkpoint {path!r} is of another run: {'; '.join(unlike)}.")
    with naming(path):
        moment = Moment(found, _history(found.history))
        _require_right(moment, how)
    if len(moment.history) > how.epochs:
        raise ValueError(
            f"epochs of Network.fit must be at least those that the checkpoint has. Got {how.epochs} for {len(moment.history)}."
        )
    elsewhere = list(differences(found.ran_on, _ran_on(engine)))
    if elsewhere:
        said = f"The run of {path!r} goes on, but cannot promise the same bits: {'; '.join(elsewhere)}."
        warnings.warn(said, UserWarning, stacklevel=3)
    return moment


# --- What has to be the same for a run to go on ---


def _conditions(how: TrainingPlan, data: TrainingData) -> dict[str, Any]:
    """How a run trains, and on what, in words. The number of epochs may grow, and who looks on does not matter."""
    rule = how.rule
    training: dict[str, Any] = {
        "batch_size": how.batch_size,
        "learning_rate": how.learning_rate,
        "optimizer": _described(rule.optimizer),
        "clip": _described(rule.clipping),
        "l2": rule.penalty,
        "frozen": list(rule.frozen),
        "schedule": _described(how.schedule),
        "shuffle": how.shuffle,
        "tbptt_steps": how.tbptt_steps,
        "stateful": how.stateful,
        "early_stopping": _described(how.early_stopping),
        "metrics": list(how.metrics),
    }
    sets: dict[str, Any] = {"X": _fingerprint(data.inputs), "y": _fingerprint(data.targets), "validation": None}
    if data.validation is not None:
        sets["validation"] = {"X": _fingerprint(data.validation[0]), "y": _fingerprint(data.validation[1])}
    return {"training": training, "data": sets}


def _described(value: object) -> str:
    """All of a frozen description; of an object of the user's own only what it is."""
    return repr(value) if value is None or is_dataclass(value) else type(value).__qualname__


def _fingerprint(batch: Batch) -> dict[str, Any]:
    """What tells a data set from others: its size, and a digest of rows from all over it, however large it is."""
    ends = np.cumsum(batch.lengths)
    M = int(ends[-1])
    chosen = np.unique(np.linspace(0, M - 1, SAMPLED_ROWS).astype(np.int64))
    owner = np.searchsorted(ends, chosen, side="right")
    rows = batch.starts[owner] + chosen - (ends[owner] - batch.lengths[owner])
    parts: list[npt.NDArray[Any]] = [batch.array[rows], batch.lengths[owner]]
    if isinstance(batch, Targets):
        parts.append(batch.weights[rows])
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return {"sequences": len(batch), "steps": M, "digest": digest.hexdigest()}


def _ran_on(engine: Engine[Any]) -> dict[str, Any]:
    facts = {"rnn-from-scratch": __version__, "NumPy": np.__version__, "machine": platform.machine()}
    return {**facts, "engine": engine.name, **engine.facts()}


# --- The words of a file, of which nothing is believed ---


def _require_right(moment: Moment, how: TrainingPlan) -> None:
    """Refuse anything in a checkpoint that a run such as this cannot have left."""
    found, words = moment.checkpoint, moment.checkpoint.words.get("run")
    if not isinstance(words, dict) or words.keys() != RUN_WORDS:
        raise FileFormatError(f"its run must have {sorted(RUN_WORDS)}. Got {shown(words)}.")
    stopping = how.early_stopping
    good = {
        "drawn": words["drawn"] == len(moment.history),
        "dropout_key": type(words["dropout_key"]) is int and 0 <= words["dropout_key"] < 2**63,
        "schedule_state": _is_like(words["schedule_state"], how.schedule.init()),
        "stopping_state": _is_like(words["stopping_state"], None if stopping is None else stopping.init()),
        "recent_norms": isinstance(words["recent_norms"], list) and all(map(_is_number, words["recent_norms"])),
    }
    for name, fine in good.items():
        if not fine:
            raise FileFormatError(f"its run has {shown(words[name])} for {name}.")
    P, dtype = len(found.parameters), found.parameters.dtype
    _require_like(found.optimizer_state, how.rule.optimizer.init(P, dtype), "optimizer")
    _require_like(found.arrays, {} if stopping is None else {"best": found.parameters}, "arrays")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_like(state: object, first: Mapping[str, Any] | None) -> bool:
    """Whether words are what a state can become: the same names, each a number, or None where it was None at first."""
    if first is None or not isinstance(state, dict) or state.keys() != first.keys():
        return first is None and state is None
    return all(_is_number(value) or (value is None and first[name] is None) for name, value in state.items())


def _require_like(found: Mapping[str, Any], expected: Mapping[str, Any], group: str) -> None:
    kinds = [{name: f"{a.shape} of {a.dtype}" for name, a in arrays.items()} for arrays in (found, expected)]
    if kinds[0] != kinds[1]:
        raise FileFormatError(f"its {group} must be {shown(kinds[1])}. Got {shown(kinds[0])}.")


# --- The history, as one list for each name ---


def _columns(history: History) -> dict[str, list[Any]]:
    columns = {entry.name: getattr(history, entry.name) for entry in fields(history) if entry.name not in LISTS_BY_NAME}
    for field in LISTS_BY_NAME:
        columns.update({f"{field}.{name}": values for name, values in getattr(history, field).items()})
    return columns


def _history(columns: Mapping[str, list[Any]]) -> History:
    history = History()
    lists = [entry.name for entry in fields(History) if entry.name not in LISTS_BY_NAME]
    for name, values in columns.items():
        field, _, metric = name.partition(".")
        if not (name in lists or (field in LISTS_BY_NAME and metric)) or not all(map(_is_number, values)):
            raise FileFormatError(f"its history must be one of numbers by known names. Got {shown(name)}.")
        if metric:
            getattr(history, field)[metric] = values
        else:
            setattr(history, field, values)
    lengths = {len(values) for values in columns.values() if values}
    if len(lengths) > 1:
        raise FileFormatError(f"the lists of its history must be of one length. Got {sorted(lengths)}.")
    return history
