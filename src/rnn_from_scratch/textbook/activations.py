"""Activation functions, and their slopes as functions of their own value.

Writing the slope by the value (tanh' = 1 − tanh²) means that backward needs to keep h and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import FloatArray

__all__ = ["ACTIVATIONS", "Activation", "linear", "relu", "sigmoid", "softmax", "tanh"]


def tanh(a: FloatArray) -> FloatArray:
    """The hyperbolic tangent."""
    return np.tanh(a)


def sigmoid(a: FloatArray) -> FloatArray:
    """σ(a) = 1 / (1 + e⁻ᵃ), without overflow and with correct digits in both tails.

    >>> sigmoid(np.array([-1e4, -50.0, 0.0, 1e4]))
    array([0.00000000e+00, 1.92874985e-22, 5.00000000e-01, 1.00000000e+00])
    """
    e = np.exp(-np.abs(a))  # in (0, 1]: cannot overflow
    return np.where(a >= 0, 1, e) / (1 + e)  # type: ignore[no-any-return]


def relu(a: FloatArray) -> FloatArray:
    """max(a, 0)."""
    return np.maximum(a, 0)


def linear(a: FloatArray) -> FloatArray:
    """a itself."""
    return a


def softmax(a: FloatArray) -> FloatArray:
    """eᵃ / Σ eᵃ over the last axis, shifted by the largest so that nothing overflows.

    >>> softmax(np.array([1e4, 1e4, -1e4]))
    array([0.5, 0.5, 0. ])
    """
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


class Activation(NamedTuple):
    """A function and its slope; `slope` takes the function's value h, not its argument."""

    value: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]


def _tanh_slope(h: FloatArray) -> FloatArray:
    return 1 - h * h


def _sigmoid_slope(h: FloatArray) -> FloatArray:
    return h * (1 - h)


def _relu_slope(h: FloatArray) -> FloatArray:
    return (h > 0).astype(h.dtype)


def _linear_slope(h: FloatArray) -> FloatArray:
    return np.ones_like(h)


ACTIVATIONS = {
    "tanh": Activation(tanh, _tanh_slope),
    "sigmoid": Activation(sigmoid, _sigmoid_slope),
    "relu": Activation(relu, _relu_slope),
    "linear": Activation(linear, _linear_slope),
}
