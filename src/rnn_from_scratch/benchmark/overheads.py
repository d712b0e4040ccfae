"""What a call costs beyond its work, and whether costs grow as they should; loaded as a library in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rnn_from_scratch.benchmark.ours import Sequence, Training, prepare
from rnn_from_scratch.benchmark.problems import Problem, inference, mini_batches, unequal
from rnn_from_scratch.benchmark.statistics import Spread

__all__ = ["LIBRARY", "fixed_costs", "growths", "prepare", "versions"]

LIBRARY = "overheads"


def versions() -> dict[str, str]:
    """Nothing that is not known already."""
    return {}


def fixed_costs(engine: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of the smallest possible work: one unit, one feature, one step.

    Returns
    -------
    dict of str to list of float
        ``predict``, a call; ``fit``, a call with one epoch; ``epoch``, every further one.
    """
    tiny = mini_batches("elman", 1, N=1, T=1, D=1)
    predicting = Sequence(replace(tiny, task="sequence"), engine, "float32")
    training = Training(tiny, engine, "float32")
    more = 200
    found: dict[str, list[float]] = {"predict": [], "fit": [], "epoch": []}
    for _ in range(rounds + 1):
        found["predict"].append(_seconds(lambda: predicting.run(more)) / more)
        one = _seconds(lambda: training.train(1))
        found["fit"].append(one)
        found["epoch"].append(max(_seconds(lambda: training.train(1 + more)) - one, 0.0) / more)
    return {name: values[1:] for name, values in found.items()}  # the first round warms up


def growths(engine: str, rounds: int, H: int = 64, N: int = 64) -> dict[str, list[float]]:
    """Ratios of two costs, taken in pairs, round by round.

    Returns
    -------
    dict of str to list of float
        Twice the steps, sequences or layers against once; unequal lengths against the same number of steps at one length;
        float64 against float32.
    """

    def problem(**words: Any) -> Problem:
        return mini_batches(words.pop("cell", "elman"), H, **{"N": N, "T": 50} | words)

    predicting = inference("sequence", "lstm", H, N=N, T=50)
    equal, lengths = (unequal("lstm", H, N=8 * N, equal=equal) for equal in (True, False))
    per_step = equal.X.shape[0] * equal.X.shape[1] / int(lengths.lengths.sum() if lengths.lengths is not None else 1)
    wide = {dtype: Training(problem(cell="lstm"), engine, dtype) for dtype in ("float32", "float64")}
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object], float]] = {
        "twice the steps": (_epoch(problem(), engine), _epoch(problem(T=100), engine), 1.0),
        "twice the sequences": (_epoch(problem(), engine), _epoch(problem(N=2 * N), engine), 1.0),
        # Of one width, inputs included: with narrower ones the lowest layer would be cheaper than those it is compared with.
        "twice the layers": (_epoch(problem(D=H, layers=2), engine), _epoch(problem(D=H, layers=4), engine), 1.0),
        "unequal lengths": (_epoch(equal, engine), _epoch(lengths, engine), per_step),
        "float64, training": (lambda: wide["float32"].train(1), lambda: wide["float64"].train(1), 1.0),
        "float64, prediction": (_run(predicting, engine, "float32"), _run(predicting, engine, "float64"), 1.0),
    }
    found: dict[str, list[float]] = {name: [] for name in pairs}
    for _ in range(rounds + 1):
        for name, (once, other, correction) in pairs.items():
            base = _seconds(once)
            found[name].append(correction * _seconds(other) / base)
    return {name: values[1:] for name, values in found.items()}


def _epoch(problem: Problem, engine: str) -> Callable[[], object]:
    training = Training(problem, engine, "float32")
    return lambda: training.train(2)


def _run(problem: Problem, engine: str, dtype: str) -> Callable[[], object]:
    predicting = Sequence(problem, engine, dtype)
    return lambda: predicting.run(10)


def _seconds(work: Callable[[], object]) -> float:
    """The median of three."""
    found = []
    for _ in range(3):
        before = time.perf_counter()
        work()
        found.append(time.perf_counter() - before)
    return Spread.of(found).median
