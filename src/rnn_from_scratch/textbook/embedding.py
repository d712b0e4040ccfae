"""Tokens: each is a row of a matrix W_e (V, D), which takes the place of its features.

::

    x_t = W_e[token_t]               d_W_e[v] = Σ over all steps with token_t = v of d_x_t
"""

from __future__ import annotations

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray

__all__ = ["backward", "forward"]


def forward(W_e: FloatArray, tokens: IndexArray) -> FloatArray:
    """Tokens (…) give their rows (…, D).

    >>> forward(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0, 1]))
    array([[3., 4.],
           [1., 2.],
           [3., 4.]])
    """
    rows: FloatArray = W_e[tokens]
    return rows


def backward(W_e: FloatArray, tokens: IndexArray, d_x: FloatArray) -> FloatArray:
    """d_x (M, D) by the rows of M tokens gives d_W_e.

    >>> backward(np.zeros((2, 1)), np.array([1, 0, 1]), np.array([[1.0], [2.0], [3.0]]))
    array([[2.],
           [4.]])
    """
    d_W_e = np.zeros_like(W_e)
    np.add.at(d_W_e, tokens, d_x)
    return d_W_e
