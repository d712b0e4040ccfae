"""ONNX Runtime: its recurrent operators, and for one step also products and activations; plain calls and bound buffers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from rnn_from_scratch.benchmark.peers import onnx_graph as graph

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

LIBRARY = "ONNX Runtime"
THREADS = [1]


def prepare(threads: int) -> None:
    THREADS[0] = threads


def versions() -> dict[str, str]:
    return {"ONNX Runtime": onnxruntime.__version__}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    if problem.task == "train":
        return {}
    if problem.X.dtype != np.float32:
        return {"ONNX Runtime": "only float32 was written"}
    if problem.task == "sequence":
        return {"ONNX Runtime": partial(Sequence, problem), "ONNX Runtime, bound": partial(Sequence, problem, True)}
    return {
        f"ONNX Runtime, {way}{', bound' * bound}": partial(Step, problem, way == "operator", bound)
        for way in ("operator", "written out")
        for bound in (False, True)
    }


def model_bytes(problem: Problem) -> bytes:
    """The model for the sequences of a problem."""
    return bytes(graph.with_operator(problem, *problem.X.shape[:2], carried=False))


def session(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS[0], 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Sequence:
    """All sequences in one call, time first."""

    def __init__(self, problem: Problem, bound: bool = False) -> None:
        N, T, _ = problem.X.shape
        self.session = session(graph.with_operator(problem, N, T, carried=False))
        self.x = np.ascontiguousarray(np.swapaxes(problem.X, 0, 1))
        self.y = np.empty((T, N, problem.sizes[2]), np.float32)
        self.binding = bind(self.session, {"x": self.x}, {"y": self.y}) if bound else None

    def run(self, times: int) -> None:
        if self.binding is not None:
            for _ in range(times):
                self.session.run_with_iobinding(self.binding)
            return
        run, feed = self.session.run, {"x": self.x}
        for _ in range(times):
            run(None, feed)

    def outputs(self) -> Array:
        if self.binding is not None:
            self.session.run_with_iobinding(self.binding)
            return np.swapaxes(self.y, 0, 1)
        return np.swapaxes(self.session.run(None, {"x": self.x})[0], 0, 1)


def bind(made: Any, inputs: dict[str, Array], outputs: dict[str, Array]) -> Any:
    binding = made.io_binding()
    for arrays, method in ((inputs, binding.bind_input), (outputs, binding.bind_output)):
        for name, array in arrays.items():
            method(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return binding


class Step:
    """One step, the state fed back; bound, two sets of buffers change places."""

    def __init__(self, problem: Problem, operator: bool, bound: bool) -> None:
        D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
        model = graph.with_operator(problem, 1, 1, carried=True) if operator else graph.written_out(problem)
        self.session = session(model)
        self.names = graph.states(problem)
        ones = (1,) * operator
        self.steps = problem.X[0].reshape(-1, *ones, 1, D)
        self.x, self.y = np.empty((*ones, 1, D), np.float32), np.empty((*ones, 1, O), np.float32)
        self.halves = [{name: np.zeros((*ones, 1, H), np.float32) for name in self.names} for _ in range(2)]
        self.bound = bound
        self.bindings = [
            bind(self.session, {"x": self.x, **before}, {"y": self.y, **{f"{n}_after": a for n, a in after.items()}})
            for before, after in (self.halves, self.halves[::-1])
        ]

    def run(self, times: int) -> None:
        x = self.steps[0]
        if self.bound:
            run, mine, (first, second) = self.session.run_with_iobinding, self.x, self.bindings
            for k in range(times):
                mine[...] = x
                run(second if k & 1 else first)
            return
        state = self.halves[0]
        for _ in range(times):
            _, *after = self.session.run(None, {"x": x, **state})
            state = dict(zip(self.names, after, strict=True))

    def outputs(self) -> Array:
        found, state = [], {name: np.zeros_like(array) for name, array in self.halves[0].items()}
        for name, zeros in state.items():
            self.halves[0][name][...] = zeros
        for k, x in enumerate(self.steps):
            if self.bound:
                self.x[...] = x
                self.session.run_with_iobinding(self.bindings[k & 1])
                found.append(self.y.reshape(-1).copy())
            else:
                y, *after = self.session.run(None, {"x": x, **state})
                state = dict(zip(self.names, after, strict=True))
                found.append(y.reshape(-1))
        return np.array(found)
