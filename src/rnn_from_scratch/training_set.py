"""What users pass to a network, as its specification reads it: features or tokens, rows or labels, with weights or without."""

from __future__ import annotations

import numpy as np

from rnn_from_scratch.sequences import Batch, Targets, as_batch, as_targets, as_tokens
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.weights import with_weights

__all__ = ["as_inputs", "as_training_set"]


def as_inputs(
    specification: NetworkSpecification, dtype: np.dtype[np.floating], X: object, lengths: object = None
) -> Batch:
    """Sequences of features, or of tokens where the network has a vocabulary."""
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
    targets = as_targets(y, inputs, specification.output_size, specification.readout, dtype, labels=labels)
    if specification.loss == "ce":
        _require_probabilities(targets)
    return with_weights(inputs, targets, specification, sample_weight, class_weight, owner)


def _require_probabilities(targets: Targets) -> None:
    rows = targets.array[targets.rows()]
    outside = (rows < 0) | (rows > 1)
    if outside.any():
        raise ValueError(f"y must lie in [0, 1] when the loss is 'ce'. Got {float(rows[outside][0])}.")
