"""Checkpoints: everything that a training run needs to go on as if it had never stopped, in one file.

A checkpoint gives back what was put in: parameters, the optimiser's memory, the state of the random generator,
the history, and whatever words and arrays the loop wants to keep. It knows nothing of training itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch._version import __version__
from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.archive import Archive, open_archive, write_archive
from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.generator_state import require_generator_words
from rnn_from_scratch.model_files import FLOATS, require_format, specification_from
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.validation import require_finite, shown

__all__ = ["Checkpoint", "differences"]

FORMAT, VERSION = "rnn-from-scratch checkpoint", 1
FIELDS = {"format", "version", "written_by", "specification", "generator_state", "history", "ran_on", "words"}

VECTOR = "parameters"
OPTIMIZER, ARRAYS, HISTORY = "optimizer", "arrays", "history"  # the first parts of the names of arrays in the file


@dataclass
class Checkpoint:
    """A moment of a training run.

    Parameters
    ----------
    specification : NetworkSpecification
        Of the network in training. Of a callable loss it is only kept that there is one.
    parameters : ndarray (P,) of float32 or float64
        The flat vector, finite.
    optimizer_state : mapping of str to ndarray
        What the optimiser remembers.
    generator_state : dict
        From `generator_words`.
    history : mapping of str to list
        Lists of nothing but floats come back bit for bit, NaN and infinities included. In other lists there may be str, None
        and bool too; a NaN among them comes back as a NaN, without its sign and payload.
    ran_on : dict
        Engine, instruction set, threads, versions: what has to be the same for the same bits; see `differences`.
    words : dict
        Whatever else JSON can say: counters, the words of optimiser and schedule.
    arrays : mapping of str to ndarray
        Whatever else is an array of float32, float64, int64, uint64 or bool: best parameters, carried states.

    Examples
    --------
    >>> from rnn_from_scratch import Elman, NetworkSpecification
    >>> from rnn_from_scratch.generator_state import generator_words
    >>> specification = NetworkSpecification(1, [Elman(2)], 1)
    >>> words = generator_words(np.random.default_rng(0))
    >>> Checkpoint(specification, np.arange(11.0), {}, words, history={"loss": [0.5, np.inf]}).write("run.npz")
    >>> Checkpoint.read("run.npz", specification).history
    {'loss': [0.5, inf]}
    """

    specification: NetworkSpecification
    parameters: FloatArray
    optimizer_state: Mapping[str, npt.NDArray[Any]]
    generator_state: Mapping[str, Any]
    history: Mapping[str, list[Any]] = field(default_factory=dict)
    ran_on: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def write(self, path: str) -> None:
        """Write the checkpoint in the place of the one that was there, as a whole or not at all.

        Raises
        ------
        TypeError, ValueError
            If something cannot be written; nothing has been touched then.
        OSError
            If the system cannot write the file; the old one, if any, is still there.
        """
        shape, P = np.shape(self.parameters), parameter_count(self.specification)
        if shape != (P,):
            raise ValueError(f"parameters of a checkpoint must be ({P},). Got {shape}.")
        require_finite(self.parameters, "parameters of a checkpoint")
        columns, history = _split_history(self.history)
        words = {
            "format": FORMAT,
            "version": VERSION,
            "written_by": f"rnn-from-scratch {__version__}",
            "specification": _described(self.specification),
            "generator_state": dict(self.generator_state),
            "history": history,
            "ran_on": dict(self.ran_on),
            "words": dict(self.words),
        }
        arrays = {VECTOR: self.parameters}
        arrays |= {f"{OPTIMIZER}.{name}": array for name, array in self.optimizer_state.items()}
        arrays |= {f"{ARRAYS}.{name}": array for name, array in self.arrays.items()}
        write_archive(path, words, {**arrays, **columns})

    @classmethod
    def read(
        cls, path: str, specification: NetworkSpecification, dtype: np.dtype[np.floating] | None = None
    ) -> Checkpoint:
        """Read a checkpoint of a network of this specification, and of this dtype if one is given.

        Raises
        ------
        FileFormatError
            If the file is damaged, is no checkpoint, or was written by a newer version.
        ValueError
            If it is one of another network, naming every difference.
        OSError
        """
        with open_archive(path) as archive:
            words = archive.words
            require_format(words, FORMAT, VERSION, FIELDS)
            for name in ("generator_state", "ran_on", "words"):
                if not isinstance(words[name], dict):
                    raise FileFormatError(f"its {name!r} must be a mapping. Got {shown(words[name])}.")
            require_generator_words(words["generator_state"])
            found = _read_specification(words["specification"])
            P = parameter_count(found)
            facts = archive.facts(VECTOR)
            if facts.dtype not in FLOATS or facts.shape != (P,):
                wanted = f"({P},) of float32 or float64"
                raise FileFormatError(f"its parameters must be {wanted}. Got {facts.shape} of {facts.dtype}.")
            _require_same(path, found, facts.dtype, specification, dtype)
            parameters: FloatArray = np.empty(facts.shape, facts.dtype)
            archive.read_finite_into(VECTOR, parameters)
            history = _join_history(words["history"], archive)
            columns = sum(isinstance(values, dict) for _, values in words["history"])
            optimizer_state, arrays = _read_group(archive, OPTIMIZER), _read_group(archive, ARRAYS)
            if len(archive.names) != 1 + columns + len(optimizer_state) + len(arrays):
                raise FileFormatError(f"it has arrays that no checkpoint has: {shown(sorted(archive.names))}.")
        generator_state, ran_on, own = words["generator_state"], words["ran_on"], words["words"]
        return cls(specification, parameters, optimizer_state, generator_state, history, ran_on, own, arrays)


def parameter_count(specification: NetworkSpecification) -> int:
    """P, without making the parameters."""
    return sum(math.prod(tensor.shape) for tensor in specification.tensors())


def differences(then: Any, now: Any, place: str = "") -> Iterator[str]:
    """What two sets of JSON words do not agree on, one sentence for each difference.

    >>> list(differences({"layers": [{"hidden_size": 8}]}, {"layers": [{"hidden_size": 16}]}))
    ['layers[0].hidden_size was 8 and is 16']
    >>> list(differences({"threads": 2}, {"threads": 2, "engine": "native"}))
    ["engine was not there and is 'native'"]
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*then, *now]):
            inside = f"{place}.{name}" if place else str(name)
            if name not in then:
                yield f"{inside} was not there and is {shown(now[name])}"
            elif name not in now:
                yield f"{inside} was {shown(then[name])} and is not there"
            else:
                yield from differences(then[name], now[name], inside)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for n, (before, after) in enumerate(zip(then, now, strict=True)):
            yield from differences(before, after, f"{place}[{n}]")
    elif isinstance(then, list) and isinstance(now, list):
        yield f"{place} had {len(then)} entries and has {len(now)}"
    elif then != now:
        yield f"{place} was {shown(then)} and is {shown(now)}"


