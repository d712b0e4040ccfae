"""Measures of outputs against targets that people read, beside the loss that training makes small.

Each function takes rows of outputs and targets (M, O) and the weights of the rows (M,), and gives one number. A `Metric` does
the same piece by piece, so that a data set of any size needs no memory: what it keeps of each piece is a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.frozen import Frozen
from rnn_from_scratch.validation import choice, shown

__all__ = ["METRICS", "Metric", "accuracy", "as_metrics", "f1", "mae", "r2", "rmse"]

Wide = npt.NDArray[np.float64]


@dataclass(eq=False, repr=False)
class Metric(Frozen):
    """A measure in two steps.

    Attributes
    ----------
    look : callable (outputs, targets, weights) -> anything
        What has to be kept of a piece of the data.
    conclude : callable (list of those) -> float
        The measure of all the pieces.
    """

    look: Callable[[FloatArray, FloatArray, FloatArray], Any]
    conclude: Callable[[list[Any]], float]

    def __call__(self, outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
        return self.conclude([self.look(outputs, targets, weights)])


def _classes(values: FloatArray) -> npt.NDArray[np.int64]:
    """The most probable class of each row; for one output, whether it is at least a half."""
    if values.shape[1] == 1:
        return (values[:, 0] >= 0.5).astype(np.int64)
    return np.asarray(values.argmax(axis=1), np.int64)


def _mean(pieces: list[Wide]) -> float:
    """Of pieces (sum, weight)."""
    total, weight = np.sum(pieces, axis=0)
    return float(total / weight)


def _hits(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> Wide:
    right = _classes(outputs) == _classes(targets)
    return np.array([weights[right].sum(dtype=np.float64), weights.sum(dtype=np.float64)])


def accuracy(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The share of rows whose class is right: the largest output, or for one output a threshold of a half.

    >>> accuracy(np.array([[0.9], [0.2], [0.6]]), np.array([[1.0], [1.0], [1.0]]), np.ones(3)).__round__(3)
    0.667
    """
    return METRICS["accuracy"](outputs, targets, weights)


def _counts(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> Wide:
    """(3, classes): the weight of the rows that are of a class and said to be, that are said to be, and that are."""
    said, true = _classes(outputs), _classes(targets)
    kinds = max(2, outputs.shape[1])
    right = said == true
    return np.array(
        [
            np.bincount(said[right], weights[right], kinds),
            np.bincount(said, weights, kinds),
            np.bincount(true, weights, kinds),
        ]
    )


def _mean_f1(pieces: list[tuple[Wide, bool]]) -> float:
    right, said, true = np.sum([counts for counts, _ in pieces], axis=0)
    total = said + true
    scores = 2 * right / np.where(total > 0, total, 1)
    return float(scores[1] if pieces[0][1] else scores[total > 0].mean())


def f1(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The harmonic mean of precision and recall: of class 1 for one output, else the mean over the classes that occur.

    >>> f1(np.array([[0.9], [0.2], [0.6]]), np.array([[1.0], [1.0], [0.0]]), np.ones(3))
    0.5
    """
    return METRICS["f1"](outputs, targets, weights)


def _absolute(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> Wide:
    errors = np.abs(outputs - targets).mean(axis=1, dtype=np.float64)
    return np.array([(errors * weights).sum(), weights.sum(dtype=np.float64)])


def mae(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The mean absolute error over rows and outputs.

    >>> mae(np.array([[1.0, 4.0]]), np.array([[0.0, 1.0]]), np.ones(1))
    2.0
    """
    return METRICS["mae"](outputs, targets, weights)


def _squared(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> Wide:
    errors = ((outputs - targets) ** 2).mean(axis=1, dtype=np.float64)
    return np.array([(errors * weights).sum(), weights.sum(dtype=np.float64)])


def rmse(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The root of the mean squared error over rows and outputs.

    >>> rmse(np.array([[3.0], [4.0]]), np.zeros((2, 1)), np.ones(2)).__round__(4)
    3.5355
    """
    return METRICS["rmse"](outputs, targets, weights)


def _moments(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> tuple[float, Wide, Wide, Wide]:
    """Weight, mean of the targets, and the weighted sums of their squares about it and of the squared errors, (O,) each."""
    wide, share = targets.astype(np.float64), weights.astype(np.float64)[:, None]
    weight = float(share.sum())
    mean = (share * wide).sum(axis=0) / weight
    mean = np.where((wide == wide[0]).all(axis=0), wide[0], mean)  # without rounding where there is nothing to explain
    return weight, mean, (share * (wide - mean) ** 2).sum(axis=0), (share * (outputs - wide) ** 2).sum(axis=0)


def _explained(pieces: list[tuple[float, Wide, Wide, Wide]]) -> float:
    weights, means, spreads, left = (np.array(values) for values in zip(*pieces, strict=True))
    mean = means[0] + (weights[:, None] * (means - means[0])).sum(axis=0) / weights.sum()
    spread = (spreads + weights[:, None] * (means - mean) ** 2).sum(axis=0)
    unexplained = left.sum(axis=0)
    explained = np.where(spread > 0, 1 - unexplained / np.where(spread > 0, spread, 1), unexplained == 0)
    return float(explained.mean())


def r2(outputs: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """The share of the targets' variance that is explained, averaged over the outputs: 1 is perfect, 0 is their mean.

    For an output whose targets are all the same: 1 if it is met, else 0.

    >>> r2(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]), np.ones(3))
    0.5
    """
    return METRICS["r2"](outputs, targets, weights)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_hits, _mean),
    "f1": Metric(lambda y, t, w: (_counts(y, t, w), y.shape[1] == 1), _mean_f1),
    "mae": Metric(_absolute, _mean),
    "rmse": Metric(_squared, lambda pieces: float(np.sqrt(_mean(pieces)))),
    "r2": Metric(_moments, _explained),
}


def as_metrics(metrics: object, owner: str, taken: Collection[str] = ()) -> dict[str, Metric]:
    """The measures that a user's words, callables or mapping of callables stand for, by name.

    A callable takes outputs and targets, rows (M, O) of all real steps, and does not hear of their weights. Names that are
    `taken` by other lists of a history are refused: one would hide the other.

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
    found = {str(name): _metric(value, owner) for name, value in named.items()}
    for name in found:
        if name in taken or f"validation_{name}" in found:
            raise ValueError(f"metrics of {owner} must not have names of other lists of the history. Got {name!r}.")
    return found


def _metric(value: object, owner: str) -> Metric:
    if callable(value):
        return _of_all_rows(value)
    return METRICS[choice(value, "metrics", owner, METRICS)]


def _of_all_rows(measure: Callable[..., Any]) -> Metric:
    """A user's measure, which sees all rows at once."""

    def conclude(pieces: list[tuple[FloatArray, FloatArray]]) -> float:
        outputs, targets = zip(*pieces, strict=True)
        return float(measure(np.concatenate(outputs), np.concatenate(targets)))

    return Metric(lambda outputs, targets, weights: (outputs, targets), conclude)
