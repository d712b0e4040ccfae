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
    """One recurrent layer and a linear readout, trained on the mean squared error in the given order of sequences.

    Attributes
    ----------
    X : ndarray (N, T, D)
    y : ndarray (N, T, O), or (N, O) for the last step only
    weights : dict of str to ndarray
        Where training starts, under the names of `rnn_from_scratch.Network`.
    learning_rate : float
    clip : None or float
        Largest norm of the whole gradient.
    cell : {'elman', 'gru', 'lstm'}
    optimizer : {'sgd', 'adam'}
    batch_size : int
    """

    X: np.ndarray
    y: np.ndarray
    weights: dict[str, np.ndarray]
    learning_rate: float
    clip: float | None = None
    cell: str = "elman"
    optimizer: str = "sgd"
    batch_size: int = 1

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.weights["layer0.W_h"].shape[1]


class Ours:
    """rnn_from_scratch, through its public API."""

    def __init__(self, problem: Problem, engine: str, dtype: str) -> None:
        from rnn_from_scratch import GRU, LSTM, Elman, Network

        D, O = problem.X.shape[2], problem.y.shape[-1]  # noqa: E741  # the alphabet's letter
        layer = {"elman": Elman, "gru": GRU, "lstm": LSTM}[problem.cell](problem.hidden_size)
        readout = "every" if problem.y.ndim == 3 else "last"
        self.network = Network(D, [layer], O, readout=readout, dtype=dtype, engine=engine, n_threads=1)
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
            batch_size=self.problem.batch_size,
            optimizer=self.problem.optimizer,
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


class PyTorchBatches:
    """`nn.RNN`, `nn.GRU` or `nn.LSTM` and `nn.Linear` of the last step, eager, on mini-batches, by Adam."""

    def __init__(self, problem: Problem, fused: bool) -> None:
        import torch

        D, H, O = problem.X.shape[2], problem.hidden_size, problem.y.shape[1]  # noqa: E741  # the alphabet's letter
        self.torch, self.problem, self.fused = torch, problem, fused
        kind = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[problem.cell]
        self.rnn = kind(D, H, batch_first=True)
        self.readout = torch.nn.Linear(H, O)
        second = self.rnn.bias_hh_l0  # beside bias_ih_l0 it has the same gradient, but for the candidate of a GRU
        if problem.cell == "gru":
            only_candidate = (torch.arange(3 * H) >= 2 * H).float()
            second.register_hook(lambda d: d * only_candidate)
        else:
            second.requires_grad_(False)
        self.named = {
            "layer0.W_x": self.rnn.weight_ih_l0,
            "layer0.W_h": self.rnn.weight_hh_l0,
            "layer0.b_h": self.rnn.bias_ih_l0,
            "layer0.b_hn": second[2 * H :],
            "readout.W_y": self.readout.weight,
            "readout.b_y": self.readout.bias,
        }
        self.batches = list(
            zip(*(torch.from_numpy(v).split(problem.batch_size) for v in (problem.X, problem.y)), strict=True)
        )

    def reset(self) -> None:
        torch = self.torch
        with torch.no_grad():
            self.rnn.bias_hh_l0.zero_()
            for name, weights in self.problem.weights.items():
                self.named[name].copy_(torch.from_numpy(weights))
        trained = [p for p in (*self.rnn.parameters(), *self.readout.parameters()) if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=self.problem.learning_rate, fused=self.fused)

    def train(self, epochs: int) -> list[float]:
        torch = self.torch
        mse = torch.nn.functional.mse_loss
        epoch_losses = []
        for _ in range(epochs):
            losses = []
            for x, y in self.batches:
                self.optimizer.zero_grad()
                loss = mse(self.readout(self.rnn(x)[0][:, -1]), y)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.detach())
            epoch_losses.append(torch.stack(losses).mean().item())
        return epoch_losses

    def weights(self) -> dict[str, np.ndarray]:
        return {name: self.named[name].detach().numpy() for name in self.problem.weights}

    def predict(self, times: int) -> np.ndarray:
        with self.torch.inference_mode():
            for _ in range(times):
                outputs = self.readout(self.rnn(self.torch.from_numpy(self.problem.X[:1]))[0][:, -1]).numpy()
        return outputs[0]


