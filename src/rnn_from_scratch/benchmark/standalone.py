"""A program that does one thing with one library and nothing else: ``python standalone.py MODULE REQUEST``.

It is run as a file, so that its process holds Python, NumPy and the library in question, and not this package; it prints
JSON. What can be asked for is in `ACTIONS`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder, whose files have names that the standard library has too

import importlib.util
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["ACTIONS", "load_problem", "peak_bytes", "save_problem"]


def save_problem(path: Path, problem: Any, **arrays: Any) -> None:
    """Write a `Problem` and other arrays to a file that needs no package to be read."""
    facts = {name: value for name, value in vars(problem).items() if not isinstance(value, (np.ndarray, dict))}
    facts |= {"sizes": problem.sizes, "layers": problem.layers, "every": problem.every}
    stored = {name: value for name, value in vars(problem).items() if isinstance(value, np.ndarray)} | arrays
    stored |= {f"weights/{name}": values for name, values in problem.weights.items()}
    np.savez(path, facts=json.dumps(facts), **stored)


def load_problem(path: Path) -> Any:
    """Something with the attributes of a `Problem`, and those of the other arrays."""
    with np.load(path, allow_pickle=False) as stored:
        words = dict(json.loads(str(stored["facts"])))
        arrays = {name: stored[name] for name in stored.files if name != "facts"}
    weights = {name.removeprefix("weights/"): a for name, a in arrays.items() if name.startswith("weights/")}
    others = {name: a for name, a in arrays.items() if not name.startswith("weights/")}
    return SimpleNamespace(**words | others, weights=weights)


def load_module(path: Path) -> Any:
    """The file of a peer, under a name that hides no library."""
    specification = importlib.util.spec_from_file_location(f"raced_{path.stem}", path)
    if specification is None or specification.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def peak_bytes() -> int | None:
    """Most memory that this process has held so far (peak resident set); None where the operating system does not tell."""
    try:
        return 1024 * _status("VmHWM")
    except OSError:  # not Linux, where the number below would contain what the process was before exec
        if resource is None:
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"no {name} in /proc/self/status")


def forget_peak() -> int | None:
    """Begin a new peak, and say how much memory is held now; None where the operating system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return 1024 * _status("VmRSS")
    except OSError:
        return None


def held_with_data() -> int | None:
    """As `forget_peak`, after NumPy has loaded its random numbers: a program's data come from them, before its model."""
    np.random.default_rng(0)
    return forget_peak()


def growth_since(before: int | None) -> int | None:
    """By how much the peak is above what was held before."""
    peak = peak_bytes()
    return None if before is None or peak is None else max(peak - before, 0)


def _contestant(module: Any, problem: Any, name: str) -> Any:
    module.prepare(1)
    maker = module.contestants(problem)[name]
    if isinstance(maker, str):
        raise RuntimeError(maker)
    return maker()


def run_program(module: Any, problem: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Train for some epochs, then predict; or only predict."""
    before = held_with_data()
    contestant = _contestant(module, problem, request["contestant"])
    if problem.task == "train":
        contestant.train(request["epochs"])
        outputs = contestant.predict(problem.X[:1])
    else:
        outputs = contestant.outputs()
    return {"growth": growth_since(before), "sum": float(np.sum(outputs))}


def reach_quality(module: Any, problem: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Train until the held-out error is small enough; its course from the start of the process."""
    contestant = _contestant(module, problem, request["contestant"])
    course = []
    for _ in range(request["epochs"]):
        contestant.train(1)
        outputs = contestant.predict(problem.held_out_X)
        error = float(np.mean((outputs.astype(np.float64) - problem.held_out_y) ** 2))
        course.append([time.time() - request["spawned"], error])
        if not error > request["level"]:
            break
    return {"course": course}


def measure_growth(module: Any, problem: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Memory that one epoch of training needs beyond the data."""
    np.random.default_rng(
        0
    )  # a program makes its data with them; NumPy loads them late, and nobody is charged for that
    before = forget_peak()
    contestant = _contestant(module, problem, request["contestant"])
    contestant.train(1)
    return {"growth": growth_since(before)}


def nothing(module: Any, problem: Any, request: dict[str, Any]) -> dict[str, Any]:
    """The floor: Python and NumPy."""
    return {}


ACTIONS = {"program": run_program, "quality": reach_quality, "growth": measure_growth, "nothing": nothing}


def main(module_file: str, request_file: str) -> None:
    """Do what the request says, and print what came out."""
    request = json.loads(Path(request_file).read_text())
    if request["core"] is not None:
        os.sched_setaffinity(0, {request["core"]})
    before_import = time.perf_counter()
    module = load_module(Path(module_file)) if module_file else None
    import_seconds = time.perf_counter() - before_import
    problem = load_problem(Path(request["problem"])) if request["problem"] else None
    found = ACTIONS[request["action"]](module, problem, request)
    print(json.dumps(found | {"import": import_seconds, "peak": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
