"""One network on one batch: all its numbers, and the figures that an engine finds for it.

Figures are a dictionary with the names that `torch_reference` gives PyTorch's (``outputs``, ``d layer0.W_h``,
``layer0.W_h after adam``, …), so that a comparison is one loop and no tensor can be left out. Nothing here needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnn_from_scratch import SGD, Adam, Network, NoClipping
from rnn_from_scratch.engines.base import Engine, UpdateRule, Updates, loss_of
from rnn_from_scratch.engines.select import select_engine
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import NetworkSpecification

Figures = dict[str, np.ndarray]

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
LEARNING_RATE = {"sgd": 0.02, "adam": 0.01}
UPDATES = 10


# ---------------------------------------------------------------------------------------------------- the problem


@dataclass(frozen=True)
class Problem:
    """A network with all its numbers, and a batch for it. No number that matters is zero.

    Attributes
    ----------
    specification : NetworkSpecification
    parameters : dict of str to ndarray
    inputs : ndarray (N, T, D), or (N, T, 1) of int64 for tokens
        Zeros past the end of a sequence.
    lengths : ndarray (N,) of int64
    targets, weights : ndarray (N, T, O) and (N, T), or (N, O) and (N,) with one output for the whole sequence
    state, d_final_state : dict of str to ndarray (N, H)
        The state before the first step, and the gradient by the state after the last one.
    """

    specification: NetworkSpecification
    parameters: dict[str, np.ndarray]
    inputs: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    state: dict[str, np.ndarray]
    d_final_state: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64, the same for all numbers but tokens."""
        return self.targets.dtype

    @property
    def takes_tokens(self) -> bool:
        """Whether the inputs are numbers of a vocabulary."""
        return self.specification.vocabulary_size is not None

    @property
    def steps(self) -> int:
        """T."""
        return self.inputs.shape[1]

    def real_steps(self) -> np.ndarray:
        """(N, T): False past the end of a sequence."""
        return np.arange(self.steps) < self.lengths[:, None]

    def real_rows(self) -> np.ndarray:
        """(N, T), or (N,) with one output for the whole sequence: whether there is an output."""
        return self.real_steps() if self.specification.readout == "every" else np.ones(len(self), dtype=bool)

    def with_equal_weights(self) -> Problem:
        """The same problem with every row counting 1, as training does through the public face."""
        return replace(self, weights=np.ones_like(self.weights))

    def cast(self, dtype: str) -> Problem:
        """The same problem in another precision."""
        return replace(self, **{name: _cast(getattr(self, name), dtype) for name in NUMBERS})


NUMBERS = ("parameters", "inputs", "targets", "weights", "state", "d_final_state")


def _cast(numbers: Any, dtype: str) -> Any:
    if isinstance(numbers, dict):
        return {name: values.astype(dtype) for name, values in numbers.items()}
    return numbers if numbers.dtype.kind == "i" else numbers.astype(dtype)


def random_problem(
    specification: NetworkSpecification, lengths: Sequence[int], steps: int, dtype: str, seed: int
) -> Problem:
    """Random parameters, biases, inputs, targets, weights and states for a network."""
    generator = np.random.default_rng(seed)
    N, T = len(lengths), steps
    lengths = np.array(lengths, dtype=np.int64)
    inputs = generator.normal(size=(N, T, specification.input_size))
    if specification.vocabulary_size is not None:
        inputs = generator.integers(specification.vocabulary_size, size=(N, T, 1))
    inputs[np.arange(T) >= lengths[:, None]] = 0
    rows = (N, T) if specification.readout == "every" else (N,)
    targets = generator.normal(size=(*rows, specification.output_size))
    if specification.loss == "ce":  # shares that need not sum to 1, some of them exactly 0 or 1
        targets = np.clip(0.5 + 0.5 * targets, 0, 1)
    states = specification.state_shapes
    problem = Problem(
        specification,
        {tensor.name: _random_tensor(tensor.shape, generator) for tensor in specification.tensors()},
        inputs,
        lengths,
        targets,
        generator.uniform(0.5, 2, size=rows),
        {name: generator.normal(size=(N, units)) for name, units in states.items()},
        {name: generator.normal(size=(N, units)) for name, units in states.items()},
    )
    return problem.cast(dtype)


def _random_tensor(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=shape) * (0.8 / np.sqrt(shape[-1]) if len(shape) == 2 else 0.5)


def as_json(problem: Problem) -> dict[str, Any]:
    """A problem as JSON can say it; `from_json` is the way back."""
    numbers = {name: _as_lists(getattr(problem, name)) for name in (*NUMBERS, "lengths")}
    return {"specification": problem.specification.to_dict(), **numbers}


def from_json(words: dict[str, Any]) -> Problem:
    """The float64 problem that `as_json` wrote down."""
    specification = NetworkSpecification.from_dict(words["specification"])
    numbers = {name: as_arrays(words[name]) for name in NUMBERS}
    if specification.vocabulary_size is not None:
        numbers["inputs"] = numbers["inputs"].astype(np.int64)
    return Problem(specification, lengths=np.array(words["lengths"]), **numbers)


def _as_lists(numbers: Any) -> Any:
    if isinstance(numbers, dict):
        return {name: values.tolist() for name, values in numbers.items()}
    return numbers.tolist()


def as_arrays(numbers: Any) -> Any:
    """Lists of numbers, or a dictionary of them, as float64 arrays."""
    if isinstance(numbers, dict):
        return {name: np.array(values, dtype=np.float64) for name, values in numbers.items()}
    return np.array(numbers, dtype=np.float64)


