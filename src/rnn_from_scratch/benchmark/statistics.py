"""Numbers out of repeated measurements: spreads, ratios taken in pairs with their bounds, exponents of growth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Paired", "Spread", "doubling", "exponent", "geometric_mean"]

CONFIDENCE = 0.95
"""Of each bound, by itself."""


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it.

    >>> Spread.of([4.0, 1.0, 2.0, 3.0, 9.0])
    Spread(median=3.0, low=2.0, high=4.0)
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The median and the two quartiles."""
        low, median, high = (float(q) for q in np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75]))
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}–{self.high:.3g})"


@dataclass(frozen=True)
class Paired:
    """Ratios of two measurements that were made beside each other, round by round.

    The bounds are those of the sign test: they assume nothing about how times are distributed, only that rounds are
    independent. With fewer than five rounds there are none.

    Attributes
    ----------
    spread : Spread
    lower, upper : float
        One-sided 95 % bounds of the median ratio; NaN where there are too few rounds.

    Examples
    --------
    >>> paired = Paired.of([2.0, 4.4, 6.0, 8.0, 11.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    >>> paired.spread.median, paired.lower, paired.upper
    (2.0, 2.0, 2.2)
    >>> paired.verdict
    'ahead'
    """

    spread: Spread
    lower: float
    upper: float

    @classmethod
    def of(cls, theirs: Sequence[float], ours: Sequence[float]) -> Paired:
        """How many times longer the other one took, round by round."""
        ratios = sorted(other / own for other, own in zip(theirs, ours, strict=True))
        rank = _rank(len(ratios))
        lower, upper = (math.nan, math.nan) if rank < 0 else (ratios[rank], ratios[-1 - rank])
        return cls(Spread.of(ratios), lower, upper)

    @property
    def verdict(self) -> str:
        """'ahead', 'behind', or 'level' where the measurements do not tell."""
        if self.lower >= 1:
            return "ahead"
        return "behind" if self.upper < 1 else "level"


def _rank(n: int) -> int:
    """The largest place in n sorted values that lies below their median with 95 % confidence; -1 if there is none."""
    allowed, tail, rank = (1 - CONFIDENCE) * 2**n, 0, -1
    while tail + math.comb(n, rank + 1) <= allowed:
        rank += 1
        tail += math.comb(n, rank)
    return rank


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The p of ``values ≈ c · sizesᵖ``, by least squares on logarithms.

    >>> round(exponent([1, 10, 100], [3, 30, 300]), 12)
    1.0
    """
    return float(np.polyfit(np.log(np.asarray(sizes, float)), np.log(np.asarray(values, float)), 1)[0])


def doubling(sizes: Sequence[float], values: Sequence[float]) -> list[float]:
    """From one size to the next: by how much the value grew when the size was doubled; 2 is linear.

    >>> [round(growth, 12) for growth in doubling([1, 2, 8], [3, 6, 96])]
    [2.0, 4.0]
    """
    pairs = zip(sizes, sizes[1:], values, values[1:], strict=False)
    return [(after / before) ** (1 / math.log2(large / small)) for small, large, before, after in pairs]


def geometric_mean(values: Sequence[float]) -> float:
    """The mean that treats 2 and ½ alike.

    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    return math.exp(math.fsum(map(math.log, values)) / len(values))
