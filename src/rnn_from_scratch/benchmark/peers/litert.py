"""LiteRT, formerly TensorFlow Lite: models are written straight into its file format, without TensorFlow.

Elman and LSTM layers are its own sequence operators, which carry the state inside; a GRU, for which it has none, is written
out as products and activations, step by step.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from collections.abc import Sequence as Listed
from functools import partial
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

LIBRARY = "LiteRT"
THREADS = [1]

Operator, Options, Activation = schema.BuiltinOperator, schema.BuiltinOptions, schema.ActivationFunctionType


def prepare(threads: int) -> None:
    THREADS[0] = threads


def versions() -> dict[str, str]:
    return {"LiteRT": importlib.metadata.version("ai-edge-litert")}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    if problem.task == "train":
        return {}
    if problem.X.dtype != np.float32:
        return {"LiteRT": "only float32 was written"}
    if problem.task == "sequence":
        return {"LiteRT": partial(Sequence, problem)}
    return {"LiteRT": partial(Step, problem)}


class Graph:
    """A model under construction: tensors are numbers."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, shape: Listed[int], *, variable: bool = False, integer: bool = False, buffer: int = 0) -> int:
        made = schema.TensorT()
        made.shape, made.isVariable, made.buffer = list(shape), variable, buffer
        made.type = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
        made.name = f"tensor{len(self.graph.tensors)}".encode()
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant(self, array: Array) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self.tensor(array.shape, integer=array.dtype == np.int32, buffer=len(self.buffers) - 1)

    def add(self, operator: str, inputs: list[int], shapes: list[Listed[int]], **options: Any) -> list[int]:
        """Append an operator; its outputs."""
        code = getattr(Operator, operator)
        if code not in self.codes:
            self.codes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs = self.codes.index(code), inputs
        made.outputs = [self.tensor(shape) for shape in shapes]
        kind = OPTIONS.get(operator)
        if kind:
            made.builtinOptionsType = getattr(Options, kind)
            made.builtinOptions = getattr(schema, f"{kind}T")()
            for name, value in options.items():
                setattr(made.builtinOptions, name, value)
        self.graph.operators.append(made)
        return list(made.outputs)

    def product(self, x: int, W: Array, b: Array | None, rows: int) -> int:
        """x Wᵀ + b."""
        bias = -1 if b is None else self.constant(b)
        return self.add("FULLY_CONNECTED", [x, self.constant(W), bias], [(rows, len(W))])[0]

    def serialized(self, inputs: list[int], outputs: list[int]) -> bytes:
        model = schema.ModelT()
        model.version, model.description = 3, b""
        model.operatorCodes = []
        for code in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            model.operatorCodes.append(entry)
        self.graph.inputs, self.graph.outputs = inputs, outputs
        model.subgraphs, model.buffers = [self.graph], self.buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


OPTIONS = {
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "SUB": "SubOptions",
    "SPLIT": "SplitOptions",
    "CONCATENATION": "ConcatenationOptions",
}


