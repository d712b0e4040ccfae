"""Losses: their value, and their exact gradient by the pre-activation of the output.

Every loss is ``Σ w ℓ / Σ w`` over rows (one row for each real step that has a target). mse and binary cross-entropy average
over the outputs of a row, categorical cross-entropy sums over its classes::

    mse                ℓ = 1/O Σ_o (y_o − t_o)²
    ce after sigmoid   ℓ = −1/O Σ_o (t_o log y_o + (1 − t_o) log(1 − y_o))
    ce after softmax   ℓ = −Σ_o t_o log y_o

Cross-entropies are computed from the pre-activation a, never from log y, so that nothing overflows or loses its digits.
"""

from __future__ import annotations

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.textbook.activations import sigmoid, softmax
from rnn_from_scratch.textbook.readout import OUTPUT_ACTIVATIONS, d_preactivations

__all__ = ["binary_cross_entropy", "categorical_cross_entropy", "loss_and_gradient", "mean_squared_error"]


def mean_squared_error(output_activation: str, a: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pre-activations a (M, O) and targets t (M, O) give ℓ of each row (M,) and its gradient by a (M, O)."""
    y = OUTPUT_ACTIVATIONS[output_activation](a)
    error = y - t
    d_y = error * (2 / a.shape[1])
    return (error * error).mean(axis=1), d_preactivations(output_activation, y, d_y)


def binary_cross_entropy(a: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Outputs y = σ(a), each a yes or no of its own: −log y = log(1 + e⁻ᵃ), so ℓ = max(a, 0) − t a + log(1 + e^−|a|).

    >>> loss, d_a = binary_cross_entropy(np.array([[-1e4]]), np.array([[1.0]]))
    >>> loss, d_a
    (array([10000.]), array([[-1.]]))
    """
    loss = np.maximum(a, 0) - t * a + np.log1p(np.exp(-np.abs(a)))
    return loss.mean(axis=1), (sigmoid(a) - t) / a.shape[1]


def categorical_cross_entropy(a: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Outputs y = softmax(a), shares of one whole: log y_o = a_o − log Σ eᵃ.

    >>> loss, d_a = categorical_cross_entropy(np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]]))
    >>> loss, d_a
    (array([20000.]), array([[ 1., -1.]]))
    """
    shifted = a - a.max(axis=1, keepdims=True)
    log_y = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    total = t.sum(axis=1, keepdims=True)  # 1 for a one-hot row
    return -(t * log_y).sum(axis=1), softmax(a) * total - t


def loss_and_gradient(
    loss: str, output_activation: str, a: FloatArray, targets: FloatArray, weights: FloatArray
) -> tuple[float, FloatArray]:
    """The loss over all rows and its gradient by the pre-activations.

    Parameters
    ----------
    loss, output_activation : str
        Words of the specification.
    a, targets : ndarray (M, O)
        Pre-activations and targets.
    weights : ndarray (M,)
        Weight of each row; their sum is positive.

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
    if loss == "mse":
        rows, d_a = mean_squared_error(output_activation, a, targets)
    elif output_activation == "softmax":
        rows, d_a = categorical_cross_entropy(a, targets)
    else:
        rows, d_a = binary_cross_entropy(a, targets)
    total = weights.sum(dtype=np.float64)
    share = (weights / total).astype(a.dtype)
    return float(np.dot(rows.astype(np.float64), weights) / total), d_a * share[:, None]
