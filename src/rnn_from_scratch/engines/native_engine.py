"""The same network in C++: this file only hands arrays over. The mathematics is in `native/`."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_from_scratch.alphabet import BoolArray, FloatArray, IndexArray, State
from rnn_from_scratch.clipping import NoClipping
from rnn_from_scratch.engines.base import (
    Backward,
    Carried,
    Engine,
    Forward,
    Plan,
    Stepper,
    UpdateReport,
    UpdateRule,
    Updates,
)
from rnn_from_scratch.engines.processors import own_share
from rnn_from_scratch.layers import ACTIVATIONS, Layer
from rnn_from_scratch.optimizers import SGD, AdamW, Optimizer, OptimizerState, RMSprop
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.specification import LOSSES, OUTPUT_ACTIVATIONS, READOUTS, Direction, NetworkSpecification

if TYPE_CHECKING:
    from rnn_from_scratch.textbook.dropout import Dropout

__all__ = ["NativeEngine", "NativePlan", "available", "build_info", "required", "thread_count", "why_unavailable"]

CLIPPINGS = ("none", "global_norm", "tensor_norm", "value")
OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw")
NOTHING = {np.dtype(name): np.empty(0, name) for name in ("float32", "float64")}
NO_INTS = np.empty(0, np.int64)
NO_MASKS = (0, 0, NO_INTS, NO_INTS)


def required() -> bool:
    """Whether the environment says that an installation without the native engine is an error."""
    value = os.environ.get("RNN_FROM_SCRATCH_REQUIRE_NATIVE", "")
    return value.lower() not in ("", "0", "false", "no", "off")


_module: Any = None
_failure = ""
try:
    _module = importlib.import_module("rnn_from_scratch.engines._native")
except ModuleNotFoundError:
    _failure = "it was installed without the compiled module."
except ImportError as error:  # the module is there: not for this processor, or a wrong RNN_FROM_SCRATCH_ISA
    _failure = f"the compiled module could not be loaded: {error}"
if _failure and required():
    raise ImportError(f"RNN_FROM_SCRATCH_REQUIRE_NATIVE is set, and there is no native engine: {_failure}")


def available() -> bool:
    """Whether this installation has the compiled module and the processor can run it."""
    return _module is not None


def why_unavailable() -> str:
    """Why there is no native engine; an empty string if there is one."""
    return _failure


def build_info() -> dict[str, str]:
    """The instruction set in use, those compiled, and the compiler."""
    return {
        "instruction set": str(_module.instruction_set),
        "compiled for": ", ".join(_module.compiled_instruction_sets),
        "compiler": str(_module.compiler),
    }


def thread_count(n_threads: int | None) -> int:
    """How many threads may compute where the user has said so many, or None."""
    return min(own_share() if n_threads is None else n_threads, int(_module.most_threads))


CELLS = ("elman", "gru", "gru reset before", "lstm")


def _cell(layer: Layer) -> int:
    """The code of a layer's cell; the place of the reset makes two of the GRU."""
    return CELLS.index(f"{layer.cell} reset before" if layer.options.get("reset") == "before" else layer.cell)


def _direction(direction: Direction) -> tuple[Any, ...]:
    """One direction of one layer as the compiled module reads it."""
    layer = direction.layer
    return (
        _cell(layer),
        ACTIVATIONS.index(layer.options.get("activation", "tanh")),
        direction.input_size,
        layer.hidden_size,
        direction.level,
        direction.reverse,
        layer.learned_state,
        layer.input_dropout,
        layer.recurrent_dropout,
    )


def compiled_arguments(specification: NetworkSpecification, vector: FloatArray) -> dict[str, Any]:
    """What the compiled module makes a plan of."""
    return {
        "layers": [_direction(direction) for direction in specification.directions],
        "inputs": specification.input_size,
        "outputs": specification.output_size,
        "vocabulary": specification.vocabulary_size or 0,
        "words": (
            READOUTS.index(specification.readout),
            OUTPUT_ACTIVATIONS.index(specification.output_activation),
            0 if callable(specification.loss) else LOSSES.index(specification.loss),  # a callable is never asked for
        ),
        "huber_delta": specification.huber_delta,
        "dropout": specification.dropout,
        "parameters": vector,
    }


