"""What a network is, without a single number of it: the frozen description of the whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.frozen import Frozen
from rnn_from_scratch.layers import Layer, TensorShape, layer_from_dict
from rnn_from_scratch.validation import choice, fraction, integer, positive, shown

if TYPE_CHECKING:
    import json
else:
    json = deferred_module("json")

__all__ = ["LOSSES", "OUTPUT_ACTIVATIONS", "READOUTS", "Direction", "NetworkSpecification", "require_useful_output"]

OUTPUT_ACTIVATIONS = ("linear", "sigmoid", "softmax")
LOSSES = ("mse", "ce", "mae", "huber")
READOUTS = ("every", "last", "mean")

OWNER = "Network"


class Direction(NamedTuple):
    """One direction of one layer: what a cell runs along, with parameters and states of its own."""

    name: str  # 'layer0', or 'layer0.reverse'
    layer: Layer
    level: int  # of the stack, from 0
    reverse: bool
    input_size: int

    @property
    def state_names(self) -> tuple[str, ...]:
        """The full names of its states, such as 'layer0.h'."""
        return tuple(f"{self.name}.{state}" for state in self.layer.states)

    def tensors(self) -> tuple[TensorShape, ...]:
        """Its parameter tensors, in the order in which they lie in the flat vector."""
        return self.layer.tensors(self.name, self.input_size)


@dataclass(eq=False, repr=False)
class NetworkSpecification(Frozen):
    """A stack of recurrent layers and a readout: everything about a network but its numbers.

    Parameters
    ----------
    input_size : int
        Input features, D; with a vocabulary, the features of a token's embedding.
    layers : sequence of Elman, GRU or LSTM
        At least one recurrent layer; the first reads the input, each further one the states of the one below.
    output_size : int
        Outputs, O.
    readout : {'every', 'last', 'mean'}, default='every'
        An output for every time step, one for the last, or one for the mean state of all real steps.
    output_activation : {'linear', 'sigmoid', 'softmax'}, default='linear'
    loss : {'mse', 'ce', 'mae', 'huber'} or callable, default='mse'
    dropout : float, default=0.0
        Probability with which training drops each output of a layer on its way to the next, at every step anew.
    vocabulary_size : None or int, default=None
        Number of tokens, V, if the inputs are sequences of integers instead of features.
    huber_delta : float, default=1.0
        Where the loss 'huber' turns from quadratic to linear.

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
    loss: str | Callable[..., Any] = "mse"
    dropout: float = 0.0
    vocabulary_size: int | None = None
    huber_delta: float = 1.0

    def __post_init__(self) -> None:
        settle = object.__setattr__  # the dataclass is frozen; numbers are stored as plain Python numbers
        settle(self, "input_size", integer(self.input_size, "input_size", OWNER))
        settle(self, "output_size", integer(self.output_size, "output_size", OWNER))
        if not isinstance(self.layers, Sequence) or isinstance(self.layers, str) or not self.layers:
            raise TypeError(f"layers of Network must be a list of one or more layers. Got {shown(self.layers)}.")
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers of Network must hold layers such as GRU(8). Got {shown(layer)}.")
        settle(self, "layers", tuple(self.layers))
        choice(self.readout, "readout", OWNER, READOUTS)
        choice(self.output_activation, "output_activation", OWNER, OUTPUT_ACTIVATIONS)
        if not callable(self.loss):
            choice(self.loss, "loss", OWNER, LOSSES)
        settle(self, "dropout", fraction(self.dropout, "dropout", OWNER))
        if self.vocabulary_size is not None:
            settle(self, "vocabulary_size", integer(self.vocabulary_size, "vocabulary_size", OWNER))
        settle(self, "huber_delta", positive(self.huber_delta, "huber_delta", OWNER))
        require_useful_output(self.loss, self.output_activation, self.output_size, OWNER)

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """Every direction of every layer, from the input upwards, forward before reverse."""
        found = []
        inputs = self.input_size
        for level, layer in enumerate(self.layers):
            found.append(Direction(f"layer{level}", layer, level, False, inputs))
            if layer.bidirectional:
                found.append(Direction(f"layer{level}.reverse", layer, level, True, inputs))
            inputs = layer.output_size
        return tuple(found)

    @cached_property
    def state_shapes(self) -> dict[str, int]:
        """The names of the hidden states and the units of each, as ``{"layer0.h": H}``."""
        return {name: d.layer.hidden_size for d in self.directions for name in d.state_names}

    @cached_property
    def state_size(self) -> int:
        """The numbers in the states of one sequence."""
        return sum(self.state_shapes.values())

    @cached_property
    def drops(self) -> bool:
        """Whether training needs dropout masks."""
        return self.dropout > 0 or any(layer.input_dropout or layer.recurrent_dropout for layer in self.layers)

    @cached_property
    def bidirectional(self) -> bool:
        """Whether any layer reads backwards too."""
        return any(layer.bidirectional for layer in self.layers)

    def tensors(self) -> tuple[TensorShape, ...]:
        """All parameter tensors, in the order in which they lie in the flat vector."""
        found: list[TensorShape] = []
        if self.vocabulary_size is not None:
            found.append(TensorShape("embedding.W_e", (self.vocabulary_size, self.input_size)))
        for direction in self.directions:
            found += direction.tensors()
        found.append(TensorShape("readout.W_y", (self.output_size, self.layers[-1].output_size)))
        found.append(TensorShape("readout.b_y", (self.output_size,)))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The specification as JSON can say it; `from_dict` is the way back.

        Raises
        ------
        ValueError
            If the loss is a callable, which no file can hold.

        Examples
        --------
        >>> from rnn_from_scratch import GRU
        >>> specification = NetworkSpecification(3, [GRU(8)], 1)
        >>> NetworkSpecification.from_dict(specification.to_dict()) == specification
        True
        """
        if callable(self.loss):
            raise ValueError("loss of Network must be a word to be written down. Got a callable.")
        words: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        words["layers"] = [layer.to_dict() for layer in self.layers]
        return words

    @classmethod
    def from_dict(cls, words: object) -> NetworkSpecification:
        """The specification that `to_dict` wrote down.

        Raises
        ------
        TypeError, ValueError
            Naming the field that is missing, unknown or wrong.

        Examples
        --------
        >>> NetworkSpecification.from_dict({"input_size": 3, "layers": [{"cell": "elman", "hidden_size": 0}], "output_size": 1})
        Traceback (most recent call last):
        ValueError: hidden_size of Elman must be an int >= 1. Got 0.
        """
        if not isinstance(words, Mapping):
            raise TypeError(f"specification of {OWNER} must be a mapping. Got {shown(words)}.")
        known = {field.name for field in fields(cls)}
        for name in words:
            if name not in known:
                raise ValueError(f"specification of {OWNER} must have no field {name!r}. Known are {sorted(known)}.")
        for name in ("input_size", "layers", "output_size"):
            if name not in words:
                came = sorted(map(str, words))
                raise ValueError(f"specification of {OWNER} must have the field {name!r}. Got {came}.")
        if not isinstance(words["layers"], (list, tuple)):
            raise TypeError(f"layers of {OWNER} must be a list of one or more layers. Got {shown(words['layers'])}.")
        if callable(words.get("loss")):
            raise TypeError(f"loss of {OWNER} must be one of {LOSSES} when read from a file. Got a callable.")
        return cls(**{**words, "layers": [layer_from_dict(layer) for layer in words["layers"]]})

    def to_json(self) -> str:
        """The specification as JSON text; `from_json` is the way back.

        Raises
        ------
        ValueError
            If the loss is a callable, which no text can hold.

        Examples
        --------
        >>> from rnn_from_scratch import LSTM
        >>> specification = NetworkSpecification(3, [LSTM(8, bidirectional=True)], 2, "mean")
        >>> NetworkSpecification.from_json(specification.to_json()) == specification
        True
        """
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> NetworkSpecification:
        """The specification that `to_json` wrote down.

        Raises
        ------
        TypeError, ValueError
            If the text is not JSON, or naming the field that is missing, unknown, said twice or wrong.

        Examples
        --------
        >>> NetworkSpecification.from_json('{"input_size": 3, "layers": [], "output_size": 1}')
        Traceback (most recent call last):
        TypeError: layers of Network must be a list of one or more layers. Got [].
        """
        if not isinstance(text, str):
            raise TypeError(f"specification of {OWNER} must be a str of JSON. Got {shown(text)}.")
        try:
            words = json.loads(text, object_pairs_hook=_each_field_once)
        except _SaidTwice as error:
            raise ValueError(f"specification of {OWNER} must say {error} once. Got it twice.") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"specification of {OWNER} must be JSON. Got {shown(text)} ({error}).") from None
        return cls.from_dict(words)


class _SaidTwice(Exception):
    """A field stands twice in one JSON object."""


def _each_field_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _SaidTwice(repr(name))
        found[name] = value
    return found


def require_useful_output(loss: object, output_activation: str, outputs: int, owner: str) -> None:
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
