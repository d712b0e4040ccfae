"""A race between libraries: every contestant in turn, round after round, and ratios taken within a round.

Each library runs in a process of its own and is driven through a pipe. In one process the contestants would share an
allocator, a garbage collector and each other's thread pools, and the environment variables that hold one library to a
single thread must be set before the first import of any. All processes stand on the same core, and only one of them
works at a time: what disturbs the machine for longer than a round disturbs all contestants alike, and cancels in a
ratio within the round. Processor time is recorded beside the wall clock: where other programs want the same core, only
that of the process itself counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",  # the size of XLA's thread pool
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


EPOCHS_CHECKED = 3
TOLERANCE = 1e-4
CLOCKS = {"wall": "wall clock", "cpu": "processor time"}


class Runner(Protocol):
    """One contestant: a library used in one way, on one problem."""

    def reset(self) -> None:
        """Go back to the initial weights."""

    def train(self, epochs: int) -> list[float]:
        """Train on from the present weights, and give the loss of every epoch."""

    def weights(self) -> dict[str, np.ndarray]:
        """The present weights, under the library's own names for them in `Problem.weights`."""

    def predict(self, times: int) -> np.ndarray:
        """Predict the first sequence so many times, each as a separate call, and give the last outputs (T, O)."""


Contestants = tuple[dict[str, str], dict[str, Callable[[], Runner]]]
"""The versions of what a process has loaded, and its contestants by name, not made yet."""


@dataclass(frozen=True)
class Seconds:
    """How long one unit of work took: by the clock on the wall, and by the processor's own count."""

    wall: float
    cpu: float


@dataclass
class Entry:
    """What is known of one contestant.

    Attributes
    ----------
    preparation : float
        Seconds until the first epoch was through: construction, compilation and that epoch.
    disagreement : float
        Largest relative distance from the reference.
    times : dict of str to list of Seconds
        One `Seconds` per round for each kind of work.
    """

    preparation: float = 0.0
    disagreement: float = float("nan")
    times: dict[str, list[Seconds]] = field(default_factory=dict)


class Library:
    """A process in which one library works on one problem.

    Parameters
    ----------
    load : callable (problem) -> Contestants
        A function of a module, called in the new process; it imports the library.
    problem : object
        Sent to the new process.
    core : int or None
        Where the process must stay.
    """

    def __init__(self, load: Callable[[Any], Contestants], problem: Any, core: int | None) -> None:
        os.environ.update(ONE_THREAD)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, load, problem, core), daemon=True)
        self._process.start()
        theirs.close()
        self.missing, self.versions, self.names, self.import_seconds = self._answer()

    def __call__(self, command: str, name: str, *arguments: Any) -> Any:
        """Run one of the commands of `_Server` on one contestant, and wait for its answer."""
        self._pipe.send((command, name, arguments))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()

    def _answer(self) -> Any:
        answer, error = self._pipe.recv()
        if error:
            raise RuntimeError(error)
        return answer