MOST_COPIED = 1 << 19
"""Numbers."""


class NativePlan(Plan):
    """A network with its weights packed for the kernels; packed anew when the parameters were edited.

    `n_threads` is how many threads compute, or None: as many as this process has a share in, where the work is worth it.
    """

    def __init__(
        self, specification: NetworkSpecification, parameters: Parameters, n_threads: int | None = None
    ) -> None:
        super().__init__(specification, parameters)
        kind = _module.Plan32 if parameters.dtype == np.float32 else _module.Plan64
        self._kernels = kind(**compiled_arguments(specification, parameters.vector), version=parameters.version)
        self._no_rows = np.empty((0, specification.input_size), parameters.dtype)
        no_states = np.empty((0, specification.state_size), parameters.dtype)
        self.no_states = (NO_INTS, NO_INTS, no_states)
        self._n_threads = n_threads
        self._use_threads()

    def _use_threads(self) -> None:
        self._process = os.getpid()
        self._kernels.use_threads(thread_count(self._n_threads), self._n_threads is None)
        # A compiled call instead of a method; it looks at long arrays in the process it was made in.
        self.at_once = self._kernels.predictor(self.parameters)  # type: ignore[method-assign]

    @property
    def kernels(self) -> Any:
        """The compiled plan, its packed weights up to date, and its threads those of this process."""
        if self._process != os.getpid():  # a plan outlives a fork
            self._use_threads()
        version = self.parameters.version
        if self._kernels.version is not version:  # as the fast calls compare them
            self._kernels.refresh(version)
        return self._kernels

    def inputs(self, batch: Batch) -> tuple[Any, ...]:
        """Rows of features and no tokens, or the other way round; starts and lengths."""
        if self.specification.vocabulary_size is None:
            return batch.array, NO_INTS, batch.starts, batch.lengths
        return self._no_rows, batch.array.ravel(), batch.starts, batch.lengths

    def frozen(self, names: tuple[str, ...]) -> BoolArray:
        """Which tensors have these names."""
        return np.array([tensor.name in names for tensor in self.parameters.tensors], dtype=np.bool_)

    def readout_shape(self, N: int, T: int) -> tuple[int, ...]:
        """The shape of outputs."""
        O = self.specification.output_size  # noqa: E741  # the alphabet's letter
        return (N, T, O) if self.specification.readout == "every" else (N, O)


class NativeTape:
    """A compiled tape, and T of the arrays that its backward speaks of."""

    def __init__(self, compiled: Any, N: int, T: int) -> None:
        self.compiled, self.N, self.T = compiled, N, T


class NativeStepper(Stepper):
    """The state of N streams in the layout of the kernels, and a step without a detour."""

    def __init__(self, engine: NativeEngine, plan: NativePlan, streams: int | None) -> None:
        self._native, self._alone, self._rows = plan, streams is None, (streams or 1, plan.specification.state_size)
        kernels = plan.kernels
        self._compiled = (
            kernels.stepper(plan.parameters) if streams is None else kernels.stepper(plan.parameters, streams)
        )
        self.at_once = self._compiled

    def step(self, x: FloatArray | IndexArray) -> FloatArray:
        assert self._native.kernels  # whose weights are now those of the parameters
        if self._native.specification.vocabulary_size is None:
            taken: Any = x[0] if self._alone else x
        else:
            taken = int(x[0, 0]) if self._alone else x[:, 0].copy()
        y: FloatArray | None = self._compiled(taken, None)
        if y is None:  # its weights change
            raise RuntimeError("this network is being trained: its streams cannot step before that has ended.")
        return y

    @property
    def state(self) -> dict[str, FloatArray]:
        joined = np.empty(self._rows, self._native.parameters.dtype)
        self._compiled.read(joined)
        return _split(self._native, joined)

    @state.setter
    def state(self, state: State) -> None:
        self._compiled.write(_joined(self._native, state))


