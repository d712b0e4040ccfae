"""A race between libraries: every contestant in turn, round after round, and ratios taken within a round."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rnn_from_scratch.benchmark.processes import Array, Library
from rnn_from_scratch.benchmark.statistics import Paired, Spread

__all__ = ["Entry", "Pace", "Reference", "best", "compared", "disagreement", "race"]

EPOCHS_CHECKED = 3
LONG = 0.3
"""Of epochs that take so many seconds one is compared instead of three, for it has many updates; and a way of writing that
takes so long and is slower than another one of its library ends with the first look."""

TOLERANCE = {"float32": 2e-3, "float64": 1e-9}
"""What is missing or wrong in a network's equations shows as a hundredth or more. A thousandth may be rounding: Adam takes
steps of one size also where a gradient is next to nothing but rounding, and JAX comes to 1e-3 with 256 units."""
HEAT = 1.25
"""A way of writing that is this much slower than its library's fastest one is not timed further."""

FINALISTS = 2
"""So many ways of writing the same with one library are timed at most; one where it takes long."""

FEWEST = 5
"""Rounds that every row has; with fewer, a median has no bounds."""


@dataclass
class Entry:
    """What is known of one contestant.

    Attributes
    ----------
    library : str
    status : str
        'timed', 'slower' than another way of writing the same with the same library, 'disagrees', or why it is missing.
    preparation : float
        Seconds until it had worked once: construction and compilation included.
    disagreement : float
        Largest relative distance from the reference; see `disagreement`.
    heat : float
        Seconds per unit before the first round.
    wall, cpu : list of float
        Seconds per unit of every round, by the clock on the wall and by the processor's own count.
    """

    library: str
    status: str = ""
    preparation: float = math.nan
    disagreement: float = math.nan
    heat: float = math.nan
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Pace:
    """How many rounds there are, how many seconds a contestant's turn takes, and after how many no further round begins.

    Where rounds take long, there are at least five, or as many as `rounds` says if that is less.
    """

    rounds: int
    seconds: float
    patience: float = math.inf


@dataclass(frozen=True)
class Reference:
    """What contestants have to come to.

    Attributes
    ----------
    results : mapping of str to ndarray
    epochs : int
        Of training, after which results are compared.
    tolerance : float
    """

    results: Mapping[str, Array]
    epochs: int
    tolerance: float

    @classmethod
    def of(cls, oracle: Library, problem: Any) -> Reference:
        """The results of the library that knows."""
        oracle("open", problem)
        tolerance = TOLERANCE[str(problem.X.dtype)]
        before = time.perf_counter()
        results = oracle("reference", 1)
        if problem.task != "train" or time.perf_counter() - before > LONG:
            return cls(results, 1, tolerance)
        return cls(oracle("reference", EPOCHS_CHECKED), EPOCHS_CHECKED, tolerance)


def disagreement(found: Mapping[str, Array], reference: Mapping[str, Array]) -> float:
    """Largest distance of any array from the reference, ‖found − reference‖ / ‖reference‖; ∞ for another shape or a NaN.

    It is not the largest distance of any number: Adam divides each gradient by its own size, so that a weight whose gradient
    is next to nothing takes a step that rounding decides, in every library.

    >>> disagreement({"W": np.array([3.0, 4.5])}, {"W": np.array([3.0, 4.0])})
    0.1
    """
    if found.keys() != reference.keys():
        return math.inf
    distances = []
    for name, array in reference.items():
        if found[name].shape != array.shape:
            return math.inf
        size = max(float(np.linalg.norm(array)), 1e-300)
        distances.append(float(np.linalg.norm(found[name] - array)) / size)
    return math.inf if any(map(math.isnan, distances)) else max(distances)


