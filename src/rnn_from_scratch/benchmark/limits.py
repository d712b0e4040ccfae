"""How far from the limit: what this machine can do, and what each workload asks of it at least.

Three things bound a workload, whoever computes it: multiplications and additions, and the activations that are made of them
(arithmetic); weights that have to come to the core once in every step of time (memory); and steps that wait for each other
(waiting). The limit is the longest of the three.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from rnn_from_scratch.benchmark.ours import prepare
from rnn_from_scratch.benchmark.problems import GATES, Problem
from rnn_from_scratch.engines.select import engine_status

__all__ = ["LIBRARY", "limit", "limit_parts", "machine_rates", "prepare", "versions", "work"]

LIBRARY = "limits"

TANH, TANH_AGAIN_AND_AGAIN, MULTIPLY_ADDS = 1, 3, 4
"""Numbers of functions that the kernels have, as in `native/network.hpp`."""

CHAINS, CHAIN_LENGTH = 13, 256
"""Of the last two of these functions, as in `native/vecmath.hpp`."""

NEAREST_CACHE = 32 * 2**10
"""What lies in so many bytes comes as fast as it can be multiplied."""

READ = tuple(2**k * 2**10 for k in (6, 7, 8, 9, 10, 12, 16))
"""Bytes of matrices by which the rates of reading are measured, smallest first: caches, then memory."""

ACTIVATIONS = {"elman": (1, 1), "gru": (3, 2), "lstm": (5, 2)}
"""Of a unit in a step: how many there are, and how many of them wait for each other."""


def versions() -> dict[str, str]:
    """Nothing that is not known already."""
    return {}


def machine_rates(seconds: float = 0.2) -> dict[str, Any]:
    """What one core of this machine reaches, the best of some goes, with the instruction set of the kernels.

    Returns
    -------
    dict
        By precision, ``peak float32``: FLOP/s of multiplications and additions that wait for nothing; ``activations
        float32``: tanh per second; ``wait float32``: seconds from one tanh to the next that needs it; ``gemm float32``: FLOP/s
        of NumPy's BLAS library on products of 1024 × 1024, beside which the first can be seen. ``read``: pairs of bytes and
        bytes per second of a product of a vector and a matrix of that size, which is read over and over. Without a native
        engine the first three are those of NumPy.
    """
    rng = np.random.default_rng(0)
    rates: dict[str, Any] = {}
    for dtype in ("float32", "float64"):
        a, out = rng.normal(size=(1024, 1024)).astype(dtype), np.empty((1024, 1024), dtype)
        rates[f"gemm {dtype}"] = 2 * 1024**3 / _fastest(partial(np.matmul, a, a, out=out), seconds)
        rates |= _own_rates(dtype, rates[f"gemm {dtype}"], seconds)
    rates["read"] = [(size, size / _reading(size, seconds)) for size in READ]
    return rates


def _own_rates(dtype: str, gemm: float, seconds: float) -> dict[str, float]:
    x, y = np.random.default_rng(0).uniform(0.1, 0.9, 2048).astype(dtype), np.empty(2048, dtype)
    if engine_status()["native"] != "available":
        tanh = _fastest(lambda: np.tanh(x, out=y), seconds) / x.size
        return {f"peak {dtype}": gemm, f"activations {dtype}": 1 / tanh, f"wait {dtype}": 0.0}
    native = importlib.import_module("rnn_from_scratch.engines._native")

    lanes = {"v2": 16, "v3": 32, "v4": 64}.get(native.instruction_set, 16) // x.itemsize

    def each(function: int, size: int) -> float:
        """Seconds of a vector, beyond a call with one."""
        one, many = (_fastest(partial(native.evaluate, function, x[:n], y[:n]), seconds / 2) for n in (lanes, size))
        return _beyond(one, many) / (size / lanes - 1)

    return {
        f"peak {dtype}": 2 * CHAINS * CHAIN_LENGTH * lanes / each(MULTIPLY_ADDS, x.size),
        f"activations {dtype}": lanes / each(TANH, x.size),
        f"wait {dtype}": each(TANH_AGAIN_AND_AGAIN, 32 * lanes) / CHAIN_LENGTH,
    }


def _reading(size: int, seconds: float) -> float:
    """Seconds to read so many bytes again: of a vector times a matrix of that size, beyond one of next to nothing."""
    times = max(1, 2**22 // size)

    def product(length: int) -> float:
        x, matrix = np.ones(256, np.float32), np.ones((256, length), np.float32)
        out = np.empty(length, np.float32)

        def again() -> None:
            for _ in range(times):
                np.dot(x, matrix, out=out)

        return _fastest(again, seconds / 2) / times

    return _beyond(product(1), product(size // 1024))


def _beyond(least: float, seconds: float) -> float:
    """What is left without the cost of a call, which on a noisy machine may seem to be all of it."""
    return max(seconds - least, 0.1 * seconds)


def _fastest(work: Callable[[], Any], seconds: float) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best


def work(problem: Problem) -> dict[str, float]:
    """What one unit of work, an epoch or a call, cannot do without.

    Returns
    -------
    dict of str to float
        ``flops``: multiplications and additions of products. Of one step of one sequence 2·G·H·(inputs + H) per layer, and
        2·O·H of a readout; training needs three times as much: the product by the weights, by their transposes, and the
        gradient's, but for the gradient by the inputs of the first layer, which nobody has to make. ``activations``: tanh
        and σ, and ``waiting``, those that wait for each other. ``weights``: bytes of all weights, and ``passes``, how often
        they have to be read: once per step of a batch, forwards and in training backwards. ``bytes``: what is moved
        at least if everything is read and written once: weights in every update with the optimiser's moments, inputs, outputs.

    Examples
    --------
    >>> from rnn_from_scratch.benchmark.problems import inference
    >>> work(inference("step", "elman", 2, D=3))["flops"]  # 2·2·(3 + 2) + 2·1·2
    24.0
    """
    D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
    G, layers, training = GATES[problem.cell], problem.layers, problem.task == "train"
    N, T = (1, 1) if problem.task == "step" else problem.X.shape[:2]
    B = problem.batch_size if training else N
    lengths = np.full(N, T) if problem.lengths is None else problem.lengths
    steps = int(lengths.sum())  # of single sequences
    in_turn = sum(int(lengths[first : first + B].max()) for first in range(0, N, B))  # of batches
    answers = steps if problem.every else N
    forward = steps * 2 * G * H * (D + H + (layers - 1) * 2 * H) + answers * 2 * O * H
    many, chained = ACTIVATIONS[problem.cell]
    item, weights = problem.X.dtype.itemsize, sum(w.size for w in problem.weights.values())
    updates = -(-N // B) * {"sgd": 2, "adam": 6}[problem.optimizer] if training else 1
    return {
        "flops": float(3 * forward - steps * 2 * G * H * D if training else forward),
        "activations": float(steps * many * H * layers),
        "waiting": float(in_turn * chained),
        "weights": float(item * weights),
        "passes": float(in_turn * (2 if training else 1)),
        "bytes": float(item * (updates * weights + steps * D + answers * O)),
    }


def limit_parts(work: Mapping[str, float], rates: Mapping[str, Any], dtype: str) -> dict[str, float]:
    """Seconds that arithmetic, memory and waiting take at least.

    >>> asked = {"flops": 1e9, "activations": 1e6, "waiting": 10, "weights": 2e5, "passes": 10, "bytes": 0}
    >>> rates = {"peak float32": 1e11, "activations float32": 1e9, "wait float32": 1e-8, "read": [(1e5, 2e9), (1e6, 1e9)]}
    >>> limit_parts(asked, rates, "float32")
    {'arithmetic': 0.011, 'memory': 0.002, 'waiting': 1e-07}
    """
    arithmetic = work["flops"] / rates[f"peak {dtype}"] + work["activations"] / rates[f"activations {dtype}"]
    rate = next((rate for size, rate in rates["read"] if size >= work["weights"]), rates["read"][-1][1])
    passing = work["passes"] * work["weights"] if work["weights"] > NEAREST_CACHE else 0.0
    # The passes read the weights of an update as well, so the larger one of the two counts.
    moved = max(passing, work["bytes"]) if work["bytes"] > NEAREST_CACHE else passing
    return {"arithmetic": arithmetic, "memory": moved / rate, "waiting": work["waiting"] * rates[f"wait {dtype}"]}


def limit(work: Mapping[str, float], rates: Mapping[str, Any], dtype: str) -> float:
    """Seconds below which nobody gets with one thread."""
    return max(limit_parts(work, rates, dtype).values())
