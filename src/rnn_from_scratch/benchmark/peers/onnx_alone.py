"""ONNX Runtime with a model that is there already: what a program that only predicts has to hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime


def prepare(threads: int) -> None:
    """One thread is all that a program gets."""


class Prediction:
    """The model of the request, in the attribute ``model`` of the problem, run once."""

    def __init__(self, problem: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(problem.model.tobytes(), options)
        self.x = np.ascontiguousarray(np.swapaxes(problem.X, 0, 1))

    def outputs(self) -> Any:
        return self.session.run(None, {"x": self.x})[0]


def contestants(problem: Any) -> dict[str, Callable[[], object]]:
    return {"ONNX Runtime": lambda: Prediction(problem)}
