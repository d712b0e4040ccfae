"""How time and memory grow with the number of steps, sequences, units, layers and threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_from_scratch.benchmark.problems import Problem, mini_batches
from rnn_from_scratch.benchmark.processes import Library
from rnn_from_scratch.benchmark.programs import growth
from rnn_from_scratch.benchmark.race import Pace, race
from rnn_from_scratch.benchmark.registry import Peer
from rnn_from_scratch.benchmark.statistics import Spread, exponent

__all__ = ["Sweep", "fitted", "run_sweep", "sweeps"]


@dataclass(frozen=True)
class Sweep:
    """One size grows, the others stay.

    Attributes
    ----------
    axis : str
        The letter of the alphabet, 'layers' or 'threads'.
    sizes : tuple of int
    make : callable (int) -> Problem
    """

    axis: str
    sizes: tuple[int, ...]
    make: Callable[[int], Problem]


def sweeps(scope: str, cores: int) -> Iterator[Sweep]:
    """Training an Elman network by Adam with one update for all sequences; 'some' sizes or 'all'."""
    if scope == "none":
        return
    some = scope == "some"
    T = (10, 100, 1000) if some else (10, 30, 100, 300, 1000, 3000, 10_000)
    yield Sweep("T", T, lambda T: mini_batches("elman", 16, N=4, T=T, B=4))
    N = (16, 64, 256) if some else (1, 4, 16, 64, 256, 1024)
    yield Sweep("N", N, lambda N: mini_batches("elman", 16, N=N, T=20, B=N))
    H = (4, 16, 64, 256) if some else (4, 8, 16, 32, 64, 128, 256, 512)
    yield Sweep("H", H, lambda H: mini_batches("elman", H, N=32, T=20))
    layers = (1, 2, 4) if some else (1, 2, 3, 4, 6, 8)
    yield Sweep("layers", layers, lambda layers: mini_batches("elman", 32, N=32, T=20, layers=layers))
    threads = tuple(n for n in (1, 2, 4, 8, 16, 32) if n < cores)
    if cores > 1:
        yield Sweep("threads", (*threads, cores), lambda threads: mini_batches("lstm", 128, N=128))


def run_sweep(
    sweep: Sweep,
    libraries: Callable[[int], Sequence[Library]],
    pace: Pace,
    measured: Sequence[tuple[Peer, str]],
) -> dict[str, Any]:
    """Time and memory of one epoch at every size.

    Parameters
    ----------
    sweep : Sweep
    libraries : callable (threads) -> sequence of Library
        The first one has the reference.
    pace : Pace
    measured : sequence of (Peer, str)
        Contestants whose memory is measured, each in a process of its own; not over threads.

    Returns
    -------
    dict
        ``sizes``; ``seconds`` and ``bytes`` by contestant, None where there is no number.
    """
    seconds: dict[str, list[float | None]] = {}
    memory: dict[str, list[int | None]] = {}
    for place, size in enumerate(sweep.sizes):
        problem = sweep.make(size)
        present = libraries(size if sweep.axis == "threads" else 1)
        for name, entry in race(present, present[0], problem, pace).items():
            if entry["status"] == "timed":
                column = name if entry["library"] == "ours" else entry["library"]  # the best way of each peer
                times = seconds.setdefault(column, [None] * len(sweep.sizes))
                times[place] = min(Spread.of(entry["wall"]).median, times[place] or math.inf)
        for peer, name in measured if sweep.axis != "threads" else ():
            memory.setdefault(name, [None] * len(sweep.sizes))[place] = growth(peer, name, problem)
    return {"axis": sweep.axis, "sizes": list(sweep.sizes), "seconds": seconds, "bytes": memory}


def fitted(sizes: Sequence[int], values: Sequence[float | None]) -> float | None:
    """The exponent over the larger half of the sizes, where constant costs have faded; None with fewer than two numbers.

    >>> fitted([1, 10, 100, 1000], [5.0, 6.0, 20.0, 200.0])
    1.0
    >>> fitted([1, 2], [None, 1.0]) is None
    True
    """
    pairs = [(size, value) for size, value in zip(sizes, values, strict=True) if value]
    pairs = pairs[min(len(pairs) // 2, max(len(pairs) - 2, 0)) :]
    return round(exponent(*zip(*pairs, strict=True)), 12) if len(pairs) > 1 else None
