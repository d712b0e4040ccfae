"""The networks as ONNX models: with its recurrent operators, or written out as products and activations for one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

OPERATORS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}
ORDER = {"elman": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Where ONNX's gates (z r h; i o f c) are among ours (r z n; i f g o)."""


def states(problem: Problem) -> list[str]:
    """Names of the state that is carried."""
    return ["h", "c"] if problem.cell == "lstm" else ["h"]


def _permuted(cell: str, matrix: Array) -> Array:
    blocks = np.split(matrix, len(ORDER[cell]))
    return np.concatenate([blocks[k] for k in ORDER[cell]])


def _finish(nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], constants: dict[str, Array]) -> bytes:
    values = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in named.items()]
        for named in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "network", *values, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def with_operator(problem: Problem, N: int, T: int, *, carried: bool) -> bytes:
    """x (T, N, D), and with `carried` states (1, N, H), to y (T, N, O) and the states after."""
    D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
    w, cell = problem.weights, problem.cell
    second = np.zeros_like(w["layer0.b_h"])
    if cell == "gru":
        second[2 * H :] = w["layer0.b_hn"]
    biases = [_permuted(cell, b) for b in (w["layer0.b_h"], second)]
    constants = {
        "W": _permuted(cell, w["layer0.W_x"])[None],
        "R": _permuted(cell, w["layer0.W_h"])[None],
        "B": np.concatenate(biases)[None],
        "W_y": w["readout.W_y"].T,
        "b_y": w["readout.b_y"],
        "axis": np.array([1], np.int64),
    }
    names = states(problem)
    given = ["", *names] if carried else []
    words: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
    nodes = [
        helper.make_node(
            OPERATORS[cell],
            ["x", "W", "R", "B", *given],
            ["every", *(f"{name}_after" for name in names)],
            hidden_size=H,
            **words,
        ),
        helper.make_node("Squeeze", ["every", "axis"], ["h_all"]),
        helper.make_node("MatMul", ["h_all", "W_y"], ["product"]),
        helper.make_node("Add", ["product", "b_y"], ["y"]),
    ]
    shapes = {name: [1, N, H] for name in names} if carried else {}
    after = {f"{name}_after": [1, N, H] for name in names} if carried else {}
    if not carried:
        nodes[0].output[:] = ["every"]
    return _finish(nodes, {"x": [T, N, D]} | shapes, {"y": [T, N, O]} | after, constants)


def written_out(problem: Problem) -> bytes:
    """One step: x (1, D) and states (1, H) to y (1, O) and the states after, as products and activations."""
    D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
    w = problem.weights
    constants = {"W_x": w["layer0.W_x"], "W_h": w["layer0.W_h"], "b_h": w["layer0.b_h"]}
    constants |= {"W_y": w["readout.W_y"], "b_y": w["readout.b_y"]}
    nodes = []

    def add(operator: str, inputs: str, outputs: str, **words: Any) -> None:
        nodes.append(helper.make_node(operator, inputs.split(), outputs.split(), **words))

    add("Gemm", "x W_x b_h", "from_x", transB=1)
    if problem.cell == "elman":
        add("Gemm", "h W_h from_x", "a", transB=1)
        add("Tanh", "a", "h_after")
    elif problem.cell == "gru":
        constants["b_second"] = np.concatenate([np.zeros(2 * H, np.float32), w["layer0.b_hn"]])
        constants |= {"parts": np.array([2 * H, H], np.int64), "halves": np.array([H, H], np.int64)}
        add("Gemm", "h W_h b_second", "from_h", transB=1)
        add("Split", "from_x parts", "x_gates x_n", axis=1)
        add("Split", "from_h parts", "h_gates h_n", axis=1)
        add("Add", "x_gates h_gates", "a_gates")
        add("Sigmoid", "a_gates", "gates")
        add("Split", "gates halves", "r z", axis=1)
        add("Mul", "r h_n", "reset")
        add("Add", "x_n reset", "a_n")
        add("Tanh", "a_n", "n")
        add("Sub", "h n", "distance")
        add("Mul", "z distance", "kept")
        add("Add", "n kept", "h_after")
    else:
        constants["gates"] = np.array([H] * 4, np.int64)
        add("Gemm", "h W_h from_x", "a", transB=1)
        add("Split", "a gates", "a_i a_f a_g a_o", axis=1)
        for gate in "ifo":
            add("Sigmoid", f"a_{gate}", gate)
        add("Tanh", "a_g", "g")
        add("Mul", "f c", "kept")
        add("Mul", "i g", "new")
        add("Add", "kept new", "c_after")
        add("Tanh", "c_after", "bent")
        add("Mul", "o bent", "h_after")
    add("Gemm", "h_after W_y b_y", "y", transB=1)
    names = states(problem)
    shapes = {name: [1, H] for name in names}
    after = {f"{name}_after": [1, H] for name in names}
    return _finish(nodes, {"x": [1, D]} | shapes, {"y": [1, O]} | after, constants)
