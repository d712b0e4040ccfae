"""Early stopping: end a run that no longer gets better, with the best parameters it had."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rnn_from_scratch.frozen import Frozen
from rnn_from_scratch.training.history import History
from rnn_from_scratch.validation import integer, non_negative, shown

__all__ = ["EarlyStopping", "as_early_stopping"]

StoppingState = dict[str, Any]
"""Numbers that JSON can say: the best value, its epoch, and how many epochs since."""


@dataclass(eq=False, repr=False)
class EarlyStopping(Frozen):
    """Stop after `patience` epochs without improvement, and restore the parameters of the best epoch.

    It looks at the validation loss where there is one, else at the training loss. A loss that is not finite is no improvement.
    Training that ends in any other way than by an error restores the best parameters too.

    Parameters
    ----------
    patience : int, default=10
    min_delta : float, default=0.0
        A loss has improved if it is below the best one by more than this.

    References
    ----------
    L. Prechelt, "Early Stopping - But When?", Neural Networks: Tricks of the Trade, 1998.

    Examples
    --------
    >>> stopping = EarlyStopping(patience=2)
    >>> state, history = stopping.init(), History()
    >>> for history.loss in ([3.0], [3.0, 2.0], [3.0, 2.0, 2.5], [3.0, 2.0, 2.5, 2.2]):
    ...     state = stopping.observe(state, history)
    >>> state, stopping.stops(state)
    ({'best': 2.0, 'epoch': 2, 'bad': 2}, True)
    """

    patience: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "patience", integer(self.patience, "patience", "EarlyStopping"))
        object.__setattr__(self, "min_delta", non_negative(self.min_delta, "min_delta", "EarlyStopping"))

    def init(self) -> StoppingState:
        """Nothing seen yet."""
        return {"best": None, "epoch": 0, "bad": 0}

    def observe(self, state: StoppingState, history: History) -> StoppingState:
        """What is known after the last epoch of the history; ``bad`` is 0 if that was the best so far."""
        value = (history.validation_loss or history.loss)[-1]
        best = math.inf if state["best"] is None else state["best"]
        if value < best - self.min_delta:  # never true of NaN
            return {"best": value, "epoch": len(history), "bad": 0}
        return {**state, "bad": state["bad"] + 1}

    def stops(self, state: StoppingState) -> bool:
        """Whether training has waited long enough."""
        return bool(state["bad"] >= self.patience)


def as_early_stopping(value: object, owner: str) -> EarlyStopping | None:
    """What a user's `early_stopping` stands for: None, a patience, or the object itself.

    >>> as_early_stopping(3, "Network.fit")
    EarlyStopping(patience=3, min_delta=0.0)
    """
    if value is None or isinstance(value, EarlyStopping):
        return value
    if isinstance(value, bool):
        raise TypeError(f"early_stopping of {owner} must be None, an int >= 1 or EarlyStopping. Got {shown(value)}.")
    return EarlyStopping(integer(value, "early_stopping", owner))
