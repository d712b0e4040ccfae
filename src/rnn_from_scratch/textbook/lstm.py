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
from rnn_from_scratch.textbook.products import flat, over_time, project

__all__ = ["Tape", "backward", "forward", "step"]


class Tape(NamedTuple):
    """What backward needs of forward."""

    x: FloatArray  # (T, N, D)
    h: FloatArray  # (T + 1, N, H): h[t] is the state before step t, and so c[t]
    c: FloatArray  # (T + 1, N, H)
    tanh_c: FloatArray  # (T, N, H): of the memory after step t
    gates: FloatArray  # (T, N, 4·H): i, f, g, o
    active: Sequence[int]
    mask: FloatArray | None  # (N, H)


def _advance(a: FloatArray, c_before: FloatArray, h: FloatArray, c: FloatArray, tanh_c: FloatArray) -> None:
    """Pre-activations a (N, 4·H) become i, f, g, o in place; c_before gives the next h, c and tanh c."""
    H = h.shape[1]
    i_f, g, o = a[:, : 2 * H], a[:, 2 * H : 3 * H], a[:, 3 * H :]
    sigmoid(i_f, i_f)
    np.tanh(g, g)
    sigmoid(o, o)
    np.multiply(i_f[:, H:], c_before, out=c)
    c += i_f[:, :H] * g
    np.tanh(c, tanh_c)
    np.multiply(o, tanh_c, out=h)


def step(p: Tensors, x: FloatArray, state: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """One time step: x (N, D), h and c (N, H) give the next h and c.

    >>> p = {"W_x": np.zeros((4, 1)), "W_h": np.zeros((4, 1)), "b_h": np.array([-99.0, 99.0, 0.0, 99.0])}
    >>> h, c = step(p, np.array([[1.0]]), (np.array([[0.0]]), np.array([[0.5]])))
    >>> c, h.round(4)
    (array([[0.5]]), array([[0.4621]]))
    """
    h_before, c_before = state
    h, c, tanh_c = (np.empty_like(c_before) for _ in range(3))
    a = np.dot(x, p["W_x"].T) + np.dot(h_before, p["W_h"].T) + p["b_h"]
    _advance(a, c_before, h, c, tanh_c)
    return h, c


def forward(
    p: Tensors, x: FloatArray, state: tuple[FloatArray, ...], active: Sequence[int], mask: FloatArray | None
) -> tuple[FloatArray, tuple[FloatArray, ...], Tape]:
    """All steps: x (T, N, D), h_0 and c_0 (N, H) give every h (T, N, H), each row's last h and c, and the tape."""
    T, N, _ = x.shape
    W_h_T = p["W_h"].T
    H = len(W_h_T)
    gates = project(x, p["W_x"], p["b_h"])  # (T, N, 4·H): what the inputs contribute; the loop turns it into gates
    h, c = (np.empty((T + 1, N, H), x.dtype) for _ in range(2))
    tanh_c = np.zeros((T, N, H), x.dtype)
    from_h = np.empty((N, 4 * H), x.dtype)
    h[0], c[0] = state
    for t, n in enumerate(active):
        a, before = gates[t, :n], h[t, :n]
        a += np.dot(before if mask is None else before * mask[:n], W_h_T, out=from_h[:n])
        _advance(a, c[t, :n], h[t + 1, :n], c[t + 1, :n], tanh_c[t, :n])
        if n < N:
            h[t + 1, n:], c[t + 1, n:] = h[t, n:], c[t, n:]
    return h[1:], (h[-1], c[-1]), Tape(x, h, c, tanh_c, gates, active, mask)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...]
) -> tuple[dict[str, FloatArray], FloatArray, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H), d_h_T and d_c_T (N, H) give d_p, d_x (T, N, D), and d_h_0, d_c_0."""
    x, h, c, tanh_c, gates, active, mask = tape
    T, N, H = tanh_c.shape
    W_h = p["W_h"]
    # What d_c and d_h are multiplied with, for all steps at once: the loop only has to multiply.
    i, f, g, o = (gates[:, :, k * H : (k + 1) * H] for k in range(4))
    by_c = np.empty((T, N, 3, H), x.dtype)
    np.multiply(g * i, 1 - i, out=by_c[:, :, 0])
    np.multiply(c[:-1] * f, 1 - f, out=by_c[:, :, 1])
    np.multiply(i, 1 - g * g, out=by_c[:, :, 2])
    by_h = tanh_c * o * (1 - o)
    from_h_to_c = o * (1 - tanh_c * tanh_c)
    d_a = np.zeros((T, N, 4, H), x.dtype)
    d_h_next, d_c_next = (d.copy() for d in d_state)  # a row joins when its sequence ends
    for t in range(T - 1, -1, -1):
        n = active[t]
        d_h_t, d_c_t, d_a_t = d_h_next[:n], d_c_next[:n], d_a[t, :n]
        d_h_t += d_h[t, :n]
        d_c_t += d_h_t * from_h_to_c[t, :n]
        np.multiply(d_c_t[:, None], by_c[t, :n], out=d_a_t[:, :3])
        np.multiply(d_h_t, by_h[t, :n], out=d_a_t[:, 3])
        np.dot(d_a_t.reshape(n, 4 * H), W_h, out=d_h_t)
        if mask is not None:
            d_h_t *= mask[:n]
        d_c_t *= f[t, :n]
    d_rows = d_a.reshape(T, N, 4 * H)
    d_p = {
        "W_x": over_time(d_rows, x),
        "W_h": over_time(d_rows, h[:-1] if mask is None else h[:-1] * mask),
        "b_h": flat(d_rows).sum(axis=0),
    }
    return d_p, np.dot(d_rows, p["W_x"]), (d_h_next, d_c_next)
