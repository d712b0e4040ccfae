"""Optimisers as functions on the flat parameter vector: what they remember is handed in and changed in place.

An optimiser is a frozen description with two methods: ``init(size, dtype)`` makes the arrays that it remembers, and
``update(parameters, gradient, state, learning_rate)`` takes one step in place. Both engines follow the same trajectory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.validation import choice, fraction, positive

__all__ = ["SGD", "Adam", "Optimizer", "OptimizerState", "as_optimizer"]

OptimizerState = Mapping[str, npt.NDArray[Any]]
"""What an optimiser remembers between updates, changed in place: empty for SGD."""


@dataclass(frozen=True)
class SGD:
    """Plain gradient descent: ``p ← p − η g``.

    >>> p = np.array([1.0, 2.0])
    >>> SGD().update(p, np.array([10.0, 0.0]), {}, learning_rate=0.1)
    >>> p
    array([0., 2.])
    """

    kind: ClassVar[str] = "sgd"

    def init(self, size: int, dtype: np.dtype[np.floating]) -> OptimizerState:
        """Nothing to remember."""
        return {}

    def update(self, parameters: FloatArray, gradient: FloatArray, state: OptimizerState, learning_rate: float) -> None:
        """One step, in place."""
        parameters -= learning_rate * gradient


@dataclass(frozen=True)
class Adam:
    """Adam: steps of about the learning rate, whatever the scale of the gradient.

    ::

        m ← β₁ m + (1 − β₁) g              v ← β₂ v + (1 − β₂) g²
        p ← p − η · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)

    Parameters
    ----------
    beta1, beta2 : float, default=0.9, 0.999
        How much of the running means of gradient and squared gradient is kept at each update; in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite; above 0.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.

    Examples
    --------
    >>> adam, p = Adam(), np.array([1.0, 2.0])
    >>> state = adam.init(2, p.dtype)
    >>> adam.update(p, np.array([1e-3, 1e3]), state, learning_rate=0.1)
    >>> p.round(4), int(state["updates"][0])
    (array([0.9, 1.9]), 1)
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    kind: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            object.__setattr__(self, name, fraction(getattr(self, name), name, "Adam"))
        object.__setattr__(self, "epsilon", positive(self.epsilon, "epsilon", "Adam"))

    def init(self, size: int, dtype: np.dtype[np.floating]) -> OptimizerState:
        """Zero running means, and the count of updates made."""
        return {"m": np.zeros(size, dtype), "v": np.zeros(size, dtype), "updates": np.zeros(1, np.int64)}

    def update(self, parameters: FloatArray, gradient: FloatArray, state: OptimizerState, learning_rate: float) -> None:
        """One step, in place."""
        m, v, updates = state["m"], state["v"], state["updates"]
        updates += 1
        t = int(updates[0])
        new = (1 - self.beta1) * gradient
        m *= self.beta1
        m += new
        np.multiply(gradient, gradient, new)
        new *= 1 - self.beta2
        v *= self.beta2
        v += new
        # The corrections of m and v are numbers: they go into the learning rate and into ε
        root = math.sqrt(1 - self.beta2**t)
        step = np.sqrt(v, new)
        step += root * self.epsilon
        np.divide(m, step, step)
        step *= learning_rate * root / (1 - self.beta1**t)
        parameters -= step


Optimizer = SGD | Adam
_BY_NAME: dict[str, Optimizer] = {"sgd": SGD(), "adam": Adam()}


def as_optimizer(optimizer: object, owner: str) -> Optimizer:
    """The optimiser that a user's word or object stands for.

    >>> as_optimizer("adam", "Network.fit")
    Adam(beta1=0.9, beta2=0.999, epsilon=1e-08)
    """
    if isinstance(optimizer, (SGD, Adam)):
        return optimizer
    return _BY_NAME[choice(optimizer, "optimizer", owner, _BY_NAME)]
