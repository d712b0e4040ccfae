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
    project,
    through_time,
    total,
)

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
    T, N, _ = x.shape
    f = ACTIVATIONS[activation].value
    W_h_T = p["W_h"].T
    from_x = project(x, p["W_x"], p["b_h"])  # (T, N, H)
    h = room.empty("h", (T + 1, N, len(W_h_T)), x.dtype)
    (h[0],) = state
    for h_before, from_x_t, h_t, m in through_time(active, h[:-1], from_x, h[1:], mask):
        seen = h_before if m is None else h_before * m
        seen.dot(W_h_T, h_t)
        h_t += from_x_t
        f(h_t, h_t)
    keep_last(h, active)
    return h[1:], (h[-1],), Tape(x, h, active, mask, activation)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...], room: Room = FRESH
) -> tuple[dict[str, FloatArray], FloatArray, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H) by every h and d_h_T (N, H) by the last give d_p, d_x (T, N, D), d_h_0 (N, H)."""
    x, h, active, mask, activation = tape
    W_h = p["W_h"]
    d_a = ACTIVATIONS[activation].slope(h[1:])  # (T, N, H): the slopes, which the loop turns into gradients
    d_h_next = d_state[0].copy()  # by the state that step t hands on; a row joins when its sequence ends
    for d_a_t, d_h_t, d_next, m in back_through_time(active, d_a, d_h, d_h_next, mask):
        d_next += d_h_t
        d_a_t *= d_next
        d_a_t.dot(W_h, d_next)
        if m is not None:
            d_next *= m
    clear_ended(d_a, active)
    seen = h[:-1] if mask is None else h[:-1] * mask
    d_p = {"W_x": over_time(d_a, x), "W_h": over_time(d_a, seen), "b_h": total(d_a)}
    return d_p, flat(d_a).dot(p["W_x"]).reshape(x.shape), (d_h_next,)
