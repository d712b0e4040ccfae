"""Elman's simple recurrent network: one step, forward through time, backward through time.

::

    a_t = W_x x_t + W_h h_{t-1} + b_h
    h_t = f(a_t)

    d_a_t     = (d_h_t + W_hᵀ d_a_{t+1}) ⊙ f'(a_t)        from the readout, and from the step after
    d_W_x     = Σ_t d_a_t x_tᵀ          d_W_h = Σ_t d_a_t h_{t-1}ᵀ          d_b_h = Σ_t d_a_t
    d_x_t     = W_xᵀ d_a_t              d_h_0 = W_hᵀ d_a_1

Sequences come time-major, sorted by falling length: at step t the first ``active[t]`` rows still run. A row whose
sequence has ended keeps its last state.

References
----------
J. L. Elman, "Finding Structure in Time", Cognitive Science 14, 1990.
P. J. Werbos, "Backpropagation Through Time: What It Does and How to Do It", Proceedings of the IEEE 78, 1990.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, Tensors
from rnn_from_scratch.textbook.activations import ACTIVATIONS

__all__ = ["Tape", "backward", "forward", "step"]


class Tape(NamedTuple):
    """What backward needs of forward."""

    x: FloatArray  # (T, N, D)
    h: FloatArray  # (T + 1, N, H): h[t] is the state before step t
    active: Sequence[int]
    activation: str


def step(p: Tensors, x: FloatArray, h: FloatArray, activation: str) -> FloatArray:
    """One time step: x (N, D) and h (N, H) give the next h (N, H).

    >>> p = {"W_x": np.eye(2), "W_h": 2 * np.eye(2), "b_h": np.array([0.0, 1.0])}
    >>> step(p, np.array([[1.0, 1.0]]), np.array([[10.0, 20.0]]), "linear")
    array([[21., 42.]])
    """
    f = ACTIVATIONS[activation].value
    return f(x @ p["W_x"].T + h @ p["W_h"].T + p["b_h"])


def forward(
    p: Tensors, x: FloatArray, h_0: FloatArray, active: Sequence[int], activation: str
) -> tuple[FloatArray, FloatArray, Tape]:
    """All steps: x (T, N, D) and h_0 (N, H) give every h (T, N, H), the last h of each row (N, H), and the tape."""
    f = ACTIVATIONS[activation].value
    T, N, _ = x.shape
    W_h_T = p["W_h"].T
    a = x @ p["W_x"].T + p["b_h"]  # (T, N, H): what the inputs contribute, all steps at once
    h = np.empty((T + 1, N, len(p["b_h"])), x.dtype)
    h[0] = h_0
    for t, n in enumerate(active):
        h[t + 1, :n] = f(a[t, :n] + h[t, :n] @ W_h_T)
        h[t + 1, n:] = h[t, n:]
    return h[1:], h[-1], Tape(x, h, active, activation)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_h_T: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray, FloatArray]:
    """All steps in reverse: d_h (T, N, H) by every h and d_h_T (N, H) by the last give d_p, d_x (T, N, D), d_h_0 (N, H)."""
    x, h, active, activation = tape
    W_h = p["W_h"]
    slope = ACTIVATIONS[activation].slope(h[1:])  # (T, N, H)
    d_a = np.zeros_like(slope)
    d_h_next = d_h_T.copy()  # gradient by the state that step t hands on; a row joins when its sequence ends
    for t in range(len(active) - 1, -1, -1):
        n = active[t]
        d_a[t, :n] = (d_h[t, :n] + d_h_next[:n]) * slope[t, :n]
        d_h_next[:n] = d_a[t, :n] @ W_h
    rows = d_a.reshape(-1, d_a.shape[-1])  # (T·N, H)
    d_p = {
        "W_x": rows.T @ x.reshape(-1, x.shape[-1]),
        "W_h": rows.T @ h[:-1].reshape(-1, h.shape[-1]),
        "b_h": rows.sum(axis=0),
    }
    return d_p, d_a @ p["W_x"], d_h_next
