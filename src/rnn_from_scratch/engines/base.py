"""The contract between the mathematics and everything else. Two engines obey it, tested by one battery.

An engine makes a *plan* for one network (its workspace, and the weights in its own layout). `forward`, `backward`, `step`
and `train_updates` work on a plan. State is explicit: handed in, handed out, never None; `first_state` makes it at the boundary
where nobody gave one. Outputs past a sequence's end are zero, and what stands in the padding of any array handed in is never
read. Dropout happens where its masks are named and nowhere else: a run without a `Dropout` drops nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray, State
from rnn_from_scratch.clipping import Clipping, norm
from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.optimizers import Optimizer, OptimizerState
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.validation import shown

if TYPE_CHECKING:
    from rnn_from_scratch.textbook import dropout as masks
    from rnn_from_scratch.textbook import losses, penalty, readout
    from rnn_from_scratch.textbook.dropout import Dropout
else:  # needed where an update is composed of forward, loss and backward
    losses = deferred_module("rnn_from_scratch.textbook.losses")
    masks = deferred_module("rnn_from_scratch.textbook.dropout")
    penalty = deferred_module("rnn_from_scratch.textbook.penalty")
    readout = deferred_module("rnn_from_scratch.textbook.readout")

__all__ = [
    "Backward",
    "Carried",
    "Engine",
    "Forward",
    "Plan",
    "Stepper",
    "UpdateReport",
    "UpdateRule",
    "Updates",
    "active_rows",
    "add_learned_state",
    "batch_loss",
    "carried_loss",
    "first_state",
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
        self.seconds_per_update: float | None = None  # of the last training, for whoever cuts the next one into slices
        names = {name: f"{name}_0" for name in specification.state_shapes}
        self.learned = {name: parameters.views[full] for name, full in names.items() if full in parameters.views}
        self._zeros: tuple[int, dict[str, FloatArray]] = (0, {})

    def at_once(self, X: Any) -> FloatArray | None:
        """The outputs of X as a user passed it, taken as it is; or None, where somebody has to look at it first."""
        return None

    def zeros(self, N: int) -> dict[str, FloatArray]:
        """Zeros for every state of N sequences, {name: (N, H)}: the same again and again, so nobody writes to them."""
        known = self._zeros  # read once: threads may share a plan
        if known[0] != N:
            known = self._zeros = N, zero_state(self.specification, N, self.parameters.dtype)
        return known[1]


class Forward(NamedTuple):
    """What `Engine.forward` returns. Shapes are (N, T, O) with ``readout="every"``, else (N, O)."""

    outputs: FloatArray
    preactivations: FloatArray
    final_state: dict[str, FloatArray]  # each (N, H): the state at the last real step
    tape: Tape


class Backward(NamedTuple):
    """What `Engine.backward` returns."""

    gradient: FloatArray  # (P,), laid out like the parameters; zero for learned states, which are the caller's business
    d_inputs: FloatArray  # (N, T, D); for tokens, by their embeddings
    d_state: dict[str, FloatArray]  # each (N, H): by the state that forward was given


class Carried(NamedTuple):
    """States that live longer than an update, for sequences that are parts of longer ones.

    Sequence c goes on from row ``owners[c]`` of the state, or begins anew if it is the first part, ``first_steps[c] = 0``;
    after its forward run that row holds its final state. No gradient flows from one part to the one before. A sequence
    whose part has nothing to learn from (all weights of a mini-batch are zero) only moves the state on.

    Attributes
    ----------
    owners : ndarray (C,) of int64
        For every sequence of the training set; masks are named after owners.
    first_steps : ndarray (C,) of int64
        The time of its first step in the whole.
    state : ndarray (rows, Σ H)
        All states side by side, in the order of ``specification.state_shapes``; changed in place.
    """

    owners: IndexArray
    first_steps: IndexArray
    state: FloatArray

    def views(self, specification: NetworkSpecification) -> dict[str, FloatArray]:
        """Views of the state by name, each (rows, H)."""
        ends = np.cumsum(list(specification.state_shapes.values()))[:-1]
        return dict(zip(specification.state_shapes, np.split(self.state, ends, axis=1), strict=True))


@dataclass(eq=False, repr=False)
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
    dropout_key : int
        Names the masks of this run of training.
    epochs : ndarray (U,) of int64
        The epoch that each update belongs to, which names its masks too.
    carried : None or Carried
        States that go on from update to update.
    """

    inputs: Batch
    targets: Targets
    order: IndexArray
    boundaries: IndexArray
    learning_rates: np.ndarray[Any, np.dtype[np.float64]]
    dropout_key: int
    epochs: IndexArray
    carried: Carried | None = None

    def __len__(self) -> int:
        return len(self.learning_rates)

    def dropout(self, u: int, chosen: IndexArray) -> Dropout:
        """The masks of update u, which sees the chosen sequences."""
        key, epoch = self.dropout_key, int(self.epochs[u])
        if self.carried is None:
            return masks.Dropout(key, epoch, chosen)
        return masks.Dropout(key, epoch, self.carried.owners[chosen], self.carried.first_steps[chosen])


