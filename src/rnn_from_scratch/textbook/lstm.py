"""The long short-term memory with forget gate: one step, forward through time, backward through time.

::

    i_t = σ(W_xi x_t + W_hi h_{t-1} + b_i)            input gate: how much to write
    f_t = σ(W_xf x_t + W_hf h_{t-1} + b_f)            forget gate: how much of c to keep
    g_t = tanh(W_xg x_t + W_hg h_{t-1} + b_g)         what to write
    o_t = σ(W_xo x_t + W_ho h_{t-1} + b_o)            output gate: how much of c to show
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh c_t

    d_c_t  = d_h_t ⊙ o_t (1 − tanh² c_t) + d_c_{t+1} ⊙ f_{t+1}
    d_a_i  = d_c_t ⊙ g_t i_t (1 − i_t)                d_a_f = d_c_t ⊙ c_{t-1} f_t (1 − f_t)
    d_a_g  = d_c_t ⊙ i_t (1 − g_t²)                   d_a_o = d_h_t ⊙ tanh c_t o_t (1 − o_t)
    d_h_{t-1} = W_hᵀ d_a_t                            with d_a_t = [d_a_i, d_a_f, d_a_g, d_a_o]

W_x, W_h and b_h hold the four gates stacked in the order i, f, g, o. With dropout of the state, W_h sees m ⊙ h_{t-1} with one
mask m for all steps and gates, and d_h_{t-1} is multiplied by m. Sequences come time-major, sorted by falling length: at step
t the first ``active[t]`` rows still run; the others keep their last states.

References
----------
S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9, 1997.
F. A. Gers, J. Schmidhuber and F. Cummins, "Learning to Forget: Continual Prediction with LSTM", Neural Computation 12, 2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, Tensors
from rnn_from_scratch.textbook.activations import sigmoid
from rnn_from_scratch.textbook.products import (
    FRESH,
    Room,
    back_through_time,
    clear_ended,
    flat,
    keep_last,
    over_time,
    project_gates,
    through_time,
    total,
)

__all__ = ["Tape", "backward", "forward", "step"]


SIGMOIDS_FIRST = np.array([0, 1, 3, 2])
"""Inside forward and backward the gates stand in the order i, f, o, g, so that one call makes all three sigmoids."""


class Tape(NamedTuple):
    """What backward needs of forward."""

    x: FloatArray  # (T, N, D)
    h: FloatArray  # (T + 1, N, H): h[t] is the state before step t, and so c[t]
    c: FloatArray  # (T + 1, N, H)
    tanh_c: FloatArray  # (T, N, H): of the memory after step t
    gates: FloatArray  # (T, 4, N, H): i, f, o, g; each lies in memory by itself, as (4, T, N, H)
    active: Sequence[int]
    mask: FloatArray | None  # (N, H)


def _advance(a: FloatArray, c_before: FloatArray, h: FloatArray, c: FloatArray, tanh_c: FloatArray) -> None:
    """Pre-activations a (4, N, H) become i, f, o, g in place; c_before gives the next h, c and tanh c."""
    i_f_o, (i, f, o, g) = a[:3], a
    sigmoid(i_f_o, i_f_o)
    np.tanh(g, g)
    np.multiply(f, c_before, c)
    c += np.multiply(i, g, tanh_c)
    np.tanh(c, tanh_c)
    np.multiply(o, tanh_c, h)


def _by_gate(W: FloatArray) -> FloatArray:
    """Weights (4·H, L) of a product, or biases (4·H,), as one matrix for each gate, in the order i, f, o, g: (4, H, L)."""
    return W.reshape(4, len(W) // 4, -1)[SIGMOIDS_FIRST]


def step(p: Tensors, x: FloatArray, state: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """One time step: x (N, D), h and c (N, H) give the next h and c.

    >>> p = {"W_x": np.zeros((4, 1)), "W_h": np.zeros((4, 1)), "b_h": np.array([-99.0, 99.0, 0.0, 99.0])}
    >>> h, c = step(p, np.array([[1.0]]), (np.array([[0.0]]), np.array([[0.5]])))
    >>> c, h.round(4)
    (array([[0.5]]), array([[0.4621]]))
    """
    h_before, c_before = state
    h, c, tanh_c = (np.empty_like(c_before) for _ in range(3))
    a = x.dot(p["W_x"].T) + h_before.dot(p["W_h"].T) + p["b_h"]  # (N, 4·H)
    _advance(a.reshape(len(a), 4, -1).swapaxes(0, 1)[SIGMOIDS_FIRST], c_before, h, c, tanh_c)
    return h, c


def forward(
    p: Tensors,
    x: FloatArray,
    state: tuple[FloatArray, ...],
    active: Sequence[int],
    mask: FloatArray | None,
    room: Room = FRESH,
) -> tuple[FloatArray, tuple[FloatArray, ...], Tape]:
    """All steps: x (T, N, D), h_0 and c_0 (N, H) give every h (T, N, H), each row's last h and c, and the tape."""
    T, N, _ = x.shape
    H = p["W_h"].shape[1]
    W_h_T = _by_gate(p["W_h"]).swapaxes(1, 2)
    gates = room.empty("gates", (4, T, N, H), x.dtype).swapaxes(0, 1)  # (T, 4, N, H)
    project_gates(
        x, _by_gate(p["W_x"]), _by_gate(p["b_h"]), out=gates
    )  # what the inputs contribute; the loop turns it into gates
    h, c = (room.empty(name, (T + 1, N, H), x.dtype) for name in "hc")
    tanh_c = room.empty("tanh_c", (T, N, H), x.dtype)
    from_h = room.empty("from_h", (4, N, H), x.dtype)
    h[0], c[0] = state
    for a, h_before, h_t, c_before, c_t, tanh_c_t, m in through_time(
        active, gates, h[:-1], h[1:], c[:-1], c[1:], tanh_c, mask
    ):
        seen = h_before if m is None else h_before * m
        a += np.matmul(seen, W_h_T, out=from_h[:, : len(seen)])
        _advance(a, c_before, h_t, c_t, tanh_c_t)
    keep_last(h, active)
    keep_last(c, active)
    clear_ended(tanh_c, active)
    return h[1:], (h[-1], c[-1]), Tape(x, h, c, tanh_c, gates, active, mask)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...], room: Room = FRESH
) -> tuple[dict[str, FloatArray], FloatArray, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H), d_h_T and d_c_T (N, H) give d_p, d_x (T, N, D), and d_h_0, d_c_0."""
    x, h, c, tanh_c, gates, active, mask = tape
    T, N, H = tanh_c.shape
    by_i_f, by_o, by_g, from_h_to_c = _factors(tape, room)
    d_a = room.empty("d_a", (T, N, 4, H), x.dtype)
    d_gates = d_a.swapaxes(1, 2)  # (T, 4, N, H)
    d_h_next, d_c_next = (d.copy() for d in d_state)  # a row joins when its sequence ends
    W_h = p["W_h"]
    known = (by_i_f, by_g, by_o, from_h_to_c, gates[:, 1], d_h)
    wanted = (d_gates[:, :2], d_gates[:, 2], d_gates[:, 3], d_a.reshape(T, N, 4 * H))
    carried = (d_h_next, d_c_next, np.empty_like(d_h_next), mask)
    for (
        by_i_f_t,
        by_g_t,
        by_o_t,
        from_h_to_c_t,
        f,
        d_h_t,
        d_i_f,
        d_g,
        d_o,
        d_a_t,
        d_next,
        d_c,
        spare,
        m,
    ) in back_through_time(active, *known, *wanted, *carried):
        d_next += d_h_t
        d_c += np.multiply(d_next, from_h_to_c_t, spare)
        np.multiply(d_c, by_i_f_t, d_i_f)
        np.multiply(d_c, by_g_t, d_g)
        np.multiply(d_next, by_o_t, d_o)
        d_a_t.dot(W_h, d_next)
        if m is not None:
            d_next *= m
        d_c *= f
    rows = d_a.reshape(T, N, 4 * H)
    clear_ended(rows, active)
    seen = h[:-1] if mask is None else h[:-1] * mask
    d_p = {"W_x": over_time(rows, x), "W_h": over_time(rows, seen), "b_h": total(rows)}
    return d_p, flat(rows).dot(p["W_x"]).reshape(x.shape), (d_h_next, d_c_next)


def _factors(tape: Tape, room: Room) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """For all steps at once, so that the loop only has to multiply: what d_c is multiplied with for d_a_i and d_a_f
    (T, 2, N, H), what d_h is for d_a_o, what d_c is for d_a_g, and what d_h is on its way to d_c (T, N, H)."""
    gates = tape.gates.swapaxes(0, 1)
    i, _, o, g = gates
    factors, from_h_to_c = room.empty("factors", gates.shape, i.dtype), room.empty("from_h_to_c", i.shape, i.dtype)
    np.multiply(gates[:3], gates[:3], factors[:3])
    np.subtract(gates[:3], factors[:3], factors[:3])  # slopes of σ: s − s²
    by_i, by_f, by_o, by_g = factors
    by_i *= g
    by_f *= tape.c[:-1]
    by_o *= tape.tanh_c
    for values, slope, factor in ((g, by_g, i), (tape.tanh_c, from_h_to_c, o)):
        np.multiply(values, values, slope)
        np.subtract(1.0, slope, slope)  # slopes of tanh: 1 − t²
        slope *= factor
    return factors[:2].swapaxes(0, 1), by_o, by_g, from_h_to_c
