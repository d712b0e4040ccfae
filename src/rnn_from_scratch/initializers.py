"""Where training starts: Xavier-uniform weights, gate block by gate block, and zero biases."""

from __future__ import annotations

import math

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.layers import TensorShape

__all__ = ["initialize", "xavier_uniform"]


def xavier_uniform(fan_out: int, fan_in: int, generator: np.random.Generator) -> FloatArray:
    """A (fan_out, fan_in) matrix with entries uniform in ±√(6 / (fan_in + fan_out)).

    The variance 2 / (fan_in + fan_out) keeps the size of signals on the way forward, and of gradients on the way back,
    about the same from layer to layer.

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.

    Examples
    --------
    >>> W = xavier_uniform(200, 100, np.random.default_rng(0))
    >>> W.shape, bool(abs(W).max() <= (6 / 300) ** 0.5), round(float(W.var() * 150), 1)
    ((200, 100), True, 1.0)
    """
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return generator.uniform(-limit, limit, size=(fan_out, fan_in))


def initialize(parameters: Parameters, generator: np.random.Generator) -> None:
    """Give every tensor its first values: weight matrices Xavier-uniform per gate block, biases zero.

    The numbers are drawn in float64 and rounded, so that one seed gives the same start in both precisions.
    """
    with parameters.edit() as views:
        for tensor in parameters.tensors:
            views[tensor.name][...] = _first_values(tensor, generator)


def _first_values(tensor: TensorShape, generator: np.random.Generator) -> FloatArray:
    if len(tensor.shape) == 1:
        return np.repeat(np.array(tensor.first), tensor.shape[0] // len(tensor.first))
    rows, columns = tensor.shape
    # Each gate is a matrix of its own: the fan is that of one block (H, D), never of the stack (G·H, D).
    blocks = [xavier_uniform(rows // tensor.gates, columns, generator) for _ in range(tensor.gates)]
    return np.concatenate(blocks)