def race(
    libraries: Sequence[Library],
    oracle: Library,
    problem: Any,
    pace: Pace,
    reference: Reference | None = None,
) -> dict[str, dict[str, Any]]:
    """Check every contestant, then time those that agree, in turns.

    Parameters
    ----------
    libraries : sequence of Library
        Those that are missing are left out.
    oracle : Library
        The one whose module has a `reference`.
    problem : object
        Sent to all of them.
    pace : Pace
    reference : None or Reference
        If it is known already.

    Returns
    -------
    dict of str to dict
        The fields of `Entry` by the names of contestants.
    """
    reference = reference or Reference.of(oracle, problem)
    entries: dict[str, Entry] = {}
    owners: dict[str, Library] = {}
    for library in libraries:
        if library.missing:
            continue
        try:
            names = library("open", problem)
        except RuntimeError as error:
            entries[library.name] = Entry(library.name, str(error))
            continue
        for name, why in names.items():
            entries[name], owners[name] = Entry(library.name, why), library
    for name, library in owners.items():
        if not entries[name].status:
            others = [e.heat for e in entries.values() if e.library == library.name and e.status == "timed"]
            _qualify(entries[name], library, name, reference, pace, min(others, default=math.inf))
    _drop_slower(entries, owners)
    _take_turns(entries, owners, pace)
    return {name: asdict(entry) for name, entry in entries.items()}


def _qualify(entry: Entry, library: Library, name: str, reference: Reference, pace: Pace, fastest: float) -> None:
    """A look at whether there is hope, then agreement, then the rounds before the first, which warm up."""
    try:
        entry.preparation = library("enter", name)
        entry.heat = library("look", name)
        if entry.heat > max(LONG, HEAT * fastest) and library.name != "ours":
            entry.status = "slower"
            return
        entry.disagreement = disagreement(library("results", name, reference.epochs), reference.results)
        entry.status = "timed" if entry.disagreement <= reference.tolerance else "disagrees"
        if entry.status == "timed" and entry.heat < pace.seconds:
            entry.heat = min(library("measure", name, pace.seconds / 2).wall for _ in range(2))
    except RuntimeError as error:
        entry.status = f"failed: {error}"


def _drop_slower(entries: Mapping[str, Entry], owners: Mapping[str, Library]) -> None:
    """Of each library's ways of writing the same, the clearly slower ones end here. The two of ours stay."""
    heats: dict[str, list[float]] = {}
    for entry in entries.values():
        if entry.status == "timed":
            heats.setdefault(entry.library, []).append(entry.heat)
    finalists = {library: sorted(times)[: 1 if min(times) > LONG else FINALISTS] for library, times in heats.items()}
    limits = {library: min(HEAT * times[0], times[-1]) for library, times in finalists.items()}
    for name, entry in entries.items():
        if entry.status == "timed" and entry.library != "ours" and entry.heat > limits[entry.library]:
            entry.status = "slower"
        if name in owners and entry.status != "timed" and not owners[name].missing:
            owners[name]("leave", name)


def _take_turns(entries: Mapping[str, Entry], owners: Mapping[str, Library], pace: Pace) -> None:
    """In each round another one begins."""
    begin = time.perf_counter()
    timed = [name for name, entry in entries.items() if entry.status == "timed"]
    for turn in range(pace.rounds):
        if turn >= FEWEST and time.perf_counter() - begin > pace.patience:
            return
        first = turn % max(len(timed), 1)
        for name in timed[first:] + timed[:first]:
            try:
                seconds = owners[name]("measure", name, pace.seconds)
            except RuntimeError as error:
                entries[name].status = f"failed: {error}"
                timed.remove(name)
                continue
            entries[name].wall.append(seconds.wall)
            entries[name].cpu.append(seconds.cpu)


Entries = Mapping[str, Mapping[str, Any]]
"""What `race` gives."""


def best(entries: Entries, *, ours: bool, library: str | None = None, clock: str = "wall") -> str | None:
    """The contestant with the smallest median: of ours, or of the others, or of one library; None if none was timed.

    >>> times = {"library": "other", "status": "timed", "wall": [1.0, 2.0, 3.0]}
    >>> best({"a": times, "b": times | {"wall": [1.0, 1.5, 3.0]}}, ours=False)
    'b'
    """
    timed = [
        name
        for name, entry in entries.items()
        if entry["status"] == "timed" and (entry["library"] == "ours") == ours and library in (None, entry["library"])
    ]
    return min(timed, key=lambda name: Spread.of(entries[name][clock]).median, default=None)


def compared(entries: Entries, theirs: str, ours: str, clock: str = "wall") -> Paired:
    """How many times longer one contestant took than another, round by round."""
    return Paired.of(entries[theirs][clock], entries[ours][clock])
