"""The outputs, the loss and the metrics of a network on a whole data set, as it stands; piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, State
from rnn_from_scratch.engines.base import Engine, PlanType, first_state, loss_of, zero_state
from rnn_from_scratch.sequences import MOST_ROWS, Batch, Targets

if TYPE_CHECKING:
    from rnn_from_scratch.metrics import Metric

__all__ = ["evaluate", "run_all"]


def run_all(
    engine: Engine[PlanType], plan: PlanType, inputs: Batch, state: State | None, wants_states: bool
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """The outputs of all sequences, from the given state or else the first one, and if wanted their final states.

    Of a single piece the final states come in any case.
    """
    N = len(inputs)
    if N * inputs.steps <= MOST_ROWS:
        run = engine.forward(plan, inputs, first_state(plan, N) if state is None else state, keep_tape=False)
        return run.outputs, run.final_state
    specification, dtype = plan.specification, plan.parameters.dtype
    rows = inputs.steps if specification.readout == "every" else 1
    outputs = np.zeros((N, rows, specification.output_size), dtype)
    states = zero_state(specification, N if wants_states else 0, dtype)
    for chosen in inputs.pieces():
        part = inputs.select(chosen)
        own = None if state is None else {name: values[chosen] for name, values in state.items()}
        run = engine.forward(plan, part, own or first_state(plan, len(part)), keep_tape=False)
        outputs[chosen, : part.steps] = run.outputs.reshape(len(part), -1, specification.output_size)
        if wants_states:
            for name, values in run.final_state.items():
                states[name][chosen] = values
    return outputs if specification.readout == "every" else outputs[:, 0], states


def evaluate(
    engine: Engine[PlanType], plan: PlanType, inputs: Batch, targets: Targets, metrics: Mapping[str, Metric]
) -> tuple[float, dict[str, float]]:
    """The loss, without penalty and dropout, and every metric over all rows that have a weight; piece by piece."""
    total, sum_of_weights = 0.0, 0.0
    specification = plan.specification
    looks: dict[str, list[Any]] = {name: [] for name in metrics}
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is an answer
        for chosen in inputs.pieces():
            part, part_targets = inputs.select(chosen), targets.select(chosen)
            rows = part_targets.where()
            weights = part_targets.weights[rows]
            weight = float(weights.sum(dtype=np.float64))
            if not weight > 0:
                continue
            run = engine.forward(plan, part, first_state(plan, len(part)), keep_tape=False)
            total += weight * loss_of(specification, run.preactivations, part_targets)[0]
            sum_of_weights += weight
            if not metrics:
                continue
            real = part.real_steps() if specification.readout == "every" else slice(None)
            counted = weights > 0
            y = run.outputs[real].reshape(-1, specification.output_size)[counted]
            t = part_targets.array[rows][counted]
            for name, metric in metrics.items():
                looks[name].append(metric.look(y, t, weights[counted]))
        found = {name: metric.conclude(looks[name]) for name, metric in metrics.items()}
    return total / sum_of_weights, found
