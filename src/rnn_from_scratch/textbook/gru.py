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
from rnn_from_scratch.textbook.products import (
    FRESH,
    Room,
    back_through_time,
    clear_ended,
    flat,
    keep_last,
    lasting,
    over_time,
    project_gates,
    stretches,
    times,
    total,
)

__all__ = ["Tape", "backward", "forward", "step"]


class Tape(NamedTuple):
    """What backward needs of forward."""

    x: FloatArray  # (T, N, D)
    h: FloatArray  # (T + 1, N, H): h[t] is the state before step t
    gates: FloatArray  # (T, 3, N, H): r, z, n
    past: FloatArray  # (T, N, H): q with the reset after the product, s with the reset before
    active: Sequence[int]
    mask: FloatArray | None  # (N, H)
    reset: str


def _by_gate(W: FloatArray) -> FloatArray:
    """Weights (3·H, L) of a product, or biases (3·H,), as one matrix for each gate: (3, H, L)."""
    return W.reshape(3, len(W) // 3, -1)


def _advance_after(
    p: Tensors, a: FloatArray, seen: FloatArray, h_before: FloatArray, h: FloatArray, q: FloatArray, from_h: FloatArray
) -> None:
    """Pre-activations of the input a (3, N, H) become r, z, n in place; what W_h sees and h_before give q and the next h."""
    r_z, (r, z, n) = a[:2], a
    np.matmul(seen, _by_gate(p["W_h"]).swapaxes(1, 2), out=from_h)
    r_z += from_h[:2]
    sigmoid(r_z, r_z)
    np.add(from_h[2], p["b_hn"], q)
    n += np.multiply(r, q, from_h[0])
    np.tanh(n, n)
    _blend(z, n, h_before, h)


def _advance_before(
    p: Tensors, a: FloatArray, seen: FloatArray, h_before: FloatArray, h: FloatArray, s: FloatArray, from_h: FloatArray
) -> None:
    """The same with the reset before the product."""
    r_z, (r, z, n) = a[:2], a
    W_h_T = _by_gate(p["W_h"]).swapaxes(1, 2)
    r_z += np.matmul(seen, W_h_T[:2], out=from_h[:2])
    sigmoid(r_z, r_z)
    np.multiply(r, seen, s)
    n += np.matmul(s, W_h_T[2], out=from_h[2])
    np.tanh(n, n)
    _blend(z, n, h_before, h)


def _blend(z: FloatArray, n: FloatArray, h_before: FloatArray, h: FloatArray) -> None:
    """h = n + z ⊙ (h_before − n), which is (1 − z) ⊙ n + z ⊙ h_before."""
    np.subtract(h_before, n, h)
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
    h, past = np.empty_like(h_before), np.empty_like(h_before)
    a = project_gates(x[None], _by_gate(p["W_x"]), _by_gate(p["b_h"]), out=np.empty((1, 3, *h.shape), h.dtype))[0]
    ADVANCE[reset](p, a, h_before, h_before, h, past, np.empty_like(a))
    return (h,)


def forward(
    p: Tensors,
    x: FloatArray,
    state: tuple[FloatArray, ...],
    active: Sequence[int],
    mask: FloatArray | None,
    reset: str,
    room: Room = FRESH,
) -> tuple[FloatArray, tuple[FloatArray, ...], Tape]:
    """All steps: x (T, N, D) and h_0 (N, H) give every h (T, N, H), each row's last h, and the tape."""
    T, N, _ = x.shape
    H = p["W_h"].shape[1]
    advance = ADVANCE[reset]
    gates = room.empty("gates", (T, 3, N, H), x.dtype)
    project_gates(x, _by_gate(p["W_x"]), _by_gate(p["b_h"]), out=gates)  # the inputs' share; the loop makes gates of it
    past = room.empty("past", (T, N, H), x.dtype)
    h = room.empty("h", (T + 1, N, H), x.dtype)
    from_h = room.empty("from_h", (3, N, H), x.dtype)
    (h[0],) = state
    for a, h_before, h_t, past_t, m in lasting(room, mask).steps("forward", active, gates, h[:-1], h[1:], past, mask):
        seen = h_before if m is None else h_before * m
        advance(p, a, seen, h_before, h_t, past_t, from_h[:, : len(seen)])
    keep_last(h, active)
    clear_ended(past, active)
    clear_ended(gates, active)
    return h[1:], (h[-1],), Tape(x, h, gates, past, active, mask, reset)


def backward(
    p: Tensors, tape: Tape, d_h: FloatArray, d_state: tuple[FloatArray, ...], room: Room = FRESH, wants_d_x: bool = True
) -> tuple[dict[str, FloatArray], FloatArray | None, tuple[FloatArray, ...]]:
    """All steps in reverse: d_h (T, N, H) and d_h_T (N, H) give d_p, d_x (T, N, D) and d_h_0 (N, H)."""
    x, h, past, mask, H = tape.x, tape.h, tape.past, tape.mask, tape.h.shape[2]
    d_h_next = room.empty("d_h_next", h.shape[1:], h.dtype)  # by the state that step t hands on
    d_h_next[...] = d_state[0]  # a row joins when its sequence ends
    d_all = BACKWARD[tape.reset](p, tape, d_h, d_h_next, room)  # (T, N, …): by a_n, a_r, a_z, and by q
    clear_ended(d_all, tape.active)
    d_a = d_all[:, :, : 3 * H]
    seen = h[:-1] if mask is None else h[:-1] * mask
    if tape.reset == "after":
        d_W_h = over_time(d_all[:, :, H:], seen)
    else:
        d_W_h = np.concatenate([over_time(d_all[:, :, H:], seen), over_time(d_all[:, :, :H], past)])
    sums = total(d_all)
    # W_x and b_h begin with r, d_a with n
    d_p = {"W_x": np.roll(over_time(d_a, x), -H, axis=0), "W_h": d_W_h, "b_h": np.roll(sums[: 3 * H], -H)}
    if tape.reset == "after":
        d_p["b_hn"] = sums[3 * H :]
    d_x = times(flat(d_a), np.roll(p["W_x"], H, axis=0)).reshape(x.shape) if wants_d_x else None
    return d_p, d_x, (d_h_next,)


def _factors(tape: Tape, room: Room) -> FloatArray:
    """What d_h is multiplied with for d_a_n, d_a_r, d_a_z and d_q, for all steps at once: (T, 4, N, H).

    With the reset before the product, the second and last are what d_s is multiplied with for d_a_r and d_h.
    """
    T, N, H = tape.past.shape
    factors = room.empty("factors", (T, 4, N, H), tape.past.dtype)
    for some in stretches(factors.size, tape.gates, tape.h[:-1], tape.past, factors):
        _factors_of(tape.reset, *some)
    return factors


def _factors_of(reset: str, gates: FloatArray, h_before: FloatArray, past: FloatArray, factors: FloatArray) -> None:
    r, z, n = gates.swapaxes(0, 1)
    by_n, by_r, by_z, by_past = factors.swapaxes(0, 1)
    np.multiply(n, n, by_n)
    np.subtract(1.0, by_n, by_n)
    np.subtract(1.0, z, by_past)  # by_past holds 1 − z, and then z (1 − z), for a while
    by_n *= by_past
    by_past *= z
    np.subtract(h_before, n, by_z)
    by_z *= by_past
    np.subtract(1.0, r, by_r)
    by_r *= past
    if reset == "after":
        np.multiply(by_n, r, by_past)
        by_r *= by_past
    else:
        by_past[...] = r  # and s = r ⊙ h_{t-1} makes by_r = h_{t-1} r (1 − r)


def _backward_after(p: Tensors, tape: Tape, d_h: FloatArray, d_h_next: FloatArray, room: Room) -> FloatArray:
    """d_a_n, d_a_r, d_a_z, d_q (T, N, 4·H); leaves d_h_0 in d_h_next."""
    T, N, H = tape.past.shape
    factors, z = _factors(tape, room), tape.gates[:, 1]
    d_all = room.empty("d_all", (T, N, 4, H), z.dtype)
    rows, spare = d_all.reshape(T, N, 4 * H), room.empty("spare", (N, H), z.dtype)
    arrays = (factors, d_all.swapaxes(1, 2), rows[:, :, H:], z, d_h_next, spare, tape.mask)
    steps = lasting(room, tape.mask).steps("backward", tape.active, *arrays)
    for (factors_t, d_t, d_r_z_q, z_t, d_next, from_W_h, m), d_h_t in back_through_time(steps, tape.active, d_h):
        d_next += d_h_t
        np.multiply(d_next, factors_t, d_t)  # everything is d_h_t times something known: one product for all four
        d_r_z_q.dot(p["W_h"], from_W_h)
        if m is not None:
            from_W_h *= m
        d_next *= z_t
        d_next += from_W_h
    return rows


def _backward_before(p: Tensors, tape: Tape, d_h: FloatArray, d_h_next: FloatArray, room: Room) -> FloatArray:
    """d_a_n, d_a_r, d_a_z (T, N, 3·H); leaves d_h_0 in d_h_next."""
    T, N, H = tape.past.shape
    W_hr_hz, W_hn = p["W_h"][: 2 * H], p["W_h"][2 * H :]
    factors, z = _factors(tape, room), tape.gates[:, 1]
    rows = room.empty("d_all", (T, N, 3 * H), z.dtype)
    gradients = (rows[:, :, :H], rows[:, :, H : 2 * H], rows[:, :, 2 * H :], rows[:, :, H:])
    steps = lasting(room, tape.mask).steps("backward", tape.active, factors, *gradients, z, d_h_next, tape.mask)
    for (factors_t, d_n, d_r, d_z, d_r_z, z_t, d_next, m), d_h_t in back_through_time(steps, tape.active, d_h):
        by_n, by_r, by_z, r = factors_t
        d_next += d_h_t
        np.multiply(d_next, by_n, d_n)
        np.multiply(d_next, by_z, d_z)
        d_s = d_n.dot(W_hn)
        np.multiply(d_s, by_r, d_r)
        d_s *= r
        d_s += d_r_z.dot(W_hr_hz)
        if m is not None:
            d_s *= m
        d_next *= z_t
        d_next += d_s
    return rows


BACKWARD = {"after": _backward_after, "before": _backward_before}
