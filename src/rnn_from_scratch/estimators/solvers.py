"""Optimisers that go on where they were: `partial_fit` takes one step of a longer run at each call."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnn_from_scratch.optimizers import SGD, Adam, AdamW, Optimizer, OptimizerState, RMSprop

__all__ = ["lasting"]


class _Lasting:
    """Gives out the same memory again, where an ordinary optimiser begins anew with every training."""

    def init(self, size: int, dtype: np.dtype[np.floating]) -> OptimizerState:
        """What it remembers; nothing yet at the first call."""
        if "memory" not in vars(self):
            vars(self)["memory"] = super().init(size, dtype)  # type: ignore[misc]  # of the optimiser beside it
        memory: OptimizerState = vars(self)["memory"]
        return memory


class LastingSGD(_Lasting, SGD):
    """`SGD` that goes on."""


class LastingRMSprop(_Lasting, RMSprop):
    """`RMSprop` that goes on."""


class LastingAdam(_Lasting, Adam):
    """`Adam` that goes on."""


class LastingAdamW(_Lasting, AdamW):
    """`AdamW` that goes on."""


KINDS: dict[str, Any] = {"sgd": LastingSGD, "rmsprop": LastingRMSprop, "adam": LastingAdam, "adamw": LastingAdamW}


def lasting(kind: str, **words: Any) -> Optimizer:
    """An optimiser of a kind that goes on where its last training ended.

    >>> adam = lasting("adam", beta1=0.8)
    >>> adam.init(2, np.dtype(float)) is adam.init(2, np.dtype(float))
    True
    """
    optimizer: Optimizer = KINDS[kind](**words)
    return optimizer
