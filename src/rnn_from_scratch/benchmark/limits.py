"""How far from the limit: what this machine can do, and what each workload asks of it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from rnn_from_scratch.benchmark.problems import GATES, Problem

__all__ = ["flops", "least_bytes", "machine_rates", "share_of_limit"]


def machine_rates(seconds: float = 0.3) -> dict[str, float]:
    """What NumPy's BLAS library and plain copying reach in this process, the best of some goes.

    Returns
    -------
    dict of str to float
        ``gemm float32`` and ``gemm float64`` in floating-point operations per second, of products of 1024 × 1024;
        ``memory`` in bytes per second read and written by copying 64 MB, ``cache`` of 128 kB.
    """
    rng = np.random.default_rng(0)
    rates = {}
    for dtype in ("float32", "float64"):
        a, out = rng.normal(size=(1024, 1024)).astype(dtype), np.empty((1024, 1024), dtype)
        rates[f"gemm {dtype}"] = 2 * 1024**3 / _fastest(lambda a=a, out=out: np.matmul(a, a, out=out), seconds)
    for name, size in {"memory": 64 * 2**20, "cache": 128 * 2**10}.items():
        source, target = np.ones(size // 8), np.empty(size // 8)
        times = max(1, 2**20 // size)

        def copy(source: Any = source, target: Any = target, times: int = times) -> None:
            for _ in range(times):
                np.copyto(target, source)

        rates[name] = 2 * size * times / _fastest(copy, seconds)
    return rates


def _fastest(work: Any, seconds: float) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best


def flops(problem: Problem) -> float:
    """Additions and multiplications of the matrix products that one unit of work cannot do without.

    Of one step of one sequence 2·G·H·(inputs + H) per layer, and 2·O·H of a readout; training needs three times as much: the
    product by the weights, by their transposes, and the gradient's. Element-wise work is left out, and so is the
    gradient by the inputs of the first layer, which nobody has to make.

    Examples
    --------
    >>> from rnn_from_scratch.benchmark.problems import inference
    >>> flops(inference("step", "elman", 2, D=3))  # 2·2·(3 + 2) + 2·1·2
    24.0
    """
    D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
    G, layers = GATES[problem.cell], problem.layers
    N, T = problem.X.shape[:2]
    steps = 1 if problem.task == "step" else N * T if problem.lengths is None else int(problem.lengths.sum())
    answers = steps if problem.every else N
    recurrent = 2 * G * H * (D + H) + (layers - 1) * 2 * G * H * 2 * H
    forward = steps * recurrent + answers * 2 * O * H
    if problem.task != "train":
        return float(forward)
    return float(3 * forward - steps * 2 * G * H * D)


def least_bytes(problem: Problem) -> float:
    """Bytes that have to be moved at least: weights read once per call or update, inputs read, outputs written.

    Training also writes the weights, and with Adam reads and writes two moments. What stays in a cache between two steps
    is not counted, so the real traffic is larger.
    """
    item = problem.X.dtype.itemsize
    weights = sum(w.size for w in problem.weights.values())
    D, _, O = problem.sizes  # noqa: E741  # the alphabet's letter
    N, T = problem.X.shape[:2]
    if problem.task == "step":
        return float(item * (weights + D + O))
    data = N * T * D + N * (T if problem.every else 1) * O
    if problem.task == "sequence":
        return float(item * (weights + data))
    updates = -(-N // problem.batch_size)
    return float(item * (data + updates * weights * (2 if problem.optimizer == "sgd" else 6)))


def share_of_limit(work: dict[str, float], seconds: float, rates: dict[str, float], dtype: str) -> dict[str, float]:
    """The share of what the machine can do, by arithmetic and by memory; the larger one says how near the limit is.

    >>> share_of_limit({"flops": 1e9, "bytes": 1e6}, 0.1, {"gemm float32": 1e11, "memory": 1e10}, "float32")
    {'arithmetic': 0.1, 'memory': 0.001}
    """
    arithmetic = work["flops"] / seconds / rates[f"gemm {dtype}"]
    return {"arithmetic": arithmetic, "memory": work["bytes"] / seconds / rates["memory"]}


LIBRARY = "limits"


def prepare(threads: int) -> None:
    """NumPy's threads are set by the environment."""


def versions() -> dict[str, str]:
    """Nothing that is not known already."""
    return {}
