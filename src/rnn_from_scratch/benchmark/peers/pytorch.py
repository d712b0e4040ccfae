"""PyTorch: `nn.RNN`, `nn.GRU`, `nn.LSTM` and `nn.Linear`, eager, and traced where only outputs are wanted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_, rnn

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

LIBRARY = "PyTorch"
LAYERS = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
CELLS = {"elman": torch.nn.RNNCell, "gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}


def prepare(threads: int) -> None:
    torch.set_num_threads(threads)


def versions() -> dict[str, str]:
    return {"PyTorch": torch.__version__}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    if problem.task == "step":
        ways = {"layer": False, "cell": False, "cell, traced": True}
        return {f"PyTorch, {way}": partial(Step, problem, "cell" in way, traced) for way, traced in ways.items()}
    if problem.task == "sequence":
        return {
            f"PyTorch{', time first' * time_first}{', traced' * traced}": partial(Sequence, problem, traced, time_first)
            for time_first in ((False, True) if len(problem.X) > 1 else (False,))
            for traced in (False, True)
        }
    fused = "fused " + {"sgd": "SGD", "adam": "Adam"}[problem.optimizer]
    if problem.lengths is None:
        makers: dict[str, Callable[[], object] | str] = {"PyTorch": partial(Training, problem, False)}
        makers[f"PyTorch, {fused}"] = partial(Training, problem, True)
        if problem.thorough and problem.batch_size > 1:
            makers[f"PyTorch, time first, {fused}"] = partial(Training, problem, True, "", True)
        return makers
    return {
        "PyTorch, padded": partial(Training, problem, True, "padded"),
        "PyTorch, PackedSequence": partial(Training, problem, True, "packed"),
    }


def make_layers(problem: Problem, time_first: bool = False) -> tuple[Any, Any, dict[str, Any]]:
    """The recurrent layers, the readout, and their tensors under the names of `Problem.weights`."""
    D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
    kind = torch.float64 if problem.X.dtype == np.float64 else torch.float32
    layers = LAYERS[problem.cell](D, H, num_layers=problem.layers, batch_first=not time_first, dtype=kind)
    readout = torch.nn.Linear(H, O, dtype=kind)
    named = {"readout.W_y": readout.weight, "readout.b_y": readout.bias}
    for k in range(problem.layers):
        # The second bias has the gradient of the first, but for the candidate of a GRU: elsewhere one is enough.
        second = getattr(layers, f"bias_hh_l{k}")
        named[f"layer{k}.W_x"] = getattr(layers, f"weight_ih_l{k}")
        named[f"layer{k}.W_h"] = getattr(layers, f"weight_hh_l{k}")
        named[f"layer{k}.b_h"] = getattr(layers, f"bias_ih_l{k}")
        with torch.no_grad():
            second.zero_()
        if problem.cell == "gru":
            named[f"layer{k}.b_hn"] = second[2 * H :]
            only_candidate = (torch.arange(3 * H) >= 2 * H).to(kind)
            second.register_hook(lambda d, keep=only_candidate: d * keep)
        else:
            second.requires_grad_(False)
    set_weights(named, problem)
    return layers, readout, named


def set_weights(named: dict[str, Any], problem: Problem) -> None:
    with torch.no_grad():
        for name, values in problem.weights.items():
            named[name].copy_(torch.from_numpy(values))


class Training:
    """Eager training; sequences by themselves are given unbatched, which spares an axis."""

    def __init__(self, problem: Problem, fused: bool, lengths: str = "", time_first: bool = False) -> None:
        self.problem, self.fused, self.way, self.time_first = problem, fused, lengths, time_first
        self.layers, self.readout, self.named = make_layers(problem, time_first)
        parts = [torch.from_numpy(v).split(problem.batch_size) for v in (problem.X, problem.y)]
        self.batches = list(zip(*parts, strict=True))
        if problem.batch_size == 1:
            self.batches = [(x[0], y[0]) for x, y in self.batches]
        if time_first:
            self.batches = [(turned(x), turned(y) if problem.every else y) for x, y in self.batches]
        self.lengths: list[Any] = [None] * len(self.batches)
        if problem.lengths is not None:
            self.lengths = list(torch.from_numpy(problem.lengths).split(problem.batch_size))
            longest = [int(lengths.max()) for lengths in self.lengths]
            pairs = zip(self.batches, longest, strict=True)
            self.batches = [(x[:, :steps].contiguous(), y) for (x, y), steps in pairs]
        self.reset()

    def reset(self) -> None:
        set_weights(self.named, self.problem)
        self.trained = [p for p in (*self.layers.parameters(), *self.readout.parameters()) if p.requires_grad]
        make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.problem.optimizer]
        self.optimizer = make(self.trained, lr=self.problem.learning_rate, fused=self.fused)

    def outputs(self, x: Any, lengths: Any) -> Any:
        if lengths is None:
            h = self.layers(x)[0]
            last = h[-1] if self.time_first else h[..., -1, :]
            return self.readout(h if self.problem.every else last)
        if self.way == "packed":
            packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            state = self.layers(packed)[1]
            return self.readout((state[0] if self.problem.cell == "lstm" else state)[-1])
        h = self.layers(x)[0]
        return self.readout(h[torch.arange(len(x)), lengths - 1])

    def train(self, epochs: int) -> tuple[list[float], list[float]]:
        mse, clip, trained = torch.nn.functional.mse_loss, self.problem.clip, self.trained
        epoch_losses, epoch_norms = [], []
        for _ in range(epochs):
            losses, norms = [], []
            for (x, y), lengths in zip(self.batches, self.lengths, strict=True):
                self.optimizer.zero_grad()
                loss = mse(self.outputs(x, lengths), y)
                loss.backward()
                if clip is not None:
                    norms.append(clip_grad_norm_(trained, clip))
                self.optimizer.step()
                losses.append(loss.detach())
            epoch_losses.append(torch.stack(losses).mean().item())
            epoch_norms.append(torch.stack(norms).max().item() if norms else float("nan"))
        return epoch_losses, epoch_norms

    def weights(self) -> dict[str, Array]:
        return {name: self.named[name].detach().numpy() for name in self.problem.weights}

    def predict(self, X: Array, lengths: Array | None = None) -> Array:
        with torch.inference_mode():
            known = None if lengths is None else torch.from_numpy(lengths)
            x = torch.from_numpy(X)
            outputs = self.outputs(turned(x) if self.time_first else x, known)
            return np.asarray((turned(outputs) if self.time_first and self.problem.every else outputs).numpy())


def turned(values: Any) -> Any:
    """Time first instead of sequences first, or back."""
    return values.transpose(0, 1).contiguous()


class Sequence:
    """`inference_mode`; the first output of traced modules comes after the tracer has optimised them."""

    def __init__(self, problem: Problem, traced: bool, time_first: bool) -> None:
        layers, readout, _ = make_layers(problem, time_first)
        x = torch.from_numpy(problem.X)
        self.time_first, self.x = time_first, turned(x) if time_first else x
        module = Both(layers, readout)
        self.module: Any = trace(module, (self.x,)) if traced else module

    def run(self, times: int) -> None:
        with torch.inference_mode():
            for _ in range(times):
                self.module(self.x).numpy()

    def outputs(self) -> Array:
        with torch.inference_mode():
            y = self.module(self.x)
            return np.asarray((turned(y) if self.time_first else y).numpy())


class Both(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
    """The layers and the readout of every step."""

    def __init__(self, layers: Any, readout: Any) -> None:
        super().__init__()
        self.layers, self.readout = layers, readout

    def forward(self, x: Any) -> Any:
        return self.readout(self.layers(x)[0])


class OneStep(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
    """A cell and the readout."""

    def __init__(self, cell: Any, readout: Any, lstm: bool) -> None:
        super().__init__()
        self.cell, self.readout, self.lstm = cell, readout, lstm

    def forward(self, x: Any, *state: Any) -> Any:
        after = self.cell(x, state) if self.lstm else (self.cell(x, state[0]),)
        return (self.readout(after[0]), *after)


def trace(module: Any, arguments: tuple[Any, ...]) -> Any:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; it is still the faster way for small networks
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), arguments))
        for _ in range(3):
            traced(*arguments)
    return traced


class Step:
    """One step of one stream, the state carried."""

    def __init__(self, problem: Problem, cell: bool, traced: bool) -> None:
        D, H, _ = problem.sizes
        layers, readout, _ = make_layers(problem)
        self.lstm = problem.cell == "lstm"
        self.steps = torch.from_numpy(problem.X[0])[:, None]  # (T, 1, D)
        shape = (1, H)
        self.start = tuple(torch.zeros(shape) for _ in range(2 if self.lstm else 1))
        self.module: Any
        if cell:
            own = CELLS[problem.cell](D, H)
            own.load_state_dict({name.removesuffix("_l0"): values for name, values in layers.state_dict().items()})
            self.module = OneStep(own, readout, self.lstm)
        else:
            self.module = OneStep(Unwrapped(layers, self.lstm), readout, self.lstm)
        if traced:
            self.module = trace(self.module, (self.steps[0], *self.start))
        self.state = self.start

    def run(self, times: int) -> None:
        module, x, state = self.module, self.steps[0], self.state
        with torch.inference_mode():
            for _ in range(times):
                y, *state = module(x, *state)
                y.numpy()
        self.state = tuple(state)

    def outputs(self) -> Array:
        found, state = [], self.start
        with torch.inference_mode():
            for x in self.steps:
                y, *state = self.module(x, *state)
                found.append(y[0].numpy())
        return np.array(found)


class Unwrapped(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
    """A layer called with one unbatched step, in the manner of a cell."""

    def __init__(self, layers: Any, lstm: bool) -> None:
        super().__init__()
        self.layers, self.lstm = layers, lstm

    def forward(self, x: Any, state: Any) -> Any:
        return self.layers(x, state)[1]
