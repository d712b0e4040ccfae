"""From hidden states to outputs: ``y = g(W_y h + b_y)``, and back.

The value before g, the *pre-activation*, is what losses take their gradient by: that is exact and stable where the gradient
by the output itself would divide by a probability that has become zero.
"""

from __future__ import annotations

import numpy as np

from rnn_from_scratch.alphabet import BoolArray, FloatArray, Tensors
from rnn_from_scratch.textbook.activations import linear, sigmoid, softmax
from rnn_from_scratch.textbook.products import times, transposed_times

__all__ = [
    "OUTPUT_ACTIVATIONS",
    "backward",
    "d_mean_over_time",
    "d_preactivations",
    "forward",
    "mean_over_time",
]

OUTPUT_ACTIVATIONS = {"linear": linear, "sigmoid": sigmoid, "softmax": softmax}


def forward(p: Tensors, h: FloatArray) -> FloatArray:
    """h (…, H) gives the pre-activations (…, O)."""
    a = times(h.reshape(-1, h.shape[-1]), p["W_y"].T)
    a += p["b_y"]
    return a.reshape(h.shape[:-1] + a.shape[1:])


def backward(p: Tensors, h: FloatArray, d_a: FloatArray, d_p: dict[str, FloatArray]) -> FloatArray:
    """d_a (…, O) by the pre-activations gives the gradient by h (…, H); those by W_y and b_y are written to d_p."""
    rows = d_a.reshape(-1, d_a.shape[-1])  # (rows, O)
    transposed_times(rows, h.reshape(-1, h.shape[-1]), d_p["W_y"])
    np.add.reduce(rows, axis=0, out=d_p["b_y"])
    return times(rows, p["W_y"]).reshape(h.shape)


def mean_over_time(h: FloatArray, lengths: FloatArray) -> FloatArray:
    """h (T, N, H), zero past the end of each sequence, and lengths (N,) give the mean state of each (N, H)."""
    total: FloatArray = h.sum(axis=0)
    return total / lengths[:, None]


def d_mean_over_time(d_h: FloatArray, lengths: FloatArray, real: BoolArray) -> FloatArray:
    """d_h (N, H) by the means gives the gradient by every state (T, N, H); `real` (T, N, 1) is True at real steps."""
    return d_h / lengths[:, None] * real


def d_preactivations(output_activation: str, outputs: FloatArray, d_outputs: FloatArray) -> FloatArray:
    """The gradient by the outputs (…, O) turned into the gradient by the pre-activations (…, O).

    >>> import numpy as np
    >>> y = np.array([0.2, 0.8])
    >>> d_preactivations("softmax", y, np.array([1.0, 0.0])).round(4)
    array([ 0.16, -0.16])
    """
    if output_activation == "sigmoid":
        return d_outputs * outputs * (1 - outputs)
    if output_activation == "softmax":  # Jacobian diag(y) − y yᵀ
        along: FloatArray = (d_outputs * outputs).sum(axis=-1, keepdims=True)
        return outputs * (d_outputs - along)
    return d_outputs