def _serve(pipe: Any, load: Callable[[Any], Contestants], problem: Any, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    start = time.perf_counter()
    try:
        versions, makers = load(problem)
    except ImportError as error:
        pipe.send(((str(error), {}, [], 0.0), ""))
        return
    pipe.send((("", versions, list(makers), time.perf_counter() - start), ""))
    server = _Server(makers)
    while True:
        try:
            command, name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((getattr(server, command)(name, *arguments), ""))
        except Exception as error:
            pipe.send((None, f"{name}: {type(error).__name__}: {error}"))


class _Server:
    """The commands that a library's process understands."""

    def __init__(self, makers: Mapping[str, Callable[[], Runner]]) -> None:
        self.makers = makers
        self.runners: dict[str, Runner] = {}

    def prepare(self, name: str) -> float:
        start = time.perf_counter()
        self.runners[name] = self.makers[name]()
        self.runners[name].reset()
        self.runners[name].train(1)
        return time.perf_counter() - start

    def results(self, name: str, epochs: int) -> dict[str, np.ndarray]:
        runner = self.runners[name]
        runner.reset()
        losses = runner.train(epochs)
        found = {"epoch losses": np.array(losses), **runner.weights(), "outputs": runner.predict(1)}
        return {what: np.array(array, dtype=np.float64) for what, array in found.items()}

    def measure(self, name: str, work: str, amount: int, at_least: float) -> Seconds:
        """Mean seconds per unit, over as many goes of `amount` units as fill `at_least` seconds.

        It is a mean, because a go that is short enough to fit between two interruptions would never show them in a
        median, and a long one always would.
        """
        runner = self.runners[name]
        wall = cpu = 0.0
        goes = 0
        while not goes or wall < at_least:
            runner.reset()
            wall_before, cpu_before = time.perf_counter(), time.process_time()
            getattr(runner, work)(amount)
            wall += time.perf_counter() - wall_before
            cpu += time.process_time() - cpu_before
            goes += 1
        return Seconds(wall / (goes * amount), cpu / (goes * amount))


def disagreement(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> float:
    """Largest distance of any array from the reference, relative to the largest number in that array.

    >>> disagreement({"W": np.array([1.0, 4.0])}, {"W": np.array([1.5, 5.0])})
    0.2
    """
    if found.keys() != reference.keys():
        return float("inf")
    distances = [np.abs(found[name] - array).max() / np.abs(array).max() for name, array in reference.items()]
    return float("inf") if np.isnan(distances).any() else float(max(distances))


@dataclass(frozen=True)
class Work:
    """Something to be timed: a method of `Runner`, how many units a go has, and how long a contestant's turn is."""

    method: str
    amount: int
    seconds: float


def race(
    libraries: Sequence[Library],
    reference: Mapping[str, np.ndarray],
    works: Sequence[Work],
    rounds: int,
    epochs_checked: int,
    tolerance: float,
) -> dict[str, Entry]:
    """Check every contestant, then time those that agree, in turns.

    Parameters
    ----------
    libraries : sequence of Library
    reference : mapping of str to ndarray
        The results that all must have.
    works : sequence of Work
    rounds : int
        Turns that every contestant gets. In each round another one begins.
    epochs_checked : int
        Length of the run that is compared with the reference.
    tolerance : float
        Largest `disagreement` allowed; beyond it a contestant is not timed.

    Returns
    -------
    dict of str to Entry
    """
    owners = {name: library for library in libraries for name in library.names}
    entries = {name: Entry() for name in owners}
    for name, entry in entries.items():
        entry.preparation = owners[name]("prepare", name)
        entry.disagreement = disagreement(owners[name]("results", name, epochs_checked), reference)
    timed = [name for name, entry in entries.items() if entry.disagreement <= tolerance]
    for turn in range(-1, rounds):
        first = turn % max(len(timed), 1)
        for work in works:
            for name in timed[first:] + timed[:first]:
                seconds = owners[name]("measure", name, work.method, work.amount, work.seconds if turn >= 0 else 0.0)
                if turn >= 0:  # the round before the first one warms up
                    entries[name].times.setdefault(work.method, []).append(seconds)
    return entries


@dataclass(frozen=True)
class Spread:
    """A median and what lies around it.

    >>> Spread.of([4.0, 1.0, 2.0, 3.0, 9.0])
    Spread(median=3.0, low=2.0, high=4.0)
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The median and the two quartiles."""
        low, median, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}–{self.high:.3g})"


def times(entry: Entry, method: str, unit: float, clock: str = "wall") -> Spread:
    """Seconds per unit of work over the rounds, in multiples of `unit` seconds."""
    return Spread.of([getattr(seconds, clock) / unit for seconds in entry.times[method]])


def ratio(other: Entry, ours: Entry, method: str, clock: str = "wall") -> Spread:
    """How many times longer the other one took, round by round."""
    pairs = zip(other.times[method], ours.times[method], strict=True)
    return Spread.of([getattr(theirs, clock) / getattr(own, clock) for theirs, own in pairs])


def fastest(entries: Mapping[str, Entry], names: Sequence[str], method: str, clock: str = "wall") -> str | None:
    """Of these contestants, the one with the smallest median; None if none of them was timed."""
    timed = [name for name in names if method in entries[name].times]
    return min(timed, key=lambda name: times(entries[name], method, 1.0, clock).median, default=None)


def idle_share(entries: Mapping[str, Entry]) -> float:
    """Mean part of the wall-clock time in which the working process did not have its core."""
    turns = [seconds for entry in entries.values() for rounds in entry.times.values() for seconds in rounds]
    return statistics.mean(1 - seconds.cpu / seconds.wall for seconds in turns) if turns else 0.0


