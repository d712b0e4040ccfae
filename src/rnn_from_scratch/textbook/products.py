"""The two products that every cell makes over all steps at once: of the inputs, and of the gradients."""

from __future__ import annotations

import numpy as np

from rnn_from_scratch.alphabet import FloatArray

__all__ = ["flat", "over_time", "project"]


def flat(values: FloatArray) -> FloatArray:
    """(T, N, K) as rows (T·N, K)."""
    return values.reshape(-1, values.shape[-1])


def project(x: FloatArray, W_x: FloatArray, b_h: FloatArray) -> FloatArray:
    """x (T, N, D) gives W_x x + b_h (T, N, G·H): what the inputs contribute, all steps at once."""
    a = np.dot(flat(x), W_x.T)
    a += b_h
    return a.reshape(*x.shape[:2], len(W_x))


def over_time(d_a: FloatArray, seen: FloatArray) -> FloatArray:
    """d_a (T, N, K) and what its weights saw (T, N, L) give Σ_t d_a_t seen_tᵀ (K, L), summed over the batch as well."""
    product: FloatArray = np.dot(flat(d_a).T, flat(seen))
    return product
