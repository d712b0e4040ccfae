"""Dropout masks that depend on where they are used and on nothing else: a counter-based generator, and its addresses.

A mask holds 0 where a number is dropped, with probability p, and 1 / (1 − p) elsewhere, so that the expectation of what is
multiplied with it stays the same. The bits come from Philox4x64-10 at the address

::

    key      (key of the run, epoch)
    counter  (unit div 4, step, sequence, 4 · layer + kind)             word `unit mod 4` of the answer

so that both engines, any number of threads and any cutting into chunks give the same masks. Between layers the mask is new
at every step; on inputs and on the recurrent state it is the same at every step of a sequence (the step in its address is
0), as variational inference asks for.

References
----------
N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014.
Y. Gal and Z. Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks", NeurIPS 2016.
J. K. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray

__all__ = ["BETWEEN_LAYERS", "INPUT", "RECURRENT", "RECURRENT_REVERSE", "Dropout", "mask", "philox"]

BETWEEN_LAYERS, INPUT, RECURRENT, RECURRENT_REVERSE = range(4)
"""Kinds of masks."""

Words = np.ndarray[tuple[Any, ...], np.dtype[np.uint64]]

MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10
LOW_HALF, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@dataclass(frozen=True)
class Dropout:
    """Which masks a forward run uses.

    Attributes
    ----------
    key, epoch : int
        The key of the run of training, and the epoch.
    sequences : ndarray (N,) of int64
        What each sequence of the batch is called: its number in the training set.
    first_steps : None or ndarray (N,) of int64
        The time of each sequence's first step, if it is a part of a longer one; None: 0.
    """

    key: int
    epoch: int
    sequences: IndexArray
    first_steps: IndexArray | None = None

    def select(self, index: IndexArray | slice) -> Dropout:
        """The masks of some sequences of the batch."""
        first_steps = None if self.first_steps is None else self.first_steps[index]
        return Dropout(self.key, self.epoch, self.sequences[index], first_steps)


def philox(key: tuple[int, int], counter: tuple[Any, Any, Any, Any]) -> tuple[Words, Words, Words, Words]:
    """Philox4x64-10: four 64-bit words of key-dependent noise for every counter; the words broadcast.

    >>> [int(word) for word in philox((1, 2), (3, 4, 5, 6))] == np.random.Philox(
    ...     key=np.array([1, 2], dtype=np.uint64), counter=np.array([2, 4, 5, 6], dtype=np.uint64)
    ... ).random_raw(4).tolist()
    True
    """
    c0, c1, c2, c3 = (np.asarray(word, dtype=np.uint64) for word in counter)
    for turn in range(ROUNDS):
        k0, k1 = (np.uint64((word + turn * step) % 2**64) for word, step in zip(key, KEY_STEPS, strict=True))
        high_0, low_0 = _product(MULTIPLIERS[0], c0)
        high_1, low_1 = _product(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
    return c0, c1, c2, c3


def _product(a: np.uint64, b: Words) -> tuple[Words, Words]:
    """The upper and the lower 64 bits of the 128 of a · b, from products of halves."""
    a_high, a_low, b_high, b_low = a >> HALF, a & LOW_HALF, b >> HALF, b & LOW_HALF
    low = a_low * b_low
    middle = a_high * b_low + (low >> HALF)
    cross = a_low * b_high + (middle & LOW_HALF)
    high = a_high * b_high + (middle >> HALF) + (cross >> HALF)
    return high, (cross << HALF) | (low & LOW_HALF)


def mask(
    dropout: Dropout,
    level: int,
    kind: int,
    steps: IndexArray,
    units: int,
    probability: float,
    dtype: np.dtype[np.floating],
) -> FloatArray:
    """The mask of a layer.

    Parameters
    ----------
    dropout : Dropout
    level : int
        The layer that what is masked flows into (inputs, between layers), or that it belongs to (recurrent).
    kind : int
        BETWEEN_LAYERS, INPUT, RECURRENT or RECURRENT_REVERSE.
    steps : ndarray (T, N) or (1, 1) of int64
        The time of each step in its sequence; zeros for masks that are the same at every step.
    units : int
    probability : float
        Of dropping a number, in [0, 1).
    dtype : numpy.dtype

    Returns
    -------
    ndarray (T, N, units)

    Examples
    --------
    >>> dropout = Dropout(key=7, epoch=1, sequences=np.array([0, 1]))
    >>> m = mask(dropout, 0, RECURRENT, np.zeros((1, 1), np.int64), 1000, 0.25, np.dtype(np.float64))
    >>> m.shape, np.unique(m).round(3), bool(abs(m.mean() - 1) < 0.05)
    ((1, 2, 1000), array([0.   , 1.333]), True)
    """
    blocks = np.arange(-(-units // 4), dtype=np.uint64)
    counter = (blocks, steps[:, :, None], dropout.sequences[:, None], 4 * level + kind)
    words = np.stack(np.broadcast_arrays(*philox((dropout.key, dropout.epoch), counter)), axis=-1)  # (T, N, blocks, 4)
    kept = words.reshape(*words.shape[:2], -1)[:, :, :units] >= np.uint64(threshold(probability))
    return kept * dtype.type(1 / (1 - probability))


def threshold(probability: float) -> int:
    """Words below it are dropped.

    >>> threshold(0.5) == 2**63
    True
    """
    return int(probability * 2.0**64)
