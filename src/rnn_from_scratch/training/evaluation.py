"""The loss and the metrics of a network on a whole data set, as it stands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnn_from_scratch.engines.base import Engine, PlanType, first_state, loss_of
from rnn_from_scratch.metrics import Metric
from rnn_from_scratch.sequences import Batch, Targets

__all__ = ["evaluate"]

MOST_ROWS = 1 << 16
"""Steps that are run at once, so that data sets of any size fit into memory."""


def evaluate(
    engine: Engine[PlanType], plan: PlanType, inputs: Batch, targets: Targets, metrics: Mapping[str, Metric]
) -> tuple[float, dict[str, float]]:
    """The loss, without penalty and dropout, and every metric over all rows that have a weight."""
    outputs, truths, weights = [], [], []
    total, sum_of_weights = 0.0, 0.0
    N, at_once = len(inputs), max(1, MOST_ROWS // inputs.steps)
    specification = plan.specification
    for first in range(0, N, at_once):
        chosen = np.arange(first, min(first + at_once, N))
        part, part_targets = inputs.select(chosen), targets.select(chosen)
        run = engine.forward(plan, part, first_state(plan, len(part)), keep_tape=False)
        rows = part_targets.where()
        row_weights = part_targets.weights[rows]
        weight = float(row_weights.sum(dtype=np.float64))
        if weight > 0:
            total += weight * loss_of(specification, run.preactivations, part_targets)[0]
            sum_of_weights += weight
        if metrics:
            real = part.real_steps() if specification.readout == "every" else slice(None)
            outputs.append(run.outputs[real].reshape(-1, specification.output_size))
            truths.append(part_targets.array[rows])
            weights.append(row_weights)
    found: dict[str, float] = {}
    if metrics:
        y, t, w = np.concatenate(outputs), np.concatenate(truths), np.concatenate(weights)
        counted = w > 0
        found = {name: float(metric(y[counted], t[counted], w[counted])) for name, metric in metrics.items()}
    return total / sum_of_weights, found
