"""The same network in C++: this file only hands arrays over. The mathematics is in `native/`."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, State
from rnn_from_scratch.clipping import Clipping, NoClipping
from rnn_from_scratch.engines.base import Backward, Engine, Forward, Plan, UpdateReport, Updates
from rnn_from_scratch.optimizers import Adam, Optimizer, OptimizerState
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.layers import ACTIVATIONS
from rnn_from_scratch.specification import LOSSES, OUTPUT_ACTIVATIONS, READOUTS, NetworkSpecification

__all__ = ["NativeEngine", "NativePlan", "available", "build_info", "required", "why_unavailable"]

CLIPPINGS = ("none", "global_norm", "tensor_norm")
OPTIMIZERS = ("sgd", "adam")
NOTHING = {name: np.empty(0, name) for name in ("float32", "float64", "int64")}


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


class NativePlan(Plan):
    """A network with its weights packed for the kernels; packed anew when the parameters were edited."""

    def __init__(self, specification: NetworkSpecification, parameters: Parameters) -> None:
        super().__init__(specification, parameters)
        layers = [
            (ACTIVATIONS.index(layer.activation), inputs, layer.hidden_size)
            for layer, inputs in zip(specification.layers, specification.layer_inputs, strict=True)
        ]
        kind = _module.Plan32 if parameters.dtype == np.float32 else _module.Plan64
        self._kernels = kind(
            layers,
            specification.output_size,
            READOUTS.index(specification.readout),
            OUTPUT_ACTIVATIONS.index(specification.output_activation),
            LOSSES.index(specification.loss),
            parameters.vector,
        )
        self._packed_version = parameters.version

    @property
    def kernels(self) -> Any:
        """The compiled plan, its packed weights up to date."""
        if self._packed_version != self.parameters.version:
            version = self.parameters.version
            self._kernels.refresh()
            self._packed_version = version  # only now: another thread may be looking
        return self._kernels

    def readout_shape(self, N: int, T: int) -> tuple[int, ...]:
        """The shape of outputs."""
        O = self.specification.output_size  # noqa: E741  # the alphabet's letter
        return (N, T, O) if self.specification.readout == "every" else (N, O)


class NativeTape:
    """A compiled tape, and T of the arrays that its backward speaks of."""

    def __init__(self, compiled: Any, N: int, T: int) -> None:
        self.compiled, self.N, self.T = compiled, N, T


class NativeEngine(Engine[NativePlan]):
    """The machine: the textbook's equations at the speed of the processor."""

    name = "native"

    def plan(self, specification: NetworkSpecification, parameters: Parameters) -> NativePlan:
        return NativePlan(specification, parameters)

    def forward(self, plan: NativePlan, batch: Batch, state: State, *, keep_tape: bool) -> Forward:
        N, T, dtype = len(batch), batch.steps, plan.parameters.dtype
        outputs = np.zeros(plan.readout_shape(N, T), dtype)
        preactivations = np.zeros_like(outputs)
        before = _joined(plan, state)
        after = np.empty_like(before)
        compiled = plan.kernels.forward(
            batch.array, batch.starts, batch.lengths, T, before, outputs, preactivations, after, keep_tape
        )
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
        N = len(x)
        rows = np.require(x, plan.parameters.dtype, ["C", "A"])
        batch = Batch(rows, np.arange(N, dtype=np.int64), np.ones(N, dtype=np.int64), 1)
        run = self.forward(plan, batch, state, keep_tape=False)
        return run.outputs.reshape(N, -1), run.final_state

    def train_updates(
        self,
        plan: NativePlan,
        updates: Updates,
        optimizer: Optimizer,
        optimizer_state: OptimizerState,
        clipping: Clipping,
    ) -> UpdateReport:
        """Forward, loss, backward, clipping and update of every mini-batch in one call, Python's lock released."""
        U, inputs, targets = len(updates), updates.inputs, updates.targets
        losses, norms, clipped = np.empty(U), np.empty(U), np.empty(U, dtype=np.bool_)
        computed, applied = plan.kernels.train_updates(
            (inputs.array, inputs.starts, inputs.lengths),
            (targets.array, targets.starts, targets.weights),
            (updates.order, updates.boundaries, updates.learning_rates),
            _optimizer_arguments(optimizer, optimizer_state, plan.parameters.dtype),
            (CLIPPINGS.index(clipping.kind), 0.0 if isinstance(clipping, NoClipping) else clipping.limit),
            (losses, norms, clipped),
        )
        return UpdateReport(losses[:computed], norms[:computed], clipped[:computed], applied)


def _optimizer_arguments(optimizer: Optimizer, state: OptimizerState, dtype: np.dtype[np.floating]) -> tuple[Any, ...]:
    if isinstance(optimizer, Adam):
        numbers: tuple[float, ...] = (optimizer.beta1, optimizer.beta2, optimizer.epsilon)
        return (OPTIMIZERS.index("adam"), *numbers, state["m"], state["v"], state["updates"])
    nothing = NOTHING[dtype.name]
    return (OPTIMIZERS.index("sgd"), 0.0, 0.0, 0.0, nothing, nothing, NOTHING["int64"])


def _joined(plan: NativePlan, state: State) -> FloatArray:
    """The states of all layers side by side, (N, Σ H)."""
    columns = [state[name] for name in plan.specification.state_shapes]
    return np.concatenate(columns, axis=1, dtype=plan.parameters.dtype)


def _split(plan: NativePlan, joined: FloatArray) -> dict[str, FloatArray]:
    """Back into one array (N, H) for each name."""
    states = {}
    start = 0
    for name, units in plan.specification.state_shapes.items():
        states[name] = np.ascontiguousarray(joined[:, start : start + units])
        start += units
    return states
