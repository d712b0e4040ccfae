"""Optimisers as functions on the flat parameter vector: what they remember is handed in and changed in place.

An optimiser is a frozen description with two methods: ``init(size, dtype)`` makes the arrays that it remembers, and
``update(parameters, gradient, state, learning_rate, decayed)`` takes one step in place, and may use the gradient up; `decayed`
are the places of those tensors that weight decay shrinks. Both engines follow the same trajectory. What describes an optimiser
is named: elsewhere the first argument is the learning rate, which here belongs to `Network.fit`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.frozen import Frozen
from rnn_from_scratch.validation import boolean, choice, fraction, non_negative, positive, shown

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "OptimizerState", "RMSprop", "as_optimizer"]

OptimizerState = Mapping[str, np.ndarray[tuple[Any, ...], np.dtype[Any]]]
"""What an optimiser remembers between updates, changed in place: empty for plain SGD."""


@dataclass(kw_only=True, eq=False, repr=False)
class SGD(Frozen):
    """Gradient descent, with momentum if wanted.

    ::

        p ← p − η g                                   plain
        u ← μ u + g            p ← p − η u            momentum μ
        u ← μ u + g            p ← p − η (g + μ u)    Nesterov's: the gradient as if the step had been taken already

    Parameters
    ----------
    momentum : float, default=0.0
        μ, in [0, 1).
    nesterov : bool, default=False
        Needs a momentum.

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> p, sgd = np.array([1.0, 2.0]), SGD(momentum=0.5)
    >>> state = sgd.init(2, p.dtype)
    >>> for _ in range(2):
    ...     sgd.update(p, np.array([10.0, 0.0]), state, learning_rate=0.1)
    >>> p
    array([-1.5,  2. ])
    """

    momentum: float = 0.0
    nesterov: bool = False

    kind: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        object.__setattr__(self, "momentum", fraction(self.momentum, "momentum", "SGD"))
        object.__setattr__(self, "nesterov", boolean(self.nesterov, "nesterov", "SGD"))
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov of SGD must be False without a momentum. Got True.")

    def init(self, size: int, dtype: np.dtype[np.floating]) -> OptimizerState:
        """No velocity yet; nothing at all without momentum."""
        return {"u": np.zeros(size, dtype)} if self.momentum else {}

    def update(
        self,
        parameters: FloatArray,
        gradient: FloatArray,
        state: OptimizerState,
        learning_rate: float,
        decayed: Iterable[slice] = (),
    ) -> None:
        """One step, in place."""
        step = gradient
        if self.momentum:
            u = state["u"]
            u *= self.momentum
            u += gradient
            step = gradient + self.momentum * u if self.nesterov else u
        parameters -= np.multiply(step, learning_rate, gradient)


@dataclass(kw_only=True, eq=False, repr=False)
class RMSprop(Frozen):
    """Steps divided by the running size of each gradient.

    ::

        v ← α v + (1 − α) g²            p ← p − η g / (√v + ε)

    Parameters
    ----------
    alpha : float, default=0.99
        How much of the running mean of squares is kept at each update; in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite; above 0.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: RMSProp", Coursera: Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> p, rmsprop = np.array([1.0, 2.0]), RMSprop(alpha=0.75)
    >>> rmsprop.update(p, np.array([1e-3, 1e3]), rmsprop.init(2, p.dtype), learning_rate=0.1)
    >>> p.round(4)
    array([0.8, 1.8])
    """

    alpha: float = 0.99
    epsilon: float = 1e-8

    kind: ClassVar[str] = "rmsprop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", fraction(self.alpha, "alpha", "RMSprop"))
        object.__setattr__(self, "epsilon", positive(self.epsilon, "epsilon", "RMSprop"))

    def init(self, size: int, dtype: np.dtype[np.floating]) -> OptimizerState:
        """A running mean of zero."""
        return {"v": np.zeros(size, dtype)}

    def update(
        self,
        parameters: FloatArray,
        gradient: FloatArray,
        state: OptimizerState,
        learning_rate: float,
        decayed: Iterable[slice] = (),
    ) -> None:
        """One step, in place."""
        v = state["v"]
        new = gradient * gradient
        new *= 1 - self.alpha
        v *= self.alpha
        v += new
        step = np.sqrt(v, out=new)
        step += self.epsilon
        np.divide(gradient, step, out=step)
        step *= learning_rate
        parameters -= step


@dataclass(kw_only=True, eq=False, repr=False)
class Adam(Frozen):
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
        owner = type(self).__name__
        for name in ("beta1", "beta2"):
            object.__setattr__(self, name, fraction(getattr(self, name), name, owner))
        object.__setattr__(self, "epsilon", positive(self.epsilon, "epsilon", owner))

    def init(self, size: int, dtype: np.dtype[np.floating]) -> OptimizerState:
        """Zero running means, and the count of updates made."""
        return {"m": np.zeros(size, dtype), "v": np.zeros(size, dtype), "updates": np.zeros(1, np.int64)}

    def update(
        self,
        parameters: FloatArray,
        gradient: FloatArray,
        state: OptimizerState,
        learning_rate: float,
        decayed: Iterable[slice] = (),
    ) -> None:
        """One step, in place."""
        m, v, updates = state["m"], state["v"], state["updates"]
        updates += 1
        t = int(updates[0])
        new = (1 - self.beta1) * gradient
        m *= self.beta1
        m += new
        np.multiply(gradient, gradient, out=new)
        new *= 1 - self.beta2
        v *= self.beta2
        v += new
        # The corrections of m and v are numbers: they go into the learning rate and into ε
        root = math.sqrt(1 - self.beta2**t)
        step = np.sqrt(v, out=new)
        step += root * self.epsilon
        np.divide(m, step, out=step)
        step *= learning_rate * root / (1 - self.beta1**t)
        parameters -= step


@dataclass(kw_only=True, eq=False, repr=False)
class AdamW(Adam):
    """Adam with weight decay beside the gradient: weight matrices shrink by η λ per update before Adam's step.

    Parameters
    ----------
    beta1, beta2, epsilon : float
        As in `Adam`.
    weight_decay : float, default=0.01
        λ; biases, learned states and frozen tensors do not decay.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

    Examples
    --------
    >>> adamw, p = AdamW(weight_decay=0.5), np.array([1.0, 2.0])
    >>> adamw.update(p, np.array([0.0, 0.0]), adamw.init(2, p.dtype), learning_rate=0.1, decayed=[slice(0, 1)])
    >>> p
    array([0.95, 2.  ])
    """

    weight_decay: float = 0.01

    kind: ClassVar[str] = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weight_decay", non_negative(self.weight_decay, "weight_decay", "AdamW"))

    def update(
        self,
        parameters: FloatArray,
        gradient: FloatArray,
        state: OptimizerState,
        learning_rate: float,
        decayed: Iterable[slice] = (),
    ) -> None:
        """One step, in place."""
        for where in decayed:
            parameters[where] *= 1 - learning_rate * self.weight_decay
        super().update(parameters, gradient, state, learning_rate)


Optimizer = SGD | RMSprop | Adam | AdamW
_BY_NAME: dict[str, Optimizer] = {"sgd": SGD(), "rmsprop": RMSprop(), "adam": Adam(), "adamw": AdamW()}


def as_optimizer(optimizer: object, owner: str) -> Optimizer:
    """The optimiser that a user's word or object stands for.

    >>> as_optimizer("adam", "Network.fit")
    Adam(beta1=0.9, beta2=0.999, epsilon=1e-08)
    """
    if isinstance(optimizer, (SGD, RMSprop, Adam)):
        return optimizer
    if not isinstance(optimizer, str):
        words = ", ".join(map(repr, _BY_NAME))
        raise TypeError(
            f"optimizer of {owner} must be one of {words}, or an optimiser such as Adam(). Got {shown(optimizer)}."
        )
    return _BY_NAME[choice(optimizer, "optimizer", owner, _BY_NAME)]
