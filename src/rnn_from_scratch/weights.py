"""How much each row counts in the loss ``Σ w ℓ / Σ w``: weights of samples, times weights of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.sequences import Batch, Targets, is_list_of_sequences
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.validation import choice, integer, number, numeric_array, shown

__all__ = ["with_weights"]

Wide = npt.NDArray[np.float64]


def with_weights(
    inputs: Batch,
    targets: Targets,
    specification: NetworkSpecification,
    sample_weight: object,
    class_weight: object,
    owner: str,
    *,
    keep_all: bool = False,
) -> tuple[Batch, Targets]:
    """The same data with the weight of every row, and without the sequences that have none.

    A sequence whose weights are all zero is left out: it would change nothing but the size of its mini-batch, and a
    mini-batch of such sequences alone would have no loss at all. So training with a weight of zero is exactly training
    without that sequence. Only ratios of weights matter; they are scaled so that the largest is 1.

    Parameters
    ----------
    inputs, targets : Batch, Targets
    sample_weight : None, array_like (N,) or (N, T), or list of N array_like (T_i,)
        The last two only with ``readout="every"``; what stands past the end of a sequence is never looked at.
    class_weight : None, mapping of class to weight, array_like (O,), or 'balanced'
        With softmax, or with one sigmoid output, whose classes are 0 and 1. 'balanced' gives all classes that occur the
        same total weight.
    keep_all : bool, default=False
        Keep sequences without any weight, for states that go on through them.

    Raises
    ------
    TypeError, ValueError
        Naming what is allowed and what came.
    """
    if sample_weight is None and class_weight is None:
        return inputs, targets
    for name, value in (("sample_weight", sample_weight), ("class_weight", class_weight)):
        if value is not None and callable(specification.loss):
            raise ValueError(f"{name} of {owner} must be None when the loss is a callable, which weighs its own rows.")
    rows = targets.rows()
    weights = np.ones(len(rows))
    if sample_weight is not None:
        weights = _sample_weights(sample_weight, inputs, specification.readout == "every", owner)
        weights = weights / (weights.max() or 1.0)
    if class_weight is not None:
        classes, count = _classes(targets.array[rows], specification, owner)
        of_class = _class_weights(class_weight, classes, count, weights, owner)
        weights = weights * (of_class / (of_class.max() or 1.0))[classes]
    largest = weights.max()
    if not largest > 0:
        given = [
            n for n, value in (("sample_weight", sample_weight), ("class_weight", class_weight)) if value is not None
        ]
        raise ValueError(
            f"{' and '.join(given)} of {owner} must leave at least one row a positive weight. All are zero."
        )
    weights = weights / largest
    dtype = targets.array.dtype
    weights[weights < np.finfo(dtype).tiny] = 0  # 1 / Σ w must stay finite
    all_weights = np.zeros(len(targets.array), dtype)
    all_weights[rows] = weights
    targets = replace(targets, weights=all_weights)
    firsts = np.cumsum(targets.lengths) - targets.lengths
    heavy = np.maximum.reduceat(weights, firsts) > 0  # (N,)
    if keep_all or heavy.all():
        return inputs, targets
    kept = np.flatnonzero(heavy).astype(np.int64)
    return inputs.select(kept), targets.select(kept)


def _sample_weights(sample_weight: Any, inputs: Batch, every_step: bool, owner: str) -> Wide:
    """(M,): the weight of every row, sequence after sequence."""
    N, T = len(inputs), inputs.steps
    name = f"sample_weight of {owner}"
    if every_step and is_list_of_sequences(sample_weight) and any(np.ndim(item) > 0 for item in sample_weight):
        items = [numeric_array(item, f"sample_weight[{n}] of {owner}") for n, item in enumerate(sample_weight)]
        shapes = [item.shape for item in items]
        if shapes != [(length,) for length in inputs.lengths.tolist()]:
            expected = shown(inputs.lengths.tolist())
            raise ValueError(f"{name} must have the lengths of X, {expected}. Got shapes {shown(shapes)}.")
        values = np.concatenate(items)
    else:
        given = numeric_array(sample_weight, name)
        if given.shape == (N,):
            values = np.repeat(given, inputs.lengths) if every_step else given
        elif every_step and given.shape == (N, T):
            values = given[inputs.real_steps()]
        else:
            allowed = f"(N={N},) or (N={N}, T={T})" if every_step else f"(N={N},)"
            raise ValueError(f"{name} must be {allowed}. Got {given.shape}.")
    return _non_negative(values, name)


def _non_negative(values: npt.NDArray[Any], name: str) -> Wide:
    wide: Wide = values.astype(np.float64)
    wrong = ~(np.isfinite(wide) & (wide >= 0))
    if wrong.any():
        raise ValueError(f"{name} must hold finite numbers >= 0. Got {values[wrong][0]}.")
    return wide


def _classes(rows: npt.NDArray[Any], specification: NetworkSpecification, owner: str) -> tuple[npt.NDArray[Any], int]:
    """The class of every row, and how many classes there are."""
    activation, outputs = specification.output_activation, specification.output_size
    hard = ((rows == 0) | (rows == 1)).all()
    if activation == "softmax":
        if not hard or (rows.sum(axis=1) != 1).any():
            raise ValueError(f"class_weight of {owner} must be None unless every target is one class.")
        return rows.argmax(axis=1), outputs
    if activation == "sigmoid" and outputs == 1:
        if not hard:
            raise ValueError(f"class_weight of {owner} must be None unless every target is 0 or 1.")
        return rows[:, 0].astype(np.int64), 2
    raise ValueError(
        f"class_weight of {owner} must be None unless the outputs are 'softmax' or one 'sigmoid'. "
        f"Got {activation!r} and {outputs} outputs."
    )


def _class_weights(class_weight: Any, classes: npt.NDArray[Any], count: int, weights: Wide, owner: str) -> Wide:
    """(classes,): the weight of each class."""
    name = f"class_weight of {owner}"
    if isinstance(class_weight, str):
        choice(class_weight, "class_weight", owner, ("balanced",))
        totals = np.bincount(classes, weights, minlength=count)
        present = totals > 0
        return np.divide(1.0, totals / (totals.max() or 1.0), out=np.zeros(count), where=present)
    if isinstance(class_weight, Mapping):
        found = np.ones(count)
        for key, value in class_weight.items():
            which = integer(key, "a class in class_weight", owner, minimum=0)
            if which >= count:
                raise ValueError(f"{name} must name classes in [0, {count}). Got {which}.")
            found[which] = number(value, f"class_weight[{which}]", owner, "a finite number >= 0")
        return _non_negative(found, name)
    values = numeric_array(class_weight, name)
    if values.shape != (count,):
        raise ValueError(f"{name} must be a mapping, 'balanced', or ({count},). Got {values.shape}.")
    return _non_negative(values, name)
