"""What PyTorch says about a `torch_problem.Problem`: the same network in its own words, and the same figures.

PyTorch's side shares nothing with the library but the numbers of the problem. What PyTorch has is taken from it: layers of
one kind and size are one `torch.nn.RNN`, `GRU` or `LSTM` of that many layers and directions, on packed sequences; tokens go
through `torch.nn.Embedding`. What it has not (sigmoid and linear units, the reset before the product) is a loop under
autograd.

PyTorch may be missing: then this module can be imported, and nothing in it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from torch_problem import LEARNING_RATE, UPDATES, Figures, Problem

from rnn_from_scratch.layers import Layer

try:
    import torch
except ImportError:
    torch = None
else:
    torch.set_num_threads(1)  # its threads wait for each other far longer than these small products take


class Learned(NamedTuple):
    """A tensor that learns, or a part of one: PyTorch keeps a GRU's b_hn at the end of a longer bias."""

    tensor: torch.Tensor
    first: int = 0

    def value(self) -> np.ndarray:
        """Its numbers."""
        return _numbers(self.tensor)[self.first :]

    def gradient(self) -> np.ndarray:
        """Its gradient; zeros where it was not used."""
        d = torch.zeros_like(self.tensor) if self.tensor.grad is None else self.tensor.grad
        return _numbers(d)[self.first :]


States = dict[str, "torch.Tensor"]


class TorchRun(NamedTuple):
    """What the twin's forward gives: (N, T, O) or (N, O), the same, {name: (N, H)}, and what the first layer read."""

    preactivations: torch.Tensor
    outputs: torch.Tensor
    final_state: States
    features: torch.Tensor


class PackedLayers:
    """`torch.nn.RNN`, `GRU` or `LSTM` of one or more layers and one or two directions, on packed sequences."""

    def __init__(self, names: list[str], layer: Layer, levels: int, p: dict[str, torch.Tensor]) -> None:
        self.names, self.layer = names, layer
        words: dict[str, Any] = {"num_layers": levels, "bidirectional": layer.bidirectional, "batch_first": True}
        if layer.cell == "elman":
            words["nonlinearity"] = layer.activation
        kind = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[layer.cell]
        W_x = p[f"{names[0]}.W_x"]
        self.module = kind(W_x.shape[1], layer.hidden_size, dtype=W_x.dtype, **words)
        self.tensors: dict[str, Learned] = {}
        for index, name in enumerate(names):
            place = f"l{index // 2}" + "_reverse" * (index % 2) if layer.bidirectional else f"l{index}"
            self._take(name, place, p)

    def _take(self, name: str, place: str, p: dict[str, torch.Tensor]) -> None:
        b_hh = getattr(self.module, f"bias_hh_{place}")
        found = {"W_x": f"weight_ih_{place}", "W_h": f"weight_hh_{place}", "b_h": f"bias_ih_{place}"}
        with torch.no_grad():
            b_hh.zero_()  # the library has one bias where PyTorch has the sum of two
            for symbol, theirs in found.items():
                tensor = getattr(self.module, theirs)
                tensor.copy_(p[f"{name}.{symbol}"])
                self.tensors[f"{name}.{symbol}"] = Learned(tensor)
            if self.layer.cell != "gru":
                b_hh.requires_grad_(False)
                return
            # Of a GRU's second bias only the part inside the reset product is a parameter of its own. The parts of r and z
            # stay zero: two biases that are added make Adam take two steps where one is due.
            H = self.layer.hidden_size
            b_hh[2 * H :] = p[f"{name}.b_hn"]
        b_hh.register_hook(lambda d: torch.cat([torch.zeros_like(d[: 2 * H]), d[2 * H :]]))
        self.tensors[f"{name}.b_hn"] = Learned(b_hh, 2 * H)

    def run(self, x: torch.Tensor, state: States, lengths: torch.Tensor) -> tuple[torch.Tensor, States]:
        """x (N, T, D) and states (N, H) give every h (N, T, H or 2·H), zero past the end, and the final states."""
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        symbols = self.layer.states
        first = [torch.stack([state[f"{name}.{symbol}"] for name in self.names]) for symbol in symbols]
        h, last = self.module(packed, tuple(first) if len(first) > 1 else first[0])
        padded, _ = torch.nn.utils.rnn.pad_packed_sequence(h, batch_first=True, total_length=x.shape[1])
        lasts = zip(symbols, last if len(first) > 1 else (last,), strict=True)
        return padded, {f"{name}.{symbol}": s[i] for symbol, s in lasts for i, name in enumerate(self.names)}


