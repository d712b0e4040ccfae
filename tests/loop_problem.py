"""A small problem for the tests of the training loop, and training by hand to compare it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rnn_from_scratch import GRU, Network

Slices = Iterable[Any]


def problem(N: int = 10, T: int = 5, D: int = 3, O: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
    """Inputs (N, T, D) and targets (N, T, O) that have something to do with them."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(N, T, D))
    return X, np.tanh(X[:, :, :O].cumsum(axis=1)) + 0.1 * generator.normal(size=(N, T, O))


def network(engine: str = "auto", layers: Any = None, **options: Any) -> Network:
    """A network for the problem; all its parameters are random, biases too."""
    net = Network(3, layers or [GRU(4)], 2, **{"random_state": 0, "dtype": "float64", "engine": engine, **options})
    generator = np.random.default_rng(1)
    with net.edit_parameters() as p:
        for W in p.values():
            W += generator.normal(size=W.shape, scale=0.3)
    return net


def parameters(net: Network) -> dict[str, np.ndarray]:
    """Copies of all parameters."""
    return {name: W.copy() for name, W in net.parameters.items()}


def descend(net: Network, gradient: dict[str, np.ndarray], rate: float) -> None:
    """One step of plain gradient descent."""
    with net.edit_parameters() as p:
        for name, d in gradient.items():
            p[name] -= rate * d


def by_hand(
    net: Network, X: np.ndarray, y: np.ndarray, epochs: int, size: int, rate: Callable[[int, int, int], float]
) -> None:
    """Plain gradient descent over mini-batches in order; `rate` takes the epoch, the update in it, and updates per epoch."""
    firsts = range(0, len(X), size)
    for epoch in range(epochs):
        for u, first in enumerate(firsts):
            rows = slice(first, first + size)
            descend(net, net.loss_and_gradient(X[rows], y[rows])[1], rate(epoch, u, len(firsts)))


def real(values: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """(M, O): the rows of real steps, sequence after sequence."""
    if lengths is None:
        return values.reshape(-1, values.shape[-1])
    return np.concatenate([values[n, :length] for n, length in enumerate(lengths)])


def squared_error(y: np.ndarray, t: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Σ w ℓ / Σ w over rows (M, O), where ℓ is the mean over the outputs."""
    return float(np.average(((y - t) ** 2).mean(axis=1), weights=weights))
