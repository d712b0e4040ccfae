"""What the estimators cost beyond the network behind them.

Workload B, 1024 sequences of 50 steps with 8 features and 32 units, for `fit` and `predict`; workload A, one sequence of 20
steps with an output at each, for single calls of `predict`. Both sides do the same, which is asserted, turn by turn in one
process; processor time, medians of rounds::

    python benchmarks/estimators.py
    python benchmarks/estimators.py --engine numpy --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from rnn_from_scratch import GRU, LSTM, Adam, Elman, Network
from rnn_from_scratch.estimators import RNNRegressor

CELLS = {"elman": Elman, "gru": GRU, "lstm": LSTM}
EPOCHS = 20


def seconds(work: Callable[[], Any]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Median seconds of each, and the median of their ratio within a round, whose order changes."""
    pairs = []
    for n in range(rounds):
        first, second = (one, other) if n % 2 else (other, one)
        times = seconds(first), seconds(second)
        pairs.append(times if n % 2 else times[::-1])
    ones, others = zip(*pairs, strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    return statistics.median(ones), statistics.median(others), ratio


def workload_b(cell: str, engine: str, rounds: int) -> None:
    """`fit` and `predict` of many sequences."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1024, 50, 8)).astype(np.float32), rng.normal(size=1024).astype(np.float32)
    words = {"alpha": 1e-4, "max_iter": EPOCHS, "n_iter_no_change": EPOCHS, "clip_norm": 1.0, "random_state": 0}
    made: dict[str, Any] = {}

    def estimator() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made["estimator"] = RNNRegressor(32, cell, engine=engine, **words).fit(X, y)

    def network() -> None:
        made["network"] = Network(8, [CELLS[cell](32)], 1, readout="last", random_state=0, engine=engine)
        rule = Adam(epsilon=2e-8)  # of a loss twice that of the estimator: see docs/estimators.md
        made["network"].fit(X, y, EPOCHS, 32, optimizer=rule, clip=2.0, l2=2e-4 / 32)

    estimator(), network()
    ours, behind = made["estimator"], made["network"]
    assert np.array_equal(ours.predict(X), behind.predict(X)[:, 0])
    for name, pair in (
        ("fit, an epoch", (estimator, network)),
        ("predict", (lambda: ours.predict(X), lambda: behind.predict(X))),
    ):
        mine, its, ratio = in_turn(*pair, rounds if name == "predict" else max(3, rounds // 2))
        share = EPOCHS if "epoch" in name else 1
        print(f"B, {cell:5} {name:14} {mine / share * 1e3:8.3f} ms  network {its / share * 1e3:8.3f} ms  {ratio:.3f}")


def workload_a(engine: str, rounds: int) -> None:
    """Single calls of `predict`."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 20, 5)), rng.normal(size=(1, 20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = RNNRegressor(10, "elman", readout="every", max_iter=2, random_state=0, engine=engine).fit(x, y)
        flat = RNNRegressor(10, "elman", max_iter=2, random_state=0, engine=engine).fit(x[:, :, 0], y[:, 0])
    assert np.array_equal(model.predict(x), model.network_.predict(x)[..., 0])
    for name, fitted, given in (("(1, 20, 5)", model, x), ("(1, 20)", flat, x[:, :, 0].copy())):
        inside = given if given.ndim == 3 else given[:, :, None]

        def estimator(fitted: Any = fitted, given: Any = given) -> None:
            for _ in range(1000):
                fitted.predict(given)

        def network(fitted: Any = fitted, inside: Any = inside) -> None:
            for _ in range(1000):
                fitted.network_.predict(inside)

        mine, its, _ = in_turn(estimator, network, rounds)  # of a thousand calls: milliseconds are microseconds of one
        print(f"A, predict {name:10} {mine * 1e3:7.2f} µs  network {its * 1e3:7.2f} µs  {(mine - its) * 1e3:+.2f} µs")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["auto", "native", "numpy"], default="auto")
    parser.add_argument("--rounds", type=int, default=21)
    chosen = parser.parse_args(arguments)
    for cell in CELLS:
        workload_b(cell, chosen.engine, chosen.rounds)
    workload_a(chosen.engine, chosen.rounds)


if __name__ == "__main__":
    main()