def pytorch_batches(problem: Problem) -> Contestants:
    """Eager, with both forms of Adam."""
    import torch

    torch.set_num_threads(1)
    return {"PyTorch": torch.__version__}, {
        "PyTorch": partial(PyTorchBatches, problem, False),
        "PyTorch, fused Adam": partial(PyTorchBatches, problem, True),
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


class JAXBatches:
    """`lax.scan` over time inside one over the mini-batches: an epoch with Adam is one compiled call."""

    def __init__(self, problem: Problem, unroll: int) -> None:
        import jax
        import jax.numpy as jnp
        from jax import lax

        self.jax, self.problem = jax, problem
        H, rate = problem.hidden_size, problem.learning_rate
        self.X, self.y = (jnp.asarray(v).reshape(-1, problem.batch_size, *v.shape[1:]) for v in (problem.X, problem.y))

        def elman(p: Any, state: Any, a: Any) -> Any:
            return (jnp.tanh(a + state[0] @ p["layer0.W_h"].T),)

        def gru(p: Any, state: Any, a: Any) -> Any:
            (h,) = state
            q = h @ p["layer0.W_h"].T
            r, z = jnp.split(jax.nn.sigmoid(a[:, : 2 * H] + q[:, : 2 * H]), 2, axis=1)
            n = jnp.tanh(a[:, 2 * H :] + r * (q[:, 2 * H :] + p["layer0.b_hn"]))
            return ((1 - z) * n + z * h,)

        def lstm(p: Any, state: Any, a: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(a + h @ p["layer0.W_h"].T, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return jax.nn.sigmoid(o) * jnp.tanh(c), c

        cell = {"elman": elman, "gru": gru, "lstm": lstm}[problem.cell]

        def outputs(p: Any, x: Any) -> Any:
            a = jnp.swapaxes(x, 0, 1) @ p["layer0.W_x"].T + p["layer0.b_h"]  # (T, N, G·H)
            start = (jnp.zeros((len(x), H), x.dtype),) * (2 if problem.cell == "lstm" else 1)
            state, _ = lax.scan(lambda state, a_t: (cell(p, state, a_t), None), start, a, unroll=unroll)
            return state[0] @ p["readout.W_y"].T + p["readout.b_y"]

        def update(carry: Any, batch: Any) -> Any:
            (p, m, v, t), (x, y) = carry, batch
            loss, gradient = jax.value_and_grad(lambda p: jnp.mean((outputs(p, x) - y) ** 2))(p)
            t = t + 1
            m = {name: 0.9 * m[name] + 0.1 * g for name, g in gradient.items()}
            v = {name: 0.999 * v[name] + 0.001 * g * g for name, g in gradient.items()}
            first, second = 1 - 0.9**t, 1 - 0.999**t
            p = {name: p[name] - rate * (m[name] / first) / (jnp.sqrt(v[name] / second) + 1e-8) for name in p}
            return (p, m, v, t), loss

        def epoch(carry: Any, X: Any, y: Any) -> Any:
            carry, losses = lax.scan(update, carry, (X, y))
            return carry, losses.mean()

        self.epoch, self.outputs = jax.jit(epoch, donate_argnums=0), jax.jit(outputs)

    def reset(self) -> None:
        jnp = self.jax.numpy
        weights = self.problem.weights
        zeros = [{name: jnp.zeros_like(w) for name, w in weights.items()} for _ in range(2)]
        self.carry = ({name: jnp.array(w) for name, w in weights.items()}, *zeros, jnp.zeros((), jnp.float32))
        self.jax.block_until_ready(self.carry)

    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            self.carry, loss = self.epoch(self.carry, self.X, self.y)
            losses.append(loss)
        self.jax.block_until_ready(self.carry)
        return [float(loss) for loss in losses]

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(array) for name, array in self.carry[0].items()}

    def predict(self, times: int) -> np.ndarray:
        for _ in range(times):
            outputs = np.asarray(self.outputs(self.carry[0], self.problem.X[:1]))
        return outputs[0]


def jax_batches(problem: Problem) -> Contestants:
    """A whole epoch per call, the loop over time as it is and written out by five; the faster one counts."""
    import jax

    return {"JAX": jax.__version__}, {f"JAX, unroll {n}": partial(JAXBatches, problem, n) for n in (1, 5)}
