"""JAX: `lax.scan` over time, compiled; training by update or, scanned over the updates as well, by epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

LIBRARY = "JAX"


def prepare(threads: int) -> None:
    """Threads are set by the environment."""


def versions() -> dict[str, str]:
    return {"JAX": jax.__version__}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    jax.config.update("jax_enable_x64", problem.X.dtype == np.float64)
    if problem.task == "step":
        return {"JAX": partial(Step, problem)}
    if problem.task == "sequence":
        unrolls: tuple[int, ...] = (1, 5) if len(problem.X) > 1 or not problem.thorough else (1, 5, 20)
        return {
            f"JAX, W_x x {where}, unroll {unroll}": partial(Sequence, problem, where == "out", unroll)
            for where in ("in", "out")
            for unroll in unrolls
        }
    T, single = problem.X.shape[1], problem.batch_size == 1
    by_epoch: tuple[int, ...] = (1, 5) if problem.thorough else (1,)
    makers: dict[str, Callable[[], object] | str] = {}
    for by, counts in {"epoch": by_epoch, "update": (1,)}.items():
        for where in ("in", "out"):
            for unroll in counts:
                name = f"JAX by {by}, W_x x {where}, unroll {unroll}"
                makers[name] = partial(Training, problem, by == "epoch", where == "out", unroll)
    if single and T <= 20:  # written out: the fastest way of all where a step is short
        for transposed in (False, True):
            name = f"JAX by epoch, W_x x out, unroll {T}{', Wᵀ' * transposed}"
            makers[name] = partial(Training, problem, True, True, T, transposed)
    return makers


class Equations:
    """The network as a function of parameters and sequences.

    Parameters
    ----------
    problem : Problem
    projection_first : bool
        Whether all steps' share of the input is computed before the loop over time.
    unroll : int
        Steps of the loop over time that are written out in one turn.
    transposed : bool, default=False
        Whether matrices are stored as (inputs, outputs).
    """

    def __init__(self, problem: Problem, projection_first: bool, unroll: int, transposed: bool = False) -> None:
        self.problem, self.projection_first, self.unroll, self.transposed = (
            problem,
            projection_first,
            unroll,
            transposed,
        )

    def stored(self) -> dict[str, Array]:
        """The first weights, as they are kept."""
        weights = self.problem.weights
        return {name: np.ascontiguousarray(w.T) if self.transposed else w for name, w in weights.items()}

    def times(self, x: Any, W: Any) -> Any:
        if self.transposed:
            return x @ W
        return W @ x if x.ndim == 1 else x @ W.T  # x @ W.T of one vector is compiled to something slower

    def project(self, p: Any, k: int, x: Any) -> Any:
        return self.times(x, p[f"layer{k}.W_x"]) + p[f"layer{k}.b_h"]

    def cell(self, p: Any, k: int, state: Any, a: Any) -> Any:
        """The next state, from the input's share a (…, G·H)."""
        q = self.times(state[0], p[f"layer{k}.W_h"])
        if self.problem.cell == "elman":
            return (jnp.tanh(a + q),)
        if self.problem.cell == "gru":
            (h,) = state
            H = h.shape[-1]
            r, z = jnp.split(jax.nn.sigmoid(a[..., : 2 * H] + q[..., : 2 * H]), 2, axis=-1)
            n = jnp.tanh(a[..., 2 * H :] + r * (q[..., 2 * H :] + p[f"layer{k}.b_hn"]))
            return ((1 - z) * n + z * h,)
        i, f, g, o = jnp.split(a + q, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    def start(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return (jnp.zeros(shape, dtype),) * (2 if self.problem.cell == "lstm" else 1)

    def readout(self, p: Any, h: Any) -> Any:
        return self.times(h, p["readout.W_y"]) + p["readout.b_y"]

    def outputs(self, p: Any, x: Any, lengths: Any = None) -> Any:
        """x (T, …, D) time first to outputs (T, …, O), or (…, O) of the last step."""
        H, layers = self.problem.sizes[1], self.problem.layers
        for k in range(layers):
            every = k < layers - 1 or self.problem.every

            def step(state: Any, now: Any, k: int = k, every: bool = every) -> Any:
                x_t, t = now
                after = self.cell(p, k, state, x_t if self.projection_first else self.project(p, k, x_t))
                if lengths is not None:  # past its end a sequence keeps its state
                    going_on = (t < lengths)[:, None]
                    after = tuple(jnp.where(going_on, new, old) for new, old in zip(after, state, strict=True))
                return after, after[0] if every else None

            start = self.start((*x.shape[1:-1], H), x.dtype)
            shares = self.project(p, k, x) if self.projection_first else x
            steps = jnp.arange(x.shape[0])
            state, x = lax.scan(step, start, (shares, steps), unroll=self.unroll)
        return self.readout(p, x if self.problem.every else state[0])


class Training:
    """One update, or an epoch of them, is one compiled call; data is on the device, parameters are donated."""

    def __init__(
        self, problem: Problem, whole_epoch: bool, projection_first: bool, unroll: int, transposed: bool = False
    ) -> None:
        self.problem, self.whole_epoch = problem, whole_epoch
        self.equations = Equations(problem, projection_first, unroll, transposed)
        B = problem.batch_size
        X = problem.X if B == 1 else np.swapaxes(problem.X.reshape(-1, B, *problem.X.shape[1:]), 1, 2)
        y = problem.y if B == 1 else problem.y.reshape(-1, B, *problem.y.shape[1:])
        self.data = [jnp.asarray(np.ascontiguousarray(v)) for v in (X, y)]
        if problem.lengths is not None:
            self.data.append(jnp.asarray(problem.lengths.reshape(-1, B)))
        self.batches = [] if whole_epoch else list(zip(*self.data, strict=True))
        update = self._update()

        def epoch(carry: Any, data: Any) -> Any:
            return lax.scan(update, carry, data)

        self.update, self.epoch = jax.jit(update, donate_argnums=0), jax.jit(epoch, donate_argnums=0)
        self.forward = jax.jit(self.equations.outputs)
        self.reset()

    def _update(self) -> Callable[[Any, Any], Any]:
        problem = self.problem
        rate, clip = problem.learning_rate, problem.clip

        def loss_of(p: Any, x: Any, y: Any, lengths: Any) -> Any:
            return jnp.mean((self.equations.outputs(p, x, lengths) - y) ** 2)

        def sgd(p: Any, batch: Any) -> Any:
            x, y = batch
            loss, gradient = jax.value_and_grad(loss_of)(p, x, y, None)
            norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradient.values()))
            step = rate * jnp.where(norm > clip, clip / norm, 1.0).astype(norm.dtype)
            return {name: p[name] - step * gradient[name] for name in p}, (loss, norm)

        def adam(carry: Any, batch: Any) -> Any:
            (p, m, v, t), (x, y, *rest) = carry, batch
            loss, gradient = jax.value_and_grad(loss_of)(p, x, y, rest[0] if rest else None)
            t = t + 1
            m = {name: 0.9 * m[name] + 0.1 * g for name, g in gradient.items()}
            v = {name: 0.999 * v[name] + 0.001 * g * g for name, g in gradient.items()}
            first, second = 1 - 0.9**t, 1 - 0.999**t
            p = {name: p[name] - rate * (m[name] / first) / (jnp.sqrt(v[name] / second) + 1e-8) for name in p}
            return (p, m, v, t), (loss, jnp.nan)

        return sgd if problem.optimizer == "sgd" else adam

    def reset(self) -> None:
        p = {name: jnp.array(values) for name, values in self.equations.stored().items()}
        self.carry: Any = p
        if self.problem.optimizer == "adam":
            moments = [{name: jnp.zeros_like(w) for name, w in p.items()} for _ in range(2)]
            self.carry = (p, *moments, jnp.zeros((), next(iter(p.values())).dtype))
        jax.block_until_ready(self.carry)

    def train(self, epochs: int) -> tuple[list[float], list[float]]:
        found = []
        for _ in range(epochs):
            if self.whole_epoch:
                self.carry, losses_and_norms = self.epoch(self.carry, tuple(self.data))
                found.append(losses_and_norms)
                continue
            for batch in self.batches:
                self.carry, loss_and_norm = self.update(self.carry, batch)
                found.append(loss_and_norm)
        jax.block_until_ready(self.carry)
        losses, norms = (np.asarray(part).reshape(epochs, -1) for part in zip(*jax.device_get(found), strict=True))
        return losses.mean(axis=1).tolist(), norms.max(axis=1).tolist()

    def parameters(self) -> Any:
        return self.carry if self.problem.optimizer == "sgd" else self.carry[0]

    def weights(self) -> dict[str, Array]:
        transposed = self.equations.transposed
        return {name: np.asarray(w.T if transposed else w) for name, w in self.parameters().items()}

    def predict(self, X: Array, lengths: Array | None = None) -> Array:
        outputs = np.asarray(self.forward(self.parameters(), np.swapaxes(X, 0, 1), lengths))
        return np.swapaxes(outputs, 0, 1) if self.problem.every else outputs


