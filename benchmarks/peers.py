"""The contestants: the same network, data and updates in each library, written as its experts would.

A library is one function. It is called in a process of its own, imports what it needs there, and gives its versions
and its contestants by name; see `harness.Runner` for what a contestant can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from harness import Contestants


@dataclass(frozen=True)
class Problem:
    """An Elman network with tanh and a linear readout of every step, trained by plain SGD, one update per sequence.

    Attributes
    ----------
    X : ndarray (N, T, D)
    y : ndarray (N, T, O)
    weights : dict of str to ndarray
        Where training starts, under the names of `rnn_from_scratch.Network`.
    learning_rate : float
    clip : float
        Largest norm of the whole gradient.
    """

    X: np.ndarray
    y: np.ndarray
    weights: dict[str, np.ndarray]
    learning_rate: float
    clip: float

    @property
    def hidden_size(self) -> int:
        """H."""
        return len(self.weights["layer0.b_h"])


class Ours:
    """rnn_from_scratch, through its public API."""

    def __init__(self, problem: Problem, engine: str, dtype: str) -> None:
        from rnn_from_scratch import Elman, Network

        D, O = problem.X.shape[2], problem.y.shape[2]  # noqa: E741  # the alphabet's letter
        self.network = Network(D, [Elman(problem.hidden_size)], O, dtype=dtype, engine=engine)
        self.problem = problem
        self.X, self.y = problem.X.astype(dtype), problem.y.astype(dtype)

    def reset(self) -> None:
        with self.network.edit_parameters() as p:
            for name, weights in self.problem.weights.items():
                p[name][:] = weights

    def train(self, epochs: int) -> list[float]:
        return self.network.fit(
            self.X,
            self.y,
            epochs,
            batch_size=1,
            optimizer="sgd",
            learning_rate=self.problem.learning_rate,
            clip=self.problem.clip,
            shuffle=False,
        ).loss

    def weights(self) -> dict[str, np.ndarray]:
        return dict(self.network.parameters)

    def predict(self, times: int) -> np.ndarray:
        x = self.X[:1]
        for _ in range(times):
            outputs = self.network.predict(x)
        return outputs[0]


def ours(problem: Problem) -> Contestants:
    """Both engines in float32."""
    from rnn_from_scratch.configuration import configuration
    from rnn_from_scratch.engines.select import engine_status

    names = ("rnn-from-scratch", "NumPy", "instruction set")
    versions = {name: version for name, version in configuration().items() if name in names}
    engines = ["native", "numpy"] if engine_status()["native"] == "available" else ["numpy"]
    return versions, {f"ours, {engine}": partial(Ours, problem, engine, "float32") for engine in engines}


def reference(problem: Problem) -> Contestants:
    """The NumPy engine in float64, which all others are compared with."""
    return {}, {"reference": partial(Ours, problem, "numpy", "float64")}


class PyTorch:
    """`nn.RNN` and `nn.Linear`, eager, on unbatched sequences."""

    def __init__(self, problem: Problem, fused: bool) -> None:
        import torch

        D, O = problem.X.shape[2], problem.y.shape[2]  # noqa: E741  # the alphabet's letter
        self.torch, self.problem = torch, problem
        self.rnn = torch.nn.RNN(D, problem.hidden_size)
        self.readout = torch.nn.Linear(problem.hidden_size, O)
        self.rnn.bias_hh_l0.requires_grad_(False).zero_()  # a second bias beside bias_ih_l0 has the same gradient
        tensors = (
            self.rnn.weight_ih_l0,
            self.rnn.weight_hh_l0,
            self.rnn.bias_ih_l0,
            self.readout.weight,
            self.readout.bias,
        )
        self.named = dict(zip(problem.weights, tensors, strict=True))
        self.optimizer = torch.optim.SGD(tensors, lr=problem.learning_rate, fused=fused)
        self.sequences = list(zip(torch.from_numpy(problem.X), torch.from_numpy(problem.y), strict=True))

    def reset(self) -> None:
        with self.torch.no_grad():
            for name, tensor in self.named.items():
                tensor.copy_(self.torch.from_numpy(self.problem.weights[name]))

    def train(self, epochs: int) -> list[float]:
        torch, tensors = self.torch, tuple(self.named.values())
        mse, clip = torch.nn.functional.mse_loss, torch.nn.utils.clip_grad_norm_
        epoch_losses = []
        for _ in range(epochs):
            losses = []
            for x, y in self.sequences:
                self.optimizer.zero_grad()
                loss = mse(self.readout(self.rnn(x)[0]), y)
                loss.backward()
                clip(tensors, self.problem.clip)
                self.optimizer.step()
                losses.append(loss.detach())
            epoch_losses.append(torch.stack(losses).mean().item())
        return epoch_losses

    def weights(self) -> dict[str, np.ndarray]:
        return {name: tensor.detach().numpy() for name, tensor in self.named.items()}

    def predict(self, times: int) -> np.ndarray:
        with self.torch.inference_mode():
            for _ in range(times):
                outputs = self.readout(self.rnn(self.torch.from_numpy(self.problem.X[0]))[0]).numpy()
        return outputs


def pytorch(problem: Problem) -> Contestants:
    """Eager, with both forms of the optimiser that its SGD has for the CPU."""
    import torch

    torch.set_num_threads(1)
    return {"PyTorch": torch.__version__}, {
        "PyTorch": partial(PyTorch, problem, False),
        "PyTorch, fused SGD": partial(PyTorch, problem, True),
    }


class JAX:
    """`lax.scan` over time, compiled; by update or, scanned over the sequences as well, by epoch.

    Parameters
    ----------
    problem : Problem
    whole_epoch : bool
        Compile an epoch, or one update.
    projection_first : bool
        Whether all steps' share of the input is computed before the loop over time.
    unroll : int
        Steps of the loop over time that are written out in one turn.
    transposed : bool, default=False
        Whether matrices are stored as (inputs, outputs).
    """

    def __init__(
        self, problem: Problem, whole_epoch: bool, projection_first: bool, unroll: int, transposed: bool = False
    ) -> None:
        import jax
        import jax.numpy as jnp
        from jax import lax

        self.jax, self.problem, self.whole_epoch, self.transposed = jax, problem, whole_epoch, transposed
        self.X, self.y = jnp.asarray(problem.X), jnp.asarray(problem.y)
        self.sequences = list(zip(self.X, self.y, strict=True))

        def times(x: Any, W: Any) -> Any:
            if transposed:
                return x @ W
            return W @ x if x.ndim == 1 else x @ W.T  # x @ W.T of one vector is compiled to something slower

        def project(p: Any, x: Any) -> Any:
            return times(x, p["layer0.W_x"]) + p["layer0.b_h"]

        def outputs(p: Any, x: Any) -> Any:
            def step(h: Any, now: Any) -> Any:
                a = now if projection_first else project(p, now)
                h = jnp.tanh(a + times(h, p["layer0.W_h"]))
                return h, h

            start = jnp.zeros(problem.hidden_size, x.dtype)
            _, h = lax.scan(step, start, project(p, x) if projection_first else x, unroll=unroll)
            return times(h, p["readout.W_y"]) + p["readout.b_y"]

        def update(p: Any, sequence: Any) -> Any:
            x, y = sequence
            loss, gradient = jax.value_and_grad(lambda p: jnp.mean((outputs(p, x) - y) ** 2))(p)
            norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradient.values()))
            rate = problem.learning_rate * jnp.where(norm > problem.clip, problem.clip / norm, 1.0)
            return {name: p[name] - rate * gradient[name] for name in p}, loss

        def epoch(p: Any, X: Any, y: Any) -> Any:
            p, losses = lax.scan(update, p, (X, y))
            return p, losses.mean()

        self.update = jax.jit(update, donate_argnums=0)
        self.epoch = jax.jit(epoch, donate_argnums=0)
        self.outputs = jax.jit(outputs)

    def reset(self) -> None:
        stored = {name: weights.T if self.transposed else weights for name, weights in self.problem.weights.items()}
        self.p = {name: self.jax.numpy.array(weights) for name, weights in stored.items()}
        self.jax.block_until_ready(self.p)

    def train(self, epochs: int) -> list[float]:
        epoch_losses = [self._epoch() for _ in range(epochs)]
        self.jax.block_until_ready(self.p)
        return [float(np.mean(losses)) for losses in self.jax.device_get(epoch_losses)]

    def _epoch(self) -> Any:
        if self.whole_epoch:
            self.p, loss = self.epoch(self.p, self.X, self.y)
            return loss
        losses = []
        for sequence in self.sequences:
            self.p, loss = self.update(self.p, sequence)
            losses.append(loss)
        return losses

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(array.T if self.transposed else array) for name, array in self.p.items()}

    def predict(self, times: int) -> np.ndarray:
        for _ in range(times):
            outputs = np.asarray(self.outputs(self.p, self.problem.X[0]))
        return outputs


def jax(problem: Problem) -> Contestants:
    """Every way of writing the loop over time, for the epoch and for one update; the fastest is what counts."""
    import jax

    T = problem.X.shape[1]
    contestants = {}
    for by, unrolls in {"epoch": (1, 5, T), "update": (1, T)}.items():
        for where in ("in", "out"):
            for unroll in unrolls:
                name = f"JAX by {by}, W_x x {where}, unroll {unroll}"
                contestants[name] = partial(JAX, problem, by == "epoch", where == "out", unroll)
    for where in ("in", "out"):
        contestants[f"JAX by epoch, W_x x {where}, unroll {T}, Wᵀ"] = partial(
            JAX, problem, True, where == "out", T, True
        )
    return {"JAX": jax.__version__}, contestants
