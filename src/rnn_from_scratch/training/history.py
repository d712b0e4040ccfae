"""What a training run left behind, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """One entry per finished epoch in each list.

    Attributes
    ----------
    loss : list of float
        Weighted mean over the epoch's rows, each as it was before the update it took part in, penalty included.
    learning_rate : list of float
        Of the epoch's last update.
    gradient_norm_mean, gradient_norm_max : list of float
        Norm of the whole gradient before clipping, over the epoch's updates.
    clipped : list of int
        Updates whose gradient was clipped.
    seconds : list of float
        Wall-clock time of the epoch.

    Examples
    --------
    >>> History().loss
    []
    """

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    gradient_norm_mean: list[float] = field(default_factory=list)
    gradient_norm_max: list[float] = field(default_factory=list)
    clipped: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)
