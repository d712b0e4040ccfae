"""The layers a network can be built of: frozen descriptions of Elman, GRU and LSTM layers, and of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, NamedTuple

from rnn_from_scratch.frozen import Frozen
from rnn_from_scratch.validation import boolean, choice, fraction, integer, number, shown

__all__ = ["ACTIVATIONS", "GRU", "LAYERS", "LSTM", "Elman", "Layer", "TensorShape", "layer_from_dict"]

ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear")
RESETS = ("after", "before")


class TensorShape(NamedTuple):
    """One parameter tensor: its full name, its shape, and what its first values depend on."""

    name: str
    shape: tuple[int, ...]
    gates: int = 1  # blocks stacked in the rows
    first: tuple[float, ...] = (0.0,)  # of a vector: what each gate's block starts with

    @property
    def symbol(self) -> str:
        """The name without the place it belongs to: 'W_h'."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def is_matrix(self) -> bool:
        """Whether this is a weight matrix, which initialisers fill and penalties shrink."""
        return len(self.shape) == 2


@dataclass(eq=False, repr=False)
class Layer(Frozen):
    """What every recurrent layer has; use `Elman`, `GRU` or `LSTM`."""

    hidden_size: int
    _: KW_ONLY
    bidirectional: bool = False
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    learned_state: bool = False

    cell: ClassVar[str]
    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]] = ("h",)

    def __post_init__(self) -> None:
        owner = type(self).__name__
        settle = object.__setattr__  # the dataclass is frozen; numbers are stored as plain Python numbers
        settle(self, "hidden_size", integer(self.hidden_size, "hidden_size", owner))
        for name in ("bidirectional", "learned_state"):
            settle(self, name, boolean(getattr(self, name), name, owner))
        for name in ("input_dropout", "recurrent_dropout"):
            settle(self, name, fraction(getattr(self, name), name, owner))

    def __repr__(self) -> str:
        """As it is written: the size, and what differs from the defaults."""
        named = {field.name: (getattr(self, field.name), field.default) for field in fields(self)[1:]}
        said = [f"{name}={value!r}" for name, (value, default) in named.items() if value != default]
        return f"{type(self).__name__}({', '.join([str(self.hidden_size), *said])})"

    @property
    def output_size(self) -> int:
        """Numbers that the layer gives for each step: H, or 2·H when it reads in both directions."""
        return 2 * self.hidden_size if self.bidirectional else self.hidden_size

    @property
    def options(self) -> dict[str, Any]:
        """What the cell's mathematics needs to know besides its parameters."""
        return {}

    def first_biases(self) -> tuple[float, ...]:
        """What the hidden bias of each gate starts with."""
        return (0.0,) * len(self.gates)

    def tensors(self, prefix: str, input_size: int) -> tuple[TensorShape, ...]:
        """The parameter tensors of one direction, in the order in which they lie in the flat vector."""
        G, H = len(self.gates), self.hidden_size
        learned = [TensorShape(f"{prefix}.{state}_0", (H,)) for state in self.states if self.learned_state]
        return (
            TensorShape(f"{prefix}.W_x", (G * H, input_size), G),
            TensorShape(f"{prefix}.W_h", (G * H, H), G),
            TensorShape(f"{prefix}.b_h", (G * H,), G, self.first_biases()),
            *self._own_tensors(prefix),
            *learned,
        )

    def _own_tensors(self, prefix: str) -> tuple[TensorShape, ...]:
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The layer as JSON can say it: its cell, and every field."""
        return {"cell": self.cell, **{field.name: getattr(self, field.name) for field in fields(self)}}


@dataclass(eq=False, repr=False)
class Elman(Layer):
    """A layer of Elman's simple recurrent network: ``h_t = f(W_x x_t + W_h h_{t-1} + b_h)``.

    Parameters
    ----------
    hidden_size : int
        Hidden units, H.
    activation : {'tanh', 'sigmoid', 'relu', 'linear'}, default='tanh'
        The function f.
    bidirectional : bool, default=False
        Whether a second set of parameters reads each sequence from its end; the layer then gives 2·H numbers per step.
    input_dropout, recurrent_dropout : float, default=0.0
        Probability with which training drops an input, or a unit of the state inside the product with W_h, with one mask
        for all steps of a sequence (Gal & Ghahramani 2016).
    learned_state : bool, default=False
        Whether the state before the first step is a parameter, ``h_0``, instead of zero.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    References
    ----------
    J. L. Elman, "Finding Structure in Time", Cognitive Science 14, 1990.

    Examples
    --------
    >>> Elman(8, activation="relu")
    Elman(8, activation='relu')
    >>> Elman(0)
    Traceback (most recent call last):
    ValueError: hidden_size of Elman must be an int >= 1. Got 0.
    """

    activation: str = "tanh"

    cell: ClassVar[str] = "elman"
    gates: ClassVar[tuple[str, ...]] = ("h",)

    def __post_init__(self) -> None:
        super().__post_init__()
        choice(self.activation, "activation", "Elman", ACTIVATIONS)

    @property
    def options(self) -> dict[str, Any]:
        return {"activation": self.activation}


@dataclass(eq=False, repr=False)
class GRU(Layer):
    """A layer of gated recurrent units: gates r and z decide how much of the past is seen and kept; see `textbook.gru`.

    ::

        r_t = σ(W_xr x_t + W_hr h_{t-1} + b_r)        z_t = σ(W_xz x_t + W_hz h_{t-1} + b_z)
        n_t = tanh(W_xn x_t + b_n + r_t ⊙ (W_hn h_{t-1} + b_hn))        reset='after'
        n_t = tanh(W_xn x_t + b_n + W_hn (r_t ⊙ h_{t-1}))               reset='before'
        h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    Parameters
    ----------
    hidden_size : int
        Hidden units, H.
    reset : {'after', 'before'}, default='after'
        Whether r is applied after the product with W_hn (cuDNN, PyTorch, Keras) or before it (the paper).
    bidirectional, input_dropout, recurrent_dropout, learned_state
        As in `Elman`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    References
    ----------
    K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
    EMNLP 2014.

    Examples
    --------
    >>> [tensor.name for tensor in GRU(8).tensors("layer0", 3)]
    ['layer0.W_x', 'layer0.W_h', 'layer0.b_h', 'layer0.b_hn']
    """

    reset: str = "after"

    cell: ClassVar[str] = "gru"
    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")

    def __post_init__(self) -> None:
        super().__post_init__()
        choice(self.reset, "reset", "GRU", RESETS)

    @property
    def options(self) -> dict[str, Any]:
        return {"reset": self.reset}

    def _own_tensors(self, prefix: str) -> tuple[TensorShape, ...]:
        return (TensorShape(f"{prefix}.b_hn", (self.hidden_size,)),) if self.reset == "after" else ()


@dataclass(eq=False, repr=False)
class LSTM(Layer):
    """A layer of long short-term memory with forget gate: a memory c beside the state h; see `textbook.lstm`.

    ::

        i_t, f_t, o_t = σ(W_x x_t + W_h h_{t-1} + b_h)        g_t = tanh(W_x x_t + W_h h_{t-1} + b_h), each with its block
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t                       h_t = o_t ⊙ tanh c_t

    Parameters
    ----------
    hidden_size : int
        Hidden units, H.
    forget_bias : float, default=1.0
        What the forget gate's bias starts with: at 1 the memory is kept for a few steps before anything is learned
        (Jozefowicz, Zaremba & Sutskever, "An Empirical Exploration of Recurrent Network Architectures", ICML 2015).
    bidirectional, input_dropout, recurrent_dropout, learned_state
        As in `Elman`; a learned state has ``h_0`` and ``c_0``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    References
    ----------
    S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9, 1997.
    F. A. Gers, J. Schmidhuber and F. Cummins, "Learning to Forget: Continual Prediction with LSTM", Neural Computation 12,
    2000.

    Examples
    --------
    >>> LSTM(8).states, LSTM(8, bidirectional=True).output_size
    (('h', 'c'), 16)
    """

    forget_bias: float = 1.0

    cell: ClassVar[str] = "lstm"
    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "forget_bias", number(self.forget_bias, "forget_bias", "LSTM", "a finite number"))

    def first_biases(self) -> tuple[float, ...]:
        return (0.0, self.forget_bias, 0.0, 0.0)


LAYERS: dict[str, type[Elman] | type[GRU] | type[LSTM]] = {"elman": Elman, "gru": GRU, "lstm": LSTM}
"""The layer for each cell's word."""


def layer_from_dict(words: object) -> Layer:
    """The layer that `Layer.to_dict` wrote down.

    >>> layer_from_dict({"cell": "gru", "hidden_size": 8, "reset": "before"}).reset
    'before'
    >>> layer_from_dict({"cell": "gru", "hidden_size": 8, "peepholes": True})
    Traceback (most recent call last):
    ValueError: GRU must have no field 'peepholes'. Known are ['bidirectional', 'hidden_size', 'input_dropout', ...
    """
    if not isinstance(words, Mapping):
        raise TypeError(f"layers of Network must hold mappings with a 'cell' when read from JSON. Got {shown(words)}.")
    layer = LAYERS[choice(words.get("cell"), "cell", "a layer", LAYERS)]
    known = {field.name for field in fields(layer)}
    for name in words:
        if name != "cell" and name not in known:
            raise ValueError(f"{layer.__name__} must have no field {name!r}. Known are {sorted(known)}.")
    if "hidden_size" not in words:
        raise ValueError(f"{layer.__name__} must have the field 'hidden_size'. Got {sorted(map(str, words))}.")
    return layer(**{name: value for name, value in words.items() if name != "cell"})
