"""A whole benchmark: the parts of a tier one after the other, into one result that can be written as JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rnn_from_scratch.benchmark import limits, overheads
from rnn_from_scratch.benchmark.documented import table_block
from rnn_from_scratch.benchmark.instruction_sets import run_sets
from rnn_from_scratch.benchmark.limits import work
from rnn_from_scratch.benchmark.machine import facts
from rnn_from_scratch.benchmark.plan import Row, Tier
from rnn_from_scratch.benchmark.problems import Problem
from rnn_from_scratch.benchmark.processes import Library
from rnn_from_scratch.benchmark.programs import quality, whole_programs
from rnn_from_scratch.benchmark.race import Pace, Reference, race
from rnn_from_scratch.benchmark.registry import OURS, PEERS, Peer, missing
from rnn_from_scratch.benchmark.scaling import run_sweep, sweeps

__all__ = ["FORMAT", "Stage", "run_tier"]

FORMAT = 2
"""Version of the result's format."""


class Stage:
    """The processes of all libraries, started when they are first needed.

    Parameters
    ----------
    peers : sequence of Peer
    start : callable (module, threads) -> Library
    """

    def __init__(self, peers: Sequence[Peer], start: Callable[[str, int], Library] = Library) -> None:
        self.peers, self._start = peers, start
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.imports: dict[str, float] = {}
        self._running: dict[tuple[str, int], Library] = {}
        self._references: dict[str, Reference] = {}

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        for library in self._running.values():
            library.close()

    def library(self, peer: Peer, threads: int) -> Library:
        """The process of one library; a new one if it has ended."""
        key = (peer.name, threads)
        if key not in self._running or self._running[key].missing.startswith("its process ended"):
            library = self._running[key] = self._start(peer.module, threads)
            self.versions |= library.versions
            if library.missing:
                self.missing[peer.name] = library.missing
            else:
                self.imports.setdefault(peer.name, library.import_seconds)
        return self._running[key]

    def reference(self, title: str, problem: Problem) -> Reference:
        """What everybody has to come to in the race of this title, with however many threads."""
        if title not in self._references:
            self._references[title] = Reference.of(self.library(OURS, 1), problem)
        return self._references[title]

    def libraries(self, threads: int = 1, *, names: Sequence[str] = ()) -> list[Library]:
        """Ours and the others; of those with names only these."""
        chosen = [peer for peer in self.peers if not names or peer.name in names]
        return [self.library(peer, threads) for peer in (OURS, *chosen)]