class LoopLayer:
    """Step after step under autograd, with a mask: what `torch.nn` does not have."""

    def __init__(self, names: list[str], layer: Layer, levels: int, p: dict[str, torch.Tensor]) -> None:
        assert levels == 1
        self.names, self.layer = names, layer
        symbols = ("W_x", "W_h", "b_h")
        self.leaves = {f"{name}.{s}": p[f"{name}.{s}"].clone().requires_grad_() for name in names for s in symbols}
        self.tensors = {name: Learned(leaf) for name, leaf in self.leaves.items()}

    def run(self, x: torch.Tensor, state: States, lengths: torch.Tensor) -> tuple[torch.Tensor, States]:
        """As `PackedLayers.run`."""
        ways, final = [], {}
        for name in self.names:
            times = range(x.shape[1])
            h, every = state[f"{name}.h"], {}
            for t in reversed(times) if name.endswith("reverse") else times:
                runs = (t < lengths)[:, None]
                h_next = self._step(name, x[:, t], h)
                h = torch.where(runs, h_next, h)
                every[t] = torch.where(runs, h_next, torch.zeros_like(h_next))
            ways.append(torch.stack([every[t] for t in times], dim=1))
            final[f"{name}.h"] = h
        return torch.cat(ways, dim=2), final

    def _step(self, name: str, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        W_x, W_h, b_h = (self.leaves[f"{name}.{symbol}"] for symbol in ("W_x", "W_h", "b_h"))
        if self.layer.cell == "elman":
            a = x @ W_x.T + h @ W_h.T + b_h
            return torch.sigmoid(a) if self.layer.activation == "sigmoid" else a
        (xr, xz, xn), (W_hr, W_hz, W_hn) = (x @ W_x.T + b_h).chunk(3, dim=1), W_h.chunk(3)
        r, z = torch.sigmoid(xr + h @ W_hr.T), torch.sigmoid(xz + h @ W_hz.T)
        return (1 - z) * torch.tanh(xn + (r * h) @ W_hn.T) + z * h


def is_packed(layer: Layer) -> bool:
    """Whether PyTorch has it."""
    return layer.options not in ({"activation": "sigmoid"}, {"activation": "linear"}, {"reset": "before"})


class Twin:
    """The problem's network in PyTorch."""

    def __init__(self, problem: Problem) -> None:
        self.problem, words = problem, problem.specification
        p = {name: torch.tensor(values) for name, values in problem.parameters.items()}
        self.layers = list(self._layers(p))
        W_y, b_y = p["readout.W_y"], p["readout.b_y"]
        self.readout = torch.nn.Linear(W_y.shape[1], W_y.shape[0], dtype=W_y.dtype)
        with torch.no_grad():
            self.readout.weight.copy_(W_y)
            self.readout.bias.copy_(b_y)
        self.embedding = None
        if problem.takes_tokens:
            self.embedding = torch.nn.Embedding(words.vocabulary_size, words.input_size, _weight=p["embedding.W_e"])
        self.first = {name: value.requires_grad_() for name, value in p.items() if name.endswith(("h_0", "c_0"))}
        self.tensors = {name: self._learned()[name] for name in problem.parameters}  # in the library's order

    def _layers(self, p: dict[str, torch.Tensor]) -> Iterator[PackedLayers | LoopLayer]:
        """Layers of one kind together, where PyTorch has it."""
        directions = self.problem.specification.directions
        for _, group in groupby(directions, key=lambda d: d.layer if is_packed(d.layer) else d.level):
            found = list(group)
            layer, names = found[0].layer, [direction.name for direction in found]
            levels = len({direction.level for direction in found})
            yield (PackedLayers if is_packed(layer) else LoopLayer)(names, layer, levels, p)

    def _learned(self) -> dict[str, Learned]:
        named = {name: tensor for layer in self.layers for name, tensor in layer.tensors.items()}
        named |= {name: Learned(value) for name, value in self.first.items()}
        if self.embedding is not None:
            named["embedding.W_e"] = Learned(self.embedding.weight)
        return {**named, "readout.W_y": Learned(self.readout.weight), "readout.b_y": Learned(self.readout.bias)}

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The tensors that learn, as optimisers want them."""
        return [learned.tensor for learned in self.tensors.values()]

    def values(self) -> Figures:
        """The numbers of the parameters, by the library's names."""
        return {name: learned.value() for name, learned in self.tensors.items()}

    def gradients(self) -> Figures:
        """Their gradients."""
        return {name: learned.gradient() for name, learned in self.tensors.items()}

    def run(self, x: torch.Tensor, state: States, lengths: torch.Tensor) -> TorchRun:
        """Whole sequences from a given state."""
        words, final_state = self.problem.specification, {}
        real = (torch.arange(x.shape[1]) < lengths[:, None])[:, :, None]
        features = x if self.embedding is None else self.embedding(x[:, :, 0])
        if features.requires_grad:
            features.retain_grad()
        h = features
        for layer in self.layers:
            h, last = layer.run(h, state, lengths)
            final_state |= last
        if words.readout == "last":
            top = [d.name for d in words.directions if d.level == len(words.layers) - 1]
            h = torch.cat([final_state[f"{name}.h"] for name in top], dim=1)
        elif words.readout == "mean":
            h = h.sum(dim=1) / lengths[:, None]  # zero past the end
        a = self.readout(h)
        y = {"linear": torch.nn.Identity(), "sigmoid": torch.sigmoid, "softmax": torch.nn.Softmax(dim=-1)}[
            words.output_activation
        ](a)
        if words.readout == "every":
            a, y = (torch.where(real, values, torch.zeros_like(values)) for values in (a, y))
        return TorchRun(a, y, {name: final_state[name] for name in state}, features)

    def from_start(self, chosen: np.ndarray) -> TorchRun:
        """Some of the problem's sequences, from zero or learned states."""
        zero = {name: torch.zeros_like(torch.tensor(h[chosen])) for name, h in self.problem.state.items()}
        state = {name: h + self.first[f"{name}_0"] if f"{name}_0" in self.first else h for name, h in zero.items()}
        return self.run(torch.tensor(self.problem.inputs[chosen]), state, torch.tensor(self.problem.lengths[chosen]))

    def loss(self, run: TorchRun, chosen: np.ndarray) -> torch.Tensor:
        """Σ w ℓ / Σ w over the real rows of the chosen sequences, by PyTorch's own losses."""
        problem, functional = self.problem, torch.nn.functional
        words = problem.specification
        real = problem.real_rows()[chosen]
        a, y = run.preactivations[torch.tensor(real)], run.outputs[torch.tensor(real)]
        t, w = (torch.tensor(values[chosen][real]) for values in (problem.targets, problem.weights))
        if words.loss == "ce" and words.output_activation == "softmax":
            rows = functional.cross_entropy(a, t, reduction="none")
        elif words.loss == "ce":
            rows = functional.binary_cross_entropy_with_logits(a, t, reduction="none").mean(dim=1)
        elif words.loss == "huber":
            rows = torch.nn.HuberLoss(reduction="none", delta=words.huber_delta)(y, t).mean(dim=1)
        else:
            rows = {"mse": torch.nn.MSELoss, "mae": torch.nn.L1Loss}[words.loss](reduction="none")(y, t).mean(dim=1)
        return (w * rows).sum() / w.sum()


def torch_figures(problem: Problem) -> Figures:
    """Forward, loss and backward, once: what `EngineRun.figures` is held against."""
    twin, everyone = Twin(problem), np.arange(len(problem))
    x = torch.tensor(problem.inputs, requires_grad=not problem.takes_tokens)
    state = {name: torch.tensor(h, requires_grad=True) for name, h in problem.state.items()}
    run = twin.run(x, state, torch.tensor(problem.lengths))
    loss = twin.loss(run, everyone)
    by_state = sum((torch.tensor(problem.d_final_state[name]) * h).sum() for name, h in run.final_state.items())
    (loss + by_state).backward()
    return {
        "outputs": _numbers(run.outputs),
        "preactivations": _numbers(run.preactivations),
        "loss": _numbers(loss),
        "d inputs": _numbers(run.features.grad),
        **{f"final {name}": _numbers(h) for name, h in run.final_state.items()},
        **{f"d {name}": _numbers(h.grad) for name, h in state.items()},
        **{f"d {name}": values for name, values in twin.gradients().items()},
    }


def torch_trained(
    problem: Problem,
    optimizer: str,
    *,
    learning_rate: float | None = None,
    batches: Sequence[np.ndarray] | None = None,
    clip: Callable[[list[torch.Tensor]], object] | None = None,
) -> tuple[Figures, Twin]:
    """Updates from zero or learned states: what `EngineRun.trained` is held against, and the trained twin.

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
    parameters = twin.parameters
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    step = rule(parameters, lr=LEARNING_RATE[optimizer] if learning_rate is None else learning_rate)
    losses, norms = [], []
    for chosen in [np.arange(len(problem))] * UPDATES if batches is None else batches:
        step.zero_grad()
        loss = twin.loss(twin.from_start(chosen), chosen)
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


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()