def with_operator(problem: Problem, N: int, T: int) -> bytes:
    """x (T, N, D) to y (T·N, O); the state stays inside from call to call."""
    D, H, _ = problem.sizes
    w, graph = problem.weights, Graph()
    x = graph.tensor((T, N, D))
    state = [graph.tensor((N, H), variable=True) for _ in range(2 if problem.cell == "lstm" else 1)]
    if problem.cell == "elman":
        constants = [graph.constant(w[f"layer0.{name}"]) for name in ("W_x", "W_h", "b_h")]
        words = {"timeMajor": True, "fusedActivationFunction": Activation.TANH}
        h = graph.add("UNIDIRECTIONAL_SEQUENCE_RNN", [x, *constants, *state], [(T, N, H)], **words)[0]
    else:
        parts = [np.split(w[f"layer0.{name}"], 4) for name in ("W_x", "W_h", "b_h")]
        W_x, W_h, b = ([graph.constant(block) for block in blocks] for blocks in parts)
        inputs = [x, *W_x, *W_h, -1, -1, -1, *b, -1, -1, *state, -1, -1, -1, -1]
        words = {"timeMajor": True, "fusedActivationFunction": Activation.TANH}
        h = graph.add("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [(T, N, H)], **words)[0]
    y = graph.product(h, w["readout.W_y"], w["readout.b_y"], T * N)
    return graph.serialized([x], [y])


def written_out_gru(problem: Problem, N: int, T: int) -> bytes:
    """x (T·N, D) and h (N, H) to y (T·N, O) and the state after."""
    D, H, _ = problem.sizes
    w, graph = problem.weights, Graph()
    x, first = graph.tensor((T * N, D)), graph.tensor((N, H))
    W_x, W_h, b = (w[f"layer0.{name}"] for name in ("W_x", "W_h", "b_h"))
    rows, columns = graph.constant(np.array(0, np.int32)), graph.constant(np.array(1, np.int32))
    shares = []
    for part, width in ((slice(0, 2 * H), 2 * H), (slice(2 * H, None), H)):
        every = graph.product(x, W_x[part], b[part], T * N)
        steps = [every] if T == 1 else graph.add("SPLIT", [rows, every], [(N, width)] * T, numSplits=T)
        shares.append(steps)
    h, found = first, []
    for x_gates, x_n in zip(*shares, strict=True):
        h_gates = graph.product(h, W_h[: 2 * H], None, N)
        h_n = graph.product(h, W_h[2 * H :], w["layer0.b_hn"], N)
        (a,) = graph.add("ADD", [x_gates, h_gates], [(N, 2 * H)])
        (gates,) = graph.add("LOGISTIC", [a], [(N, 2 * H)])
        r, z = graph.add("SPLIT", [columns, gates], [(N, H)] * 2, numSplits=2)
        (reset,) = graph.add("MUL", [r, h_n], [(N, H)])
        (a_n,) = graph.add("ADD", [x_n, reset], [(N, H)])
        (n,) = graph.add("TANH", [a_n], [(N, H)])
        (distance,) = graph.add("SUB", [h, n], [(N, H)])
        (kept,) = graph.add("MUL", [z, distance], [(N, H)])
        (h,) = graph.add("ADD", [n, kept], [(N, H)])
        found.append(h)
    every = found[0] if T == 1 else graph.add("CONCATENATION", found, [(T * N, H)], axis=0)[0]
    y = graph.product(every, w["readout.W_y"], w["readout.b_y"], T * N)
    return graph.serialized([x, first], [y, h])


class Model:
    """An interpreter for N sequences of T steps, and the calls by which it is fed."""

    def __init__(self, problem: Problem, N: int, T: int) -> None:
        self.gru = problem.cell == "gru"
        model = (written_out_gru if self.gru else with_operator)(problem, N, T)
        self.interpreter = Interpreter(model_content=model, num_threads=THREADS[0])
        self.interpreter.allocate_tensors()
        self.inputs = [detail["index"] for detail in self.interpreter.get_input_details()]
        self.given = [tuple(detail["shape"]) for detail in self.interpreter.get_input_details()]
        self.found = [detail["index"] for detail in self.interpreter.get_output_details()]
        self.forget()

    def forget(self) -> None:
        """State zero."""
        if self.gru:
            self.interpreter.set_tensor(self.inputs[1], np.zeros(self.given[1], np.float32))
        else:
            self.interpreter.reset_all_variables()


class Sequence:
    """All sequences in one call, time first."""

    def __init__(self, problem: Problem) -> None:
        self.N, self.T, _ = problem.X.shape
        self.model = Model(problem, self.N, self.T)
        self.x = np.ascontiguousarray(np.swapaxes(problem.X, 0, 1)).reshape(self.model.given[0])

    def run(self, times: int) -> None:
        model, interpreter = self.model, self.model.interpreter
        for _ in range(times):
            if not model.gru:
                interpreter.reset_all_variables()
            interpreter.set_tensor(model.inputs[0], self.x)
            interpreter.invoke()
            interpreter.get_tensor(model.found[0])

    def outputs(self) -> Array:
        self.model.forget()
        self.run(1)
        y = self.model.interpreter.get_tensor(self.model.found[0])
        return np.swapaxes(y.reshape(self.T, self.N, -1), 0, 1)


class Step:
    """One step; the state stays inside, that of a GRU is fed back."""

    def __init__(self, problem: Problem) -> None:
        self.model = Model(problem, 1, 1)
        self.steps = problem.X[0].reshape(-1, *self.model.given[0])

    def run(self, times: int) -> None:
        interpreter, x, (y, *after) = self.model.interpreter, self.steps[0], self.model.found
        first, *state = self.model.inputs
        for _ in range(times):
            interpreter.set_tensor(first, x)
            interpreter.invoke()
            interpreter.get_tensor(y)
            if after:
                interpreter.set_tensor(state[0], interpreter.get_tensor(after[0]))

    def outputs(self) -> Array:
        self.model.forget()
        interpreter, (y, *after) = self.model.interpreter, self.model.found
        found = []
        for x in self.steps:
            interpreter.set_tensor(self.model.inputs[0], x)
            interpreter.invoke()
            found.append(interpreter.get_tensor(y).reshape(-1).copy())
            if after:
                interpreter.set_tensor(self.model.inputs[1], interpreter.get_tensor(after[0]))
        return np.array(found)
