"""The contract between the mathematics and everything else. Two engines obey it, tested by one battery.

An engine makes a *plan* for one network (its workspace, and the weights in its own layout). `forward`, `backward`, `step`
and `train_updates` work on a plan. State is explicit: handed in, handed out, never None; `zero_state` makes the zeros at the
boundary. Outputs past a sequence's end are zero, and what stands in the padding of any array handed in is never read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray, State
from rnn_from_scratch.clipping import Clipping, norm
from rnn_from_scratch.optimizers import Optimizer, OptimizerState
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.textbook.losses import loss_and_gradient

__all__ = [
    "Backward",
    "Engine",
    "Forward",
    "Plan",
    "UpdateReport",
    "Updates",
    "active_rows",
    "batch_loss",
    "loss_of",
    "zero_state",
]

Tape = Any
"""What an engine's backward needs of its forward; only that engine looks inside."""


class Plan:
    """A network prepared for an engine; engines add what they need.

    Parameters
    ----------
    specification : NetworkSpecification
    parameters : Parameters
        Held by reference: edits are noticed through ``parameters.version``.
    """

    def __init__(self, specification: NetworkSpecification, parameters: Parameters) -> None:
        self.specification = specification
        self.parameters = parameters


class Forward(NamedTuple):
    """What `Engine.forward` returns. Shapes are (N, T, O) with ``readout="every"`` and (N, O) with ``"last"``."""

    outputs: FloatArray
    preactivations: FloatArray
    final_state: dict[str, FloatArray]  # each (N, H): the state at the last real step
    tape: Tape


class Backward(NamedTuple):
    """What `Engine.backward` returns."""

    gradient: FloatArray  # (P,), laid out like the parameters
    d_inputs: FloatArray  # (N, T, D)
    d_state: dict[str, FloatArray]  # each (N, H): by the state that forward was given


@dataclass(frozen=True)
class Updates:
    """Some consecutive updates of training: U mini-batches over one training set, none of it copied.

    Attributes
    ----------
    inputs, targets : Batch, Targets
        The whole training set.
    order : ndarray (M,) of int64
        Sequences in the order in which they are visited.
    boundaries : ndarray (U + 1,) of int64
        Update u sees ``order[boundaries[u] : boundaries[u + 1]]``.
    learning_rates : ndarray (U,) of float64
    """

    inputs: Batch
    targets: Targets
    order: IndexArray
    boundaries: IndexArray
    learning_rates: np.ndarray[Any, np.dtype[np.float64]]

    def __len__(self) -> int:
        return len(self.learning_rates)


class UpdateReport(NamedTuple):
    """What happened, update by update. Where `applied` is less than U, the next one had a loss or gradient that is not finite.

    Arrays have one entry for each update that was computed: `applied`, or one more.
    """

    losses: np.ndarray[Any, np.dtype[np.float64]]
    gradient_norms: np.ndarray[Any, np.dtype[np.float64]]  # of the whole gradient, before clipping
    clipped: np.ndarray[Any, np.dtype[np.bool_]]
    applied: int


PlanType = TypeVar("PlanType", bound=Plan)


class Engine(ABC, Generic[PlanType]):
    """The same network, at some speed."""

    name: str

    @abstractmethod
    def plan(self, specification: NetworkSpecification, parameters: Parameters) -> PlanType:
        """Prepare a network. The plan follows the parameters through training and edits."""

    @abstractmethod
    def forward(self, plan: PlanType, batch: Batch, state: State, *, keep_tape: bool) -> Forward:
        """Run whole sequences. Without `keep_tape` the tape is None."""

    @abstractmethod
    def backward(self, plan: PlanType, tape: Tape, d_preactivations: FloatArray, d_final_state: State) -> Backward:
        """Gradients of whatever the caller differentiates, given its gradient by the pre-activations and the final state."""

    @abstractmethod
    def step(self, plan: PlanType, x: FloatArray, state: State) -> tuple[FloatArray, dict[str, FloatArray]]:
        """One time step of a stream: x (N, D) and the state give the output (N, O) and the next state."""

    def train_updates(
        self,
        plan: PlanType,
        updates: Updates,
        optimizer: Optimizer,
        optimizer_state: OptimizerState,
        clipping: Clipping,
    ) -> UpdateReport:
        """Make the updates one after the other; stop before applying one that is not finite.

        This is the definition, composed of the other methods; an engine may do the same in one go.
        """
        losses, norms, clipped = [], [], []
        parameters = plan.parameters
        applied = 0
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported, not warned of
            for u in range(len(updates)):
                chosen = updates.order[updates.boundaries[u] : updates.boundaries[u + 1]]
                loss, gradient = batch_loss(self, plan, updates.inputs.select(chosen), updates.targets.select(chosen))
                size = norm(gradient)
                finite = bool(np.isfinite(loss) and np.isfinite(size))
                losses.append(loss)
                norms.append(size)
                clipped.append(finite and clipping.apply(gradient, parameters.slices.values()))
                if not finite:
                    break
                optimizer.update(parameters.vector, gradient, optimizer_state, float(updates.learning_rates[u]))
                applied += 1
        return UpdateReport(np.array(losses), np.array(norms), np.array(clipped, dtype=np.bool_), applied)


def zero_state(specification: NetworkSpecification, N: int, dtype: np.dtype[np.floating]) -> dict[str, FloatArray]:
    """The state before the first step of N sequences: zeros, {name: (N, H)}."""
    return {name: np.zeros((N, units), dtype) for name, units in specification.state_shapes.items()}


def batch_loss(engine: Engine[PlanType], plan: PlanType, inputs: Batch, targets: Targets) -> tuple[float, FloatArray]:
    """The loss of one mini-batch and its gradient by all parameters (P,): forward, loss, backward."""
    specification, dtype = plan.specification, plan.parameters.dtype
    state = zero_state(specification, len(inputs), dtype)
    run = engine.forward(plan, inputs, state, keep_tape=True)
    loss, d_a = loss_of(specification, run.preactivations, targets)
    return loss, engine.backward(plan, run.tape, d_a, zero_state(specification, len(inputs), dtype)).gradient


def loss_of(
    specification: NetworkSpecification, preactivations: FloatArray, targets: Targets
) -> tuple[float, FloatArray]:
    """The loss over the real rows, and its gradient by the pre-activations in their own shape, zero in the padding."""
    rows = targets.rows()
    padded = specification.readout == "every" and not targets.unpadded
    real: Any = targets.real_steps() if padded else slice(None)  # (N, T)
    a = preactivations[real].reshape(-1, specification.output_size)
    loss, d_rows = loss_and_gradient(
        specification.loss, specification.output_activation, a, targets.array[rows], targets.weights[rows]
    )
    d_a = np.zeros_like(preactivations)
    d_a[real] = d_rows.reshape(d_a[real].shape)
    return loss, d_a


def active_rows(lengths: Sequence[int] | IndexArray, steps: int) -> list[int]:
    """How many sequences still run at each step.

    >>> active_rows([3, 1, 1], 4)
    [3, 1, 1, 0]
    """
    return [int(n) for n in (np.asarray(lengths)[:, None] > np.arange(steps)).sum(axis=0)]
