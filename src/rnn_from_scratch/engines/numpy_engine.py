"""The textbook, run as it is written: stacking, sorting and flat gradients around the functions of `textbook/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray, State, Tensors
from rnn_from_scratch.engines.base import Backward, Engine, Forward, Plan, active_rows
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.textbook import elman, readout

__all__ = ["NumpyEngine"]

CELLS = {"elman": elman}


@dataclass(frozen=True)
class NetworkTape:
    """What the layers keep, and how the rows of the batch were sorted."""

    layers: list[elman.Tape]
    h: FloatArray  # (T, N, H) or (N, H): what the readout saw
    order: IndexArray  # (N,): sequences by falling length
    active: Sequence[int]
    steps: int


class NumpyEngine(Engine[Plan]):
    """Complete in itself, on NumPy alone."""

    name = "numpy"

    def plan(self, specification: NetworkSpecification, parameters: Parameters) -> Plan:
        return Plan(specification, parameters)

    def forward(self, plan: Plan, batch: Batch, state: State, *, keep_tape: bool) -> Forward:
        specification = plan.specification
        order = np.argsort(-batch.lengths, kind="stable")
        batch_sorted = Batch(batch.array, batch.starts[order], batch.lengths[order], batch.steps)
        active = active_rows(batch_sorted.lengths, batch.steps)
        h = batch_sorted.time_major()  # (T, N, D): what the next layer reads
        tapes, final_state = [], {}
        for index, layer in enumerate(specification.layers):
            h_0 = [state[f"layer{index}.{name}"][order] for name in layer.states]
            h, h_T, tape = CELLS[layer.cell].forward(_layer(plan, index), h, *h_0, active=active, **layer.options)
            tapes.append(tape)
            final_state[f"layer{index}.h"] = _unsort(h_T, order)
        seen = h if specification.readout == "every" else h_T
        a = readout.forward(_readout(plan), seen)
        outputs = readout.OUTPUT_ACTIVATIONS[specification.output_activation](a)
        if specification.readout == "every":
            past_the_end = ~batch.real_steps()  # (N, T)
            a, outputs = (_unsort(values.swapaxes(0, 1), order) for values in (a, outputs))
            a[past_the_end] = outputs[past_the_end] = 0
        else:
            a, outputs = _unsort(a, order), _unsort(outputs, order)
        tape_of_all = NetworkTape(tapes, seen, order, active, batch.steps) if keep_tape else None
        return Forward(outputs, a, final_state, tape_of_all)

    def backward(self, plan: Plan, tape: NetworkTape, d_preactivations: FloatArray, d_final_state: State) -> Backward:
        specification, order = plan.specification, tape.order
        gradient = np.empty_like(plan.parameters.vector)
        d_named = plan.parameters.named(gradient)
        d_a = d_preactivations[order]
        if specification.readout == "every":
            d_a = _without_padding(d_a.swapaxes(0, 1), tape.active)
        d_readout = readout.backward(_readout(plan), tape.h, d_a)
        _store(d_named, "readout", d_readout.d_p)

        d_T = {name: values[order] for name, values in d_final_state.items()}
        d_h = d_readout.d_h
        if specification.readout == "last":
            top = f"layer{len(specification.layers) - 1}.h"
            d_T[top] = d_T[top] + d_h
            d_h = np.zeros((tape.steps, *d_h.shape), d_h.dtype)
        d_state = {}
        for index in range(len(specification.layers) - 1, -1, -1):
            cell = CELLS[specification.layers[index].cell]
            d_p, d_h, d_h_0 = cell.backward(_layer(plan, index), tape.layers[index], d_h, d_T[f"layer{index}.h"])
            _store(d_named, f"layer{index}", d_p)
            d_state[f"layer{index}.h"] = _unsort(d_h_0, order)
        return Backward(gradient, _unsort(d_h.swapaxes(0, 1), order), d_state)

    def step(self, plan: Plan, x: FloatArray, state: State) -> tuple[FloatArray, dict[str, FloatArray]]:
        next_state = {}
        h = x
        for index, layer in enumerate(plan.specification.layers):
            before = [state[f"layer{index}.{name}"] for name in layer.states]
            h = CELLS[layer.cell].step(_layer(plan, index), h, *before, **layer.options)
            next_state[f"layer{index}.h"] = h
        a = readout.forward(_readout(plan), h)
        return readout.OUTPUT_ACTIVATIONS[plan.specification.output_activation](a), next_state


def _layer(plan: Plan, index: int) -> Tensors:
    """The parameters of one layer by the names of the alphabet."""
    views = plan.parameters.views
    return {name: views[f"layer{index}.{name}"] for name in ("W_x", "W_h", "b_h")}


def _readout(plan: Plan) -> Tensors:
    views = plan.parameters.views
    return {"W_y": views["readout.W_y"], "b_y": views["readout.b_y"]}


def _store(d_named: dict[str, FloatArray], prefix: str, d_p: Tensors) -> None:
    for name, values in d_p.items():
        d_named[f"{prefix}.{name}"][...] = values


def _unsort(rows: FloatArray, order: IndexArray) -> FloatArray:
    """Rows sorted by length, back in the order in which their sequences came."""
    original = np.empty_like(rows, order="C")
    original[order] = rows
    return original


def _without_padding(d_a: FloatArray, active: Sequence[int]) -> FloatArray:
    """(T, N, O) with zeros past each sequence's end, whatever stood there."""
    real = np.arange(d_a.shape[1]) < np.asarray(active)[:, None]  # (T, N)
    return np.where(real[:, :, None], d_a, 0)
