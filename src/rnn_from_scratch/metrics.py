"""Measures of outputs against targets that people read, beside the loss that training makes small.

Each takes rows of outputs and targets (M, O) and the weights of the rows (M,), and gives one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.validation import choice, shown

__all__ = ["METRICS", "Metric", "accuracy", "as_metrics", "f1", "mae", "r2", "rmse"]

Metric = Callable[[FloatArray, FloatArray, FloatArray], float]


def _classes(values: FloatArray) -> npt.NDArray[np.int64]:
    """The most probable class of each row; for one output, whether it is at least a half."""
    if values.shape[1] == 1:
        return (values[:, 0] >= 0.5).astype(np.int64)
    return np.asarray(values.argmax(axis=1), np.int64)


def accuracy(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The share of rows whose class is right: the largest output, or for one output a threshold of a half.

    >>> accuracy(np.array([[0.9], [0.2], [0.6]]), np.array([[1.0], [1.0], [1.0]]), np.ones(3)).__round__(3)
    0.667
    """
    return float(np.average(_classes(outputs) == _classes(targets), weights=weights))


def f1(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The harmonic mean of precision and recall: of class 1 for one output, else the mean over the classes that occur.

    >>> f1(np.array([[0.9], [0.2], [0.6]]), np.array([[1.0], [1.0], [0.0]]), np.ones(3))
    0.5
    """
    said, true = _classes(outputs), _classes(targets)
    kinds = [1] if outputs.shape[1] == 1 else np.union1d(said, true)
    scores = []
    for kind in kinds:
        right = weights[(said == kind) & (true == kind)].sum(dtype=np.float64)
        total = weights[said == kind].sum(dtype=np.float64) + weights[true == kind].sum(dtype=np.float64)
        scores.append(2 * right / total if total > 0 else 0.0)
    return float(np.mean(scores))


def mae(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The mean absolute error over rows and outputs.

    >>> mae(np.array([[1.0, 4.0]]), np.array([[0.0, 1.0]]), np.ones(1))
    2.0
    """
    return float(np.average(np.abs(outputs - targets).mean(axis=1, dtype=np.float64), weights=weights))


def rmse(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The root of the mean squared error over rows and outputs.

    >>> rmse(np.array([[3.0], [4.0]]), np.zeros((2, 1)), np.ones(2)).__round__(4)
    3.5355
    """
    return float(np.sqrt(np.average(((outputs - targets) ** 2).mean(axis=1, dtype=np.float64), weights=weights)))


def r2(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The share of the targets' variance that is explained, averaged over the outputs: 1 is perfect, 0 is their mean.

    For an output whose targets are all the same: 1 if it is met, else 0.

    >>> r2(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]), np.ones(3))
    0.5
    """
    wide = targets.astype(np.float64)
    left = np.average((outputs - wide) ** 2, axis=0, weights=weights)
    spread = np.average((wide - np.average(wide, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    explained = np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1), left == 0)
    return float(explained.mean())


METRICS: dict[str, Metric] = {"accuracy": accuracy, "f1": f1, "mae": mae, "rmse": rmse, "r2": r2}


def as_metrics(metrics: object, owner: str) -> dict[str, Metric]:
    """The measures that a user's words, callables or mapping of callables stand for, by name.

    A callable takes outputs and targets, rows (M, O) of real steps.

    >>> sorted(as_metrics(["mae", "r2"], "Network.fit")), list(as_metrics(lambda y, t: 0.0, "Network.fit"))
    (['mae', 'r2'], ['<lambda>'])
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if isinstance(metrics, Mapping):
        named = dict(metrics)
    elif isinstance(metrics, Sequence):
        named = {item if isinstance(item, str) else getattr(item, "__name__", repr(item)): item for item in metrics}
        if len(named) < len(metrics):
            raise ValueError(f"metrics of {owner} must have different names. Got {shown(metrics)}.")
    else:
        raise TypeError(f"metrics of {owner} must be words or callables. Got {shown(metrics)}.")
    return {str(name): _metric(value, owner) for name, value in named.items()}


def _metric(value: object, owner: str) -> Metric:
    if callable(value):
        return _Unweighted(value)
    return METRICS[choice(value, "metrics", owner, METRICS)]


class _Unweighted:
    """A user's measure, which does not know of weights."""

    def __init__(self, measure: Callable[..., Any]) -> None:
        self.measure = measure

    def __call__(self, outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
        return float(self.measure(outputs, targets))