def run_tier(tier: Tier, name: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Run everything that a tier has.

    Parameters
    ----------
    tier : Tier
    name : str
        What the result calls it.
    say : callable (str)
        Told what is going on.

    Returns
    -------
    dict
        What `report.markdown` takes; all of it can be written as JSON.
    """
    wanted = [peer for peer in PEERS if not tier.peers or peer.name in tier.peers]
    absent = {peer.name: why for peer in wanted if (why := missing(peer))}
    present = [peer for peer in wanted if peer.name not in absent]
    before = time.perf_counter()

    def tell(what: str) -> None:
        say(f"[{time.perf_counter() - before:4.0f} s] {what}")

    found: dict[str, Any] = {"format": FORMAT, "tier": name, "machine": facts()}
    native = found["machine"]["engine"] == "native"
    took: dict[str, float] = {}
    with Stage(present) as stage:
        with _noted(took, "documented table"):
            found["tables"] = _tables(tier, stage, tell)
        found["races"] = []
        for row in tier.rows:
            with _noted(took, f"workload {row.workload}"):
                found["races"].append(_race(tier, row, stage, tell))
        with _noted(took, "whole programs"):
            tell("whole programs")
            found["programs"] = whole_programs(present, native, tier.program_rounds)
        with _noted(took, "time to quality"):
            found["quality"] = _quality(tier, present, native, tell)
        with _noted(took, "scaling"):
            found["scaling"] = _scaling(tier, stage, "ours, native" if native else "ours, numpy", tell)
        with _noted(took, "limits"):
            tell("the machine's limits")
            found["limits"] = _own(limits.__name__, "machine_rates")
            found["instruction sets"] = _instruction_sets(tier, stage, tell) if tier.overheads and native else {}
        with _noted(took, "fixed costs"):
            found["overheads"] = _overheads(native, tell) if tier.overheads else {}
        found |= {"versions": stage.versions, "missing": absent | stage.missing, "imports": stage.imports}
    found |= {"seconds": time.perf_counter() - before, "took": took}
    tell(", ".join(f"{section} {seconds:.0f} s" for section, seconds in took.items()))
    return found


@contextmanager
def _noted(took: dict[str, float], section: str) -> Iterator[None]:
    """Add the seconds that this takes to those of a section."""
    before = time.perf_counter()
    yield
    took[section] = took.get(section, 0.0) + time.perf_counter() - before


def _quality(tier: Tier, present: Sequence[Peer], native: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    if not tier.quality_epochs:
        return {}
    tell("time to quality")
    return quality(present, native, tier.quality_epochs)


def _tables(tier: Tier, stage: Stage, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    blocks = []
    for table in tier.tables:
        tell(f"the documented table, H={table.H}, {table.epochs} epochs, {table.dtype}{', summed' * table.summed}")
        libraries = stage.libraries(names=("PyTorch",))
        blocks.append(table_block(libraries, table.H, table.epochs, tier.pace, dtype=table.dtype, summed=table.summed))
    return blocks


def _race(tier: Tier, row: Row, stage: Stage, tell: Callable[[str], None]) -> dict[str, Any]:
    tell(f"{row.workload}: {row.title}{', all threads' * row.all_threads}")
    threads = stage.cores if row.all_threads else 1
    problem = tier.problem(row)
    libraries = stage.libraries(threads)
    entries = race(libraries, libraries[0], problem, tier.pace, stage.reference(row.title, problem))
    return {
        "workload": row.workload,
        "title": row.title,
        "threads": threads,
        "unit": "epoch" if problem.task == "train" else "call",
        "dtype": problem.X.dtype.name,
        "work": work(problem),
        "entries": entries,
    }


def _scaling(tier: Tier, stage: Stage, own: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    found = []
    pace = Pace(min(tier.pace.rounds, 5), tier.pace.seconds)
    measured = [(OURS, own)]
    if tier.scaling == "all":
        measured += [(peer, peer.program) for peer in stage.peers if peer.name == "PyTorch"]
    for sweep in sweeps(tier.scaling, stage.cores):
        tell(f"scaling over {sweep.axis}")
        found.append(run_sweep(sweep, lambda n: stage.libraries(n, names=("PyTorch",)), pace, measured))
    return found


def _instruction_sets(tier: Tier, stage: Stage, tell: Callable[[str], None]) -> dict[str, Any]:
    tell("instruction sets")
    rows = [row for row in tier.rows if row.workload == "B" and not row.all_threads]
    problems = ((row.title, tier.problem(row)) for row in rows)
    given = ((title, problem, stage.reference(title, problem)) for title, problem in problems)
    return run_sets(given, stage.library(OURS, 1), Pace(tier.pace.rounds, tier.pace.seconds, patience=0))


def _own(module: str, function: str, *arguments: Any) -> Any:
    """A function of one of our modules, in a process with one thread on one core."""
    library = Library(module)
    try:
        return library("call", function, *arguments)
    finally:
        library.close()


def _overheads(native: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    found = {}
    for engine in ("native", "numpy") if native else ("numpy",):
        tell(f"fixed costs and growth, {engine}")
        found[engine] = {
            "fixed": _own(overheads.__name__, "fixed_costs", engine, 7),
            "growth": _own(overheads.__name__, "growths", engine, 7),
        }
    return found