# -------------------------------------------------------------------------------------------------- the comparison


def difference(figure: np.ndarray, reference: np.ndarray) -> float:
    """``‖a − b‖∞ / max(1, ‖b‖∞)``, in float64; NaN if there is one on either side."""
    a, b = np.asarray(figure, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    assert a.shape == b.shape, f"shapes differ: {a.shape} and {b.shape}"
    return float(abs(a - b).max() / max(1.0, abs(b).max()))


def differences(figures: Figures, references: Figures) -> dict[str, float]:
    """The difference of every figure; both sides must have the same ones."""
    assert figures.keys() == references.keys()
    return {name: difference(figures[name], references[name]) for name in references}


def assert_close(figures: Figures, references: Figures, tolerance: float) -> None:
    """Every figure within the tolerance; a failure names those that are not."""
    wrong = {name: size for name, size in differences(figures, references).items() if not size <= tolerance}
    assert not wrong, f"further than {tolerance:.0e} from PyTorch: {wrong}"


# --------------------------------------------------------------------------------------------------- what we say


def poisoned(values: np.ndarray, real: np.ndarray) -> np.ndarray:
    """A copy with NaN, or a token of no vocabulary, wherever nothing real stands: no engine may look there."""
    copy = values.copy()
    copy[~real] = -(2**62) if values.dtype.kind == "i" else np.nan
    return copy


def network_of(problem: Problem, engine: str) -> Network:
    """The problem's network, as a user would make it."""
    words = problem.specification
    network = Network(
        words.input_size,
        words.layers,
        words.output_size,
        readout=words.readout,
        output_activation=words.output_activation,
        loss=words.loss,
        dtype=problem.dtype,
        engine=engine,
    )
    with network.edit_parameters() as p:
        for name, values in problem.parameters.items():
            p[name][...] = values
    return network


class EngineRun:
    """The problem on an engine, through the contract of `engines/base.py`."""

    def __init__(self, problem: Problem, engine: str) -> None:
        self.problem = problem
        self.engine: Engine[Any] = select_engine(engine, "EngineRun")
        self.parameters = Parameters(problem.specification, problem.dtype)
        self.plan = self.engine.plan(problem.specification, self.parameters)
        with self.parameters.edit() as p:
            for name, values in problem.parameters.items():
                p[name][...] = values

    def data(self) -> tuple[Batch, Targets]:
        """Inputs, targets and weights, NaN in their padding."""
        problem = self.problem
        N, T = problem.inputs.shape[:2]
        inputs = poisoned(problem.inputs, problem.real_steps()).reshape(N * T, -1)
        batch = Batch(inputs, np.arange(N, dtype=np.int64) * T, problem.lengths, T)
        y, w = (poisoned(values, problem.real_rows()) for values in (problem.targets, problem.weights))
        rows = y.reshape(-1, y.shape[-1])
        if y.ndim == 3:
            return batch, Targets(rows, batch.starts, batch.lengths, T, w.ravel())
        return batch, Targets(rows, np.arange(N, dtype=np.int64), np.ones(N, dtype=np.int64), 1, w.ravel())

    def figures(self) -> Figures:
        """Forward, loss and backward, once."""
        problem = self.problem
        inputs, targets = self.data()
        run = self.engine.forward(self.plan, inputs, problem.state, keep_tape=True)
        loss, d_a = loss_of(problem.specification, run.preactivations, targets)
        d_a = poisoned(d_a, problem.real_rows())
        back = self.engine.backward(self.plan, run.tape, d_a, problem.d_final_state)
        return {
            "outputs": run.outputs,
            "preactivations": run.preactivations,
            "loss": np.array(loss),
            "d inputs": back.d_inputs,
            **{f"final {name}": values for name, values in run.final_state.items()},
            **{f"d {name}": values for name, values in back.d_state.items()},
            **{f"d {name}": values for name, values in self.parameters.named(back.gradient).items()},
        }

    def stream(self) -> Figures:
        """One step after the other, for sequences that all have T steps."""
        outputs, state = [], self.problem.state
        for t in range(self.problem.steps):
            y, state = self.engine.step(self.plan, self.problem.inputs[:, t], state)
            outputs.append(y)
        return {"outputs": np.stack(outputs, axis=1), **{f"final {name}": values for name, values in state.items()}}

    def trained(self, optimizer: str, updates: int = UPDATES) -> Figures:
        """Updates with the whole batch, in one call; the problem's parameters and weights, zero or learned states."""
        inputs, targets = self.data()
        N = len(self.problem)
        rule = UpdateRule({"sgd": SGD(), "adam": Adam()}[optimizer], NoClipping())
        order, boundaries = np.tile(np.arange(N), updates), np.arange(updates + 1) * N
        rates = np.full(updates, LEARNING_RATE[optimizer])
        whole = Updates(inputs, targets, order, boundaries, rates, 0, np.arange(updates))
        remembered = rule.optimizer.init(len(self.parameters.vector), self.problem.dtype)
        report = self.engine.train_updates(self.plan, whole, rule, remembered)
        assert report.applied == updates
        return {
            f"losses by {optimizer}": report.losses,
            f"gradient norms by {optimizer}": report.gradient_norms,
            **{f"{name} after {optimizer}": values.copy() for name, values in self.parameters.views.items()},
        }
