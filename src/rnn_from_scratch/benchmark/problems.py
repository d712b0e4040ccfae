"""What is raced: networks with given first weights, data, and what is to be done with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["GATES", "Problem", "documented", "inference", "mini_batches", "recent_past", "unequal"]

Array = npt.NDArray[Any]

GATES = {"elman": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Problem:
    """Recurrent layers and a linear readout; mean squared error, sequences in the given order.

    Attributes
    ----------
    task : {'train', 'sequence', 'step'}
        Epochs of training; outputs of all sequences of X in one call, ``y`` being empty; or the outputs of the first
        sequence, one step per call.
    X : ndarray (N, T, D)
    y : ndarray (N, T, O), or (N, O) for the last step only
    weights : dict of str to ndarray
        Where training starts, under the names of `rnn_from_scratch.Network`.
    cell : {'elman', 'gru', 'lstm'}
    optimizer : {'sgd', 'adam'}
    learning_rate : float
    clip : None or float
        Largest norm of the whole gradient.
    batch_size : int
    lengths : None or ndarray (N,)
        Real steps of each sequence.
    thorough : bool
        Whether peers enter every way of writing the same, or only those that usually win.
    """

    task: str
    X: Array
    y: Array
    weights: dict[str, Array]
    cell: str = "elman"
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    clip: float | None = None
    batch_size: int = 1
    lengths: Array | None = None
    thorough: bool = True

    @property
    def sizes(self) -> tuple[int, int, int]:
        """D, H and O."""
        return self.X.shape[2], self.weights["layer0.W_h"].shape[1], self.weights["readout.W_y"].shape[0]

    @property
    def layers(self) -> int:
        """How many recurrent layers."""
        return sum(name.endswith(".W_h") for name in self.weights)

    @property
    def every(self) -> bool:
        """Whether there is an output at every step."""
        return self.task != "train" or self.y.ndim == 3

    def astype(self, dtype: str) -> Problem:
        """The same in another precision."""
        weights = {name: array.astype(dtype) for name, array in self.weights.items()}
        return replace(self, X=self.X.astype(dtype), y=self.y.astype(dtype), weights=weights)


def random_weights(cell: str, D: int, H: int, O: int, layers: int = 1) -> dict[str, Array]:  # noqa: E741
    """Uniform in ±1/√H, biases too, so that no term of any library's equations is hidden by a zero."""
    rng = np.random.default_rng(1)
    G = GATES[cell]
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(layers):
        shapes |= {f"layer{k}.W_x": (G * H, H if k else D), f"layer{k}.W_h": (G * H, H), f"layer{k}.b_h": (G * H,)}
        if cell == "gru":
            shapes[f"layer{k}.b_hn"] = (H,)
    shapes |= {"readout.W_y": (O, H), "readout.b_y": (O,)}
    limit = H**-0.5
    return {name: rng.uniform(-limit, limit, shape).astype(np.float32) for name, shape in shapes.items()}


def recent_past(H: int, *, N: int = 100, T: int = 20, D: int = 5) -> Problem:
    """Workload A: sums over the recent past, on a scale at which the first updates are clipped; SGD per sequence."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, T, D))
    memory = (1.0, 0.7, 0.5, 0.3)
    past = [weight * np.roll(X, k, axis=1) * (np.arange(T) >= k)[:, None] for k, weight in enumerate(memory)]
    recent = np.sum(past, axis=0)
    y = 1.5 * np.sin(recent[..., :1]) + recent[..., 1:2] + 1.0
    weights = random_weights("elman", D, H, 1)
    return Problem("train", X.astype(np.float32), y.astype(np.float32), weights, clip=5.0)


def mini_batches(cell: str, H: int, *, N: int = 1024, T: int = 50, D: int = 8, B: int = 32, layers: int = 1) -> Problem:
    """Workload B: what was heard lately counts more than what was long ago, through a bend; Adam, the last step."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, T, D))
    fading = 0.9 ** np.arange(T)[::-1]
    y = np.sin(np.einsum("ntd,t,d->n", X, fading, rng.normal(size=D) * 0.3))[:, None] + 0.5
    weights = random_weights(cell, D, H, 1, layers)
    return Problem(
        "train", X.astype(np.float32), y.astype(np.float32), weights, cell, "adam", learning_rate=1e-3, batch_size=B
    )


def inference(task: str, cell: str, H: int, *, N: int = 1, T: int = 100, D: int = 8) -> Problem:
    """Workload C: outputs of whole sequences, or of one step after the other."""
    X = np.random.default_rng(0).normal(size=(N, T, D)).astype(np.float32)
    return Problem(task, X, np.empty(0, np.float32), random_weights(cell, D, H, 1), cell)


def unequal(
    cell: str,
    H: int,
    *,
    N: int = 512,
    shortest: int = 5,
    longest: int = 100,
    sort: bool = False,
    equal: bool = False,
) -> Problem:
    """Workload D: sequences of different lengths; sorted by them; or the same number of steps in sequences of one length."""
    problem = mini_batches(cell, H, N=N, T=longest)
    lengths = np.random.default_rng(2).integers(shortest, longest + 1, N)
    if sort:
        lengths = np.sort(lengths)
    if equal:
        T = round(float(lengths.mean()))
        return replace(problem, X=np.ascontiguousarray(problem.X[:, :T]))
    X = problem.X * (np.arange(longest) < lengths[:, None])[:, :, None]
    return replace(problem, X=X.astype(np.float32), lengths=lengths)


def documented(H: int, *, N: int = 100, T: int = 20, D: int = 5, held_out: int = 100) -> tuple[Problem, Array, Array]:
    """The documented table: Gaussian features, the target of each step a fixed linear combination of them.

    Returns
    -------
    problem : Problem
    X, y : ndarray
        Held-out sequences of the same kind.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N + held_out, T, D)).astype(np.float32)
    combination = rng.normal(size=(D, 1))
    y = (X @ combination).astype(np.float32)
    problem = Problem("train", X[:N], y[:N], random_weights("elman", D, H, 1), clip=5.0)
    return problem, X[N:], y[N:]