class NativeEngine(Engine[NativePlan]):
    """The machine: the textbook's equations at the speed of the processor."""

    name = "native"

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads

    def facts(self) -> dict[str, str]:
        build = {name: build_info()[name] for name in ("instruction set", "compiler")}
        return {**build, "threads": str(thread_count(self.n_threads))}

    def plan(self, specification: NetworkSpecification, parameters: Parameters) -> NativePlan:
        return NativePlan(specification, parameters, self.n_threads)

    def forward(
        self, plan: NativePlan, batch: Batch, state: State, *, keep_tape: bool, dropout: Dropout | None = None
    ) -> Forward:
        N, T, dtype = len(batch), batch.steps, plan.parameters.dtype
        outputs = np.zeros(plan.readout_shape(N, T), dtype)
        preactivations = np.zeros_like(outputs)
        before = _joined(plan, state)
        after = np.empty_like(before)
        masks = NO_MASKS if dropout is None else _masks(dropout)
        compiled = plan.kernels.forward(plan.inputs(batch), T, masks, before, outputs, preactivations, after, keep_tape)
        return Forward(outputs, preactivations, _split(plan, after), NativeTape(compiled, N, T) if keep_tape else None)

    def backward(
        self, plan: NativePlan, tape: NativeTape, d_preactivations: FloatArray, d_final_state: State
    ) -> Backward:
        dtype = plan.parameters.dtype
        gradient = np.empty_like(plan.parameters.vector)
        d_inputs = np.zeros((tape.N, tape.T, plan.specification.input_size), dtype)
        d_after = _joined(plan, d_final_state)
        d_before = np.empty_like(d_after)
        d_a = np.require(d_preactivations, dtype, ["C", "A"])
        plan.kernels.backward(tape.compiled, tape.T, d_a, d_after, gradient, d_inputs, d_before)
        return Backward(gradient, d_inputs, _split(plan, d_before))

    def step(self, plan: NativePlan, x: FloatArray, state: State) -> tuple[FloatArray, dict[str, FloatArray]]:
        N, tokens = len(x), plan.specification.vocabulary_size is not None
        rows = np.require(x, np.int64 if tokens else plan.parameters.dtype, ["C", "A"])
        batch = Batch(rows, np.arange(N, dtype=np.int64), np.ones(N, dtype=np.int64), 1)
        run = self.forward(plan, batch, state, keep_tape=False)
        return run.outputs.reshape(N, -1), run.final_state

    def stepper(self, plan: NativePlan, streams: int | None) -> Stepper:
        return NativeStepper(self, plan, streams)

    def train_updates(
        self, plan: NativePlan, updates: Updates, rule: UpdateRule, optimizer_state: OptimizerState
    ) -> UpdateReport:
        """Forward, loss, backward, clipping and update of every mini-batch in one call, Python's lock released.

        A loss that is a callable takes the composed path.
        """
        if callable(plan.specification.loss):
            return super().train_updates(plan, updates, rule, optimizer_state)
        updates = _alone(updates, plan.specification.drops)
        U, targets, clipping = len(updates), updates.targets, rule.clipping
        losses, norms, clipped = np.empty(U), np.empty(U), np.empty(U, dtype=np.bool_)
        computed, applied = plan.kernels.train_updates(
            plan.inputs(updates.inputs),
            (targets.array, targets.starts, targets.weights),
            (updates.order, updates.boundaries, updates.learning_rates, updates.epochs),
            updates.dropout_key,
            plan.no_states if updates.carried is None else _carried(updates.carried),
            _optimizer_arguments(rule.optimizer, optimizer_state, plan.parameters.dtype),
            (rule.penalty, plan.frozen(rule.frozen)),
            (CLIPPINGS.index(clipping.kind), 0.0 if isinstance(clipping, NoClipping) else clipping.limit),
            (losses, norms, clipped),
        )
        return UpdateReport(losses[:computed], norms[:computed], clipped[:computed], applied)


