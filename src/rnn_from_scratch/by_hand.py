"""Forward and backward by hand: what a run of a network leaves behind, and the gradients it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, State
from rnn_from_scratch.engines.base import Engine, Plan, PlanType, add_learned_state, first_state, zero_state
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.states import as_state
from rnn_from_scratch.textbook.dropout import Dropout
from rnn_from_scratch.textbook.readout import d_preactivations as through_output_activation
from rnn_from_scratch.validation import integer, numeric_array, require_finite, shown

__all__ = ["Gradients", "Run", "as_dropout", "backward", "forward"]

OWNER = "Network.backward"


@dataclass(frozen=True, eq=False)
class Run:
    """What `Network.forward` returns.

    Attributes
    ----------
    outputs, preactivations : ndarray (N, T, O) with ``readout="every"``, zero past the end of a sequence; else (N, O)
        Read-only: the way back needs them.
    final_state : dict of str to ndarray (N, H)
        The state at the last real step of each sequence, by names such as 'layer0.h'.
    tape : object
        What the engine keeps for `Network.backward`, which may be called several times; the remaining attributes are its
        business too.
    """

    outputs: FloatArray
    preactivations: FloatArray
    final_state: dict[str, FloatArray]
    tape: Any = field(repr=False)
    plan: Plan = field(repr=False)
    version: int = field(repr=False)  # of the parameters that the run was made with
    inputs: Batch = field(repr=False)
    state_given: bool = field(repr=False)


@dataclass(frozen=True, eq=False)
class Gradients:
    """What `Network.backward` returns.

    Attributes
    ----------
    gradient : dict of str to ndarray
        By every parameter, in the names and shapes of `Network.parameters`.
    d_inputs : ndarray (N, T, D)
        By the inputs, zero past the end of a sequence; for tokens, by their embeddings.
    d_state : dict of str to ndarray (N, H)
        By the state before the first step.
    """

    gradient: dict[str, FloatArray]
    d_inputs: FloatArray
    d_state: dict[str, FloatArray]


def as_dropout(dropout_key: object, N: int) -> Dropout | None:
    """The masks that a key names, for N sequences; no key, no masks."""
    if dropout_key is None:
        return None
    key = integer(dropout_key, "dropout_key", "Network.forward", minimum=0)
    if key >= 2**64:
        raise ValueError(f"dropout_key of Network.forward must be an int below 2**64. Got {shown(key)}.")
    return Dropout(key, 0, np.arange(N, dtype=np.int64))


def forward(
    engine: Engine[PlanType], plan: PlanType, inputs: Batch, state: State | None, dropout: Dropout | None
) -> Run:
    """Run whole sequences, from the given state or else the learned one or zeros, and keep the tape."""
    before = first_state(plan, len(inputs)) if state is None else state
    run = engine.forward(plan, inputs, before, keep_tape=True, dropout=dropout)
    for values in (run.outputs, run.preactivations):  # with linear outputs they may be one array
        values.flags.writeable = False
    return Run(*run, plan, plan.parameters.version, inputs, state is not None)


def backward(
    engine: Engine[PlanType], plan: PlanType, run: Run, d_outputs: object, d_preactivations: object, d_state: object
) -> Gradients:
    """All gradients of whatever has the given gradients by the outputs, or pre-activations, and by the final state."""
    if not isinstance(run, Run):
        raise TypeError(f"run of {OWNER} must be what Network.forward returned. Got {shown(run)}.")
    if run.plan is not plan:
        raise ValueError(f"run of {OWNER} must come from the forward of the same network. Got that of another one.")
    if run.version != plan.parameters.version:
        raise ValueError(f"run of {OWNER} must be newer than the parameters. They were edited or trained since.")
    if (d_outputs is None) == (d_preactivations is None):
        came = "neither" if d_outputs is None else "both"
        raise ValueError(f"d_outputs or d_preactivations of {OWNER}, one of the two, must be given. Got {came}.")
    specification, parameters = plan.specification, plan.parameters
    if d_outputs is not None:
        d = _as_gradient(d_outputs, run, specification, "d_outputs")
        d_a = through_output_activation(specification.output_activation, run.outputs, d)
    else:
        d_a = _as_gradient(d_preactivations, run, specification, "d_preactivations")
    N = len(run.inputs)
    d_after = (
        zero_state(specification, N, parameters.dtype)
        if d_state is None
        else as_state(d_state, specification, N, parameters.dtype, name=f"d_state of {OWNER}", complete=False)
    )
    result = engine.backward(plan, run.tape, d_a, d_after)
    if not run.state_given:
        add_learned_state(parameters, result.gradient, result.d_state)
    return Gradients(parameters.named(result.gradient), result.d_inputs, result.d_state)


def _as_gradient(values: object, run: Run, specification: NetworkSpecification, name: str) -> FloatArray:
    """A gradient in the shape of the outputs, of the model's dtype, with zeros in the padding whatever stood there."""
    array = numeric_array(values, f"{name} of {OWNER}")
    if array.shape != run.outputs.shape:
        raise ValueError(f"{name} of {OWNER} must be {run.outputs.shape}. Got {array.shape}.")
    if specification.readout == "every" and not run.inputs.unpadded:
        array = np.where(run.inputs.real_steps()[:, :, None], array, 0)
    with np.errstate(over="ignore"):  # what does not fit becomes inf, which is refused by name
        d: FloatArray = array.astype(run.outputs.dtype)
    require_finite(d, f"{name} of {OWNER}")
    return d
