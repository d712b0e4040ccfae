"""The L2 penalty ½ λ Σ ‖W‖² over weight matrices: no biases, no initial states."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rnn_from_scratch.alphabet import FloatArray

__all__ = ["add_penalty"]


def add_penalty(strength: float, vector: FloatArray, matrices: Iterable[slice], gradient: FloatArray) -> float:
    """The penalty of the matrices that lie in the flat parameters at the given places; adds λ W to the flat gradient.

    >>> gradient = np.zeros(3)
    >>> add_penalty(0.5, np.array([2.0, 1.0, 9.0]), [slice(0, 2)], gradient), gradient
    (1.25, array([1. , 0.5, 0. ]))
    """
    total = 0.0
    for where in matrices:
        W = vector[where]
        wide = W.astype(np.float64, copy=False)
        total += float(np.dot(wide, wide))
        gradient[where] += strength * W
    return 0.5 * strength * total
