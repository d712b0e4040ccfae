"""This library's own contestants, and the reference that all others are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from rnn_from_scratch.configuration import configuration
from rnn_from_scratch.engines.select import engine_status
from rnn_from_scratch.layers import GRU, LSTM, Elman
from rnn_from_scratch.network import Network
from rnn_from_scratch.training.history import History
from rnn_from_scratch.training.loop import NonFiniteError

if TYPE_CHECKING:
    from rnn_from_scratch.benchmark.problems import Array, Problem

__all__ = ["LIBRARY", "contestants", "make_network", "prepare", "reference", "versions"]

LIBRARY = "ours"
LAYERS = {"elman": Elman, "gru": GRU, "lstm": LSTM}

_threads: list[int] = [1]  # of this process


def prepare(threads: int) -> None:
    """Take note of how many threads a network of this process may use."""
    _threads[0] = threads


def versions() -> dict[str, str]:
    """What takes part."""
    names = ("rnn-from-scratch", "NumPy", "instruction set")
    return {name: version for name, version in configuration().items() if name in names}


def make_network(problem: Problem, engine: str, dtype: str) -> Network:
    """The network of a problem, with its first weights."""
    D, H, O = problem.sizes  # noqa: E741  # the alphabet's letter
    layers = [LAYERS[problem.cell](H) for _ in range(problem.layers)]
    readout = "every" if problem.every else "last"
    network = Network(D, layers, O, readout=readout, dtype=dtype, engine=engine, n_threads=_threads[0])
    set_weights(network, problem.weights)
    return network


def set_weights(network: Network, weights: dict[str, Array]) -> None:
    """Put these weights into a network."""
    with network.edit_parameters() as p:
        for name, values in weights.items():
            p[name][...] = values


class Training:
    """`Network.fit`."""

    def __init__(self, problem: Problem, engine: str, dtype: str) -> None:
        self.network = make_network(problem, engine, dtype)
        self.problem = problem
        self.X, self.y = problem.X.astype(dtype), problem.y.astype(dtype)

    def reset(self) -> None:
        set_weights(self.network, self.problem.weights)

    def train(self, epochs: int) -> tuple[list[float], list[float]]:
        try:
            history = self.network.fit(
                self.X,
                self.y,
                epochs,
                batch_size=self.problem.batch_size,
                optimizer=self.problem.optimizer,
                learning_rate=self.problem.learning_rate,
                clip=self.problem.clip,
                lengths=self.problem.lengths,
                shuffle=False,
            )
        except NonFiniteError:  # where others go on with NaN
            finished = self.network.history or History()
            return [*finished.loss, math.nan], [*finished.gradient_norm_max, math.nan]
        return history.loss, history.gradient_norm_max

    def weights(self) -> dict[str, Array]:
        return dict(self.network.parameters)

    def predict(self, X: Array, lengths: Array | None = None) -> Array:
        return self.network.predict(X, lengths=lengths)


class Sequence:
    """`Network.predict` of all sequences at once."""

    def __init__(self, problem: Problem, engine: str, dtype: str) -> None:
        self.network = make_network(problem, engine, dtype)
        self.X = problem.X.astype(dtype)

    def run(self, times: int) -> None:
        predict, X = self.network.predict, self.X
        for _ in range(times):
            predict(X)

    def outputs(self) -> Array:
        return self.network.predict(self.X)


class WholeSequence(Sequence):
    """What a stream has to say, said at once."""

    def outputs(self) -> Array:
        return np.asarray(super().outputs()[0])


class Step:
    """`Stream.step`, the state carried by the stream."""

    def __init__(self, problem: Problem, engine: str, dtype: str) -> None:
        self.stream = make_network(problem, engine, dtype).stream()
        self.steps = list(problem.X[0].astype(dtype))
        self.out = np.empty(problem.sizes[2], dtype)

    def run(self, times: int) -> None:
        step, x, out = self.stream.step, self.steps[0], self.out
        for _ in range(times):
            step(x, out)

    def outputs(self) -> Array:
        self.stream.reset()
        return np.array([np.array(self.stream.step(x)) for x in self.steps])


KINDS: dict[str, Callable[[Problem, str, str], object]] = {"train": Training, "sequence": Sequence, "step": Step}


def contestants(problem: Problem) -> dict[str, Callable[[], object] | str]:
    """Both engines in the precision of the problem; or, for one that cannot take part, why."""
    native = engine_status()["native"]
    makers: dict[str, Callable[[], object] | str] = {}
    for engine in ("native", "numpy"):
        name = f"ours, {engine}"
        if engine == "native" and native != "available":
            makers[name] = native
        else:
            makers[name] = partial(KINDS[problem.task], problem, engine, problem.X.dtype.name)
    return makers


def reference(problem: Problem) -> object:
    """The NumPy engine in float64; for steps the whole sequence, which has the same outputs."""
    if problem.task == "train":
        return Training(problem, "numpy", "float64")
    return (WholeSequence if problem.task == "step" else Sequence)(problem, "numpy", "float64")