def choose_core() -> int | None:
    """The last core that this process may use; None where the operating system does not tell."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def machine(core: int | None) -> dict[str, str]:
    """Where and when a race is run."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "threads": "1 each" + ("" if core is None else f", all on core {core}"),
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown",
        "Python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, the first one flush left.

    >>> print(table(["", "ms"], [["ours", "1"], ["theirs", "10"]]))
            ms
    ours     1
    theirs  10
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in [header, *rows]
    )


def run(
    problem: Any,
    reference: Callable[[Any], Contestants],
    libraries: Mapping[str, Callable[[Any], Contestants]],
    works: Sequence[Work],
    rounds: int,
    core: int | None,
) -> dict[str, Any]:
    """One race on one problem; the libraries' processes live as long as it does."""
    oracle = Library(reference, problem, core)
    oracle("prepare", "reference")
    expected = oracle("results", "reference", EPOCHS_CHECKED)
    oracle.close()
    running = {name: Library(load, problem, core) for name, load in libraries.items()}
    try:
        present = [library for library in running.values() if not library.missing]
        entries = race(present, expected, works, rounds, EPOCHS_CHECKED, TOLERANCE)
    finally:
        for library in running.values():
            library.close()
    return {
        "versions": {key: value for library in present for key, value in library.versions.items()},
        "missing": {name: library.missing for name, library in running.items() if library.missing},
        "import seconds": {name: library.import_seconds for name, library in running.items() if not library.missing},
        "entries": entries,
    }


def report(title: str, result: Mapping[str, Any]) -> list[str]:
    """The ratios first, then everybody's times."""
    entries: dict[str, Entry] = result["entries"]
    works = list(next((entry.times for entry in entries.values() if entry.times), {}))
    own = [name for name in entries if name.startswith("ours") and entries[name].times]
    others = [name for name in entries if not name.startswith("ours")]
    rivals = {"best peer": others, "PyTorch": [name for name in others if name.startswith("PyTorch")]}
    lines = [title]
    for name, (group, members), (clock, clock_name), work in product(own, rivals.items(), CLOCKS.items(), works):
        rival = fastest(entries, members, work, clock)
        if rival is not None:
            spread = ratio(entries[rival], entries[name], work, clock)
            lines.append(f"{work}: {group} / {name}, by {clock_name}: {spread} [{rival}]")
    columns = {
        "train": [("ms per epoch", 1e-3, "wall"), ("processor ms", 1e-3, "cpu")],
        "predict": [("predict µs", 1e-6, "wall")],
    }
    shown = [(work, *column) for work in works for column in columns[work]]
    header = ["", *(name for _, name, _, _ in shown), "first epoch s", "disagreement"]
    timed = [name for name in entries if entries[name].times]
    ranked = sorted(timed, key=lambda name: times(entries[name], "train", 1.0, "cpu").median)
    rows = []
    for name in [*ranked, *(name for name in entries if name not in timed)]:
        entry = entries[name]
        cells = [str(times(entry, work, unit, clock)) if entry.times else "" for work, _, unit, clock in shown]
        if not entry.times:
            cells[0] = "DISAGREES"
        rows.append([name, *cells, f"{entry.preparation:.2f}", f"{entry.disagreement:.1e}"])
    lines += ["", table(header, rows), ""]
    lines += [f"{name}: missing ({why})" for name, why in result["missing"].items()]
    imports = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in result["import seconds"].items())
    return [*lines, f"Imports: {imports}. Time spent waiting for the core: {idle_share(entries):.0%}."]


def run_all(races: Mapping[str, Callable[[int | None], dict[str, Any]]], json_file: Path | None = None) -> None:
    """Run the races, each a function of the core, print what came out under their titles, and write it to a file."""
    core = choose_core()
    facts, results = machine(core), {}
    for title, race_of in races.items():
        result = race_of(core)
        if not results:
            print("\n".join(f"{key}: {value}" for key, value in (facts | result["versions"]).items()))
        print("\n" + "\n".join(report(title, result)), flush=True)
        results[title] = result | {"entries": {name: asdict(entry) for name, entry in result["entries"].items()}}
    if json_file:
        json_file.write_text(json.dumps({"machine": facts, "results": results}, indent=1))


def options(description: str | None, sizes: Sequence[int]) -> argparse.ArgumentParser:
    """The command line that all workloads share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, to see that everything works")
    parser.add_argument("--hidden", type=int, nargs="+", metavar="H", help=f"hidden units (default: {sizes})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time to a file, too")
    return parser
