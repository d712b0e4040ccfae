"""Elman's simple recurrent network: one step, forward through time, backward through time.

::

    a_t = W_x x_t + W_h (m ⊙ h_{t-1}) + b_h                m: a dropout mask, the same at every step, or all ones
    h_t = f(a_t)

    d_a_t     = (d_h_t + m ⊙ W_hᵀ d_a_{t+1}) ⊙ f'(a_t)     from above, and from the step after
    d_W_x     = Σ_t d_a_t x_tᵀ          d_W_h = Σ_t d_a_t (m ⊙ h_{t-1})ᵀ          d_b_h = Σ_t d_a_t
    d_x_t     = W_xᵀ d_a_t              d_h_0 = m ⊙ W_hᵀ d_a_1

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
from rnn_from_scratch.textbook.products import flat, over_time, project

__all__ = ["Tape", "backward", "forward", "step"]


class Tape(NamedTuple):
    """What backward needs of forward."""

    x: FloatArray  # (T, N, D)
    h: FloatArray  # (T + 1, N, H): h[t] is the state before step t
    active: Sequence[int]
    mask: FloatArray | None  # (N, H)
    activation: str


def step(p: Tensors, x: FloatArray, state: tuple[FloatArray, ...], activation: str) -> tuple[FloatArray, ...]:
    """One time step: x (N, D) and h (N, H) give the next h (N, H).

    >>> p = {"W_x": np.eye(2), "W_h": 2 * np.eye(2), "b_h": np.array([0.0, 1.0])}
    >>> step(p, np.array([[1.0, 1.0]]), (np.array([[10.0, 20.0]]),), "linear")
    (array([[21., 42.]]),)
    """
    (h,) = state
    a = np.dot(x, p["W_x"].T) + np.dot(h, p["W_h"].T) + p["b_h"]
    return (ACTIVATIONS[activation].value(a, a),)


def forward(
    p: Tensors,
    x: FloatArray,
    state: tuple[FloatArray, ...],
    active: Sequence[int],
    mask: FloatArray | None,
    activation: str,
) -> tuple[FloatArray, tuple[FloatArray, ...], Tape]:
    """All steps: x (T, N, D) and h_0 (N, H) give every h (T, N, H), the last h of each row (N, H), and the tape."""
    T, N, _ = x.shape
    f = ACTIVATIONS[activation].value
    W_h_T = p["W_h"].T
    from_x = project(x, p["W_x"], p["b_h"])  # (T, N, H)
    h = np.empty((T + 1, N, W_h_T.shape[1]), x.dtype)
    (h[0],) = state
    for t, n in enumerate(active):
        before, now = h[t, :n], h[t + 1, :n]
        np.dot(before if mask is None else before * mask[:n], W_h_T, out=now)
        now += from_x[t, :n]
        f(now, now)
        if n < N:
            h[t + 1, n:] = h[t, n:]
    return h[1:], (h[-1],), Tape(x, h, active, mask, activation)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...]
) -> tuple[dict[str, FloatArray], FloatArray, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H) by every h and d_h_T (N, H) by the last give d_p, d_x (T, N, D), d_h_0 (N, H)."""
    x, h, active, mask, activation = tape
    W_h, W_x = p["W_h"], p["W_x"]
    d_a = ACTIVATIONS[activation].slope(h[1:])  # (T, N, H): the slopes, which the loop turns into gradients
    d_h_next = d_state[0].copy()  # by the state that step t hands on; a row joins when its sequence ends
    for t in range(len(active) - 1, -1, -1):
        n = active[t]
        d_a_t, d_next = d_a[t, :n], d_h_next[:n]
        d_next += d_h[t, :n]
        d_a_t *= d_next
        if n < len(d_h_next):
            d_a[t, n:] = 0
        np.dot(d_a_t, W_h, out=d_next)
        if mask is not None:
            d_next *= mask[:n]
    d_p = {
        "W_x": over_time(d_a, x),
        "W_h": over_time(d_a, h[:-1] if mask is None else h[:-1] * mask),
        "b_h": flat(d_a).sum(axis=0),
    }
    return d_p, np.dot(d_a, W_x), (d_h_next,)
