"""OpenVINO: the ONNX models, compiled for latency, in float32, with its own tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from rnn_from_scratch.benchmark.peers import onnx_graph as graph

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

LIBRARY = "OpenVINO"
THREADS = [1]


def prepare(threads: int) -> None:
    THREADS[0] = threads


def versions() -> dict[str, str]:
    return {"OpenVINO": openvino.__version__.partition("-")[0]}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    if problem.task == "train":
        return {}
    if problem.X.dtype != np.float32:
        return {"OpenVINO": "only float32 was written"}
    if problem.task == "sequence":
        return {"OpenVINO": partial(Sequence, problem)}
    return {f"OpenVINO, {way}": partial(Step, problem, way == "operator") for way in ("operator", "written out")}


def request(model: bytes) -> Any:
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": str(THREADS[0]),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()


def share(array: Array) -> Any:
    """A tensor with the memory of an array."""
    return openvino.Tensor(array, shared_memory=True)


class Sequence:
    """All sequences in one call, time first."""

    def __init__(self, problem: Problem) -> None:
        N, T, _ = problem.X.shape
        self.request = request(graph.with_operator(problem, N, T, carried=False))
        self.x = np.ascontiguousarray(np.swapaxes(problem.X, 0, 1))
        self.y = np.empty((T, N, problem.sizes[2]), np.float32)
        self.request.set_tensor("x", share(self.x))
        self.request.set_tensor("y", share(self.y))

    def run(self, times: int) -> None:
        infer = self.request.infer
        for _ in range(times):
            infer(share_outputs=True)

    def outputs(self) -> Array:
        self.run(1)
        return np.swapaxes(self.y, 0, 1).copy()


class Step:
    """One step; two requests of the same model write into each other's state."""

    def __init__(self, problem: Problem, operator: bool) -> None:
        D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
        model = graph.with_operator(problem, 1, 1, carried=True) if operator else graph.written_out(problem)
        ones = (1,) * operator
        self.steps = problem.X[0].reshape(-1, *ones, 1, D)
        self.x, self.y = np.empty((*ones, 1, D), np.float32), np.empty((*ones, 1, O), np.float32)
        self.halves = [{n: np.zeros((*ones, 1, H), np.float32) for n in graph.states(problem)} for _ in range(2)]
        self.requests = [request(model) for _ in range(2)]
        for made, before, after in zip(self.requests, self.halves, self.halves[::-1], strict=True):
            made.set_tensor("x", share(self.x))
            made.set_tensor("y", share(self.y))
            for name, array in before.items():
                made.set_tensor(name, share(array))
                made.set_tensor(f"{name}_after", share(after[name]))

    def run(self, times: int) -> None:
        first, second = (made.infer for made in self.requests)
        mine, x = self.x, self.steps[0]
        for k in range(times):
            mine[...] = x
            (second if k & 1 else first)(share_outputs=True)

    def outputs(self) -> Array:
        for array in self.halves[0].values():
            array[...] = 0
        found = []
        for k, x in enumerate(self.steps):
            self.x[...] = x
            self.requests[k & 1].infer(share_outputs=True)
            found.append(self.y.reshape(-1).copy())
        return np.array(found)
