"""Where training starts: the first values of every tensor, weight matrices gate block by gate block.

The fan of a block is its own (H, D), never that of the stack (G·H, D).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.frozen import Frozen
from rnn_from_scratch.layers import TensorShape
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.validation import choice, finite_float64, number, numeric_array, shown

__all__ = [
    "Recipe",
    "ScaledIdentity",
    "as_recipes",
    "he",
    "initialize",
    "orthogonal",
    "standard_normal",
    "xavier_normal",
    "xavier_uniform",
]

OWNER = "Network"


def xavier_uniform(fan_out: int, fan_in: int, generator: np.random.Generator) -> FloatArray:
    """A (fan_out, fan_in) matrix with entries uniform in ±√(6 / (fan_in + fan_out)).

    The variance 2 / (fan_in + fan_out) keeps the size of signals on the way forward, and of gradients on the way back,
    about the same from layer to layer.

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.

    Examples
    --------
    >>> W = xavier_uniform(200, 100, np.random.default_rng(0))
    >>> W.shape, bool(abs(W).max() <= (6 / 300) ** 0.5), round(float(W.var() * 150), 1)
    ((200, 100), True, 1.0)
    """
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return generator.uniform(-limit, limit, size=(fan_out, fan_in))


def xavier_normal(fan_out: int, fan_in: int, generator: np.random.Generator) -> FloatArray:
    """As `xavier_uniform`, of the same variance, with normal entries.

    >>> W = xavier_normal(200, 100, np.random.default_rng(0))
    >>> round(float(W.var() * 150), 1)
    1.0
    """
    return generator.normal(scale=math.sqrt(2.0 / (fan_in + fan_out)), size=(fan_out, fan_in))


def he(fan_out: int, fan_in: int, generator: np.random.Generator) -> FloatArray:
    """Normal entries of variance 2 / fan_in, which make up for the half of the signal that relu cuts off.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015.

    Examples
    --------
    >>> W = he(200, 100, np.random.default_rng(0))
    >>> round(float(W.var() * 50), 1)
    1.0
    """
    return generator.normal(scale=math.sqrt(2.0 / fan_in), size=(fan_out, fan_in))


def orthogonal(fan_out: int, fan_in: int, generator: np.random.Generator) -> FloatArray:
    """A matrix with orthonormal rows or columns, whichever are fewer, drawn uniformly: it keeps the length of signals.

    References
    ----------
    A. M. Saxe, J. L. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.

    Examples
    --------
    >>> W = orthogonal(2, 3, np.random.default_rng(0))
    >>> np.allclose(W @ W.T, np.eye(2))
    True
    """
    tall = generator.normal(size=(max(fan_out, fan_in), min(fan_out, fan_in)))
    Q, R = np.linalg.qr(tall)
    Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)  # without this, QR's choice of signs would favour some matrices
    found: FloatArray = Q if fan_out >= fan_in else Q.T
    return found


def standard_normal(fan_out: int, fan_in: int, generator: np.random.Generator) -> FloatArray:
    """Normal entries of variance 1.

    The default of embeddings: a token takes the place of features, and the layer above expects those to be of unit size. A
    fan means nothing here, since each token picks one row.

    >>> round(float(standard_normal(200, 100, np.random.default_rng(0)).std()), 1)
    1.0
    """
    return generator.normal(size=(fan_out, fan_in))


@dataclass(eq=False, repr=False)
class ScaledIdentity(Frozen):
    """``scale · I`` for every gate block: a state that nothing disturbs is kept (scale 1) or fades slowly (below 1).

    Parameters
    ----------
    scale : float, default=1.0

    References
    ----------
    Q. V. Le, N. Jaitly and G. E. Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", 2015.

    Examples
    --------
    >>> from rnn_from_scratch import Elman, Network
    >>> network = Network(3, [Elman(2, activation="relu")], 1, initializer=ScaledIdentity(0.5))
    >>> network.parameters["layer0.W_h"]
    array([[0.5, 0. ],
           [0. , 0.5]])
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", number(self.scale, "scale", "ScaledIdentity", "a finite number"))

    def __call__(self, fan_out: int, fan_in: int, generator: np.random.Generator) -> FloatArray:
        """The block; nothing is drawn."""
        return self.scale * np.eye(fan_out, fan_in)


Draw = Callable[[int, int, "np.random.Generator"], FloatArray]  # quoted: `numpy.random` takes its time to import
Recipe = Draw | FloatArray
"""How a tensor gets its first values: a function that draws one gate block, or the values themselves."""

WORDS: dict[str, Draw] = {
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "he": he,
    "orthogonal": orthogonal,
    "scaled_identity": ScaledIdentity(),
    "standard_normal": standard_normal,
}