class UpdateRule(NamedTuple):
    """What happens to a gradient on its way to the parameters: penalty, freezing, clipping, optimiser, in this order.

    Attributes
    ----------
    optimizer : Optimizer
    clipping : Clipping
    penalty : float
        λ of the penalty ½ λ Σ ‖W‖² over weight matrices, which is part of the loss and of the gradient.
    frozen : tuple of str
        Tensors that stay as they are: their gradient is set to zero.
    """

    optimizer: Optimizer
    clipping: Clipping
    penalty: float = 0.0
    frozen: tuple[str, ...] = ()


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

    def facts(self) -> dict[str, str]:
        """What else has to be the same for the same bits, by name."""
        return {}

    @abstractmethod
    def plan(self, specification: NetworkSpecification, parameters: Parameters) -> PlanType:
        """Prepare a network. The plan follows the parameters through training and edits."""

    @abstractmethod
    def forward(
        self, plan: PlanType, batch: Batch, state: State, *, keep_tape: bool, dropout: Dropout | None = None
    ) -> Forward:
        """Run whole sequences. Without `keep_tape` the tape is None."""

    @abstractmethod
    def backward(self, plan: PlanType, tape: Tape, d_preactivations: FloatArray, d_final_state: State) -> Backward:
        """Gradients of whatever the caller differentiates, given its gradient by the pre-activations and the final state."""

    @abstractmethod
    def step(self, plan: PlanType, x: FloatArray, state: State) -> tuple[FloatArray, dict[str, FloatArray]]:
        """One time step of a stream: x (N, D) and the state give the output (N, O) and the next state."""

    def stepper(self, plan: PlanType, streams: int | None) -> Stepper:
        """The states of so many streams that advance together, all zero yet; None: of one, whose arrays lack the axis N."""
        return Stepper(self, plan, streams)

    def train_updates(
        self, plan: PlanType, updates: Updates, rule: UpdateRule, optimizer_state: OptimizerState
    ) -> UpdateReport:
        """Make the updates one after the other; stop before applying one that is not finite.

        This is the definition, composed of the other methods; an engine may do the same in one go. Ctrl-C leaves the parameters
        as whole updates have made them, or between two operations of an optimiser's step: finite in any case.
        """
        losses, norms, clipped = [], [], []
        parameters, drops = plan.parameters, plan.specification.drops
        matrices = parameters.matrices
        slices = parameters.slices.values()
        frozen = [parameters.slices[name] for name in rule.frozen]
        decayed = [where for where in matrices if where not in frozen]
        rates, applied = updates.learning_rates.tolist(), 0
        first, last = int(updates.boundaries[0]), int(updates.boundaries[-1])
        order = updates.order[first:last]
        all_inputs, all_targets = updates.inputs.select(order), updates.targets.select(order)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported, not warned of
            for u, (begin, end) in enumerate(pairwise((updates.boundaries - first).tolist())):
                where = slice(begin, end)
                dropout = updates.dropout(u, order[where]) if drops else None
                inputs, targets = all_inputs.select(where), all_targets.select(where)
                found: tuple[float, FloatArray] | None
                if updates.carried is None:
                    found = batch_loss(self, plan, inputs, targets, dropout)
                else:
                    found = carried_loss(self, plan, inputs, targets, dropout, updates.carried, order[where])
                if found is None:  # nothing to learn from here: the states have moved on, and that is all
                    losses.append(0.0)
                    norms.append(0.0)
                    clipped.append(False)
                    applied += 1
                    continue
                loss, gradient = found
                if rule.penalty:
                    loss += penalty.add_penalty(rule.penalty, parameters.vector, matrices, gradient)
                for tensor in frozen:
                    gradient[tensor] = 0
                size = norm(gradient)
                finite = math.isfinite(loss) and math.isfinite(size)
                losses.append(loss)
                norms.append(size)
                clipped.append(finite and rule.clipping.apply(gradient, slices, size))
                if not finite:
                    break
                rate = rates[u]
                rule.optimizer.update(parameters.vector, gradient, optimizer_state, rate, decayed)
                parameters.version += 1  # engines that keep packed copies have to hear of it
                applied += 1
        return UpdateReport(np.array(losses), np.array(norms), np.array(clipped, dtype=np.bool_), applied)


