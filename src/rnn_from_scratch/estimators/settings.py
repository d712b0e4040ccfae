"""The parameters of an estimator's constructor, checked when it is fitted, in the words of `Network`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_from_scratch.engines.select import ENGINES
from rnn_from_scratch.estimators.convergence import AdaptiveRate, InverseScaling, Progress
from rnn_from_scratch.estimators.solvers import KINDS, lasting
from rnn_from_scratch.layers import LAYERS, Elman, Layer
from rnn_from_scratch.optimizers import Optimizer
from rnn_from_scratch.specification import READOUTS
from rnn_from_scratch.training.constant_rate import ConstantRate
from rnn_from_scratch.validation import boolean, choice, fraction, integer, non_negative, number, positive, shown

__all__ = ["ACTIVATIONS", "LOSSES", "Settings", "settings_of"]

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
"""scikit-learn's words, and ours."""

LOSSES = {
    "squared_error": ("mse", 0.5),
    "absolute_error": ("mae", 1.0),
    "huber": ("huber", 1.0),
    "log_loss": ("ce", 1.0),
}
"""Ours, and by how much it has to be multiplied to be scikit-learn's, whose squared error is half of the mean of squares."""

RATES = ("constant", "invscaling", "adaptive", "step", "exponential", "cosine", "plateau")
SEQUENCES_PER_UPDATE = 32
"""What ``batch_size='auto'`` stands for."""


