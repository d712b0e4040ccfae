"""What a training run left behind, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["History"]


@dataclass(repr=False)
class History:
    """One entry per finished epoch in each list; shown by its last epoch.

    Attributes
    ----------
    loss : list of float
        Weighted mean over the epoch's rows, each as it was before the update it took part in, penalty included.
    validation_loss : list of float
        At the end of the epoch, without penalty and dropout; empty without validation data.
    metrics, validation_metrics : dict of str to list of float
        At the end of the epoch, on all training and all validation data, without dropout.
    learning_rate : list of float
        Of the epoch's last update.
    gradient_norm_mean, gradient_norm_max : list of float
        Norm of the whole gradient before clipping, over the epoch's updates.
    clipped : list of int
        Updates whose gradient was clipped.
    non_finite : list of int
        Updates whose loss or gradient was not finite: 0 in every finished epoch, since training stops at the first.
    seconds : list of float
        Wall-clock time of the epoch, validation included.

    Examples
    --------
    >>> history = History(loss=[0.5, 0.25], seconds=[0.1, 0.2])
    >>> history
    History, epoch 2: loss 0.25, seconds 0.2
    >>> history.to_dict()["loss"]
    [0.5, 0.25]
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    validation_metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    gradient_norm_mean: list[float] = field(default_factory=list)
    gradient_norm_max: list[float] = field(default_factory=list)
    clipped: list[int] = field(default_factory=list)
    non_finite: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        if not self.loss:
            return "History, no epochs"
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.to_dict().items() if values)
        return f"History, epoch {len(self)}: {last}"

    def keep(self, epochs: int) -> None:
        """Forget all but the first epochs; after an interruption, what was entered for an unfinished one.

        >>> history = History(loss=[0.5, 0.4], seconds=[0.1])
        >>> history.keep(1)
        >>> history.loss
        [0.5]
        """
        lists = [getattr(self, entry.name) for entry in fields(self)]
        for found in lists:
            for values in found.values() if isinstance(found, dict) else [found]:
                del values[epochs:]

    def to_dict(self) -> dict[str, list[float]]:
        """Every list by name; metrics by their own names, those of validation after ``validation_``.

        >>> History(metrics={"mae": [1.0]}, validation_metrics={"mae": [2.0]}).to_dict()
        {'mae': [1.0], 'validation_mae': [2.0]}
        """
        found: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name == "metrics":
                found.update(value)
            elif entry.name == "validation_metrics":
                found.update({f"validation_{name}": values for name, values in value.items()})
            elif value:
                found[entry.name] = value
        return {name: list(values) for name, values in found.items()}

    def to_frame(self) -> Any:
        """The same as a `pandas.DataFrame` with a row for each epoch, counted from 1.

        Raises
        ------
        ImportError
            Without pandas: ``pip install 'rnn-from-scratch[pandas]'``.
        """
        try:
            import pandas
        except ImportError:
            message = "History.to_frame needs pandas: pip install 'rnn-from-scratch[pandas]'."
            raise ImportError(message) from None
        index = pandas.RangeIndex(1, len(self) + 1, name="epoch")
        return pandas.DataFrame(self.to_dict(), index=index)
