"""One Elman network on one batch: the figures that an engine finds for it, and those that PyTorch finds.

Both sides give a dictionary with the same names (``outputs``, ``d layer0.W_h``, ``layer0.W_h after adam``, …), so that
a comparison is one loop and no tensor can be left out. PyTorch's side shares nothing with the library but the numbers
of the problem: tanh and relu layers are `torch.nn.RNN` on packed sequences, sigmoid and linear layers a loop under
autograd.

PyTorch may be missing: then everything works but the twin and the functions that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from rnn_from_scratch import SGD, Adam, Elman, Network, NetworkSpecification, NoClipping
from rnn_from_scratch.engines.base import Engine, Updates, loss_of
from rnn_from_scratch.engines.select import select_engine
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, Targets, as_batch, as_targets

try:
    import torch
except ImportError:
    torch = None
else:
    torch.set_num_threads(1)  # its threads wait for each other far longer than these small products take

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
    inputs : ndarray (N, T, D)
        Zeros past the end of a sequence.
    lengths : ndarray (N,) of int64
    targets, weights : ndarray (N, T, O) and (N, T), or (N, O) and (N,) with ``readout="last"``
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
        """float32 or float64, the same for all numbers."""
        return self.inputs.dtype

    @property
    def steps(self) -> int:
        """T."""
        return self.inputs.shape[1]

    def real_steps(self) -> np.ndarray:
        """(N, T): False past the end of a sequence."""
        return np.arange(self.steps) < self.lengths[:, None]

    def real_rows(self) -> np.ndarray:
        """(N, T), or (N,) with ``readout="last"``: whether there is an output."""
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
    return numbers.astype(dtype)


def random_problem(
    specification: NetworkSpecification, lengths: Sequence[int], steps: int, dtype: str, seed: int
) -> Problem:
    """Random parameters, biases, inputs, targets, weights and states for a network."""
    generator = np.random.default_rng(seed)
    N, T = len(lengths), steps
    lengths = np.array(lengths, dtype=np.int64)
    inputs = generator.normal(size=(N, T, specification.input_size))
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
    specification = problem.specification
    words = {field.name: getattr(specification, field.name) for field in fields(specification)}
    words["layers"] = [[layer.hidden_size, layer.activation] for layer in specification.layers]
    numbers = {name: _as_lists(getattr(problem, name)) for name in (*NUMBERS, "lengths")}
    return {"specification": words, **numbers}


def from_json(words: dict[str, Any]) -> Problem:
    """The float64 problem that `as_json` wrote down."""
    specification = dict(words["specification"])
    specification["layers"] = [Elman(*layer) for layer in specification["layers"]]
    numbers = {name: as_arrays(words[name]) for name in NUMBERS}
    return Problem(NetworkSpecification(**specification), lengths=np.array(words["lengths"]), **numbers)


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
    """A copy with NaN wherever nothing real stands: no engine may look there."""
    copy = values.copy()
    copy[~real] = np.nan
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
        problem, words = self.problem, self.problem.specification
        inputs = poisoned(problem.inputs, problem.real_steps())
        batch = as_batch(inputs, words.input_size, problem.dtype, problem.lengths)
        y, w = (poisoned(values, problem.real_rows()) for values in (problem.targets, problem.weights))
        targets = as_targets(y, batch, words.output_size, words.readout, problem.dtype)
        return batch, replace(targets, weights=w.ravel())

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
        """Updates with the whole batch, in one call; the problem's parameters and weights, zero state."""
        inputs, targets = self.data()
        N, rule = len(self.problem), {"sgd": SGD(), "adam": Adam()}[optimizer]
        order = np.tile(np.arange(N), updates)
        rates = np.full(updates, LEARNING_RATE[optimizer])
        whole = Updates(inputs, targets, order, np.arange(updates + 1) * N, rates)
        remembered = rule.init(len(self.parameters.vector), self.problem.dtype)
        report = self.engine.train_updates(self.plan, whole, rule, remembered, NoClipping())
        assert report.applied == updates
        return {
            f"losses by {optimizer}": report.losses,
            f"gradient norms by {optimizer}": report.gradient_norms,
            **{f"{name} after {optimizer}": values.copy() for name, values in self.parameters.views.items()},
        }


# -------------------------------------------------------------------------------------------- what PyTorch says


class TorchRun(NamedTuple):
    """What the twin's forward gives: (N, T, O) or (N, O), the same, and {name: (N, H)}."""

    preactivations: torch.Tensor
    outputs: torch.Tensor
    final_state: dict[str, torch.Tensor]


