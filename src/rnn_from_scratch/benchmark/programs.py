"""Processes from their first to their last moment: import, work, memory, and the time until a model is good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnn_from_scratch.benchmark.problems import Problem, documented, inference, recent_past
from rnn_from_scratch.benchmark.processes import Library, choose_core, thread_variables
from rnn_from_scratch.benchmark.registry import OURS, Peer, installed_bytes
from rnn_from_scratch.benchmark.standalone import save_problem

__all__ = ["growth", "quality", "run_alone", "whole_programs"]

LIMIT = 600
"""Seconds after which a program has failed."""

STANDALONE = Path(__file__).parent / "standalone.py"
ONNX_ALONE = Path(__file__).parent / "peers" / "onnx_alone.py"
FLOOR = "Python + NumPy"


def run_alone(
    path: Path | None, action: str, problem: Problem | None, contestant: str, arrays: dict[str, Any], **words: Any
) -> dict[str, Any]:
    """Run one action of `standalone` in a new process; what it found, and its seconds from beginning to end.

    Raises
    ------
    RuntimeError
        With the last line that it wrote, if it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        problem_file, request_file = Path(folder, "problem.npz"), Path(folder, "request.json")
        if problem is not None:
            save_problem(problem_file, problem, **arrays)
        request = {"action": action, "contestant": contestant, "core": choose_core()} | words
        request |= {"problem": str(problem_file) if problem is not None else "", "spawned": time.time()}
        request_file.write_text(json.dumps(request))
        command = [sys.executable, str(STANDALONE), str(path or ""), str(request_file)]
        before = time.perf_counter()
        done = subprocess.run(
            command,
            env=os.environ | thread_variables(1) | _path_of_this_package(),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        seconds = time.perf_counter() - before
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "it failed").splitlines()[-1])
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": seconds}


def _path_of_this_package() -> dict[str, str]:
    """So that a process finds the package where this one has it."""
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), before]))}


def contestants(peers: Sequence[Peer], native: bool) -> list[tuple[str, Peer, str]]:
    """(title, module, contestant) of everybody who can train."""
    own = [("ours, native", OURS, "ours, native")] if native else []
    own.append(("ours, numpy", OURS, "ours, numpy"))
    return own + [(peer.name, peer, peer.program) for peer in peers if peer.program]


def whole_programs(peers: Sequence[Peer], native: bool, rounds: int, epochs: int = 20) -> dict[str, Any]:
    """Workload E: import, train workload A with H=32, predict; in turns.

    Returns
    -------
    dict of str to dict
        ``import``, ``seconds`` and ``peak`` of every round, ``growth`` in bytes from before training to its peak, and
        ``installed`` bytes; ``failed`` with the reason instead.
    """
    training, predicting = recent_past(32), inference("sequence", "elman", 32, T=20, D=5)
    entries: list[tuple[str, Peer | None, str, str, Problem | None]] = [(FLOOR, None, "nothing", "", None)]
    entries += [(title, peer, "program", name, training) for title, peer, name in contestants(peers, native)]
    arrays: dict[str, Any] = {}
    for peer in peers:
        if peer.file == "peers/onnx_runtime":
            entries.append((f"{peer.name} (predict only)", peer, "program", peer.name, predicting))
            arrays = {"model": _onnx_model(peer, predicting)}
    found: dict[str, Any] = {}
    for _ in range(rounds):
        for title, library, action, name, problem in entries:
            entry = found.setdefault(title, {"import": [], "seconds": [], "peak": [], "growth": []})
            try:
                alone = library.path if library else None
                if problem is predicting:
                    alone = ONNX_ALONE
                given = arrays if problem is predicting else {}
                one = run_alone(alone, action, problem, name, given, epochs=epochs)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                entry["failed"] = str(error)
                continue
            for key in ("import", "seconds", "peak", "growth"):
                if one.get(key) is not None and (library or key != "import"):
                    entry[key].append(one[key])
    for title, library, *_ in entries:
        found[title]["installed"] = installed_bytes(library.needs[0][1] if library else "numpy")
    return found


def _onnx_model(peer: Peer, problem: Problem) -> Any:
    """The model as bytes, made in another process, so that the program need not hold what makes it."""
    library = Library(peer.module)
    try:
        library("open", problem)
        return np.frombuffer(library("call", "model_bytes", problem), np.uint8)
    finally:
        library.close()


def quality(peers: Sequence[Peer], native: bool, epochs: int, H: int = 32) -> dict[str, Any]:
    """Seconds from the start of a process until the held-out error has come down to a share of the target's variance.

    Returns
    -------
    dict
        ``levels``, and the ``course`` of everybody: pairs of seconds and error after every epoch.
    """
    problem, X, y = documented(H)
    variance = float(np.var(y))
    levels = [share * variance for share in (1e-2, 3e-3, 1e-3)]
    arrays = {"held_out_X": X, "held_out_y": y}
    courses: dict[str, Any] = {}
    for title, peer, name in contestants(peers, native):
        # Whoever needs an epoch of a fresh process for each look at the error is given it; compilation counts.
        try:
            one = run_alone(peer.path, "quality", problem, name, arrays, epochs=epochs, level=levels[-1])
            courses[title] = one["course"]
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            courses[title] = str(error)
    return {"variance": variance, "levels": levels, "courses": courses}


def growth(peer: Peer, name: str, problem: Problem) -> int | None:
    """Bytes that an epoch of training needs beyond the data, in a process of its own; None where it cannot be told."""
    try:
        found = run_alone(peer.path, "growth", problem, name, {})["growth"]
    except (RuntimeError, subprocess.TimeoutExpired):
        return None
    return None if found is None else int(found)
