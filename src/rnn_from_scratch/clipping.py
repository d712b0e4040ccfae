"""Clipping: keep one exploding gradient from undoing what training has learned.

Each rule changes a flat gradient in place and says whether it did. Rules are frozen descriptions; both engines read them.

References
----------
R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.frozen import Frozen
from rnn_from_scratch.validation import positive

FEW_NUMBERS = 1 << 15
"""So many squares at most are added up in their own precision: the digits lost do not count, and a copy takes longer."""
SMALLEST = 1e-30
"""A smaller sum of squares may lack some that were too small for float32."""

__all__ = ["ByValue", "Clipping", "GlobalNorm", "NoClipping", "TensorNorm", "as_clipping", "norm"]


def norm(vector: FloatArray) -> float:
    """The Euclidean norm; of a float32 gradient of 1e30, too, whose squares float32 cannot hold.

    >>> round(norm(np.array([3e30, 4e30], dtype=np.float32)) / 1e30, 6)
    5.0
    """
    if vector.size <= FEW_NUMBERS:
        square = float(np.vdot(vector, vector))  # which never warns
        if SMALLEST < square < math.inf:
            return math.sqrt(square)
    wide = vector.astype(np.float64, copy=False)
    return math.sqrt(wide.dot(wide))


@dataclass(eq=False, repr=False)
class NoClipping(Frozen):
    """Leave every gradient as it is."""

    kind: ClassVar[str] = "none"

    def apply(self, gradient: FloatArray, slices: Iterable[slice], size: float | None = None) -> bool:
        """Nothing is done; False."""
        return False


@dataclass(eq=False, repr=False)
class _Limited(Frozen):
    """A rule with a limit."""

    limit: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", positive(self.limit, "limit", type(self).__name__))


class GlobalNorm(_Limited):
    """Scale the whole gradient g to ``g · limit / ‖g‖`` where ``‖g‖ > limit``.

    >>> g = np.array([3.0, 4.0])
    >>> GlobalNorm(1.0).apply(g, [slice(0, 1), slice(1, 2)]), g
    (True, array([0.6, 0.8]))
    """

    kind: ClassVar[str] = "global_norm"

    def apply(self, gradient: FloatArray, slices: Iterable[slice], size: float | None = None) -> bool:
        """Clip in place; True if the norm was above the limit. `size` is the norm, from who knows it already."""
        size = norm(gradient) if size is None else size
        if size > self.limit:
            gradient *= self.limit / size
            return True
        return False


class TensorNorm(_Limited):
    """Scale each tensor's gradient G to ``G · limit / ‖G‖`` where ``‖G‖ > limit``, every tensor by itself.

    >>> g = np.array([3.0, 4.0])
    >>> TensorNorm(3.5).apply(g, [slice(0, 1), slice(1, 2)]), g
    (True, array([3. , 3.5]))
    """

    kind: ClassVar[str] = "tensor_norm"

    def apply(self, gradient: FloatArray, slices: Iterable[slice], size: float | None = None) -> bool:
        """Clip in place; True if any tensor's norm was above the limit."""
        clipped = False
        for where in slices:
            length = norm(gradient[where])
            if length > self.limit:
                gradient[where] *= self.limit / length
                clipped = True
        return clipped


class ByValue(_Limited):
    """Cut every entry of the gradient off at ±limit.

    >>> g = np.array([3.0, -4.0])
    >>> ByValue(3.5).apply(g, [slice(0, 2)]), g
    (True, array([ 3. , -3.5]))
    """

    kind: ClassVar[str] = "value"

    def apply(self, gradient: FloatArray, slices: Iterable[slice], size: float | None = None) -> bool:
        """Clip in place; True if any entry was beyond the limit."""
        if np.abs(gradient).max() <= self.limit:
            return False
        np.clip(gradient, -self.limit, self.limit, out=gradient)
        return True


Clipping = NoClipping | GlobalNorm | TensorNorm | ByValue


def as_clipping(clip: object, owner: str) -> Clipping:
    """The rule that a user's `clip` stands for: None, a number (global norm), or a rule.

    >>> as_clipping(5, "Network.fit"), as_clipping(None, "Network.fit")
    (GlobalNorm(limit=5.0), NoClipping())
    """
    if clip is None:
        return NoClipping()
    if isinstance(clip, (NoClipping, GlobalNorm, TensorNorm, ByValue)):
        return clip
    return GlobalNorm(positive(clip, "clip", owner))
