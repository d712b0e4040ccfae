"""The equations of whole networks, number by number: no batches, no sorting, no stacked gates, no code of the library.

One sequence at a time, one step at a time, one unit at a time; the masks of dropout straight from `numpy.random.Philox`.
Slow, and so plain that it can be compared with the papers by eye.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from support import Case

from rnn_from_scratch.textbook.dropout import Dropout

Vector = np.ndarray
Places = dict[str, dict[str, np.ndarray]]


def sigma(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a > -700 else 0.0


ACTIVATION = {"tanh": math.tanh, "sigmoid": sigma, "relu": lambda a: max(a, 0.0), "linear": lambda a: a}


def blocks(p: dict[str, np.ndarray], G: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """W_x, W_h and b_h of each gate."""
    return zip(np.split(p["W_x"], G), np.split(p["W_h"], G), np.split(p["b_h"], G), strict=True)


def elman(p: Any, x: Vector, state: list[Vector], m: Vector, activation: str) -> list[Vector]:
    (h,) = state
    return [
        np.array(
            [
                ACTIVATION[activation](p["W_x"][k] @ x + p["W_h"][k] @ (m * h) + p["b_h"][k])
                for k in range(len(h))
            ]
        )
    ]  # fmt: skip


def gru(p: Any, x: Vector, state: list[Vector], m: Vector, reset: str) -> list[Vector]:
    (h,) = state
    H = len(h)
    (W_xr, W_hr, b_r), (W_xz, W_hz, b_z), (W_xn, W_hn, b_n) = blocks(p, 3)
    r = [sigma(W_xr[k] @ x + W_hr[k] @ (m * h) + b_r[k]) for k in range(H)]
    new = np.empty(H)
    for k in range(H):
        z = sigma(W_xz[k] @ x + W_hz[k] @ (m * h) + b_z[k])
        if reset == "after":
            n = math.tanh(W_xn[k] @ x + b_n[k] + r[k] * (W_hn[k] @ (m * h) + p["b_hn"][k]))
        else:
            n = math.tanh(W_xn[k] @ x + b_n[k] + sum(W_hn[k, j] * r[j] * m[j] * h[j] for j in range(H)))
        new[k] = (1 - z) * n + z * h[k]
    return [new]


def lstm(p: Any, x: Vector, state: list[Vector], m: Vector) -> list[Vector]:
    h, c = state
    H = len(h)
    new_h, new_c = np.empty(H), np.empty(H)
    for k in range(H):
        a_i, a_f, a_g, a_o = (W_x[k] @ x + W_h[k] @ (m * h) + b[k] for W_x, W_h, b in blocks(p, 4))
        new_c[k] = sigma(a_f) * c[k] + sigma(a_i) * math.tanh(a_g)
        new_h[k] = sigma(a_o) * math.tanh(new_c[k])
    return [new_h, new_c]


CELL: dict[str, Any] = {"elman": elman, "gru": gru, "lstm": lstm}


def mask(dropout: Dropout, sequence: int, step: int, word: int, units: int, probability: float) -> Vector:
    """Of one sequence at one step, `word` being 4 · layer + kind."""
    if not probability:
        return np.ones(units)
    counter = (step << 64) + (int(dropout.sequences[sequence]) << 128) + (word << 192)
    # NumPy's generator counts up before it speaks
    generator = np.random.Philox(key=dropout.key + (dropout.epoch << 64), counter=(counter - 1) % 2**256)
    kept = [int(noise) >= int(probability * 2**64) for noise in generator.random_raw(units)]
    return np.array(kept) / (1 - probability)


def places(case: Case, vector: np.ndarray) -> Places:
    """The tensors of each place, cut out of the flat vector."""
    found: Places = {}
    start = 0
    for tensor in case.specification.tensors():
        place, symbol = tensor.name.rsplit(".", 1)
        end = start + math.prod(tensor.shape)
        found.setdefault(place, {})[symbol] = vector[start:end].reshape(tensor.shape)
        start = end
    return found


def one_sequence(case: Case, p: Places, n: int, dropout: Dropout | None) -> tuple[Vector, dict[str, Vector]]:
    """Pre-activations of sequence n, (its length, O) or (O,), and its final states."""
    words, length = case.specification, int(case.lengths[n])
    x = list(case.x[n, :length])
    if words.vocabulary_size is not None:
        x = [p["embedding"]["W_e"][token] for (token,) in case.x[n, :length]]
    final: dict[str, Vector] = {}
    ends: list[Vector] = []
    for level, layer in enumerate(words.layers):
        D = len(x[0])
        if dropout is not None:
            if level:
                x = [x_t * mask(dropout, n, t, 4 * level, D, words.dropout) for t, x_t in enumerate(x)]
            x = [x_t * mask(dropout, n, 0, 4 * level + 1, D, layer.input_dropout) for x_t in x]
        ways, ends = [], []
        for reverse in (False, True)[: 1 + layer.bidirectional]:
            name = f"layer{level}.reverse" if reverse else f"layer{level}"
            m = np.ones(layer.hidden_size)
            if dropout is not None:
                m = mask(dropout, n, 0, 4 * level + 2 + reverse, layer.hidden_size, layer.recurrent_dropout)
            state = [case.state[f"{name}.{symbol}"][n] for symbol in layer.states]
            h: list[Any] = [None] * length
            for t in reversed(range(length)) if reverse else range(length):
                state = CELL[layer.cell](p[name], x[t], state, m, **layer.options)
                h[t] = state[0]
            final.update(zip([f"{name}.{symbol}" for symbol in layer.states], state, strict=True))
            ways.append(h)
            ends.append(state[0])
        x = [np.concatenate(h_t) for h_t in zip(*ways, strict=True)]
    W_y, b_y = p["readout"]["W_y"], p["readout"]["b_y"]
    if words.readout == "every":
        return np.array([W_y @ h_t + b_y for h_t in x]), final
    seen = np.concatenate(ends) if words.readout == "last" else sum(x) / length
    return W_y @ seen + b_y, final


def by_hand(case: Case, dropout: Dropout | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Pre-activations (N, T, O) or (N, O), zero past the end, and final states (N, H)."""
    p = places(case, case.vector)
    a = np.zeros(case.output_shape)
    final = {name: np.empty_like(values) for name, values in case.state.items()}
    for n in range(case.N):
        own, states = one_sequence(case, p, n, dropout)
        a[(n, slice(0, len(own))) if case.every else n] = own
        for name, values in states.items():
            final[name][n] = values
    return a, final
