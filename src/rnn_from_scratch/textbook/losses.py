"""Losses: their value, and their exact gradient by the pre-activation of the output.

Every loss is ``Σ w ℓ / Σ w`` over rows (one row for each real step that has a target). Categorical cross-entropy sums over the
classes of a row, all others average over its outputs::

    mse                ℓ = 1/O Σ_o (y_o − t_o)²
    mae                ℓ = 1/O Σ_o |y_o − t_o|                        with slope 0 where y_o = t_o
    huber              ℓ = 1/O Σ_o ½ e² where |e| ≤ δ, and δ (|e| − ½ δ) beyond, with e = y_o − t_o
    ce after sigmoid   ℓ = −1/O Σ_o (t_o log y_o + (1 − t_o) log(1 − y_o))
    ce after softmax   ℓ = −Σ_o t_o log y_o

Cross-entropies are computed from the pre-activation a, never from log y, so that nothing overflows or loses its digits.

References
----------
P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.
"""

from __future__ import annotations

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.textbook.activations import sigmoid, softmax
from rnn_from_scratch.textbook.readout import OUTPUT_ACTIVATIONS, d_preactivations

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "huber_error",
    "loss_and_gradient",
    "squared_error",
]

FEW_NUMBERS = 64
"""So many at most are added up by Python, which is done before NumPy would have started."""

Elements = tuple[FloatArray, FloatArray]
"""The loss of every output, and its slope."""


def squared_error(error: FloatArray, delta: float) -> Elements:
    """e², 2 e."""
    return error * error, error + error


def absolute_error(error: FloatArray, delta: float) -> Elements:
    """|e|, sign e."""
    return np.abs(error), np.sign(error)


def huber_error(error: FloatArray, delta: float) -> Elements:
    """½ e² near zero, straight beyond ±δ.

    >>> huber_error(np.array([-0.5, 3.0]), 1.0)
    (array([0.125, 2.5  ]), array([-0.5,  1. ]))
    """
    near = np.clip(error, -delta, delta)
    return near * (error - 0.5 * near), near


ERRORS = {"mse": squared_error, "mae": absolute_error, "huber": huber_error}


def binary_cross_entropy(a: FloatArray, t: FloatArray) -> Elements:
    """Outputs y = σ(a), each a yes or no of its own: −log y = log(1 + e⁻ᵃ), so ℓ = max(a, 0) − t a + log(1 + e^−|a|).

    >>> binary_cross_entropy(np.array([[-1e4]]), np.array([[1.0]]))
    (array([[10000.]]), array([[-1.]]))
    """
    return np.maximum(a, 0) - t * a + np.log1p(np.exp(-np.abs(a))), sigmoid(a) - t


def categorical_cross_entropy(a: FloatArray, t: FloatArray) -> Elements:
    """Outputs y = softmax(a), shares of one whole: log y_o = a_o − log Σ eᵃ.

    >>> loss, d_a = categorical_cross_entropy(np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]]))
    >>> float(loss.sum()), d_a
    (20000.0, array([[ 1., -1.]]))
    """
    shifted = a - a.max(axis=1, keepdims=True)
    log_y = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    total = t.sum(axis=1, keepdims=True)  # 1 for a one-hot row
    return -(t * log_y), softmax(a) * total - t


def loss_and_gradient(
    loss: str,
    output_activation: str,
    a: FloatArray,
    targets: FloatArray,
    weights: FloatArray | None,
    huber_delta: float = 1.0,
) -> tuple[float, FloatArray]:
    """The loss over all rows and its gradient by the pre-activations.

    Parameters
    ----------
    loss, output_activation : str
        Words of the specification.
    a, targets : ndarray (M, O)
        Pre-activations and targets.
    weights : None or ndarray (M,)
        Weight of each row; their sum is positive. None: all rows weigh the same.
    huber_delta : float, default=1.0

    Returns
    -------
    loss : float
        Summed in float64.
    d_a : ndarray (M, O)

    Examples
    --------
    >>> loss_and_gradient("mse", "linear", np.array([[3.0], [9.0]]), np.array([[1.0], [1.0]]), np.array([1.0, 0.0]))
    (4.0, array([[4.],
           [0.]]))
    """
    if loss in ERRORS:
        y = OUTPUT_ACTIVATIONS[output_activation](a)
        elements, d_y = ERRORS[loss](y - targets, huber_delta)
        d_a = d_preactivations(output_activation, y, d_y)
    elif output_activation == "softmax":
        elements, d_a = categorical_cross_entropy(a, targets)
    else:
        elements, d_a = binary_cross_entropy(a, targets)
    terms = 1 if output_activation == "softmax" and loss not in ERRORS else a.shape[1]  # a mean over outputs, or a sum
    if weights is None:
        share = 1.0 / (len(a) * terms)
        d_a *= share
        return share * _sum(elements), d_a
    wide = weights.astype(np.float64, copy=False)
    shares = wide / np.add.reduce(wide)  # (M,)
    shares /= terms
    d_a *= shares.astype(a.dtype, copy=False)[:, None]
    per_row = elements[:, 0] if elements.shape[1] == 1 else elements.sum(axis=1, dtype=np.float64)
    return float(shares.dot(per_row)), d_a


def _sum(elements: FloatArray) -> float:
    """Their sum in float64."""
    if elements.size <= FEW_NUMBERS:
        return sum(elements.ravel().tolist(), 0.0)
    return float(np.add.reduce(elements, axis=None, dtype=np.float64))
