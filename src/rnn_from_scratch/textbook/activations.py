"""Activation functions, and their slopes as functions of their own value.

Writing the slope by the value (tanh' = 1 − tanh²) means that backward needs to keep h and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import FloatArray

__all__ = ["ACTIVATIONS", "Activation", "linear", "relu", "sigmoid", "softmax", "tanh"]


def tanh(a: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """The hyperbolic tangent."""
    return np.tanh(a, out)


def sigmoid(a: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """σ(a) = 1 / (1 + e⁻ᵃ) = eᵃ / (1 + eᵃ), without overflow and with correct digits in both tails.

    >>> sigmoid(np.array([-50.0, 0.0, 1e4]))
    array([1.92874985e-22, 5.00000000e-01, 1.00000000e+00])
    """
    e = np.minimum(a, 40.0, out=out)  # beyond it σ rounds to 1, and further on eᵃ would overflow
    np.exp(e, e)
    return np.divide(e, e + 1.0, e)


def relu(a: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """max(a, 0)."""
    return np.maximum(a, 0, out=out)


def linear(a: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """a itself."""
    if out is None or out is a:
        return a
    out[...] = a
    return out


def softmax(a: FloatArray) -> FloatArray:
    """eᵃ / Σ eᵃ over the last axis, shifted by the largest so that nothing overflows.

    >>> softmax(np.array([1e4, 1e4, -1e4]))
    array([0.5, 0.5, 0. ])
    """
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


class Activation(NamedTuple):
    """A function and its slope, which takes the function's value h; both may be given an array to write to."""

    value: Callable[[FloatArray, FloatArray | None], FloatArray]
    slope: Callable[..., FloatArray]


def _tanh_slope(h: FloatArray, out: FloatArray | None = None) -> FloatArray:
    slope = np.square(h, out)
    return np.subtract(1, slope, slope)


def _sigmoid_slope(h: FloatArray, out: FloatArray | None = None) -> FloatArray:
    slope = np.subtract(1, h, out)
    return np.multiply(slope, h, slope)


def _relu_slope(h: FloatArray, out: FloatArray | None = None) -> FloatArray:
    return np.greater(h, 0, np.empty_like(h) if out is None else out, casting="unsafe")


def _linear_slope(h: FloatArray, out: FloatArray | None = None) -> FloatArray:
    slope = np.empty_like(h) if out is None else out
    slope.fill(1)
    return slope


ACTIVATIONS = {
    "tanh": Activation(np.tanh, _tanh_slope),
    "sigmoid": Activation(sigmoid, _sigmoid_slope),
    "relu": Activation(relu, _relu_slope),
    "linear": Activation(linear, _linear_slope),
}