def _somebody_has_to_look(*arguments: Any) -> None:
    """What an engine says that takes nothing as it is."""


class Stepper:
    """The state of N streams that advance together, and the step that changes it.

    This is the definition, composed of `Engine.step`; an engine may keep the state in a layout of its own.

    Attributes
    ----------
    at_once : callable
        ``at_once(x, out)`` makes a step on what a user passed, taken as it is, and returns the outputs; or None, and nothing
        has changed, where somebody has to look at it first.
    """

    def __init__(self, engine: Engine[Any], plan: Plan, streams: int | None) -> None:
        self._engine, self._plan, self._N = engine, plan, streams or 1
        self._state: dict[str, FloatArray] = zero_state(plan.specification, self._N, plan.parameters.dtype)
        self.at_once: Callable[[Any, Any], FloatArray | None] = _somebody_has_to_look

    def step(self, x: FloatArray | IndexArray) -> FloatArray:
        """Move on by rows (N, D) that have been looked at, of the network's dtype, or tokens (N, 1): outputs (N, O)."""
        y, self._state = self._engine.step(self._plan, x, self._state)  # type: ignore[arg-type]  # tokens are ints
        return y

    @property
    def state(self) -> dict[str, FloatArray]:
        """A copy, each (N, H); what is set is copied too."""
        return {name: values.copy() for name, values in self._state.items()}

    @state.setter
    def state(self, state: State) -> None:
        self._state = {name: values.copy() for name, values in state.items()}


def zero_state(specification: NetworkSpecification, N: int, dtype: np.dtype[np.floating]) -> dict[str, FloatArray]:
    """Zeros for every state of N sequences, {name: (N, H)}."""
    return {name: np.zeros((N, units), dtype) for name, units in specification.state_shapes.items()}


def first_state(plan: Plan, N: int) -> dict[str, FloatArray]:
    """The state before the first step of N sequences where nobody gave one, to be read: learned, or zeros; {name: (N, H)}."""
    if not plan.learned:
        return plan.zeros(N)
    state = zero_state(plan.specification, N, plan.parameters.vector.dtype)
    for name, learned in plan.learned.items():
        state[name][:] = learned
    return state


def add_learned_state(parameters: Parameters, gradient: FloatArray, d_state: State) -> None:
    """The gradient by learned states, which all sequences share, into the flat gradient: d_state summed over the batch."""
    for name, d in d_state.items():
        where = parameters.slices.get(f"{name}_0")
        if where is not None:
            gradient[where] = d.sum(axis=0)


