"""Workload A: small networks, one update per sequence.

100 sequences of 20 steps with 5 features, one output at every step, Elman network with tanh, mean squared error, plain
SGD with one update per sequence in the given order, gradient clipped by its global norm, float32, one thread::

    python benchmarks/workload_a.py
    python benchmarks/workload_a.py --quick --json workload_a.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import peers
from harness import Entry, Library, Work, choose_core, fastest, idle_share, machine, race, ratio, table, times

N, T, D, O = 100, 20, 5, 1  # noqa: E741  # the alphabet's letter
SIZES = (10, 32, 64, 128)
LIBRARIES = {"ours": peers.ours, "PyTorch": peers.pytorch, "JAX": peers.jax}
EPOCHS_CHECKED = 3
TOLERANCE = 1e-4
CLOCKS = {"wall": "wall clock", "cpu": "processor time"}


def make_problem(hidden_size: int) -> peers.Problem:
    """Sums over the recent past, on a scale at which the first updates are clipped."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, T, D))
    memory = np.array([1.0, 0.7, 0.5, 0.3])
    y = sum(weight * np.roll(X, k, axis=1) * (np.arange(T) >= k)[:, None] for k, weight in enumerate(memory))
    y = 1.5 * np.sin(y[..., :1]) + y[..., 1:2] + 1.0
    shapes = {
        "layer0.W_x": (hidden_size, D),
        "layer0.W_h": (hidden_size, hidden_size),
        "layer0.b_h": (hidden_size,),
        "readout.W_y": (O, hidden_size),
        "readout.b_y": (O,),
    }
    limit = hidden_size**-0.5
    weights = {name: rng.uniform(-limit, limit, shape).astype(np.float32) for name, shape in shapes.items()}
    return peers.Problem(X.astype(np.float32), y.astype(np.float32), weights, learning_rate=0.01, clip=5.0)


def works(quick: bool) -> list[Work]:
    """What is timed: a run of whole epochs, and the prediction of one sequence."""
    if quick:
        return [Work("train", 5, 0.05), Work("predict", 50, 0.02)]
    return [Work("train", 50, 0.15), Work("predict", 100, 0.05)]


def run(hidden_size: int, quick: bool, core: int | None) -> dict[str, Any]:
    """One race; the libraries' processes live as long as it does."""
    problem = make_problem(hidden_size)
    oracle = Library(peers.reference, problem, core)
    oracle("prepare", "reference")
    expected = oracle("results", "reference", EPOCHS_CHECKED)
    oracle.close()
    libraries = {name: Library(load, problem, core) for name, load in LIBRARIES.items()}
    try:
        present = [library for library in libraries.values() if not library.missing]
        entries = race(present, expected, works(quick), 3 if quick else 9, EPOCHS_CHECKED, TOLERANCE)
    finally:
        for library in libraries.values():
            library.close()
    return {
        "versions": {key: value for library in present for key, value in library.versions.items()},
        "missing": {name: library.missing for name, library in libraries.items() if library.missing},
        "import seconds": {name: library.import_seconds for name, library in libraries.items() if not library.missing},
        "entries": entries,
    }


def report(hidden_size: int, result: Mapping[str, Any]) -> list[str]:
    """The ratios first, then everybody's times."""
    entries: dict[str, Entry] = result["entries"]
    own = [name for name in entries if name.startswith("ours") and entries[name].times]
    others = [name for name in entries if not name.startswith("ours")]
    rivals = {"best peer": others, "PyTorch": [name for name in others if name.startswith("PyTorch")]}
    lines = [f"H = {hidden_size}"]
    for name in own:
        for group, members in rivals.items():
            for clock, clock_name in CLOCKS.items():
                rival = fastest(entries, members, "train", clock)
                if rival is not None:
                    spread = ratio(entries[rival], entries[name], "train", clock)
                    lines.append(f"{group} / {name}, by {clock_name}: {spread} [{rival}]")
    header = ["", "ms per epoch", "processor ms", "predict µs", "first epoch s", "disagreement"]
    ranked = sorted(
        (n for n in entries if entries[n].times), key=lambda n: times(entries[n], "train", 1.0, "cpu").median
    )
    rows = [_row(name, entries[name]) for name in [*ranked, *(n for n in entries if not entries[n].times)]]
    lines += ["", table(header, rows), ""]
    lines += [f"{name}: missing ({why})" for name, why in result["missing"].items()]
    imports = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in result["import seconds"].items())
    return [*lines, f"Imports: {imports}. Time spent waiting for the core: {idle_share(entries):.0%}."]


def _row(name: str, entry: Entry) -> list[str]:
    distance = f"{entry.disagreement:.1e}"
    if not entry.times:
        return [name, "DISAGREES", "", "", f"{entry.preparation:.2f}", distance]
    columns = [times(entry, "train", 1e-3), times(entry, "train", 1e-3, "cpu"), times(entry, "predict", 1e-6)]
    return [name, *map(str, columns), f"{entry.preparation:.2f}", distance]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the races that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, to see that everything works")
    parser.add_argument("--hidden", type=int, nargs="+", default=SIZES, metavar="H", help="hidden units (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time to a file, too")
    options = parser.parse_args(arguments)
    core = choose_core()
    facts, results = machine(core), {}
    for hidden_size in options.hidden:
        result = run(hidden_size, options.quick, core)
        if not results:
            print("\n".join(f"{key}: {value}" for key, value in (facts | result["versions"]).items()))
        print("\n" + "\n".join(report(hidden_size, result)), flush=True)
        results[str(hidden_size)] = result | {"entries": {name: asdict(e) for name, e in result["entries"].items()}}
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "results": results}, indent=1))


if __name__ == "__main__":
    main()
