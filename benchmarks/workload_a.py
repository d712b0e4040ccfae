"""Workload A: small networks, one update per sequence.

100 sequences of 20 steps with 5 features, one output at every step, Elman network with tanh, mean squared error, plain
SGD with one update per sequence in the given order, gradient clipped by its global norm, float32, one thread::

    python benchmarks/workload_a.py
    python benchmarks/workload_a.py --quick --json workload_a.json
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import peers
from harness import Work, options, run, run_all

N, T, D, O = 100, 20, 5, 1  # noqa: E741  # the alphabet's letter
SIZES = (10, 32, 64, 128)
LIBRARIES = {"ours": peers.ours, "PyTorch": peers.pytorch, "JAX": peers.jax}


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the races that the command line asks for."""
    chosen = options(__doc__, SIZES).parse_args(arguments)
    work, rounds = works(chosen.quick), 3 if chosen.quick else 9
    races = {
        f"H = {H}": partial(run, make_problem(H), peers.reference, LIBRARIES, work, rounds)
        for H in chosen.hidden or SIZES
    }
    run_all(races, chosen.json)


if __name__ == "__main__":
    main()
