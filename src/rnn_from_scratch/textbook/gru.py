"""The gated recurrent unit: one step, forward through time, backward through time.

::

    r_t = σ(W_xr x_t + W_hr h_{t-1} + b_r)            reset: how much of the past the candidate sees
    z_t = σ(W_xz x_t + W_hz h_{t-1} + b_z)            update: how much of h to keep
    n_t = tanh(W_xn x_t + b_n + r_t ⊙ q_t)            q_t = W_hn h_{t-1} + b_hn     reset after the product (the default)
    n_t = tanh(W_xn x_t + b_n + W_hn s_t)             s_t = r_t ⊙ h_{t-1}           reset before the product (2014)
    h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    d_a_n = d_h_t ⊙ (1 − z_t) (1 − n_t²)              d_a_z = d_h_t ⊙ (h_{t-1} − n_t) z_t (1 − z_t)

    after:   d_q_t = d_a_n ⊙ r_t                      d_a_r = d_a_n ⊙ q_t r_t (1 − r_t)
             d_h_{t-1} = d_h_t ⊙ z_t + W_hrᵀ d_a_r + W_hzᵀ d_a_z + W_hnᵀ d_q_t
    before:  d_s_t = W_hnᵀ d_a_n                      d_a_r = d_s_t ⊙ h_{t-1} r_t (1 − r_t)
             d_h_{t-1} = d_h_t ⊙ z_t + d_s_t ⊙ r_t + W_hrᵀ d_a_r + W_hzᵀ d_a_z

W_x, W_h and b_h hold the three gates stacked in the order r, z, n; with the reset after the product, b_hn is a parameter of
its own. With dropout of the state, every product (and s_t) sees m ⊙ h_{t-1}, with one mask m for all steps and gates; the
sum with z_t does not. Sequences come time-major, sorted by falling length: at step t the first ``active[t]`` rows still run;
the others keep their last state.

References
----------
K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation", EMNLP 2014.
The variant with the reset after the product is that of cuDNN, PyTorch and Keras: one product for all three gates.
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
    h: FloatArray  # (T + 1, N, H): h[t] is the state before step t
    gates: FloatArray  # (T, N, 3·H): r, z, n
    past: FloatArray  # (T, N, H): q with the reset after the product, s with the reset before
    active: Sequence[int]
    mask: FloatArray | None  # (N, H)
    reset: str


def _advance_after(
    p: Tensors, a: FloatArray, seen: FloatArray, h_before: FloatArray, h: FloatArray, q: FloatArray, room: FloatArray
) -> None:
    """Pre-activations of the input a (N, 3·H) become r, z, n in place; what W_h sees and h_before give q and the next h."""
    H = h.shape[1]
    r_z, n = a[:, : 2 * H], a[:, 2 * H :]
    from_h = np.dot(seen, p["W_h"].T, out=room)
    r_z += from_h[:, : 2 * H]
    sigmoid(r_z, r_z)
    np.add(from_h[:, 2 * H :], p["b_hn"], out=q)
    n += r_z[:, :H] * q
    np.tanh(n, n)
    _blend(r_z[:, H:], n, h_before, h)


def _advance_before(
    p: Tensors, a: FloatArray, seen: FloatArray, h_before: FloatArray, h: FloatArray, s: FloatArray, room: FloatArray
) -> None:
    """The same with the reset before the product."""
    H = h.shape[1]
    r_z, n = a[:, : 2 * H], a[:, 2 * H :]
    r_z += np.dot(seen, p["W_h"][: 2 * H].T)
    sigmoid(r_z, r_z)
    np.multiply(r_z[:, :H], seen, out=s)
    n += np.dot(s, p["W_h"][2 * H :].T)
    np.tanh(n, n)
    _blend(r_z[:, H:], n, h_before, h)


def _blend(z: FloatArray, n: FloatArray, h_before: FloatArray, h: FloatArray) -> None:
    """h = n + z ⊙ (h_before − n), which is (1 − z) ⊙ n + z ⊙ h_before."""
    np.subtract(h_before, n, out=h)
    h *= z
    h += n


ADVANCE = {"after": _advance_after, "before": _advance_before}


def step(p: Tensors, x: FloatArray, state: tuple[FloatArray, ...], reset: str) -> tuple[FloatArray, ...]:
    """One time step: x (N, D) and h (N, H) give the next h.

    >>> p = {"W_x": np.zeros((3, 1)), "W_h": np.zeros((3, 1)), "b_h": np.array([0.0, 99.0, 0.0]), "b_hn": np.array([1.0])}
    >>> step(p, np.array([[1.0]]), (np.array([[0.5]]),), "after")
    (array([[0.5]]),)
    """
    (h_before,) = state
    a = np.dot(x, p["W_x"].T) + p["b_h"]
    h, past = np.empty_like(h_before), np.empty_like(h_before)
    ADVANCE[reset](p, a, h_before, h_before, h, past, np.empty_like(a))
    return (h,)


def forward(
    p: Tensors,
    x: FloatArray,
    state: tuple[FloatArray, ...],
    active: Sequence[int],
    mask: FloatArray | None,
    reset: str,
) -> tuple[FloatArray, tuple[FloatArray, ...], Tape]:
    """All steps: x (T, N, D) and h_0 (N, H) give every h (T, N, H), each row's last h, and the tape."""
    T, N, _ = x.shape
    advance = ADVANCE[reset]
    gates = project(x, p["W_x"], p["b_h"])  # (T, N, 3·H): what the inputs contribute; the loop turns it into gates
    H = gates.shape[2] // 3
    past = np.zeros((T, N, H), x.dtype)
    h = np.empty((T + 1, N, H), x.dtype)
    room = np.empty((N, 3 * H), x.dtype)
    (h[0],) = state
    for t, n in enumerate(active):
        before = h[t, :n]
        seen = before if mask is None else before * mask[:n]
        advance(p, gates[t, :n], seen, before, h[t + 1, :n], past[t, :n], room[:n])
        if n < N:
            h[t + 1, n:] = h[t, n:]
    return h[1:], (h[-1],), Tape(x, h, gates, past, active, mask, reset)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...]
) -> tuple[dict[str, FloatArray], FloatArray, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H) and d_h_T (N, H) give d_p, d_x (T, N, D) and d_h_0 (N, H)."""
    through_time = _backward_after if tape.reset == "after" else _backward_before
    T, N, H = tape.past.shape
    d_h_next = d_state[0].copy()  # a row joins when its sequence ends
    d_a, d_past = through_time(p, tape, d_h, d_h_next)
    seen = tape.h[:-1] if tape.mask is None else tape.h[:-1] * tape.mask
    d_W_h = np.empty_like(p["W_h"])
    d_W_h[: 2 * H] = over_time(d_a[:, :, : 2 * H], seen)
    d_W_h[2 * H :] = over_time(d_past, seen) if tape.reset == "after" else over_time(d_a[:, :, 2 * H :], tape.past)
    d_p = {"W_x": over_time(d_a, tape.x), "W_h": d_W_h, "b_h": flat(d_a).sum(axis=0)}
    if tape.reset == "after":
        d_p["b_hn"] = flat(d_past).sum(axis=0)
    return d_p, np.dot(d_a, p["W_x"]), (d_h_next,)


def _slopes(tape: Tape) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """r, z, and for all steps at once: the slope of r, and what d_h is multiplied with for d_a_z and d_a_n; (T, N, H)."""
    H = tape.past.shape[2]
    r, z, n = (tape.gates[:, :, k * H : (k + 1) * H] for k in range(3))
    by_z = (tape.h[:-1] - n) * (z * (1 - z))
    by_n = (1 - z) * (1 - n * n)
    return r, z, r * (1 - r), by_z, by_n


def _backward_after(p: Tensors, tape: Tape, d_h: FloatArray, d_h_next: FloatArray) -> tuple[FloatArray, FloatArray]:
    """d_a (T, N, 3·H) and d_q (T, N, H); leaves d_h_0 in d_h_next."""
    T, N, H = tape.past.shape
    r, z, slope_r, by_z, by_n = _slopes(tape)
    # Everything is d_h_t times something known: one product for all four, in the order n, r, z, q. The last three are what
    # W_h is multiplied with.
    factors = np.empty((T, N, 4, H), by_n.dtype)
    factors[:, :, 0] = by_n
    np.multiply(by_n * tape.past, slope_r, out=factors[:, :, 1])
    factors[:, :, 2] = by_z
    np.multiply(by_n, r, out=factors[:, :, 3])
    room = np.empty((N, H), by_n.dtype)
    for t in range(T - 1, -1, -1):
        n = tape.active[t]
        d_h_t, d_t, from_W_h = d_h_next[:n], factors[t, :n], room[:n]
        d_h_t += d_h[t, :n]
        np.multiply(d_h_t[:, None], d_t, out=d_t)
        if n < N:
            factors[t, n:] = 0
        np.dot(d_t.reshape(n, 4 * H)[:, H:], p["W_h"], out=from_W_h)
        if tape.mask is not None:
            from_W_h *= tape.mask[:n]
        d_h_t *= z[t, :n]
        d_h_t += from_W_h
    d_a = np.empty((T, N, 3, H), by_n.dtype)
    d_a[:, :, :2], d_a[:, :, 2] = factors[:, :, 1:3], factors[:, :, 0]
    return d_a.reshape(T, N, 3 * H), factors[:, :, 3]


def _backward_before(p: Tensors, tape: Tape, d_h: FloatArray, d_h_next: FloatArray) -> tuple[FloatArray, FloatArray]:
    """d_a (T, N, 3·H) and d_s (T, N, H); leaves d_h_0 in d_h_next."""
    T, N, H = tape.past.shape
    r, z, slope_r, by_z, by_n = _slopes(tape)
    W_hr_hz, W_hn = p["W_h"][: 2 * H], p["W_h"][2 * H :]
    d_a, d_past = np.zeros((T, N, 3 * H), by_n.dtype), np.zeros((T, N, H), by_n.dtype)
    for t in range(T - 1, -1, -1):
        n = tape.active[t]
        d_h_t, d_a_t, d_s = d_h_next[:n], d_a[t, :n], d_past[t, :n]
        before = tape.h[t, :n]
        seen = before if tape.mask is None else before * tape.mask[:n]
        d_h_t += d_h[t, :n]
        np.multiply(d_h_t, by_n[t, :n], out=d_a_t[:, 2 * H :])
        np.multiply(d_h_t, by_z[t, :n], out=d_a_t[:, H : 2 * H])
        np.dot(d_a_t[:, 2 * H :], W_hn, out=d_s)
        np.multiply(d_s * seen, slope_r[t, :n], out=d_a_t[:, :H])
        through_W_h = np.dot(d_a_t[:, : 2 * H], W_hr_hz) + d_s * r[t, :n]
        if tape.mask is not None:
            through_W_h *= tape.mask[:n]
        d_h_t *= z[t, :n]
        d_h_t += through_W_h
    return d_a, d_past
