"""What a network is, without a single number of it: frozen descriptions of layers and of the whole network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rnn_from_scratch.validation import choice, integer, shown

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "OUTPUT_ACTIVATIONS",
    "READOUTS",
    "Elman",
    "Layer",
    "NetworkSpecification",
    "TensorShape",
    "require_useful_output",
]

ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear")
OUTPUT_ACTIVATIONS = ("linear", "sigmoid", "softmax")
LOSSES = ("mse", "ce")
READOUTS = ("every", "last")


@dataclass(frozen=True)
class TensorShape:
    """One parameter tensor: its full name, its shape, and the number of gate blocks stacked in its rows."""

    name: str
    shape: tuple[int, ...]
    gates: int = 1


@dataclass(frozen=True)
class Elman:
    """A layer of Elman's simple recurrent network: ``h_t = f(W_x x_t + W_h h_{t-1} + b_h)``.

    Parameters
    ----------
    hidden_size : int
        Hidden units, H.
    activation : {'tanh', 'sigmoid', 'relu', 'linear'}, default='tanh'
        The function f.

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
    Elman(hidden_size=8, activation='relu')
    >>> Elman(0)
    Traceback (most recent call last):
    ValueError: hidden_size of Elman must be an int >= 1. Got 0.
    """

    hidden_size: int
    activation: str = "tanh"

    cell: ClassVar[str] = "elman"
    gates: ClassVar[tuple[str, ...]] = ("h",)
    states: ClassVar[tuple[str, ...]] = ("h",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_size", integer(self.hidden_size, "hidden_size", "Elman"))
        choice(self.activation, "activation", "Elman", ACTIVATIONS)

    @property
    def options(self) -> dict[str, Any]:
        """What the cell's mathematics needs to know besides its parameters."""
        return {"activation": self.activation}

    def tensors(self, prefix: str, input_size: int) -> tuple[TensorShape, ...]:
        """The parameter tensors of this layer, in the order in which they lie in the flat vector."""
        gates = len(self.gates)
        rows = gates * self.hidden_size
        return (
            TensorShape(f"{prefix}.W_x", (rows, input_size), gates),
            TensorShape(f"{prefix}.W_h", (rows, self.hidden_size), gates),
            TensorShape(f"{prefix}.b_h", (rows,), gates),
        )


Layer = Elman


@dataclass(frozen=True)
class NetworkSpecification:
    """A stack of recurrent layers and a readout: everything about a network but its numbers.

    Parameters
    ----------
    input_size : int
        Input features, D.
    layers : sequence of Elman
        At least one recurrent layer; the first reads the input, each further one the states of the one below.
    output_size : int
        Outputs, O.
    readout : {'every', 'last'}, default='every'
        Whether there is an output for every time step or one for the last.
    output_activation : {'linear', 'sigmoid', 'softmax'}, default='linear'
    loss : {'mse', 'ce'}, default='mse'

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described, or if the combination is useless (see `require_useful_output`).
    """

    input_size: int
    layers: Sequence[Layer]
    output_size: int
    readout: str = "every"
    output_activation: str = "linear"
    loss: str = "mse"

    def __post_init__(self) -> None:
        owner = "Network"
        object.__setattr__(self, "input_size", integer(self.input_size, "input_size", owner))
        object.__setattr__(self, "output_size", integer(self.output_size, "output_size", owner))
        if not isinstance(self.layers, Sequence) or not self.layers:
            raise TypeError(f"layers of Network must be a list of one or more layers. Got {shown(self.layers)}.")
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers of Network must hold layers such as Elman(8). Got {shown(layer)}.")
        object.__setattr__(self, "layers", tuple(self.layers))
        choice(self.readout, "readout", owner, READOUTS)
        choice(self.output_activation, "output_activation", owner, OUTPUT_ACTIVATIONS)
        choice(self.loss, "loss", owner, LOSSES)
        require_useful_output(self.loss, self.output_activation, self.output_size, owner)

    @property
    def layer_inputs(self) -> tuple[int, ...]:
        """The number of features that each layer reads."""
        return (self.input_size, *(layer.hidden_size for layer in self.layers[:-1]))

    @property
    def state_shapes(self) -> dict[str, int]:
        """The names of the hidden states and the units of each, as ``{"layer0.h": H}``."""
        return {
            f"layer{index}.{state}": layer.hidden_size
            for index, layer in enumerate(self.layers)
            for state in layer.states
        }

    def tensors(self) -> tuple[TensorShape, ...]:
        """All parameter tensors, in the order in which they lie in the flat vector."""
        found: list[TensorShape] = []
        for index, (layer, inputs) in enumerate(zip(self.layers, self.layer_inputs, strict=True)):
            found += layer.tensors(f"layer{index}", inputs)
        hidden = self.layers[-1].hidden_size
        found.append(TensorShape("readout.W_y", (self.output_size, hidden)))
        found.append(TensorShape("readout.b_y", (self.output_size,)))
        return tuple(found)


def require_useful_output(loss: str, output_activation: str, outputs: int, owner: str) -> None:
    """Refuse combinations that cannot learn or have no meaning.

    >>> require_useful_output("mse", "softmax", 1, "Network")
    Traceback (most recent call last):
    ValueError: output_activation of Network must be 'linear' or 'sigmoid' for one output. Got 'softmax', which is always 1.
    """
    if output_activation == "softmax" and outputs == 1:
        raise ValueError(
            f"output_activation of {owner} must be 'linear' or 'sigmoid' for one output. Got 'softmax', which is always 1."
        )
    if loss == "ce" and output_activation == "linear":
        raise ValueError(
            f"output_activation of {owner} must be 'sigmoid' or 'softmax' when the loss is 'ce'. Got 'linear', "
            "whose outputs are not probabilities."
        )