def batch_loss(
    engine: Engine[PlanType], plan: PlanType, inputs: Batch, targets: Targets, dropout: Dropout | None = None
) -> tuple[float, FloatArray]:
    """The loss of one mini-batch and its gradient by all parameters (P,): forward, loss, backward."""
    specification, N = plan.specification, len(inputs)
    run = engine.forward(plan, inputs, first_state(plan, N), keep_tape=True, dropout=dropout)
    loss, d_a = loss_of(specification, run.preactivations, targets)
    result = engine.backward(plan, run.tape, d_a, plan.zeros(N))
    if plan.learned:
        add_learned_state(plan.parameters, result.gradient, result.d_state)
    return loss, result.gradient


def carried_loss(
    engine: Engine[PlanType],
    plan: PlanType,
    inputs: Batch,
    targets: Targets,
    dropout: Dropout | None,
    carried: Carried,
    chosen: IndexArray,
) -> tuple[float, FloatArray] | None:
    """As `batch_loss`, from carried states, which move on; None if no row of the mini-batch has a weight."""
    specification, N = plan.specification, len(inputs)
    owners, going_on = carried.owners[chosen], carried.first_steps[chosen] > 0
    before = {name: values.copy() for name, values in first_state(plan, N).items()}
    rows = carried.views(specification)
    for name, values in before.items():
        values[going_on] = rows[name][owners[going_on]]
    run = engine.forward(plan, inputs, before, keep_tape=True, dropout=dropout)
    for name, values in run.final_state.items():
        rows[name][owners] = values
    if not targets.weights[targets.where()].any():
        return None
    loss, d_a = loss_of(specification, run.preactivations, targets)
    result = engine.backward(plan, run.tape, d_a, plan.zeros(N))
    for d in result.d_state.values():
        d[going_on] = 0  # only whole sequences start from learned states
    add_learned_state(plan.parameters, result.gradient, result.d_state)
    return loss, result.gradient


def loss_of(
    specification: NetworkSpecification, preactivations: FloatArray, targets: Targets
) -> tuple[float, FloatArray]:
    """The loss over the real rows, and its gradient by the pre-activations in their own shape, zero in the padding."""
    where = targets.where()
    padded = specification.readout == "every" and not targets.unpadded
    real = targets.real_steps() if padded else None  # (N, T)
    a = (preactivations if real is None else preactivations[real]).reshape(-1, specification.output_size)
    t, weights = targets.array[where], None if targets.even else targets.weights[where]
    if callable(specification.loss):
        loss, d_rows = _custom_loss(specification, a, t)
    else:
        activation, delta = specification.output_activation, specification.huber_delta
        loss, d_rows = losses.loss_and_gradient(specification.loss, activation, a, t, weights, delta)
    if real is None:
        return loss, d_rows.reshape(preactivations.shape)
    d_a = np.zeros_like(preactivations)
    d_a[real] = d_rows
    return loss, d_a


def _custom_loss(specification: NetworkSpecification, a: FloatArray, t: FloatArray) -> tuple[float, FloatArray]:
    """The user's function of outputs and targets (M, O) that gives the loss and its gradient by the outputs (M, O)."""
    activation = specification.output_activation
    y = readout.OUTPUT_ACTIVATIONS[activation](a)
    # Copies: people write into what they are given, and these numbers are needed again, or are the user's own targets.
    returned = specification.loss(y.copy(), t.copy())  # type: ignore[operator]  # the caller has looked
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"loss of Network must return a pair, the loss and its gradient. Got {shown(returned)}.")
    loss, d_y = returned[0], np.asarray(returned[1], dtype=a.dtype)
    if np.ndim(loss) != 0 or d_y.shape != y.shape:
        raise ValueError(
            f"loss of Network must return a number and a gradient of shape {y.shape}. "
            f"Got shapes {np.shape(loss)} and {d_y.shape}."
        )
    return float(loss), readout.d_preactivations(activation, y, d_y)


def active_rows(lengths: Sequence[int] | IndexArray, steps: int) -> list[int]:
    """How many sequences still run at each step.

    >>> active_rows([3, 1, 1], 4)
    [3, 1, 1, 0]
    """
    return [int(n) for n in (np.asarray(lengths)[:, None] > np.arange(steps)).sum(axis=0)]