class PackedLayer:
    """`torch.nn.RNN` on packed sequences: tanh and relu."""

    def __init__(self, p: dict[str, torch.Tensor], activation: str) -> None:
        H, D = p["W_x"].shape
        self.rnn = torch.nn.RNN(D, H, nonlinearity=activation, batch_first=True, dtype=p["W_x"].dtype)
        self.tensors = {"W_x": self.rnn.weight_ih_l0, "W_h": self.rnn.weight_hh_l0, "b_h": self.rnn.bias_ih_l0}
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(p[name])
            self.rnn.bias_hh_l0.zero_()  # the library has one bias where PyTorch has the sum of two
        self.rnn.bias_hh_l0.requires_grad_(False)

    def run(self, x: torch.Tensor, h_0: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x (N, T, D) and h_0 (N, H) give every h (N, T, H), zero past the end, and the last one (N, H)."""
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        h, h_T = self.rnn(packed, h_0[None])
        padded, _ = torch.nn.utils.rnn.pad_packed_sequence(h, batch_first=True, total_length=x.shape[1])
        return padded, h_T[0]


class LoopLayer:
    """Step after step under autograd, with a mask: sigmoid and linear, which `torch.nn.RNN` does not have."""

    def __init__(self, p: dict[str, torch.Tensor], activation: str) -> None:
        self.tensors = {name: tensor.clone().requires_grad_() for name, tensor in p.items()}
        self.f = {"sigmoid": torch.sigmoid, "linear": torch.nn.Identity()}[activation]

    def run(self, x: torch.Tensor, h_0: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `PackedLayer.run`."""
        p, h, every = self.tensors, h_0, []
        for t in range(x.shape[1]):
            h_next = self.f(x[:, t] @ p["W_x"].T + h @ p["W_h"].T + p["b_h"])
            runs = (t < lengths)[:, None]
            h = torch.where(runs, h_next, h)
            every.append(torch.where(runs, h_next, torch.zeros_like(h_next)))
        return torch.stack(every, dim=1), h


class Twin:
    """The problem's network in PyTorch."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        specification = problem.specification
        self.layers = [
            (PackedLayer if layer.activation in ("tanh", "relu") else LoopLayer)(
                _tensors(problem.parameters, f"layer{index}"), layer.activation
            )
            for index, layer in enumerate(specification.layers)
        ]
        p = _tensors(problem.parameters, "readout")
        O, H = p["W_y"].shape  # noqa: E741  # the alphabet's letter
        self.readout = torch.nn.Linear(H, O, dtype=p["W_y"].dtype)
        with torch.no_grad():
            self.readout.weight.copy_(p["W_y"])
            self.readout.bias.copy_(p["b_y"])

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The tensors that learn, by the library's names."""
        named = {f"layer{i}.{name}": p for i, layer in enumerate(self.layers) for name, p in layer.tensors.items()}
        return {**named, "readout.W_y": self.readout.weight, "readout.b_y": self.readout.bias}

    def values(self) -> Figures:
        """The numbers of the parameters."""
        return {name: _numbers(p) for name, p in self.parameters.items()}

    def run(self, x: torch.Tensor, state: dict[str, torch.Tensor], lengths: torch.Tensor) -> TorchRun:
        """Whole sequences from a given state."""
        words, h, final_state = self.problem.specification, x, {}
        for index, layer in enumerate(self.layers):
            h, h_T = layer.run(h, state[f"layer{index}.h"], lengths)
            final_state[f"layer{index}.h"] = h_T
        a = self.readout(h if words.readout == "every" else h_T)
        y = {"linear": torch.nn.Identity(), "sigmoid": torch.sigmoid, "softmax": torch.nn.Softmax(dim=-1)}[
            words.output_activation
        ](a)
        if words.readout == "every":
            real = (torch.arange(x.shape[1]) < lengths[:, None])[:, :, None]
            a, y = (torch.where(real, values, torch.zeros_like(values)) for values in (a, y))
        return TorchRun(a, y, final_state)

    def from_zero(self, chosen: np.ndarray) -> TorchRun:
        """Some of the problem's sequences, from a zero state."""
        inputs = self.problem.inputs[chosen]
        state = {name: torch.zeros_like(torch.tensor(h[chosen])) for name, h in self.problem.state.items()}
        return self.run(torch.tensor(inputs), state, torch.tensor(self.problem.lengths[chosen]))

    def loss(self, run: TorchRun, chosen: np.ndarray) -> torch.Tensor:
        """Σ w ℓ / Σ w over the real rows of the chosen sequences, by PyTorch's own losses."""
        problem, functional = self.problem, torch.nn.functional
        real = problem.real_rows()[chosen]
        a, y = run.preactivations[torch.tensor(real)], run.outputs[torch.tensor(real)]
        t, w = (torch.tensor(values[chosen][real]) for values in (problem.targets, problem.weights))
        if problem.specification.loss == "mse":
            rows = functional.mse_loss(y, t, reduction="none").mean(dim=1)
        elif problem.specification.output_activation == "softmax":
            rows = functional.cross_entropy(a, t, reduction="none")
        else:
            rows = functional.binary_cross_entropy_with_logits(a, t, reduction="none").mean(dim=1)
        return (w * rows).sum() / w.sum()


def torch_figures(problem: Problem) -> Figures:
    """Forward, loss and backward, once: what `EngineRun.figures` is held against."""
    twin, everyone = Twin(problem), np.arange(len(problem))
    x = torch.tensor(problem.inputs, requires_grad=True)
    state = {name: torch.tensor(h, requires_grad=True) for name, h in problem.state.items()}
    run = twin.run(x, state, torch.tensor(problem.lengths))
    loss = twin.loss(run, everyone)
    by_state = sum((torch.tensor(problem.d_final_state[name]) * h).sum() for name, h in run.final_state.items())
    (loss + by_state).backward()
    return {
        "outputs": _numbers(run.outputs),
        "preactivations": _numbers(run.preactivations),
        "loss": _numbers(loss),
        "d inputs": _numbers(x.grad),
        **{f"final {name}": _numbers(h) for name, h in run.final_state.items()},
        **{f"d {name}": _numbers(h.grad) for name, h in state.items()},
        **{f"d {name}": _numbers(p.grad) for name, p in twin.parameters.items()},
    }


def torch_trained(
    problem: Problem,
    optimizer: str,
    *,
    learning_rate: float | None = None,
    batches: Sequence[np.ndarray] | None = None,
    clip: Callable[[list[torch.Tensor]], object] | None = None,
) -> tuple[Figures, Twin]:
    """Updates from a zero state: what `EngineRun.trained` is held against, and the trained twin.

    Parameters
    ----------
    problem : Problem
    optimizer : {'sgd', 'adam'}
    learning_rate : float, optional
        That of `LEARNING_RATE` when not given.
    batches : sequence of ndarray, optional
        The sequences of each update; ten times all of them when not given.
    clip : callable, optional
        Is given the list of parameters after each backward pass.
    """
    twin = Twin(problem)
    parameters = list(twin.parameters.values())
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    step = rule(parameters, lr=LEARNING_RATE[optimizer] if learning_rate is None else learning_rate)
    losses, norms = [], []
    for chosen in [np.arange(len(problem))] * UPDATES if batches is None else batches:
        step.zero_grad()
        loss = twin.loss(twin.from_zero(chosen), chosen)
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in parameters]).item())
        if clip is not None:
            clip(parameters)
        step.step()
    return {
        f"losses by {optimizer}": np.array(losses),
        f"gradient norms by {optimizer}": np.array(norms),
        **{f"{name} after {optimizer}": values for name, values in twin.values().items()},
    }, twin


def clip_whole(limit: float) -> Callable[[list[torch.Tensor]], None]:
    """Scale the whole gradient to the limit where it is longer, without the 1e-6 of `clip_grad_norm_`."""

    def clip(parameters: list[torch.Tensor]) -> None:
        size = torch.cat([p.grad.ravel() for p in parameters]).norm().item()
        for p in parameters:
            p.grad *= limit / max(limit, size)

    return clip


def clip_each(limit: float) -> Callable[[list[torch.Tensor]], None]:
    """Scale each tensor's gradient to the limit where it is longer."""

    def clip(parameters: list[torch.Tensor]) -> None:
        for p in parameters:
            p.grad *= limit / max(limit, p.grad.norm().item())

    return clip


def _tensors(parameters: Figures, prefix: str) -> dict[str, torch.Tensor]:
    """Copies of the parameters of one layer, by the names of the alphabet."""
    return {
        name.split(".")[-1]: torch.tensor(values)
        for name, values in parameters.items()
        if name.startswith(f"{prefix}.")
    }


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()
