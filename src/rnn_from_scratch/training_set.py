"""What users pass to a network, as its specification reads it: features or tokens, rows or labels, with weights or without."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.sequences import Batch, Targets, as_batch, as_targets, as_tokens
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.training.loop import Callback, TrainingData, TrainingPlan
from rnn_from_scratch.validation import fraction, shown

if TYPE_CHECKING:
    from rnn_from_scratch import weights, windows
else:
    weights = deferred_module("rnn_from_scratch.weights")
    windows = deferred_module("rnn_from_scratch.windows")

__all__ = ["are_windows", "as_callbacks", "as_inputs", "as_training_set", "require_possible", "with_validation"]


def are_windows(data: object) -> TypeGuard[windows.Windows]:
    """Whether these data are `Windows`. Before their module was imported, nobody has any."""
    return "rnn_from_scratch.windows" in sys.modules and isinstance(data, windows.Windows)


def as_inputs(
    specification: NetworkSpecification, dtype: np.dtype[np.floating], X: object, lengths: object = None
) -> Batch:
    """Sequences of features, or of tokens where the network has a vocabulary; or windows over a series of either."""
    if are_windows(X):
        if lengths is not None:
            raise ValueError(f"lengths must be None when X is Windows. Got {shown(lengths)}.")
        return windows.window_inputs(X, specification.input_size, dtype, specification.vocabulary_size, "X")
    if specification.vocabulary_size is not None:
        return as_tokens(X, specification.vocabulary_size, lengths)
    return as_batch(X, specification.input_size, dtype, lengths)


def as_training_set(
    specification: NetworkSpecification,
    dtype: np.dtype[np.floating],
    X: object,
    y: object,
    *,
    lengths: object = None,
    sample_weight: object = None,
    class_weight: object = None,
    owner: str = "Network.fit",
    keep_all: bool = False,
) -> tuple[Batch, Targets]:
    """Inputs and targets with the weights of their rows; see `Network.fit`, and `weights` for what weights do.

    >>> from rnn_from_scratch.layers import GRU
    >>> words = NetworkSpecification(2, [GRU(4)], 3, "last", "softmax", "ce", vocabulary_size=5)
    >>> inputs, targets = as_training_set(words, np.dtype(np.float32), [[4, 1], [0]], [2, 0], class_weight={0: 0.5})
    >>> inputs.lengths, targets.array, targets.weights
    (array([2, 1]), array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32), array([1. , 0.5], dtype=float32))
    """
    inputs = as_inputs(specification, dtype, X, lengths)
    labels = specification.loss == "ce" and specification.output_activation == "softmax"
    outputs, readout, shares = specification.output_size, specification.readout, specification.loss == "ce"
    if are_windows(y):
        for name, value in (("sample_weight", sample_weight), ("class_weight", class_weight)):
            if value is not None:
                raise ValueError(f"{name} of {owner} must be None when y is Windows, which share their rows.")
        return inputs, windows.window_targets(y, inputs, outputs, readout, dtype, labels=labels, shares=shares)
    targets = as_targets(y, inputs, outputs, readout, dtype, labels=labels)
    if shares:
        _require_probabilities(targets)
    if sample_weight is None and class_weight is None:
        return inputs, targets
    return weights.with_weights(inputs, targets, specification, sample_weight, class_weight, owner, keep_all=keep_all)


def with_validation(
    specification: NetworkSpecification,
    dtype: np.dtype[np.floating],
    data: tuple[Batch, Targets],
    validation: object,
    owner: str = "Network.fit",
) -> TrainingData:
    """The training set beside the validation set that a user's `validation` stands for; see `Network.fit`.

    A fraction takes the last sequences, as they came: of windows over time these are the latest. Windows before them that
    have targets in common with them are left out of the training set, so that nothing leaks.
    """
    inputs, targets = data
    if validation is None:
        return TrainingData(inputs, targets)
    if isinstance(validation, Mapping):
        words = dict(validation)
        unknown = sorted(set(map(str, words)) - {"X", "y", "lengths", "sample_weight"})
        if unknown or "X" not in words or "y" not in words:
            raise ValueError(
                f"validation of {owner} must have X and y, and may have lengths and sample_weight. Got {shown(list(words))}."
            )
        return TrainingData(inputs, targets, _validation_set(specification, dtype, words, owner))
    if isinstance(validation, tuple):
        if len(validation) != 2:
            raise ValueError(f"validation of {owner} must be a pair (X, y). Got {len(validation)} things.")
        words = dict(zip(("X", "y"), validation, strict=True))
        return TrainingData(inputs, targets, _validation_set(specification, dtype, words, owner))
    if not isinstance(validation, (int, float, np.integer, np.floating)):
        allowed = "a number in [0, 1), a tuple (X, y) or a mapping"
        raise TypeError(f"validation of {owner} must be {allowed}. Got {shown(validation)}.")
    share = fraction(validation, "validation", owner)
    N = len(inputs)
    kept = N - round(share * N)
    if not 0 < kept < N:
        raise ValueError(f"validation of {owner} must leave sequences on both sides. Got {share!r} of {N}.")
    held_out = (inputs.select(slice(kept, N)), targets.select(slice(kept, N)))
    first_target = int(held_out[1].starts.min())
    kept = int(np.searchsorted(targets.starts[:kept] + targets.lengths[:kept], first_target, side="right"))
    if not kept:
        raise ValueError(
            f"validation of {owner} must leave windows that have no targets in common with it. None is left."
        )
    if not (held_out[1].shared or held_out[1].weights[held_out[1].rows()].any()):
        raise ValueError(f"validation of {owner} must hold a row with a positive weight. All are zero.")
    return TrainingData(inputs.select(slice(0, kept)), targets.select(slice(0, kept)), held_out)


def _validation_set(
    specification: NetworkSpecification, dtype: np.dtype[np.floating], words: dict[str, Any], owner: str
) -> tuple[Batch, Targets]:
    try:
        return as_training_set(specification, dtype, words.pop("X"), words.pop("y"), owner=owner, **words)
    except (TypeError, ValueError) as error:  # which name X and y: those of validation
        raise type(error)(f"In validation of {owner}: {error}") from None


def as_callbacks(callbacks: object, owner: str) -> tuple[Callback, ...]:
    """One callable, or several."""
    found = (callbacks,) if callable(callbacks) else callbacks
    if not isinstance(found, Sequence) or not all(callable(callback) for callback in found):
        raise TypeError(f"callbacks of {owner} must be callables (epoch, history). Got {shown(callbacks)}.")
    return tuple(found)


def require_possible(specification: NetworkSpecification, how: TrainingPlan, N: int, owner: str) -> None:
    """Refuse what states that go on from update to update cannot do.

    Raises
    ------
    ValueError
        Naming the parameter.
    """
    for name, wanted in (("tbptt_steps", how.tbptt_steps is not None), ("stateful", how.stateful)):
        if wanted and specification.bidirectional:
            raise ValueError(f"{name} of {owner} must be left out for bidirectional layers, which read from both ends.")
        if wanted and specification.readout == "mean":
            raise ValueError(f"{name} of {owner} must be left out with readout='mean', which needs all steps at once.")
    if how.stateful and how.shuffle:
        raise ValueError(
            f"shuffle of {owner} must be None or False when stateful=True: rows go on where they were. Got True."
        )
    if how.stateful and N % how.batch_size:
        raise ValueError(
            f"batch_size of {owner} must divide the number of sequences when stateful=True. Got {how.batch_size} for {N}."
        )


def _require_probabilities(targets: Targets) -> None:
    rows = targets.array[targets.rows()]
    outside = (rows < 0) | (rows > 1)
    if outside.any():
        raise ValueError(f"y must lie in [0, 1] when the loss is 'ce'. Got {float(rows[outside][0])}.")
