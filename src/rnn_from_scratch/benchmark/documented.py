"""The documented table: quality, training, inference, resources and stability, beside PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_from_scratch.benchmark.problems import Problem, documented
from rnn_from_scratch.benchmark.processes import Array, Library
from rnn_from_scratch.benchmark.race import EPOCHS_CHECKED, TOLERANCE, Pace, disagreement, race

__all__ = ["EXPLODED", "errors", "table_block"]

EXPLODED = 100.0
"""An epoch with a gradient norm beyond this counts as exploding."""

CONTESTANTS = ("ours, native", "ours, numpy", "PyTorch")
TURNS = 20
"""Parts that a training run is cut into, so that all contestants meet the same disturbances."""


def table_block(
    libraries: Sequence[Library], H: int, epochs: int, pace: Pace, *, dtype: str = "float32", summed: bool = False
) -> dict[str, Any]:
    """Train everybody for so many epochs, in turns, and time predictions with the weights that came out.

    Parameters
    ----------
    libraries : sequence of Library
        The first one has the reference.
    H, epochs : int
    pace : Pace
        Of the predictions.
    dtype : {'float32', 'float64'}
    summed : bool
        With the gradient summed over time instead of averaged, which is a rate T times larger on a gradient clipped at a
        T-th of the limit. Without predictions.

    Returns
    -------
    dict
        Settings, and an entry for every contestant.
    """
    problem, X, y = documented(H)
    problem = problem.astype(dtype)
    if summed:
        T = problem.X.shape[1]
        rate, clip = problem.learning_rate * T, (problem.clip or math.inf) / T
        problem = replace(problem, learning_rate=rate, clip=clip)
    entries = _entered(libraries, problem)
    owners = {name: library for library in libraries for name in CONTESTANTS if _owns(library, name)}
    running = [name for name, entry in entries.items() if entry["status"] == "trained"]
    _train(entries, owners, running, epochs, X.astype(dtype), y)
    for name in running:
        entry = entries[name]
        factor = problem.X.shape[1] if summed else 1
        entry |= errors(owners[name]("predict", name, X.astype(dtype)), y) | stability(entry, factor)
    block = {"H": H, "epochs": epochs, "dtype": dtype, "summed": summed, "entries": entries}
    whole = [name for name in running if entries[name]["NaN epoch"] is None]
    if whole and not summed:
        weights = owners[whole[0]]("weights", whole[0])
        block["latency"] = _predictions(libraries, problem, weights, X[:1], pace)
        block["throughput"] = _predictions(libraries, problem, weights, X, pace)
    return block


def _owns(library: Library, name: str) -> bool:
    return name.startswith(library.name) and not library.missing


def _entered(libraries: Sequence[Library], problem: Problem) -> dict[str, dict[str, Any]]:
    """Agreement with the reference comes before everything else."""
    libraries[0]("open", problem)
    reference = libraries[0]("reference", EPOCHS_CHECKED)
    entries: dict[str, dict[str, Any]] = {}
    for library in libraries:
        if library.missing:
            continue
        known = library("open", problem)
        for name in CONTESTANTS:
            if name not in known:
                continue
            entry: dict[str, Any] = {"status": known[name], "losses": [], "norms": [], "turns": [], "course": []}
            entries[name] = entry
            if known[name]:
                continue
            library("enter", name)
            entry["disagreement"] = disagreement(library("results", name, EPOCHS_CHECKED), reference)
            agrees = entry["disagreement"] <= TOLERANCE[problem.X.dtype.name]
            entry["status"] = "trained" if agrees else "disagrees"
            library("reset", name)
    return entries


def _train(
    entries: Mapping[str, dict[str, Any]],
    owners: Mapping[str, Library],
    running: Sequence[str],
    epochs: int,
    X: Array,
    y: Array,
) -> None:
    part = max(1, epochs // TURNS)
    for turn, done in enumerate(range(0, epochs, part)):
        first = turn % max(len(running), 1)
        for name in [*running[first:], *running[:first]]:
            entry = entries[name]
            if entry["losses"] and not math.isfinite(entry["losses"][-1]):
                continue  # there is nothing more to learn
            seconds, losses, norms = owners[name]("train", name, min(part, epochs - done))
            entry["losses"] += losses
            entry["norms"] += norms
            entry["turns"].append({"epochs": len(losses), "wall": seconds.wall, "cpu": seconds.cpu})
            held_out = errors(owners[name]("predict", name, X), y)["MSE"]
            entry["course"].append([len(entry["losses"]), held_out])


def _predictions(
    libraries: Sequence[Library], problem: Problem, weights: Mapping[str, Array], X: Array, pace: Pace
) -> dict[str, Any]:
    """The race to predict these sequences in one call, all with the same trained weights."""
    task = replace(problem, task="sequence", X=X.astype(problem.X.dtype), y=np.empty(0), weights=dict(weights))
    return race(libraries, libraries[0], task, pace)


def errors(outputs: Array, y: Array) -> dict[str, float]:
    """MSE, MAE and RMSE.

    >>> errors(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    {'MSE': 2.0, 'MAE': 1.0, 'RMSE': 1.4142135623730951}
    """
    difference = outputs.astype(np.float64) - y
    mse = float(np.mean(difference**2))
    return {"MSE": mse, "MAE": float(np.mean(np.abs(difference))), "RMSE": math.sqrt(mse) if mse >= 0 else math.nan}


def stability(entry: Mapping[str, Any], factor: float = 1.0) -> dict[str, Any]:
    """What became of the gradients of a run.

    Parameters
    ----------
    entry : mapping
        With ``losses`` and the largest gradient norm of every epoch, ``norms``.
    factor : float
        By which the norms have to be multiplied.

    Examples
    --------
    >>> stability({"losses": [1.0, 0.5], "norms": [200.0, 3.0]})
    {'final loss': 0.5, 'maximum norm': 3.0, 'not finite': 0, 'exploding': 1, 'NaN epoch': None}
    >>> stability({"losses": [1.0, math.nan], "norms": [1.0, math.nan]})["NaN epoch"]
    2
    """
    norms = [factor * norm for norm in entry["norms"]]
    bad = [
        epoch
        for epoch, (loss, norm) in enumerate(zip(entry["losses"], norms, strict=True), 1)
        if not (math.isfinite(loss) and math.isfinite(norm))
    ]
    return {
        "final loss": entry["losses"][-1],
        "maximum norm": norms[-1],
        "not finite": len(bad),
        "exploding": sum(norm > EXPLODED for norm in norms),
        "NaN epoch": bad[0] if bad else None,
    }
