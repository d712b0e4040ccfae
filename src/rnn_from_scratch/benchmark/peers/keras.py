"""Keras on JAX: `SimpleRNN`, `GRU`, `LSTM` and `Dense`, trained by `fit`, an epoch per call or all in one."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # the backend is chosen before
import numpy as np

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

LIBRARY = "Keras"
ORDER = {"elman": (0,), "gru": (1, 0, 2), "lstm": (0, 1, 2, 3)}
"""Where Keras's gates (z r h; i f c o) are among ours (r z n; i f g o)."""


def prepare(threads: int) -> None:
    """Threads are set by the environment."""


def versions() -> dict[str, str]:
    return {"Keras": f"{keras.__version__} on {keras.backend.backend()}"}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    if problem.task == "step":
        return {}  # it has no way to carry a state from call to call that compares with the others
    if problem.X.dtype != np.float32:
        return {"Keras": "only float32 was written"}
    if problem.task == "sequence":
        return {"Keras": partial(Sequence, problem)}
    if problem.lengths is not None:
        return {"Keras": "padding after the end was not written"}
    return {"Keras": partial(Training, problem)}


def permuted(cell: str, matrix: Array, *, back: bool = False) -> Array:
    """Gates along the first axis, from our order into Keras's, or back."""
    order = np.argsort(ORDER[cell]) if back else np.array(ORDER[cell])
    blocks = np.split(matrix, len(order))
    return np.concatenate([blocks[k] for k in order])


class OnlyCandidate(keras.constraints.Constraint):  # type: ignore[misc]  # Keras is not there when types are checked
    """Of a GRU's second bias (row 1 of 2) only the candidate's part is a parameter of its own; the rest stays zero."""

    def __init__(self, H: int) -> None:
        self.mask = np.ones((2, 3 * H), np.float32)
        self.mask[1, : 2 * H] = 0

    def __call__(self, w: Any) -> Any:
        return w * self.mask


class PublishedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras is not there when types are checked
    """With ε added to the root of the corrected second moment, as published; Keras corrects after adding it."""

    epsilon: Any

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        kept, t = self.epsilon, keras.ops.cast(self.iterations + 1, variable.dtype)
        self.epsilon = kept * keras.ops.sqrt(1 - self.beta_2**t)
        try:
            super().update_step(gradient, variable, learning_rate)
        finally:
            self.epsilon = kept


def make_model(problem: Problem) -> Any:
    _, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
    words: dict[str, Any] = {"bias_constraint": OnlyCandidate(H)} if problem.cell == "gru" else {}
    kind = {"elman": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[problem.cell]
    layers = [kind(H, return_sequences=problem.every or k < problem.layers - 1, **words) for k in range(problem.layers)]
    model = keras.Sequential([keras.Input(problem.X.shape[1:]), *layers, keras.layers.Dense(O)])
    set_weights(model, problem)
    return model


def set_weights(model: Any, problem: Problem) -> None:
    w, cell, arrays = problem.weights, problem.cell, []
    for k in range(problem.layers):
        b = permuted(cell, w[f"layer{k}.b_h"])
        if cell == "gru":
            second = np.zeros_like(b)
            second[-len(w[f"layer{k}.b_hn"]) :] = w[f"layer{k}.b_hn"]
            b = np.stack([b, second])
        arrays += [permuted(cell, w[f"layer{k}.W_x"]).T, permuted(cell, w[f"layer{k}.W_h"]).T, b]
    model.set_weights([*arrays, w["readout.W_y"].T, w["readout.b_y"]])


class Training:
    """`fit` without shuffling."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.model = make_model(problem)
        words = {"learning_rate": problem.learning_rate, "global_clipnorm": problem.clip}
        sgd = problem.optimizer == "sgd"
        optimizer = keras.optimizers.SGD(**words) if sgd else PublishedAdam(**words, epsilon=1e-8)
        self.model.compile(optimizer, "mse")
        optimizer.build(self.model.trainable_variables)
        self.first = [np.array(v) for v in optimizer.variables]

    def reset(self) -> None:
        set_weights(self.model, self.problem)
        for variable, value in zip(self.model.optimizer.variables, self.first, strict=True):
            variable.assign(value)

    def train(self, epochs: int) -> tuple[list[float], list[float]]:
        history = self.model.fit(
            self.problem.X,
            self.problem.y,
            batch_size=self.problem.batch_size,
            epochs=epochs,
            shuffle=False,
            verbose=0,
        )
        return [float(loss) for loss in history.history["loss"]], [float("nan")] * epochs

    def weights(self) -> dict[str, Array]:
        found: dict[str, Array] = {}
        arrays, cell = [np.array(a) for a in self.model.get_weights()], self.problem.cell
        for k in range(self.problem.layers):
            W_x, W_h, b = arrays[3 * k : 3 * k + 3]
            if cell == "gru":
                found[f"layer{k}.b_hn"] = b[1, -W_h.shape[0] :]
                b = b[0]
            found[f"layer{k}.W_x"] = permuted(cell, W_x.T, back=True)
            found[f"layer{k}.W_h"] = permuted(cell, W_h.T, back=True)
            found[f"layer{k}.b_h"] = permuted(cell, b, back=True)
        return found | {"readout.W_y": arrays[-2].T, "readout.b_y": arrays[-1]}

    def predict(self, X: Array, lengths: Array | None = None) -> Array:
        return np.asarray(self.model.predict_on_batch(X))


class Sequence:
    """`predict_on_batch`, which is compiled and makes no loop over batches."""

    def __init__(self, problem: Problem) -> None:
        self.model, self.x = make_model(problem), problem.X

    def run(self, times: int) -> None:
        for _ in range(times):
            np.asarray(self.model.predict_on_batch(self.x))

    def outputs(self) -> Array:
        return np.asarray(self.model.predict_on_batch(self.x))
