"""A training set and what belongs to it, whole or cut into what is learned and what is only looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.estimators.settings import Settings
from rnn_from_scratch.prediction.forms import Sequences, take
from rnn_from_scratch.validation import integer, shown

__all__ = ["Part", "Targets", "parts_of", "seeds_of"]


@dataclass(frozen=True, eq=False)
class Targets:
    """What a network should say, for a training set.

    Attributes
    ----------
    y : ndarray (N, …), or list of N arrays (T_i, …)
        As `Network.fit` takes it.
    truth : the same
        As the user said it, for scores.
    output_size : int
    output_activation : str
    single : bool
        Whether it came without an axis of outputs.
    classes : ndarray (K,) or None
    numbers : ndarray (M,) of int64 or None
        The number of each row's class.
    class_weights : ndarray (K,) or None
    """

    y: Any
    truth: Any
    output_size: int
    output_activation: str
    single: bool
    classes: npt.NDArray[Any] | None = None
    numbers: IndexArray | None = None
    class_weights: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the sequences with all that belongs to them."""

    X: Any
    y: Any
    truth: Any
    given_lengths: Any
    lengths: IndexArray
    weights: Any
    numbers: IndexArray | None

    @property
    def steps(self) -> int:
        """T of the arrays (N, T, …) that belong to X."""
        return int(self.lengths.max()) if isinstance(self.X, list) else int(self.X.shape[1])

    def load(self, targets: Targets) -> tuple[float, int]:
        """The weight of all sequences, that of one with outputs for its steps being their mean; and how many have any."""
        N = len(self.lengths)
        if self.weights is None and targets.class_weights is None:
            return float(N), N
        per_step = isinstance(self.y, list)
        lengths = self.lengths if per_step else np.ones(N, np.int64)
        weights = np.ones(int(lengths.sum()))
        if isinstance(self.weights, list):
            weights = np.concatenate(self.weights).astype(np.float64)
        elif self.weights is not None and self.weights.shape == (N,):  # the network refuses any other
            weights = np.repeat(self.weights, lengths).astype(np.float64)
        if targets.class_weights is not None and self.numbers is not None:
            weights = weights * targets.class_weights[self.numbers]
        of_sequences = np.add.reduceat(weights, np.cumsum(lengths) - lengths) / lengths
        total, heavy = float(of_sequences.sum()), int(np.count_nonzero(of_sequences))
        return (total, heavy) if total > 0 else (float(N), N)  # which the network refuses


def parts_of(
    sequences: Sequences, targets: Targets, weights: Any, settings: Settings, seed: Any, owner: str
) -> tuple[Part, Part | None]:
    """The training set, and what early stopping looks at."""
    lengths = sequences.lengths
    whole = Part(sequences.X, targets.y, targets.truth, sequences.given_lengths, lengths, weights, targets.numbers)
    if not settings.early_stopping:
        return whole, None
    N = len(lengths)
    if len(targets.y) != N or (weights is not None and len(weights) != N):
        raise ValueError(f"y and sample_weight of {owner} must have N={N} entries, as X. Got {len(targets.y)}.")
    stratify = targets.numbers if targets.numbers is not None and settings.readout != "every" else None
    if stratify is not None:
        K, held_out = len(np.unique(stratify)), int(np.ceil(settings.validation_fraction * N))
        if np.bincount(stratify)[np.unique(stratify)].min() < 2 or not K <= held_out <= N - K:
            stratify = None  # there are too few to have some of each class on both sides
    try:
        index = train_test_split(
            np.arange(N), test_size=settings.validation_fraction, random_state=seed, stratify=stratify
        )
    except ValueError:
        index = [np.arange(N), np.arange(0)]
    if len(index[1]) < 2:
        raise ValueError(
            f"validation_fraction of {settings.owner} must leave at least 2 sequences to validate on. "
            f"Got {settings.validation_fraction} of {N}."
        )
    return _chosen(whole, index[0]), _chosen(whole, index[1])


def _chosen(whole: Part, index: IndexArray) -> Part:
    numbers = whole.numbers
    if numbers is not None:
        firsts = np.cumsum(whole.lengths)[:-1]
        numbers = (
            np.concatenate(take(np.split(numbers, firsts), index)) if isinstance(whole.y, list) else numbers[index]
        )
    return Part(
        take(whole.X, index),
        take(whole.y, index),
        take(whole.truth, index),
        take(whole.given_lengths, index),
        whole.lengths[index],
        take(whole.weights, index),
        numbers,
    )


def seeds_of(random_state: Any, owner: str) -> tuple[Any, Any]:
    """For the network, and for the choice of a validation set."""
    if isinstance(random_state, np.random.Generator):
        return random_state, int(random_state.integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1)), random_state
    if random_state is None:
        return None, None
    try:
        seed = integer(random_state, "random_state", owner, minimum=0)
    except (TypeError, ValueError) as error:
        allowed = "None, an int >= 0, a RandomState or a Generator"
        raise type(error)(f"random_state of {owner} must be {allowed}. Got {shown(random_state)}.") from None
    return seed, seed % 2**32  # scikit-learn's seeds have 32 bits