def as_recipes(initializer: object, tensors: tuple[TensorShape, ...]) -> dict[str, Recipe]:
    """What a user's `initializer` says of each tensor, by full name; those that keep their default are not there.

    Parameters
    ----------
    initializer : str, ScaledIdentity or mapping
        One for all weight matrices but embeddings (a scaled identity: for all W_h), or a mapping from full names
        ('layer0.W_h') or symbols ('W_h') to words, ScaledIdentity or arrays; a full name beats a symbol. Biases and learned
        states take arrays alone.
    tensors : tuple of TensorShape

    Raises
    ------
    TypeError, ValueError
        Naming what is allowed and what came.

    Examples
    --------
    >>> from rnn_from_scratch.layers import GRU
    >>> sorted(as_recipes({"W_h": "orthogonal", "layer.b_hn": [1.0]}, GRU(1).tensors("layer", 3)))
    ['layer.W_h', 'layer.b_hn']
    """
    if isinstance(initializer, Mapping):
        return _of_mapping(initializer, tensors)
    if not isinstance(initializer, (str, ScaledIdentity)):
        allowed = "a word, a ScaledIdentity or a mapping from tensors to words or arrays"
        raise TypeError(f"initializer of {OWNER} must be {allowed}. Got {shown(initializer)}.")
    draw = _draw(initializer, "initializer")
    only = ("W_h",) if isinstance(draw, ScaledIdentity) else ("W_x", "W_h", "W_y")
    return {tensor.name: draw for tensor in tensors if tensor.symbol in only}


def _of_mapping(initializer: Mapping[Any, Any], tensors: tuple[TensorShape, ...]) -> dict[str, Recipe]:
    recipes: dict[str, Recipe] = {}
    for by_symbol in (True, False):  # full names come second, so that they beat symbols
        for key, value in initializer.items():
            meant = [tensor for tensor in tensors if key in (tensor.symbol, tensor.name)]
            if not meant:
                known = sorted({tensor.symbol for tensor in tensors}) + [tensor.name for tensor in tensors]
                raise ValueError(f"initializer of {OWNER} must name tensors of the network, {known}. Got {key!r}.")
            if by_symbol == (key == meant[0].symbol):
                for tensor in meant:
                    recipes[tensor.name] = _recipe(value, tensor, f"initializer[{key!r}]")
    return recipes


def _draw(value: str | ScaledIdentity, name: str) -> Draw:
    return value if isinstance(value, ScaledIdentity) else WORDS[choice(value, name, OWNER, WORDS)]


def _recipe(value: object, tensor: TensorShape, name: str) -> Recipe:
    """What stands in the mapping for one tensor."""
    if not isinstance(value, (str, ScaledIdentity)):
        array = numeric_array(value, f"{name} of {OWNER}")
        if array.shape != tensor.shape:
            raise ValueError(f"{name} of {OWNER} must be {tensor.shape} for {tensor.name}. Got {array.shape}.")
        return finite_float64(array, f"{name} of {OWNER}")
    draw = _draw(value, name)
    if not tensor.is_matrix:
        raise ValueError(f"{name} of {OWNER} must be an array {tensor.shape} for {tensor.name}. Got {shown(value)}.")
    rows, columns = _block(tensor)
    if isinstance(draw, ScaledIdentity) and rows != columns:
        raise ValueError(
            f"{name} of {OWNER} must not be a scaled identity for {tensor.name}: "
            f"its blocks ({rows}, {columns}) are not square."
        )
    return draw


def _block(tensor: TensorShape) -> tuple[int, int]:
    """Rows and columns of one gate of a weight matrix."""
    return tensor.shape[0] // tensor.gates, tensor.shape[1]


def initialize(
    parameters: Parameters, generator: np.random.Generator, recipes: Mapping[str, Recipe] | None = None
) -> None:
    """Give every tensor its first values.

    Where `recipes` says nothing, weight matrices are Xavier-uniform per gate block, embeddings standard normal, biases what
    the layer says, and learned states zero. The numbers are drawn in float64 and rounded, so that one seed gives the same
    start in both precisions.

    Raises
    ------
    ValueError
        If a given number does not fit the dtype of the parameters; nothing has been drawn or written then.
    """
    recipes = recipes or {}
    largest = np.finfo(parameters.dtype).max
    for name, recipe in recipes.items():
        if isinstance(recipe, np.ndarray) and np.abs(recipe).max() > largest:
            raise ValueError(f"initializer of {OWNER} must fit {parameters.dtype}. Got a larger number for {name}.")
    with parameters.edit() as views:
        for tensor in parameters.tensors:
            views[tensor.name][...] = _first_values(tensor, generator, recipes.get(tensor.name))


def _first_values(tensor: TensorShape, generator: np.random.Generator, recipe: Recipe | None) -> FloatArray:
    if isinstance(recipe, np.ndarray):
        return recipe
    if not tensor.is_matrix:
        return np.repeat(np.array(tensor.first), tensor.shape[0] // len(tensor.first))
    draw = recipe or (standard_normal if tensor.symbol == "W_e" else xavier_uniform)
    return np.concatenate([draw(*_block(tensor), generator) for _ in range(tensor.gates)])
