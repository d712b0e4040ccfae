"""Elman's network read at every step, layer and readout in one recurrence: what `elman` and `readout` do, faster.

The readout of a state sees what the layer's next step sees, so one product makes both, and on the way back one product brings
the gradient by a state from everywhere it went::

    [a_t, y_{t-1}] = [h_{t-1}, x_t, 1] M                  M = [[W_hᵀ, W_yᵀ],        (H + D + 1, H + O)
    h_t = f(a_t)                                               [W_xᵀ,  0  ],
                                                               [b_h,  b_y ]]

    d_h_t     = [d_a_{t+1}, d_y_t] [W_hᵀ, W_yᵀ]ᵀ           d_a_t = d_h_t ⊙ f'(a_t)
    d_M       = Σ_t [h_{t-1}, x_t, 1]ᵀ [d_a_t, d_y_{t-1}]  but zero where M is zero by definition

There is one product more than there are steps: the last reads h_T, and its x is zero. y is the pre-activation of the output.
All sequences have all T steps, there is no dropout, and nobody asks for gradients by inputs and states.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.textbook.activations import ACTIVATIONS
from rnn_from_scratch.textbook.products import FRESH, Room, over_time

__all__ = ["Tape", "backward", "forward"]


class Tape(NamedTuple):
    """What backward needs of forward."""

    seen: FloatArray  # (T + 1, N, H + D + 1): [h_{t-1}, x_t, 1]
    h: FloatArray  # (T, N, H)
    activation: str


def forward(
    M: FloatArray,
    O: int,  # noqa: E741  # the alphabet's letter
    x: FloatArray,
    h_0: FloatArray,
    activation: str,
    room: Room = FRESH,
) -> tuple[FloatArray, FloatArray, Tape]:
    """x (T, N, D) and h_0 (N, H) give y (T, N, O), the last h (N, H), and the tape.

    M (H + D + 1, H + O or more) may have more columns, all zero, where its rows begin at better places for them.

    >>> M = np.array([[2.0, 10.0], [1.0, 0.0], [0.0, 5.0]])  # W_h = 2, W_y = 10, W_x = 1, b_h = 0, b_y = 5
    >>> y, h, _ = forward(M, 1, np.ones((3, 1, 1)), np.zeros((1, 1)), "linear")
    >>> y.ravel(), h
    (array([15., 35., 75.]), array([[7.]]))
    """
    (T, N, D), H, columns = x.shape, h_0.shape[1], M.shape[1]
    f = ACTIVATIONS[activation].value
    rows = room.rows((T + 2, N, H + D + 1), H, x.dtype)
    rows.x[:T], rows.x[T], rows.h[0] = x, 0, h_0
    a, h = room.empty("a", (T + 1, N, columns), x.dtype), rows.h[1 : T + 1]
    for seen, a_t, to_f, h_t in room.steps("forward", [N] * T, rows.seen[:T], a[:T], a[:T, :, :H], h):
        seen.dot(M, a_t)
        f(to_f, h_t)
    rows.seen[T].dot(M, a[T])
    return a[1:, :, H : H + O], h[-1], Tape(rows.seen, h, activation)


def backward(
    M: FloatArray, tape: Tape, d_y: FloatArray, room: Room = FRESH, d_M: FloatArray | None = None
) -> FloatArray:
    """d_y (T, N, O) by every y gives d_M, written to d_M if that is given.

    >>> M = np.array([[2.0, 10.0], [1.0, 0.0], [0.0, 5.0]])
    >>> _, _, tape = forward(M, 1, np.ones((3, 1, 1)), np.zeros((1, 1)), "linear")
    >>> backward(M, tape, np.ones((3, 1, 1)))  # d_h: 70, 30, 10
    array([[ 60.,  11.],
           [110.,   0.],
           [110.,   3.]])
    """
    (T, N, H), O, columns = tape.h.shape, d_y.shape[2], M.shape[1]  # noqa: E741  # the alphabet's letter
    slope = room.empty("slope", tape.h.shape, M.dtype)
    ACTIVATIONS[tape.activation].slope(tape.h, slope)
    # [d_a_t, d_y_{t-1}], and zeros that nobody overwrites: there is no y_0 and no a_{T+1}, and there may be more columns.
    d_a = room.zeros("d_a", (T + 1, N, columns), M.dtype)
    d_a[1:, :, H : H + O] = d_y
    d_h, W_T = room.empty("d_h", (N, H), M.dtype), M[:H].T
    for d_after, slope_t, d_a_t in reversed(room.steps("backward", [N] * T, d_a[1:], slope, d_a[:T, :, :H])):
        d_after.dot(W_T, d_h)
        np.multiply(d_h, slope_t, d_a_t)
    d_M = over_time(tape.seen, d_a, d_M)  # (H + D + 1, columns)
    d_M[H:-1, H:] = 0
    return d_M