class Sequence:
    """One compiled call; one sequence is given without its batch axis, a batch time first."""

    def __init__(self, problem: Problem, projection_first: bool, unroll: int) -> None:
        equations = Equations(problem, projection_first, unroll)
        self.p = {name: jnp.array(values) for name, values in equations.stored().items()}
        self.alone = len(problem.X) == 1
        x = problem.X[0] if self.alone else np.swapaxes(problem.X, 0, 1)
        self.x = jnp.asarray(np.ascontiguousarray(x))
        self.forward = jax.jit(equations.outputs)

    def run(self, times: int) -> None:
        for _ in range(times):
            np.asarray(self.forward(self.p, self.x))

    def outputs(self) -> Array:
        y = np.asarray(self.forward(self.p, self.x))
        return y[None] if self.alone else np.swapaxes(y, 0, 1)


class Step:
    """One compiled call per step, the state donated and carried on the device."""

    def __init__(self, problem: Problem) -> None:
        equations = Equations(problem, False, 1)
        self.p = {name: jnp.array(values) for name, values in equations.stored().items()}
        self.start = partial(equations.start, (problem.sizes[1],), problem.X.dtype)
        self.steps = [jnp.asarray(x) for x in problem.X[0]]

        def step(p: Any, state: Any, x: Any) -> Any:
            after = equations.cell(p, 0, state, equations.project(p, 0, x))
            return equations.readout(p, after[0]), after

        self.step = jax.jit(step)
        self.state = self.start()

    def run(self, times: int) -> None:
        step, p, x, state = self.step, self.p, self.steps[0], self.state
        for _ in range(times):
            y, state = step(p, state, x)
            np.asarray(y)
        self.state = state

    def outputs(self) -> Array:
        found, state = [], self.start()
        for x in self.steps:
            y, state = self.step(self.p, state, x)
            found.append(np.asarray(y))
        return np.array(found)
