"""Elman's simple recurrent network: one step, forward through time, backward through time.

::

    a_t = W_x x_t + W_h (m ⊙ h_{t-1}) + b_h                m: a dropout mask, the same at every step, or all ones
        = [W_h, W_x, b_h] [m ⊙ h_{t-1}, x_t, 1]            one product for the whole of it
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
from rnn_from_scratch.textbook.products import (
    FRESH,
    Room,
    back_through_time,
    clear_ended,
    flat,
    keep_last,
    over_time,
    rows_to_see,
    side_by_side,
    taken_apart,
    through_time,
)

__all__ = ["Tape", "backward", "forward", "step"]


class Tape(NamedTuple):
    """What backward needs of forward."""

    seen: FloatArray  # (T, N, H + D + 1): [m ⊙ h_{t-1}, x_t, 1], what the weights see at each step
    h: FloatArray  # (T, N, H)
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
    a = x.dot(p["W_x"].T) + h.dot(p["W_h"].T) + p["b_h"]
    return (ACTIVATIONS[activation].value(a, a),)


def forward(
    p: Tensors,
    x: FloatArray,
    state: tuple[FloatArray, ...],
    active: Sequence[int],
    mask: FloatArray | None,
    activation: str,
    room: Room = FRESH,
) -> tuple[FloatArray, tuple[FloatArray, ...], Tape]:
    """All steps: x (T, N, D) and h_0 (N, H) give every h (T, N, H), the last h of each row (N, H), and the tape."""
    f, (h_0,) = ACTIVATIONS[activation].value, state
    W_T = side_by_side(p).T  # (H + D + 1, H)
    rows, h, masked = rows_to_see(x, h_0, mask, room)
    for seen, a, h_t, m, masked_t in through_time(active, rows, np.empty_like(h_0), h[1:], mask, masked):
        f(seen.dot(W_T, a), h_t)
        if m is not None:
            np.multiply(h_t, m, masked_t)
    keep_last(h, active)
    if mask is not None:
        clear_ended(rows, active)
    return h[1:], (h[-1],), Tape(rows, h[1:], active, mask, activation)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...], room: Room = FRESH
) -> tuple[dict[str, FloatArray], FloatArray, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H) by every h and d_h_T (N, H) by the last give d_p, d_x (T, N, D), d_h_0 (N, H)."""
    seen, h, active, mask, activation = tape
    W_h = p["W_h"]
    d_a = ACTIVATIONS[activation].slope(h)  # (T, N, H): the slopes, which the loop turns into gradients
    d_h_next = d_state[0].copy()  # by the state that step t hands on; a row joins when its sequence ends
    for d_a_t, d_h_t, d_next, m in back_through_time(active, d_a, d_h, d_h_next, mask):
        d_next += d_h_t
        d_a_t *= d_next
        d_a_t.dot(W_h, d_next)
        if m is not None:
            d_next *= m
    clear_ended(d_a, active)
    d_p = taken_apart(over_time(d_a, seen), len(W_h))
    return d_p, flat(d_a).dot(p["W_x"]).reshape(*d_a.shape[:2], -1), (d_h_next,)
