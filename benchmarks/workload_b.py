"""Workload B: mini-batches, the last step, all three cells.

1024 sequences of 50 steps with 8 features, one output at the last step, one layer of Elman, GRU or LSTM units, mean squared
error, Adam with one update per 32 sequences in the given order, float32, one thread::

    python benchmarks/workload_b.py
    python benchmarks/workload_b.py --cells lstm --hidden 64 128
    python benchmarks/workload_b.py --quick --json workload_b.json
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import peers
from harness import Work, options, run, run_all

N, T, D, O = 1024, 50, 8, 1  # noqa: E741  # the alphabet's letter
SIZES = (32, 64, 128, 256)
GATES = {"elman": 1, "gru": 3, "lstm": 4}
LIBRARIES = {"ours": peers.ours, "PyTorch": peers.pytorch_batches, "JAX": peers.jax_batches}


def make_problem(cell: str, hidden_size: int) -> peers.Problem:
    """What was heard lately counts more than what was heard long ago, through a bend."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, T, D))
    y = np.sin(np.einsum("ntd,t,d->n", X, 0.9 ** np.arange(T)[::-1], rng.normal(size=D) * 0.3))[:, None] + 0.5
    G, H = GATES[cell], hidden_size
    shapes = {"layer0.W_x": (G * H, D), "layer0.W_h": (G * H, H), "layer0.b_h": (G * H,)}
    if cell == "gru":
        shapes["layer0.b_hn"] = (H,)
    shapes |= {"readout.W_y": (O, H), "readout.b_y": (O,)}
    limit = H**-0.5
    weights = {name: rng.uniform(-limit, limit, shape).astype(np.float32) for name, shape in shapes.items()}
    return peers.Problem(
        X.astype(np.float32),
        y.astype(np.float32),
        weights,
        learning_rate=1e-3,
        cell=cell,
        optimizer="adam",
        batch_size=32,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the races that the command line asks for."""
    parser = options(__doc__, SIZES)
    parser.add_argument("--cells", nargs="+", choices=GATES, default=list(GATES), help="cells (default: all)")
    chosen = parser.parse_args(arguments)
    sizes = chosen.hidden or (SIZES[:1] if chosen.quick else SIZES)
    works, rounds = [Work("train", 1, 0.05 if chosen.quick else 0.3)], 3 if chosen.quick else 7
    races = {
        f"{cell}, H = {H}": partial(run, make_problem(cell, H), peers.reference, LIBRARIES, works, rounds)
        for cell in chosen.cells
        for H in sizes
    }
    run_all(races, chosen.json)


if __name__ == "__main__":
    main()
