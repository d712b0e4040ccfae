"""The textbook, run as it is written: stacking, directions, sorting and flat gradients around the functions of `textbook/`."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray, State, Tensors
from rnn_from_scratch.engines.base import (
    Backward,
    Engine,
    Forward,
    Plan,
    UpdateReport,
    UpdateRule,
    Updates,
    first_state,
)
from rnn_from_scratch.engines.joined import JoinedPlan
from rnn_from_scratch.engines.rows import Rows, few_whole, rows_of
from rnn_from_scratch.engines.turned import TrainingParameters, TurnedParameters
from rnn_from_scratch.optimizers import OptimizerState
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.specification import Direction, NetworkSpecification
from rnn_from_scratch.textbook import dropout as masks
from rnn_from_scratch.textbook import elman, embedding, gru, lstm, readout
from rnn_from_scratch.textbook.dropout import Dropout
from rnn_from_scratch.textbook.products import FRESH, BriefWorkspaces, Room, Workspace

__all__ = ["NumpyEngine", "NumpyPlan"]

CELLS: dict[str, Any] = {"elman": elman, "gru": gru, "lstm": lstm}

Places = dict[str, dict[str, FloatArray]]
"""Tensors by the place they belong to, and there by the names of the alphabet: ``["layer0.reverse"]["W_h"]``."""


class Stage(NamedTuple):
    """One direction of one layer, with all that a run along it needs to know."""

    direction: Direction
    cell: Any  # a module of the textbook
    p: dict[str, FloatArray]
    states: tuple[str, ...]  # their full names
    options: dict[str, Any]  # of the cell's step
    room: Room
    brief: BriefWorkspaces  # for short runs without a tape, of which nothing outlives the call


SHORT_RUN = 1 << 15
"""Numbers that the states of a short run have at most."""

MOST_STATES, LEAST_ROWS = 1 << 20, 64
"""Numbers that the states of a run should have at most; of a larger batch, groups of so many rows or more run one by one."""

EVERY_STEP = np.zeros((1, 1), np.int64)
"""The step in the address of masks that are the same at every step."""


class NumpyPlan(Plan):
    """A network, its parameters by the place they belong to, and where the arrays of a run come from: new ones, each time."""

    lasting = True  # what a run gives outlives it

    def __init__(self, specification: NetworkSpecification, parameters: Parameters) -> None:
        super().__init__(specification, parameters)
        self.tensors = by_place(parameters.views)
        self.wants_d_inputs = True
        stages = [
            Stage(
                d,
                CELLS[d.layer.cell],
                self.tensors[d.name],
                d.state_names,
                d.layer.options,
                self.room(d),
                BriefWorkspaces(),
            )
            for d in specification.directions
        ]
        self.levels = [
            tuple(stage for stage in stages if stage.direction.level == level)
            for level in range(len(specification.layers))
        ]

    def room(self, direction: Direction) -> Room:
        """Where a stage gets its arrays."""
        return FRESH

    def gradient(self) -> tuple[FloatArray, Places]:
        """A flat gradient of zeros, and the same memory by place."""
        gradient = np.zeros_like(self.parameters.vector)
        return gradient, by_place(self.parameters.named(gradient))

    def group(self, number: int) -> NumpyPlan:
        """The plan for a group of rows of a large batch, whose arrays are needed until all groups have been run back."""
        return self

    def at_once(self, X: Any) -> FloatArray | None:
        """Of a few whole sequences, which is when the rest of a prediction takes as long as the network."""
        if self.specification.vocabulary_size is not None:
            return None
        batch = few_whole(X, self.specification.input_size, self.parameters.dtype)
        if batch is None:
            return None
        return ENGINE.forward(self, batch, first_state(self, len(batch)), keep_tape=False).outputs

    @cached_property
    def training(self) -> NumpyTrainingPlan:
        """The plan that training runs on, and nobody else."""
        turned = TurnedParameters(self.specification, self.parameters.dtype)
        return NumpyTrainingPlan(self.specification, turned if turned.turned else self.parameters)

    @cached_property
    def joined(self) -> JoinedPlan:
        """What training runs on where it can: a shorter way through the same network."""
        return JoinedPlan(self.specification, self.parameters.dtype)


class NumpyTrainingPlan(NumpyPlan):
    """Uses the same arrays in every update. What a run on it gives is valid until the next run, so it stays inside training."""

    lasting = False

    def __init__(self, specification: NetworkSpecification, parameters: Parameters) -> None:
        gradient = np.zeros_like(parameters.vector)
        self._gradient = gradient, by_place(parameters.named(gradient))
        super().__init__(specification, parameters)
        self.wants_d_inputs = specification.vocabulary_size is not None  # for the embedding; nobody else asks for them
        self._groups: list[NumpyTrainingPlan] = []
        self._has_learned = any(tensor.name.endswith("_0") for tensor in parameters.tensors)

    def room(self, direction: Direction) -> Room:
        """Each stage has arrays of its own; turned parameters and their gradient are where products want them already."""
        own = self.parameters
        if not isinstance(own, TurnedParameters) or direction.name not in own.turned:
            return Workspace()
        vectors = {"W_T": own.vector, "d_W_T": self._gradient[0]}
        return Workspace({name: own.side_by_side(direction.name, vector) for name, vector in vectors.items()})

    def group(self, number: int) -> NumpyPlan:
        """A plan with arrays of its own for every group."""
        while len(self._groups) <= number:
            self._groups.append(NumpyTrainingPlan(self.specification, self.parameters))
        return self._groups[number]

    def gradient(self) -> tuple[FloatArray, Places]:
        """The same gradient again; a run writes all of it but the learned states, which it leaves zero."""
        if self._has_learned:
            self._gradient[0].fill(0)
        return self._gradient


class NetworkTape(NamedTuple):
    """What the layers keep, which masks were used, and how the rows of the batch lie."""

    rows: Rows
    tokens: IndexArray | None  # (T, N)
    cells: dict[str, Any]  # by the name of the direction
    input_masks: list[FloatArray | None]  # one for each level, (T or 1, N, D)
    seen: FloatArray  # (T, N, H) or (N, H): what the readout saw


class GroupsTape(NamedTuple):
    """The tapes of a large batch, whose groups of rows ran one after the other."""

    groups: list[slice]
    tapes: list[NetworkTape]
    shape: tuple[int, int]  # N, T


class NumpyEngine(Engine[NumpyPlan]):
    """Complete in itself, on NumPy alone."""

    name = "numpy"

    def plan(self, specification: NetworkSpecification, parameters: Parameters) -> NumpyPlan:
        return NumpyPlan(specification, parameters)

    def forward(
        self,
        plan: NumpyPlan | JoinedPlan,
        batch: Batch,
        state: State,
        *,
        keep_tape: bool,
        dropout: Dropout | None = None,
    ) -> Forward:
        if isinstance(plan, JoinedPlan):
            return plan.forward(batch, state)
        specification = plan.specification
        if len(batch) > LEAST_ROWS and len(batch) * batch.steps * specification.state_size > MOST_STATES:
            groups = _groups(len(batch), batch.steps * specification.state_size)
            if len(groups) > 1:
                return self._forward_in_groups(plan, batch, state, keep_tape, dropout, groups)
        every = specification.readout == "every"
        rows = rows_of(batch, specification.bidirectional)
        if dropout is not None:
            dropout = dropout if rows.order is None else dropout.select(rows.order)
        shared = not (keep_tape and plan.lasting)
        x, tokens = _inputs(plan, batch, rows, shared)  # (T, N, D): what the next layer reads
        short = not keep_tape and len(batch) * batch.steps * specification.state_size <= SHORT_RUN
        version = plan.parameters.version
        cells, input_masks, final_state = {}, [], {}
        last: list[FloatArray] = []  # the last h of each direction of the layer at work
        for stages in plan.levels:
            input_mask = None if dropout is None else _input_mask(specification, stages[0].direction, dropout, x)
            input_masks.append(input_mask)
            if input_mask is not None:
                x = x * input_mask
            outputs, last = [], []
            for direction, cell, p, names, options, room, brief in stages:
                h, final, cells[direction.name] = cell.forward(
                    p,
                    rows.reverse(x) if direction.reverse else x,
                    tuple([rows.sort(state[name]) for name in names]),
                    rows.active,
                    None if dropout is None else _state_mask(direction, dropout, x.dtype),
                    **options,
                    room=brief.of_thread.at(version) if short else room,
                )
                outputs.append(rows.reverse(h) if direction.reverse else h)
                last.append(final[0])
                for name, values in zip(names, final, strict=True):
                    own = rows.unsort(values)
                    final_state[name] = own.copy() if plan.lasting else own  # the tape holds the other
            x = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=2)
        seen = _seen(specification, rows, x, last)
        a = readout.forward(plan.tensors["readout"], seen)
        tape = NetworkTape(rows, tokens, cells, input_masks, seen) if keep_tape else None
        a = np.ascontiguousarray(rows.unsort(rows.without_padding(a).swapaxes(0, 1) if every else a))
        y = readout.OUTPUT_ACTIVATIONS[specification.output_activation](a)
        if every and rows.real is not None:
            y = np.where(batch.real_steps()[:, :, None], y, 0)
        return Forward(y, a, final_state, tape)

    def backward(
        self, plan: NumpyPlan | JoinedPlan, tape: Any, d_preactivations: FloatArray, d_final_state: State
    ) -> Backward:
        if isinstance(plan, JoinedPlan):
            return plan.backward(tape, d_preactivations)
        if isinstance(tape, GroupsTape):
            return self._backward_in_groups(plan, tape, d_preactivations, d_final_state)
        specification, rows = plan.specification, tape.rows
        gradient, d_tensors = plan.gradient()
        d_a = rows.sort(d_preactivations)
        if specification.readout == "every":
            d_a = rows.without_padding(d_a.swapaxes(0, 1))
        d_seen = readout.backward(plan.tensors["readout"], tape.seen, d_a, d_tensors["readout"])
        d_last = dict(d_final_state) if rows.order is None else {n: rows.sort(d) for n, d in d_final_state.items()}
        d_h = _d_seen(plan, rows, d_seen, d_last)  # (T, N, H) by what the layer at work gives

        d_state = {}
        for stages in reversed(plan.levels):
            d_x: list[FloatArray] = []
            shares = [d_h] if len(stages) == 1 else np.split(d_h, len(stages), axis=2)
            for (direction, cell, p, names, _, room, _), d_own in zip(stages, shares, strict=True):
                d_p, d_read, d_first = cell.backward(
                    p,
                    tape.cells[direction.name],
                    rows.reverse(d_own) if direction.reverse else d_own,
                    tuple([d_last[name] for name in names]),
                    room=room,
                    wants_d_x=plan.wants_d_inputs or direction.level > 0,
                )
                _store(d_tensors[direction.name], d_p)
                if d_read is not None:
                    d_x.append(rows.reverse(d_read) if direction.reverse else d_read)
                for name, d in zip(names, d_first, strict=True):
                    d_state[name] = rows.unsort(d)
            if not d_x:
                return Backward(gradient, d_h[:0], d_state)
            input_mask = tape.input_masks[stages[0].direction.level]
            d_h = d_x[0] if len(d_x) == 1 else d_x[0] + d_x[1]
            if input_mask is not None:
                d_h = d_h * input_mask
        if tape.tokens is not None:
            real = slice(None) if rows.real is None else rows.real[:, :, 0]
            W_e = plan.tensors["embedding"]["W_e"]
            D = W_e.shape[1]
            d_W_e = embedding.backward(W_e, tape.tokens[real].ravel(), d_h[real].reshape(-1, D))
            d_tensors["embedding"]["W_e"][...] = d_W_e
        return Backward(gradient, np.ascontiguousarray(rows.unsort(d_h.swapaxes(0, 1))), d_state)

    def _forward_in_groups(
        self, plan: NumpyPlan, batch: Batch, state: State, keep_tape: bool, dropout: Dropout | None, groups: list[slice]
    ) -> Forward:
        """Some rows after the others, so that no operation is so long that Ctrl-C has to wait for it."""
        N, T, specification, dtype = len(batch), batch.steps, plan.specification, plan.parameters.dtype
        O = specification.output_size  # noqa: E741  # the alphabet's letter
        shape = (N, T, O) if specification.readout == "every" else (N, O)
        outputs, preactivations = np.zeros(shape, dtype), np.zeros(shape, dtype)
        final_state = {name: np.empty((N, units), dtype) for name, units in specification.state_shapes.items()}
        tape = GroupsTape(groups, [], (N, T))
        for number, some in enumerate(groups):
            part, before = batch.select(some), {name: values[some] for name, values in state.items()}
            own = None if dropout is None else dropout.select(some)
            run = self.forward(plan.group(number), part, before, keep_tape=keep_tape, dropout=own)
            where = (some, slice(part.steps)) if len(shape) == 3 else some
            outputs[where], preactivations[where] = run.outputs, run.preactivations
            for name, values in run.final_state.items():
                final_state[name][some] = values
            tape.tapes.append(run.tape)
        return Forward(outputs, preactivations, final_state, tape if keep_tape else None)

    def _backward_in_groups(
        self, plan: NumpyPlan, tape: GroupsTape, d_preactivations: FloatArray, d_final_state: State
    ) -> Backward:
        (N, T), specification, dtype = tape.shape, plan.specification, plan.parameters.dtype
        gradient = np.zeros_like(plan.parameters.vector)
        d_inputs = np.zeros((N, T, specification.input_size if plan.wants_d_inputs else 0), dtype)
        d_state = {name: np.empty((N, units), dtype) for name, units in specification.state_shapes.items()}
        for number, (some, own) in enumerate(zip(tape.groups, tape.tapes, strict=True)):
            steps = len(own.rows.active)
            d_a = d_preactivations[some, :steps] if specification.readout == "every" else d_preactivations[some]
            found = self.backward(plan.group(number), own, d_a, {n: d[some] for n, d in d_final_state.items()})
            gradient += found.gradient
            if d_inputs.size:
                d_inputs[some, :steps] = found.d_inputs
            for name, d in found.d_state.items():
                d_state[name][some] = d
        return Backward(gradient, d_inputs, d_state)

    def train_updates(
        self, plan: NumpyPlan, updates: Updates, rule: UpdateRule, optimizer_state: OptimizerState
    ) -> UpdateReport:
        specification = plan.specification
        joins = JoinedPlan.fits(specification) and JoinedPlan.can_make(specification, updates, rule)
        training: Any = plan.joined if joins else plan.training
        if not isinstance(training.parameters, TrainingParameters):
            return super().train_updates(training, updates, rule, optimizer_state)
        with training.parameters.in_place_of(plan.parameters, optimizer_state) as own_state:
            return super().train_updates(training, updates, rule, own_state)

    def step(self, plan: NumpyPlan, x: FloatArray, state: State) -> tuple[FloatArray, dict[str, FloatArray]]:
        if plan.specification.vocabulary_size is not None:
            x = embedding.forward(plan.tensors["embedding"]["W_e"], x[:, 0])  # type: ignore[arg-type]
        next_state: dict[str, FloatArray] = {}
        for stages in plan.levels:
            for _, cell, p, names, options, *_ in stages:
                after = cell.step(p, x, tuple([state[name] for name in names]), **options)
                next_state.update(zip(names, after, strict=True))
            x = after[0]
        a = readout.forward(plan.tensors["readout"], x)
        return readout.OUTPUT_ACTIVATIONS[plan.specification.output_activation](a), next_state


ENGINE = NumpyEngine()
"""For plans that run by themselves; it holds nothing."""


def _groups(N: int, numbers: int) -> list[slice]:
    """Rows that run together, of N that have so many numbers in their states each."""
    count = max(1, N // max(LEAST_ROWS, MOST_STATES // numbers))
    bounds = [N * part // count for part in range(count + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


def by_place(named: Tensors) -> Places:
    """Tensors by place and name."""
    places: Places = {}
    for full_name, values in named.items():
        place, symbol = full_name.rsplit(".", 1)
        places.setdefault(place, {})[symbol] = values
    return places


def _store(d_tensors: dict[str, FloatArray], d_p: Tensors) -> None:
    for name, values in d_p.items():
        d_tensors[name][...] = values


def _inputs(plan: NumpyPlan, batch: Batch, rows: Rows, shared: bool) -> tuple[FloatArray, IndexArray | None]:
    """Features (T, N, D), and the tokens (T, N) that they come from, if they do."""
    sorted_batch = (
        batch if rows.order is None else Batch(batch.array, batch.starts[rows.order], rows.lengths, batch.steps)
    )
    values = sorted_batch.time_major(shared)
    if plan.specification.vocabulary_size is None:
        return values, None
    tokens: IndexArray = values[:, :, 0]  # type: ignore[assignment]  # arrays of tokens hold integers
    return embedding.forward(plan.tensors["embedding"]["W_e"], tokens), tokens


def _input_mask(
    specification: NetworkSpecification, direction: Direction, dropout: Dropout, x: FloatArray
) -> FloatArray | None:
    """What the inputs of a layer are multiplied with, (T or 1, N, D): one new mask per step, one for all steps, or both."""
    T, _, units = x.shape
    level, found = direction.level, None
    if specification.dropout and level > 0:
        steps = np.arange(T)[:, None] + (0 if dropout.first_steps is None else dropout.first_steps)  # (T, 1 or N)
        found = masks.mask(dropout, level, masks.BETWEEN_LAYERS, steps, units, specification.dropout, x.dtype)
    if direction.layer.input_dropout:
        probability = direction.layer.input_dropout
        same = masks.mask(dropout, level, masks.INPUT, EVERY_STEP, units, probability, x.dtype)
        found = same if found is None else found * same
    return found


def _state_mask(direction: Direction, dropout: Dropout, dtype: np.dtype[np.floating]) -> FloatArray | None:
    """What the recurrent state is multiplied with inside products (N, H)."""
    layer = direction.layer
    if not layer.recurrent_dropout:
        return None
    kind = masks.RECURRENT_REVERSE if direction.reverse else masks.RECURRENT
    units, probability = layer.hidden_size, layer.recurrent_dropout
    same: FloatArray = masks.mask(dropout, direction.level, kind, EVERY_STEP, units, probability, dtype)[0]
    return same


def _seen(specification: NetworkSpecification, rows: Rows, h: FloatArray, last: list[FloatArray]) -> FloatArray:
    """What the readout reads: every state, the last states of all directions, or the mean over real steps."""
    if specification.readout == "every":
        return h
    if specification.readout == "last":
        return last[0] if len(last) == 1 else np.concatenate(last, axis=1)
    return readout.mean_over_time(rows.without_padding(h), rows.lengths.astype(h.dtype))


def _d_seen(plan: NumpyPlan, rows: Rows, d: FloatArray, d_last: dict[str, FloatArray]) -> FloatArray:
    """The gradient by what the readout read, turned into one by every state (T, N, H); adds to d_last where those were read."""
    if plan.specification.readout == "every":
        return d
    T, N = len(rows.active), len(rows.lengths)
    if plan.specification.readout == "mean":
        real = np.ones((T, N, 1), np.bool_) if rows.real is None else rows.real
        return readout.d_mean_over_time(d, rows.lengths.astype(d.dtype), real)
    top = plan.levels[-1]
    for stage, own in zip(top, np.split(d, len(top), axis=1), strict=True):
        name = stage.states[0]
        d_last[name] = d_last[name] + own
    return np.broadcast_to(np.zeros((), d.dtype), (T, N, d.shape[1]))
