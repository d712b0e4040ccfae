"""The native engine with each instruction set that was compiled and that this processor has, each beside its own limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rnn_from_scratch.benchmark.limits import machine_rates, work
from rnn_from_scratch.benchmark.ours import KINDS, prepare
from rnn_from_scratch.benchmark.processes import Library
from rnn_from_scratch.benchmark.race import Pace, Reference, race
from rnn_from_scratch.configuration import configuration

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Problem

__all__ = ["LIBRARY", "contestants", "machine_rates", "prepare", "run_sets", "usable", "versions"]

LIBRARY = configuration().get("instruction set", "none")
"""Of this process; the environment lowers it."""


def versions() -> dict[str, str]:
    """Nothing that is not known already."""
    return {}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    """The native engine of this process."""
    return {LIBRARY: partial(KINDS[problem.task], problem, "native", problem.X.dtype.name)}


def usable() -> list[str]:
    """Names of instruction sets, from the least demanding to the one that is chosen here."""
    compiled = configuration().get("compiled for", "").split(", ")
    return compiled[: compiled.index(LIBRARY) + 1] if LIBRARY in compiled else []


def run_sets(
    problems: Iterable[tuple[str, Problem, Reference]],
    oracle: Library,
    pace: Pace,
    seconds: float = 0.2,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Race them against each other.

    Parameters
    ----------
    problems : iterable of (str, Problem, Reference)
        With titles.
    oracle : Library
    pace : Pace
    seconds : float, default=0.2
        For each measurement of `machine_rates`.
    names : sequence of str, default=()
        Of the sets; all that are usable if empty.

    Returns
    -------
    dict
        ``rates`` of each set, and ``races``.
    """
    libraries = [Library(__name__, variables={"RNN_FROM_SCRATCH_ISA": name}) for name in names or usable()]
    try:
        rates = {
            library.name: library("call", "machine_rates", seconds) for library in libraries if not library.missing
        }
        races = [
            {
                "title": title,
                "dtype": problem.X.dtype.name,
                "work": work(problem),
                "entries": race(libraries, oracle, problem, pace, reference),
            }
            for title, problem, reference in problems
        ]
    finally:
        for library in libraries:
            library.close()
    return {"rates": rates, "races": races}
