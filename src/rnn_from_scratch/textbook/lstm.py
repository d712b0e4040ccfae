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
    lasting,
    over_time,
    rows_to_see,
    side_by_side,
    stretches,
    taken_apart,
    times,
)

__all__ = ["Tape", "backward", "forward", "step"]

SIGMOIDS_FIRST = np.array([0, 1, 3, 2])
"""Inside forward and backward the gates stand in the order i, f, o, g, so that one call makes all three sigmoids."""


class Tape(NamedTuple):
    """What backward needs of forward."""

    seen: FloatArray  # (T, N, H + D + 1): [m ⊙ h_{t-1}, x_t, 1], what the weights see at each step
    c: FloatArray  # (T + 1, N, H): c[t] is the memory before step t
    tanh_c: FloatArray  # (T, N, H): of the memory after step t
    gates: FloatArray  # (T, 4, N, H): i, f, o, g
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


def _weights_by_gate(p: Tensors) -> FloatArray:
    """The weights of all that a step sees (4, H + D + 1, H), each gate by itself."""
    W = side_by_side(p)
    gates: FloatArray = W.reshape(4, -1, W.shape[1])[SIGMOIDS_FIRST]
    return gates.swapaxes(1, 2)


def forward(
    p: Tensors,
    x: FloatArray,
    state: tuple[FloatArray, ...],
    active: Sequence[int],
    mask: FloatArray | None,
    room: Room = FRESH,
) -> tuple[FloatArray, tuple[FloatArray, ...], Tape]:
    """All steps: x (T, N, D), h_0 and c_0 (N, H) give every h (T, N, H), each row's last h and c, and the tape."""
    (T, N, _), (h_0, c_0) = x.shape, state
    H = h_0.shape[1]
    W_T = room.weights("W_T", lambda: _weights_by_gate(p))
    rows, h, masked = rows_to_see(x, h_0, mask, room)
    gates = room.empty("gates", (T, 4, N, H), x.dtype)
    c = room.empty("c", (T + 1, N, H), x.dtype)
    tanh_c = room.empty("tanh_c", (T, N, H), x.dtype)
    c[0] = c_0
    arrays = (rows, gates, h[1:], c[:-1], c[1:], tanh_c, mask, masked)
    for seen, a, h_t, c_before, c_t, tanh_c_t, m, masked_t in lasting(room, mask).steps("forward", active, *arrays):
        _advance(np.matmul(seen, W_T, out=a), c_before, h_t, c_t, tanh_c_t)
        if m is not None:
            np.multiply(h_t, m, masked_t)
    keep_last(h, active)
    keep_last(c, active)
    clear_ended(gates, active)
    clear_ended(tanh_c, active)
    if mask is not None:
        clear_ended(rows, active)
    return h[1:], (h[-1], c[-1]), Tape(rows, c, tanh_c, gates, active, mask)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...], room: Room = FRESH, wants_d_x: bool = True
) -> tuple[dict[str, FloatArray], FloatArray | None, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H), d_h_T and d_c_T (N, H) give d_p, d_x (T, N, D), and d_h_0, d_c_0."""
    seen, c, tanh_c, gates, active, mask = tape
    T, N, H = tanh_c.shape
    factors, from_h_to_c = _factors(tape, room)
    d_a = room.empty("d_a", (T, N, 4, H), c.dtype)
    rows, W_h = d_a.reshape(T, N, 4 * H), p["W_h"]
    d_h_next = room.empty("d_h_next", (N, H), c.dtype)  # by the states that step t hands on
    d_c_next = room.empty("d_c_next", (N, H), c.dtype)
    d_h_next[...], d_c_next[...] = d_state  # a row joins when its sequence ends
    spare = room.empty("spare", (N, H), c.dtype)
    d_gates = d_a.swapaxes(1, 2)
    known = (factors[:, :2], factors[:, 2], factors[:, 3], from_h_to_c, gates[:, 1])
    wanted = (d_gates[:, :2], d_gates[:, 2], d_gates[:, 3], rows)
    steps = lasting(room, mask).steps("backward", active, *known, *wanted, d_h_next, d_c_next, spare, mask)
    for arrays, d_h_t in back_through_time(steps, active, d_h):
        by_i_f, by_o, by_g, by_tanh, f, d_i_f, d_g, d_o, d_a_t, d_next, d_c, spare_t, m = arrays
        d_next += d_h_t
        d_c += np.multiply(d_next, by_tanh, spare_t)
        np.multiply(d_c, by_i_f, d_i_f)
        np.multiply(d_c, by_g, d_g)
        np.multiply(d_next, by_o, d_o)
        d_a_t.dot(W_h, d_next)
        if m is not None:
            d_next *= m
        d_c *= f
    clear_ended(rows, active)
    d_p = taken_apart(over_time(rows, seen), H)
    d_x = times(flat(rows), p["W_x"]).reshape(T, N, -1) if wants_d_x else None
    return d_p, d_x, (d_h_next, d_c_next)


def _factors(tape: Tape, room: Room) -> tuple[FloatArray, FloatArray]:
    """What d_c (for o: d_h) is multiplied with for d_a, for all steps at once, in the order i, f, o, g: (T, 4, N, H).

    And what d_h is multiplied with on its way to d_c: (T, N, H). The loop has nothing left to do but multiply.
    """
    gates, c, tanh_c = tape.gates, tape.c, tape.tanh_c
    factors = room.empty("factors", gates.shape, gates.dtype)
    from_h_to_c = room.empty("from_h_to_c", tanh_c.shape, gates.dtype)
    for some in stretches(gates.size, gates, c[:-1], tanh_c, factors, from_h_to_c):
        _factors_of(*some)
    return factors, from_h_to_c


def _factors_of(
    gates: FloatArray, c_before: FloatArray, tanh_c: FloatArray, factors: FloatArray, from_h_to_c: FloatArray
) -> None:
    np.multiply(gates[:, :3], gates[:, :3], factors[:, :3])
    np.subtract(gates[:, :3], factors[:, :3], factors[:, :3])  # slopes of σ: s − s²
    i, _, o, g = gates.swapaxes(0, 1)
    by_i, by_f, by_o, by_g = factors.swapaxes(0, 1)
    by_i *= g
    by_f *= c_before
    by_o *= tanh_c
    for values, slope, factor in ((g, by_g, i), (tanh_c, from_h_to_c, o)):
        np.multiply(values, values, slope)
        np.subtract(1.0, slope, slope)  # slopes of tanh: 1 − t²
        slope *= factor