def _alone(updates: Updates, drops: bool) -> Updates:
    """The same updates over nothing but the sequences that they see, where the others would cost time or memory.

    The compiled module copies the places of all sequences at each call, and reads a weight for every row.
    """
    inputs, targets, carried = updates.inputs, updates.targets, updates.carried
    seen = updates.order[updates.boundaries[0] : updates.boundaries[-1]]
    if len(inputs) <= 8 * len(seen) and not targets.shared:
        return updates
    inputs, targets = inputs.select(seen), targets.select(seen)
    if targets.shared:
        targets = targets.gathered()
    order = np.arange(len(seen), dtype=np.int64)
    if carried is not None:
        carried = carried._replace(owners=carried.owners[seen], first_steps=carried.first_steps[seen])
    elif drops:  # masks are named after the numbers of sequences
        inputs, order, starts = updates.inputs, seen, np.zeros(len(updates.inputs), np.int64)
        starts[seen] = targets.starts
        targets = replace(targets, starts=starts)
    boundaries = updates.boundaries - updates.boundaries[0]
    return replace(updates, inputs=inputs, targets=targets, order=order, boundaries=boundaries, carried=carried)


def _masks(dropout: Dropout) -> tuple[Any, ...]:
    first_steps = np.zeros_like(dropout.sequences) if dropout.first_steps is None else dropout.first_steps
    return dropout.key, dropout.epoch, dropout.sequences, first_steps


def _carried(carried: Carried) -> tuple[Any, ...]:
    return carried.owners, carried.first_steps, carried.state


def _optimizer_arguments(optimizer: Optimizer, state: OptimizerState, dtype: np.dtype[np.floating]) -> tuple[Any, ...]:
    """(kind, what m and v keep, ε, weight decay, Nesterov or not, m, v, count of updates): one form for all."""
    nothing, none = NOTHING[dtype], NO_INTS
    code = OPTIMIZERS.index(optimizer.kind)
    if isinstance(optimizer, SGD):
        return (code, optimizer.momentum, 0.0, 0.0, 0.0, optimizer.nesterov, state.get("u", nothing), nothing, none)
    if isinstance(optimizer, RMSprop):
        return (code, 0.0, optimizer.alpha, optimizer.epsilon, 0.0, False, nothing, state["v"], none)
    decay = optimizer.weight_decay if isinstance(optimizer, AdamW) else 0.0
    kept = (optimizer.beta1, optimizer.beta2, optimizer.epsilon, decay, False)
    return (code, *kept, state["m"], state["v"], state["updates"])


def _joined(plan: NativePlan, state: State) -> FloatArray:
    """The states of all layers side by side, (N, Σ H); of a single one no copy."""
    columns, dtype = [state[name] for name in plan.specification.state_shapes], plan.parameters.dtype
    if len(columns) == 1:
        return np.require(columns[0], dtype, ["C", "A"])
    joined = np.empty((len(columns[0]), plan.specification.state_size), dtype)
    for some in _stretches(joined):
        np.concatenate([values[some] for values in columns], axis=1, out=joined[some])
    return joined


def _split(plan: NativePlan, joined: FloatArray) -> dict[str, FloatArray]:
    """Back into one array (N, H) for each name."""
    states = {}
    start = 0
    for name, units in plan.specification.state_shapes.items():
        if units == joined.shape[1]:
            return {name: joined}
        own = states[name] = np.empty((len(joined), units), joined.dtype)
        for some in _stretches(joined):
            own[some] = joined[some, start : start + units]
        start += units
    return states


def _stretches(joined: FloatArray) -> list[slice]:
    """Rows that are copied at once: memory that is touched for the first time is slow, and Ctrl-C should not wait for it."""
    at_once = max(1, MOST_COPIED // joined.shape[1])
    return [slice(first, first + at_once) for first in range(0, len(joined), at_once)]