@dataclass(frozen=True)
class Settings:
    """Checked parameters; those that scikit-learn's multi-layer perceptrons have mean what they mean there."""

    owner: str
    layers: tuple[Layer, ...]
    readout: str
    loss: str
    scale: float
    dropout: float
    solver: str
    alpha: float
    batch_size: int | None
    learning_rate: str | ConstantRate
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float
    verbose: bool
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    clip_norm: float | None
    tbptt_steps: int | None
    engine: str
    n_threads: int | None
    dtype: str | None

    @property
    def rate(self) -> float:
        """The learning rate for the gradient of our loss: that of plain descent has to make up for its scale."""
        return self.learning_rate_init * (self.scale if self.solver == "sgd" else 1.0)

    @property
    def clip(self) -> float | None:
        """The largest norm, for the gradient of our loss."""
        return None if self.clip_norm is None else self.clip_norm / self.scale

    def optimizer(self) -> Optimizer:
        """A new one."""
        if self.solver == "sgd":
            return lasting("sgd", momentum=self.momentum, nesterov=self.nesterovs_momentum and self.momentum > 0)
        epsilon = self.epsilon / self.scale
        if self.solver == "rmsprop":
            return lasting("rmsprop", epsilon=epsilon)
        kept = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": epsilon}
        return lasting(self.solver, **kept, **({"weight_decay": self.alpha} if self.solver == "adamw" else {}))

    def schedule(self, progress: Progress, sequences: int, seen: int) -> str | ConstantRate:
        """How the rate goes on, for so many sequences, after so many were seen."""
        if self.learning_rate == "invscaling":
            return InverseScaling(sequences, self.power_t, seen)
        return AdaptiveRate(progress) if self.learning_rate == "adaptive" else self.learning_rate

    def batch(self, N: int) -> int:
        """Sequences of an update."""
        if self.batch_size is None:
            return min(SEQUENCES_PER_UPDATE, N)
        if self.batch_size > N:
            message = (
                f"batch_size of {self.owner} must be at most the number of sequences, {N}, and is taken to be that."
            )
            warnings.warn(f"{message} Got {self.batch_size}.", stacklevel=5)
        return min(self.batch_size, N)

    def penalty(self, weight: float, sequences: int, batch: int) -> float:
        """λ for `Network`: scikit-learn divides α by the weight of a mini-batch; here it is that of an average one."""
        batches = -(-sequences // batch)
        return 0.0 if self.solver == "adamw" else self.alpha * batches / (weight * self.scale)


def settings_of(estimator: Any, loss: str) -> Settings:
    """The checked parameters of an estimator.

    Raises
    ------
    TypeError, ValueError
        Naming the first that is not as described.
    """
    owner = type(estimator).__name__
    e = estimator
    ours, scale = LOSSES[loss]
    layers = _layers(e, owner)
    dropout = fraction(e.dropout, "dropout", owner)
    if dropout and len(layers) == 1:
        message = f"dropout of {owner} drops what goes from layer to layer, and hidden_layer_sizes has one layer only."
        warnings.warn(f"{message} Got {dropout}.", stacklevel=4)
    n_threads = None if e.n_threads is None else integer(e.n_threads, "n_threads", owner)
    momentum = number(e.momentum, "momentum", owner, "a number in [0, 1)")
    return Settings(
        owner=owner,
        layers=layers,
        readout=choice(e.readout, "readout", owner, READOUTS),
        loss=ours,
        scale=scale,
        dropout=dropout,
        solver=choice(e.solver, "solver", owner, KINDS),
        alpha=non_negative(e.alpha, "alpha", owner),
        batch_size=_batch_size(e.batch_size, owner),
        learning_rate=_learning_rate(e.learning_rate, owner),
        learning_rate_init=positive(e.learning_rate_init, "learning_rate_init", owner),
        power_t=non_negative(e.power_t, "power_t", owner),
        max_iter=integer(e.max_iter, "max_iter", owner),
        shuffle=boolean(e.shuffle, "shuffle", owner),
        tol=non_negative(e.tol, "tol", owner),
        verbose=_verbose(e.verbose, owner),
        warm_start=boolean(e.warm_start, "warm_start", owner),
        momentum=fraction(momentum, "momentum", owner),
        nesterovs_momentum=boolean(e.nesterovs_momentum, "nesterovs_momentum", owner),
        early_stopping=boolean(e.early_stopping, "early_stopping", owner),
        validation_fraction=_open_fraction(e.validation_fraction, owner),
        beta_1=fraction(e.beta_1, "beta_1", owner),
        beta_2=fraction(e.beta_2, "beta_2", owner),
        epsilon=positive(e.epsilon, "epsilon", owner),
        n_iter_no_change=_patience(e.n_iter_no_change, owner),
        clip_norm=None if e.clip_norm is None else positive(e.clip_norm, "clip_norm", owner),
        tbptt_steps=None if e.tbptt_steps is None else integer(e.tbptt_steps, "tbptt_steps", owner),
        engine=choice(e.engine, "engine", owner, ENGINES),
        n_threads=n_threads,
        dtype=None if e.dtype is None else _dtype(e.dtype, owner),
    )


def _layers(estimator: Any, owner: str) -> tuple[Layer, ...]:
    sizes = estimator.hidden_layer_sizes
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        sizes = [sizes]
    sizes = [integer(size, "hidden_layer_sizes", owner) for size in sizes]
    if not sizes:
        raise ValueError(f"hidden_layer_sizes of {owner} must have at least one size. Got {shown(sizes)}.")
    cell = LAYERS[choice(estimator.cell, "cell", owner, LAYERS)]
    both = boolean(estimator.bidirectional, "bidirectional", owner)
    activation = ACTIVATIONS[choice(estimator.activation, "activation", owner, ACTIVATIONS)]
    if cell is Elman:
        return tuple(Elman(size, activation, bidirectional=both) for size in sizes)
    return tuple(cell(size, bidirectional=both) for size in sizes)


def _batch_size(batch_size: Any, owner: str) -> int | None:
    if isinstance(batch_size, str):
        choice(batch_size, "batch_size", owner, ["auto"])
        return None
    return integer(batch_size, "batch_size", owner)


def _learning_rate(learning_rate: Any, owner: str) -> str | ConstantRate:
    if isinstance(learning_rate, ConstantRate):
        return learning_rate
    return choice(learning_rate, "learning_rate", owner, RATES)


def _verbose(verbose: Any, owner: str) -> bool:
    if isinstance(verbose, (bool, np.bool_)):
        return bool(verbose)
    return integer(verbose, "verbose", owner, minimum=0) > 0


def _patience(epochs: Any, owner: str) -> float:
    return math.inf if epochs == math.inf else integer(epochs, "n_iter_no_change", owner)


def _open_fraction(share: Any, owner: str) -> float:
    found = number(share, "validation_fraction", owner, "a number in (0, 1)")
    if not 0 < found < 1:
        raise ValueError(f"validation_fraction of {owner} must be a number in (0, 1). Got {shown(share)}.")
    return found


def _dtype(dtype: Any, owner: str) -> str:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    return choice(name, "dtype", owner, ("float32", "float64"))
