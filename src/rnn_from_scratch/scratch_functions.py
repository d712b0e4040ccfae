"""What `RNNScratch` needs besides learning: its functions on arrays, checks of what it is given, how it comes from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.file_format import FileFormatError, naming
from rnn_from_scratch.layers import Elman
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.training.history import History
from rnn_from_scratch.validation import boolean, positive, shown

if TYPE_CHECKING:
    from rnn_from_scratch.model_files import Model
    from rnn_from_scratch.textbook import activations
else:
    activations = deferred_module("rnn_from_scratch.textbook.activations")

__all__ = ["ActivationFunctions", "constructor_words", "items", "local_and_global", "progress", "require_probabilities"]


class ActivationFunctions:
    """The four documented activation functions, on anything that is an array."""

    @staticmethod
    def tanh(x: Any) -> FloatArray:
        """The hyperbolic tangent of an array."""
        return activations.tanh(np.asarray(x, dtype=np.float64))

    @staticmethod
    def sigmoid(x: Any) -> FloatArray:
        """1 / (1 + e⁻ˣ) of an array."""
        return activations.sigmoid(np.asarray(x, dtype=np.float64))

    @staticmethod
    def relu(x: Any) -> FloatArray:
        """max(x, 0) of an array."""
        return activations.relu(np.asarray(x, dtype=np.float64))

    @staticmethod
    def softmax(x: Any) -> FloatArray:
        """eˣ / Σ eˣ over a vector or a column vector (O, 1); over the last axis of other arrays.

        >>> from rnn_from_scratch import RNNScratch
        >>> RNNScratch.softmax([[0.0], [0.0]])
        array([[0.5],
               [0.5]])
        """
        array = np.asarray(x, dtype=np.float64)
        if array.ndim == 2 and array.shape[1] == 1:
            return activations.softmax(array.T).T
        return activations.softmax(array)


def require_probabilities(t: FloatArray, name: str) -> None:
    """Refuse labels that cross-entropy has no meaning for."""
    outside = (t < 0) | (t > 1)
    if outside.any():
        raise ValueError(f"{name} must lie in [0, 1] when the loss is 'ce'. Got {t[outside][0]}.")


def items(values: Any, name: str) -> list[Any]:
    """A list of at least one item."""
    try:
        found = list(values)
    except TypeError:
        raise TypeError(f"{name} must be a list. Got {shown(values)}.") from None
    if isinstance(values, (str, bytes)) or not found:
        raise ValueError(f"{name} must be a list of at least one item. Got {shown(values)}.")
    return found


def local_and_global(local: FloatArray) -> dict[str, Any]:
    """Losses of the steps, and their mean."""
    return {"local": [float(loss) for loss in local], "global": float(local.mean())}


def constructor_words(model: Model) -> dict[str, Any]:
    """The arguments that make an `RNNScratch` of a file, and whether all that the file says is what such a model says.

    Raises
    ------
    FileFormatError
    """
    with naming(model.path):
        try:
            if model.own_words.keys() != {"learning_rate", "predicts_last_step"}:
                raise ValueError(
                    f"its own words must be learning_rate and predicts_last_step. Got {shown(model.own_words)}."
                )
            boolean(model.own_words["predicts_last_step"], "predicts_last_step", "RNNScratch")
            rate = positive(model.own_words["learning_rate"], "learning_rate", "RNNScratch")
        except (TypeError, ValueError) as error:
            raise FileFormatError(str(error)) from None
        said = model.specification
        layer = said.layers[0]
        sizes = (said.input_size, layer.hidden_size, said.output_size)
        activation = layer.options.get("activation", "tanh")
        common = {"loss": said.loss, "output_activation": said.output_activation}
        expected = NetworkSpecification(sizes[0], [Elman(sizes[1], activation)], sizes[2], **common)  # type: ignore[arg-type]
        if said != expected or said.loss not in ("mse", "ce") or model.parameters.dtype != np.float64:
            raise FileFormatError(f"an RNNScratch must be one plain Elman layer in float64. Got {shown(said)}.")
    names = ("input_features", "hidden_units", "num_output")
    return {**dict(zip(names, sizes, strict=True)), "learning_rate": rate, "activation": activation, **common}


def progress(epochs: int) -> Callable[[int, History], None]:
    """Prints ten lines over a run, fewer if it is shorter, the last epoch among them."""
    width = len(str(epochs))

    def report(epoch: int, history: History) -> None:
        if epoch * 10 // epochs > (epoch - 1) * 10 // epochs:
            print(f"Epoch {epoch:>{width}}/{epochs} - Loss: {history.loss[-1]:.6f}")

    return report
