"""`check_gradients`: the gradient of every tensor against the slope of the loss itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.engines.base import first_state, loss_of
from rnn_from_scratch.engines.numpy_engine import NumpyEngine
from rnn_from_scratch.network import Network
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.textbook.penalty import add_penalty
from rnn_from_scratch.training_set import as_training_set
from rnn_from_scratch.validation import generator as as_generator
from rnn_from_scratch.validation import positive, shown

__all__ = ["GradientCheck", "GradientRow", "check_gradients"]

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
STEP = (
    1e-4  # of four points, whose error in float64 is least near the fifth root of its precision, and small long before
)


@dataclass(frozen=True)
class GradientRow:
    """One tensor: the slope along a random direction, by the gradient and by two losses."""

    tensor: str
    shape: tuple[int, ...]
    by_gradient: float
    by_difference: float
    error: float
    """|by_gradient − by_difference| / max(|by_gradient|, |by_difference|, 1e-3 · largest slope of any tensor)

    As large a slope counts as the loss makes by its curvature a step ε away: where training has ended, less cannot be told.
    """


@dataclass(frozen=True)
class GradientCheck:
    """The table that `check_gradients` returns; print it.

    Attributes
    ----------
    rows : tuple of GradientRow
    tolerance : float
        Largest error that passes.
    """

    rows: tuple[GradientRow, ...]
    tolerance: float

    @property
    def max_error(self) -> float:
        """The largest error of any tensor."""
        return max(row.error for row in self.rows)

    @property
    def passed(self) -> bool:
        """Whether every tensor's error is within the tolerance."""
        return self.max_error <= self.tolerance  # False for NaN

    def __str__(self) -> str:
        width = max(14, *(len(row.tensor) for row in self.rows)) + 2
        lines = [f"{'tensor':<{width}}{'shape':<14}{'by gradient':>16}{'by difference':>16}{'error':>11}"]
        for row in self.rows:
            mark = "" if row.error <= self.tolerance else "  WRONG"
            lines.append(
                f"{row.tensor:<{width}}{row.shape!s:<14}{row.by_gradient:>16.9g}{row.by_difference:>16.9g}{row.error:>11.1e}{mark}"
            )
        verdict = "all within" if self.passed else "NOT all within"
        return "\n".join([*lines, f"{verdict} {self.tolerance:.0e}"])


def check_gradients(
    network: Network,
    X: Any,
    y: Any,
    *,
    lengths: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    l2: float = 0.0,
    tolerance: float | None = None,
    random_state: Any = 0,
) -> GradientCheck:
    """Compare the network's gradient with finite differences of its loss, tensor by tensor.

    For each tensor W a random direction V of unit length is drawn, and ``Σ d_W ⊙ V`` is held against
    ``(8 (L(W + εV) − L(W − εV)) − (L(W + 2εV) − L(W − 2εV))) / 12ε``, which differs from the slope by a term in ε⁴ only: also
    where training has made the slope nearly zero, and curvature is all there is. The gradient comes from the network's own
    engine and precision, the losses from the NumPy engine in float64, so that a mistake of either engine, or of the
    precision, shows. Where an activation has a kink (relu), or a loss has one ('mae'), a difference across it is no slope: use
    smooth data or another seed. Nothing is dropped. Learned states and embeddings are tensors like any other.

    Parameters
    ----------
    network : Network
        Not changed.
    X, y, lengths, sample_weight, class_weight, l2
        As in `Network.fit`.
    tolerance : float, optional
        Largest relative error that passes: 1e-6 for float64, 1e-3 for float32 when not given.
    random_state : None, int, SeedSequence or Generator, default=0
        Draws the directions.

    Returns
    -------
    GradientCheck

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from rnn_from_scratch import Elman, Network
    >>> rng = np.random.default_rng(0)
    >>> network = Network(2, [Elman(4)], 1, random_state=0)
    >>> check = check_gradients(network, rng.normal(size=(3, 6, 2)), rng.normal(size=(3, 6, 1)))
    >>> check.passed, [row.tensor for row in check.rows]
    (True, ['layer0.W_x', 'layer0.W_h', 'layer0.b_h', 'readout.W_y', 'readout.b_y'])
    """
    if not isinstance(network, Network):
        raise TypeError(f"network of check_gradients must be a Network. Got {shown(network)}.")
    allowed = None if tolerance is None else positive(tolerance, "tolerance", "check_gradients")
    generator = as_generator(random_state, "check_gradients")
    data = {"lengths": lengths, "sample_weight": sample_weight, "class_weight": class_weight}
    gradient = network.loss_and_gradient(X, y, l2=l2, **data)[1]
    oracle = _Oracle(network, X, y, l2, data)
    slopes, bends = [], []
    for name, d_W in gradient.items():
        V = generator.normal(size=d_W.shape)
        V /= np.sqrt((V * V).sum())
        by_difference, bend = oracle.slope(name, V)
        slopes.append((name, d_W.shape, float((d_W * V).sum()), by_difference))
        bends.append(bend)
    floor = 1e-3 * max(*bends, *(max(abs(a), abs(b)) for _, _, a, b in slopes)) or 1.0
    rows = tuple(
        GradientRow(name, shape, a, b, abs(a - b) / max(abs(a), abs(b), floor)) for name, shape, a, b in slopes
    )
    return GradientCheck(rows, TOLERANCE[str(network.dtype)] if allowed is None else allowed)


class _Oracle:
    """The loss of a network as the textbook computes it in float64, at and around its parameters."""

    def __init__(self, network: Network, X: Any, y: Any, l2: float, data: dict[str, Any]) -> None:
        self.specification, self.l2 = network.specification, l2
        float64 = np.dtype(np.float64)
        self.parameters = Parameters(self.specification, float64)
        with self.parameters.edit() as views:
            for name, values in network.parameters.items():
                views[name][...] = values
        # The numbers the network saw: rounded to its precision first
        seen = network.dtype or float64
        inputs, targets = as_training_set(self.specification, seen, X, y, owner="check_gradients", **data)
        if self.specification.vocabulary_size is None:
            inputs = replace(inputs, array=inputs.array.astype(float64))
        self.inputs: Batch = inputs
        self.targets = replace(targets, array=targets.array.astype(float64), weights=targets.weights.astype(float64))
        self.engine = NumpyEngine()
        self.plan = self.engine.plan(self.specification, self.parameters)

    def loss(self) -> float:
        run = self.engine.forward(self.plan, self.inputs, first_state(self.plan, len(self.inputs)), keep_tape=False)
        loss = loss_of(self.specification, run.preactivations, self.targets)[0]
        vector = self.parameters.vector
        return loss + add_penalty(self.l2, vector, self.parameters.matrices, np.zeros_like(vector))

    def slope(self, name: str, direction: FloatArray) -> tuple[float, float]:
        """The slope along a direction, and by how much it changes within a step."""
        values = self.parameters.views[name]
        before = values.copy()
        losses = {}
        for steps in (1, -1, 2, -2, 0):
            with self.parameters.edit() as views:
                views[name][...] = before + steps * STEP * direction
            losses[steps] = self.loss()
        slope = (8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / (12 * STEP)
        return slope, abs(losses[1] + losses[-1] - 2 * losses[0]) / STEP
