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
    clear_ended,
    flat,
    keep_last,
    lasting,
    over_time,
    rows_to_see,
    side_by_side,
    stretches,
    taken_apart,
    times,
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
    W_T = room.weights("W_T", lambda: side_by_side(p).T)  # (H + D + 1, H)
    rows, h, masked = rows_to_see(x, h_0, mask, room)
    a, found = room.empty("a", h_0.shape, h_0.dtype), h[1:]
    for seen, a_t, h_t, m, masked_t in lasting(room, mask).steps("forward", active, rows, a, found, mask, masked):
        f(seen.dot(W_T, a_t), h_t)
        if m is not None:
            np.multiply(h_t, m, masked_t)
    keep_last(h, active)
    if mask is not None:
        clear_ended(rows, active)
    return found, (h[-1],), Tape(rows, found, active, mask, activation)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...], room: Room = FRESH, wants_d_x: bool = True
) -> tuple[dict[str, FloatArray], FloatArray | None, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H) by every h and d_h_T (N, H) by the last give d_p, d_x (T, N, D), d_h_0 (N, H)."""
    seen, h, active, mask, activation = tape
    W_h = p["W_h"]
    slope = room.empty("slope", h.shape, h.dtype)
    d_a = room.empty("d_a", h.shape, h.dtype)
    for some, own_slope, d_from_above, d in stretches(h.size, h, slope, d_h, d_a):
        ACTIVATIONS[activation].slope(some, own_slope)
        np.multiply(d_from_above, own_slope, d)  # what comes from above; the loop adds what comes from later steps
    d_h_next = room.empty("d_h_next", h.shape[1:], h.dtype)  # by the state that step t hands on
    d_h_next[...] = d_state[0]  # a row joins when its sequence ends
    steps = lasting(room, mask).steps("backward", active, d_a, slope, d_h_next, mask)
    for d_a_t, slope_t, d_next, m in reversed(steps):
        d_next *= slope_t
        d_a_t += d_next
        d_a_t.dot(W_h, d_next)
        if m is not None:
            d_next *= m
    clear_ended(d_a, active)
    d_W_T = over_time(seen, d_a, room.given.get("d_W_T"))  # (H + D + 1, H)
    d_p = {} if "d_W_T" in room.given else taken_apart(d_W_T.T, len(W_h))  # given: it is where it is wanted
    d_x = times(flat(d_a), p["W_x"]).reshape(*d_a.shape[:2], -1) if wants_d_x else None
    return d_p, d_x, (d_h_next,)