# --- The specification, whose loss may be a callable ---


def _described(specification: NetworkSpecification) -> dict[str, Any]:
    """As words; of a callable loss None."""
    if callable(specification.loss):
        return {**replace(specification, loss="mse").to_dict(), "loss": None}
    return specification.to_dict()


def _read_specification(words: Any) -> NetworkSpecification:
    """The specification of a file, with a callable in the place of the one that could not be written."""
    if isinstance(words, dict) and words.get("loss", "") is None:
        return replace(specification_from({**words, "loss": "mse"}), loss=_require_same)
    return specification_from(words)


def _require_same(
    path: str,
    found: NetworkSpecification,
    found_dtype: np.dtype[Any],
    specification: NetworkSpecification,
    dtype: np.dtype[np.floating] | None,
) -> None:
    then, now = _described(found), _described(specification)
    for words in (then, now):
        words["loss"] = "a callable" if words["loss"] is None else words["loss"]
    unlike = list(differences(then, now))
    if dtype is not None and found_dtype != dtype:
        unlike.append(f"dtype was {found_dtype.name!r} and is {np.dtype(dtype).name!r}")
    if unlike:
        raise ValueError(f"The checkpoint {path!r} is of another network: {'; '.join(unlike)}.")


# --- The history: numbers as arrays, anything else as words ---


def _split_history(history: Mapping[str, list[Any]]) -> tuple[dict[str, npt.NDArray[Any]], list[list[Any]]]:
    """Arrays for the lists of float and of int, and [name, words] for every list: where it is, or what it holds."""
    columns: dict[str, npt.NDArray[Any]] = {}
    words: list[list[Any]] = []
    for name, values in history.items():
        if not isinstance(values, list):
            raise TypeError(f"history[{name!r}] of a checkpoint must be a list. Got {shown(values)}.")
        dtype = _column_dtype(values)
        if dtype is None:
            words.append([name, values])
        else:
            column = f"{HISTORY}.{len(columns)}"
            columns[column] = np.array(values, dtype)
            words.append([name, {"array": column}])
    return columns, words


def _column_dtype(values: list[Any]) -> type[np.float64] | type[np.int64] | None:
    if values and all(isinstance(value, float) for value in values):
        return np.float64
    if values and all(type(value) is int and -(2**63) <= value < 2**63 for value in values):
        return np.int64
    return None


def _join_history(words: Any, archive: Archive) -> dict[str, list[Any]]:
    history: dict[str, list[Any]] = {}
    for number, entry in enumerate(words if isinstance(words, list) else [words]):
        match entry:
            case [str(name), list(values)] if name not in history:
                history[name] = values
            case [str(name), {"array": str(column), **others}] if name not in history and not others:
                facts = archive.facts(column)
                if len(facts.shape) != 1 or facts.dtype not in (np.dtype(np.float64), np.dtype(np.int64)):
                    raise FileFormatError(f"array {column!r} must be (epochs,) of float64 or int64. Got {facts.shape}.")
                history[name] = archive.read(column).tolist()
            case _:
                raise FileFormatError(f"history[{number}] is not understood. Got {shown(entry)}.")
    return history


def _read_group(archive: Archive, group: str) -> dict[str, npt.NDArray[Any]]:
    names = [name.removeprefix(f"{group}.") for name in archive.names if name.startswith(f"{group}.")]
    return {name: archive.read(f"{group}.{name}") for name in names}
