"""`RNNScratch`: the documented class, kept to the letter; a thin face on `Network`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.clipping import TensorNorm
from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.engines.select import select_engine
from rnn_from_scratch.file_format import as_path
from rnn_from_scratch.layers import ACTIVATIONS, Elman
from rnn_from_scratch.live_tensors import LiveTensors
from rnn_from_scratch.network import Network
from rnn_from_scratch.optimizers import SGD
from rnn_from_scratch.scratch_functions import (
    ActivationFunctions,
    constructor_words,
    items,
    local_and_global,
    progress,
    require_probabilities,
)
from rnn_from_scratch.specification import OUTPUT_ACTIVATIONS, require_useful_output
from rnn_from_scratch.validation import (
    boolean,
    choice,
    finite_float64,
    generator,
    integer,
    numeric_array,
    positive,
    require_finite,
)

if TYPE_CHECKING:
    from rnn_from_scratch import model_files
else:
    model_files = deferred_module("rnn_from_scratch.model_files")

__all__ = ["RNNScratch"]

CLIP_NORM = 5.0
"""Every tensor's gradient is clipped to this norm, as documented."""

DOCUMENTED_LOSSES = ("mse", "ce")

WEIGHTS = {"wx": "layer0.W_x", "wh": "layer0.W_h", "wy": "readout.W_y"}
BIASES = {"bh": "layer0.b_h", "by": "readout.b_y"}


class RNNScratch(ActivationFunctions):
    """Elman's recurrent network as documented: one sequence in, an output for every step, plain gradient descent.

    ::

        h_t = activation(W_x x_t + W_h h_{t-1} + b_h),  h_0 = 0
        y_t = output_activation(W_y h_t + b_y)
        W  ← W − η · clip(∇W, 5)                          every tensor's gradient clipped to norm 5 by itself

    Parameters
    ----------
    input_features : int
        Features per time step, D.
    hidden_units : int
        Hidden units, H.
    num_output : int
        Outputs, O.
    learning_rate : float
        Rate of gradient descent, η.
    loss : {'mse', 'ce'}, default='mse'
        'mse' is the mean over steps and outputs of the squared error. 'ce' is the cross-entropy, mean over steps: after
        'softmax' summed over the classes, after 'sigmoid' binary (both terms) and averaged over the outputs.
    activation : {'tanh', 'sigmoid', 'relu', 'linear'}, default='tanh'
    output_activation : {'sigmoid', 'softmax', 'linear'}, default='sigmoid'
    random_state : None, int, SeedSequence, BitGenerator or Generator, default=None
        Seeds the Xavier-uniform weights (Glorot & Bengio 2010); biases start at zero.
    engine : {'auto', 'numpy', 'native'}, default='auto'

    Attributes
    ----------
    weights : mapping
        ``{'wx': (H, D), 'wh': (H, H), 'wy': (O, H)}``, float64, live and writable.
    bias : mapping
        ``{'bh': (H, 1), 'by': (O, 1)}``, float64, live and writable.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described, or the combination is useless: 'softmax' with one output, 'ce' with 'linear'.

    Notes
    -----
    Gradients are the exact gradients of the loss. The original summed them over time where its loss takes the mean, so that
    its effective rate was T times larger: multiply the learning rate by the number of steps to follow its path.

    Examples
    --------
    >>> X = [[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.5], [0.4, 0.5, 0.6], [0.5, 0.6, 0.7]]
    >>> y = [[0.3], [0.45], [0.6], [0.75], [0.9]]
    >>> model = RNNScratch(3, 5, 1, 0.05, output_activation="linear", random_state=0)
    >>> history = model.fit(X, y, epochs=200, verbose=False, return_history=True)
    >>> len(history), history[-1] < 0.1 * history[0]
    (200, True)
    >>> len(model.predict(X)), model.predict(X)[0].shape
    (5, (1, 1))
    """

    def __init__(
        self,
        input_features: int,
        hidden_units: int,
        num_output: int,
        learning_rate: float,
        loss: str = "mse",
        activation: str = "tanh",
        output_activation: str = "sigmoid",
        *,
        random_state: Any = None,
        engine: str = "auto",
    ) -> None:
        owner = "RNNScratch"
        self.input_features = integer(input_features, "input_features", owner)
        self.hidden_units = integer(hidden_units, "hidden_units", owner)
        self.num_output = integer(num_output, "num_output", owner)
        self.learning_rate = positive(learning_rate, "learning_rate", owner)
        self.loss = choice(loss, "loss", owner, DOCUMENTED_LOSSES)
        self.activation = choice(activation, "activation", owner, ACTIVATIONS)
        self.output_activation = choice(output_activation, "output_activation", owner, OUTPUT_ACTIVATIONS)
        require_useful_output(self.loss, self.output_activation, self.num_output, owner)
        self._every_step = Network(
            self.input_features,
            [Elman(self.hidden_units, self.activation)],
            self.num_output,
            output_activation=self.output_activation,
            loss=self.loss,
            dtype="float64",
            random_state=generator(random_state, owner),
            engine=select_engine(engine, owner).name,
        )
        self._last_step = self._every_step.with_readout("last")
        self._predicts_last_step = False
        self._bind_tensors()

    def _bind_tensors(self) -> None:
        # The documentation promises writable weights, so the views outlive their block; `_refresh` makes up for it.
        with self._every_step.edit_parameters() as p:
            self._weights = LiveTensors("weights", {short: p[name].view() for short, name in WEIGHTS.items()})
            self._bias = LiveTensors("bias", {short: p[name][:, None] for short, name in BIASES.items()})

    @property
    def weights(self) -> LiveTensors:
        """``{'wx': (H, D), 'wh': (H, H), 'wy': (O, H)}``: live, writable views; assigning a mapping writes into them."""
        return self._weights

    @weights.setter
    def weights(self, values: Mapping[str, Any]) -> None:
        self._weights.replace(values)

    @property
    def bias(self) -> LiveTensors:
        """``{'bh': (H, 1), 'by': (O, 1)}``: live, writable views; assigning a mapping writes into them."""
        return self._bias

    @bias.setter
    def bias(self, values: Mapping[str, Any]) -> None:
        self._bias.replace(values)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_weights", "_bias", "_last_step")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._last_step = self._every_step.with_readout("last")
        self._bind_tensors()

    def fit(
        self,
        X: Any,
        labels: Any,
        epochs: int,
        learning_rate: float | None = None,
        verbose: bool = True,
        return_history: bool = False,
    ) -> list[float] | None:
        """Learn an output for every step of one sequence: one update per epoch.

        Parameters
        ----------
        X : array_like (T, D)
        labels : array_like (T, O), or (T,) for one output
            In [0, 1] when the loss is 'ce'.
        epochs : int
            Passes over the sequence.
        learning_rate : float, optional
            Replaces the model's rate, for this call and from now on.
        verbose : bool, default=True
            Print about ten lines of progress.
        return_history : bool, default=False

        Returns
        -------
        list of float or None
            The loss before each update, if `return_history`.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; the model is then unchanged.
        NonFiniteError
            If a loss or gradient is not finite; the parameters are those of the last good epoch.
        """
        x = self._sequence(X, "X")
        t = self._labels(labels, len(x), "labels")
        history = self._learn(self._every_step, [x], [t], epochs, learning_rate, verbose, return_history)
        self._predicts_last_step = False
        return history

    def train(
        self,
        X_train: Any,
        y_train: Any,
        epochs: int,
        learning_rate: float | None = None,
        verbose: bool = True,
        return_history: bool = False,
    ) -> list[float] | None:
        """Learn one output per sequence, from its last step: one update per sequence and epoch, in the given order.

        Afterwards `predict` gives the one output of a sequence; `fit` turns it back.

        Parameters
        ----------
        X_train : list of array_like (T_i, D), or array_like (N, T, D)
        y_train : list of array_like (O,) or (O, 1), or array_like (N, O)
        epochs, learning_rate, verbose, return_history
            As in `fit`; the history holds the mean over the sequences.

        Returns
        -------
        list of float or None

        Raises
        ------
        TypeError, ValueError, NonFiniteError
            As in `fit`.
        """
        sequences = [self._sequence(x, f"X_train[{n}]") for n, x in enumerate(items(X_train, "X_train"))]
        vectors = items(y_train, "y_train")
        if len(vectors) != len(sequences):
            raise ValueError(
                f"y_train must have one label vector for each of {len(sequences)} sequences. Got {len(vectors)}."
            )
        targets = np.stack([self._label_vector(y, f"y_train[{n}]") for n, y in enumerate(vectors)])
        history = self._learn(self._last_step, sequences, targets, epochs, learning_rate, verbose, return_history)
        self._predicts_last_step = True
        return history

    def predict(self, X: Any) -> Any:
        """The outputs for one sequence, from a zero state.

        Parameters
        ----------
        X : array_like (T, D)

        Returns
        -------
        list of T arrays (O, 1); after `train`, the one array (O, 1) of the last step

        Raises
        ------
        TypeError, ValueError
            If X is not a finite two-dimensional array with D columns.
        """
        x = self._sequence(X, "X")
        self._refresh()
        if self._predicts_last_step:
            return self._last_step.predict(x[None])[0][:, None]
        return list(self._every_step.predict(x[None])[0][:, :, None])

    def forward(self, X: Any) -> Any:
        """The same as `predict`."""
        return self.predict(X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, which `load` reads: all of it but where its generator stands.

        Raises
        ------
        ValueError
            If a weight is not finite; nothing has been touched then.
        OSError
            If the system cannot write the file; the old one, if any, is still there.

        Examples
        --------
        >>> model = RNNScratch(2, 3, 1, 0.1, random_state=0)
        >>> model.save("model.npz")
        >>> bool((RNNScratch.load("model.npz").weights["wh"] == model.weights["wh"]).all())
        True
        """
        name = as_path(path, "RNNScratch.save")
        self._refresh()
        own_words = {"learning_rate": self.learning_rate, "predicts_last_step": self._predicts_last_step}
        network = self._every_step
        model_files.write_model(name, "RNNScratch", network.specification, network.parameters, own_words)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, random_state: Any = None, engine: str = "auto") -> RNNScratch:
        """Read a model that `save` wrote; parameters and errors as in `Network.load`."""
        model = model_files.read_model(as_path(path, "RNNScratch.load"), "RNNScratch")
        return cls.of_model(model, random_state, engine)

    @classmethod
    def of_model(cls, model: model_files.Model, random_state: Any, engine: str) -> RNNScratch:
        """What a model file holds; see `load`."""
        loaded = cls(**constructor_words(model), random_state=random_state, engine=engine)
        with loaded._every_step.edit_parameters() as p:
            for name, values in model.parameters.views.items():
                p[name][...] = values
        loaded._predicts_last_step = model.own_words["predicts_last_step"]
        return loaded

    def mse(self, predictions: Any, labels: Any) -> dict[str, Any]:
        """The squared error of given outputs, averaged over the outputs of each step.

        Parameters
        ----------
        predictions : list of T arrays (O, 1), or array_like (T, O)
        labels : array_like (T, O), or (T,) for one output

        Returns
        -------
        dict
            ``{'local': [one float per step], 'global': their mean}``

        Examples
        --------
        >>> RNNScratch(2, 3, 1, 0.1).mse([[[1.0]], [[3.0]]], [[1.0], [1.0]])
        {'local': [0.0, 4.0], 'global': 2.0}
        """
        y, t = self._pair(predictions, labels)
        return local_and_global(((y - t) ** 2).mean(axis=1))

    def ce(self, predictions: Any, labels: Any) -> dict[str, Any]:
        """The cross-entropy of given outputs: over the classes after softmax, binary otherwise.

        Parameters, returns
            As for `mse`.

        Examples
        --------
        >>> model = RNNScratch(2, 3, 1, 0.1, loss="ce")
        >>> round(model.ce([[[0.5]]], [[1.0]])["global"], 4)
        0.6931
        """
        y, t = self._pair(predictions, labels)
        require_probabilities(t, "labels")
        tiny = np.finfo(np.float64).tiny  # a certain but wrong prediction costs much, not infinitely much
        if self.output_activation == "softmax":
            return local_and_global(-(t * np.log(np.maximum(y, tiny))).sum(axis=1))
        terms = t * np.log(np.maximum(y, tiny)) + (1 - t) * np.log(np.maximum(1 - y, tiny))
        return local_and_global(-terms.mean(axis=1))

    def _learn(
        self,
        network: Network,
        X: Sequence[FloatArray],
        y: Any,
        epochs: int,
        learning_rate: float | None,
        verbose: bool,
        return_history: bool,
    ) -> list[float] | None:
        owner = "RNNScratch.fit" if network is self._every_step else "RNNScratch.train"
        epochs = integer(epochs, "epochs", owner)
        verbose = boolean(verbose, "verbose", owner)
        return_history = boolean(return_history, "return_history", owner)
        rate = self.learning_rate if learning_rate is None else learning_rate
        rate = positive(rate, "learning_rate", owner)
        self._refresh()
        self.learning_rate = rate
        history = network.fit(
            X,
            y,
            epochs,
            batch_size=1,
            optimizer=SGD(),
            learning_rate=rate,
            clip=TensorNorm(CLIP_NORM),
            shuffle=False,
            callbacks=progress(epochs) if verbose else (),
        )
        return history.loss if return_history else None

    def _refresh(self) -> None:
        """The weights may have been written to since the last call: check them, and let the engines know."""
        for owner, tensors in (("weights", self.weights), ("bias", self.bias)):
            for name, values in tensors.items():
                require_finite(values, f"{owner}[{name!r}]")
        for network in (self._every_step, self._last_step):
            with network.edit_parameters():
                pass

    def _sequence(self, X: Any, name: str) -> FloatArray:
        x = numeric_array(X, name)
        if x.ndim != 2 or x.shape[1] != self.input_features:
            raise ValueError(f"{name} must be (T, D={self.input_features}). Got {x.shape}.")
        if len(x) == 0:
            raise ValueError(f"{name} must have at least one step. Got {x.shape}.")
        return finite_float64(x, name)

    def _labels(self, labels: Any, T: int, name: str) -> FloatArray:
        t = numeric_array(labels, name)
        if self.num_output == 1 and t.shape == (T,):
            t = t[:, None]
        if t.shape != (T, self.num_output):
            raise ValueError(f"{name} must be (T={T}, O={self.num_output}), a row for each step of X. Got {t.shape}.")
        return self._checked_values(t, name)

    def _label_vector(self, label: Any, name: str) -> FloatArray:
        t = numeric_array(label, name)
        if t.shape not in ((self.num_output,), (self.num_output, 1)) and not (self.num_output == 1 and t.ndim == 0):
            raise ValueError(f"{name} must be (O={self.num_output},). Got {t.shape}.")
        return self._checked_values(t.reshape(self.num_output), name)

    def _checked_values(self, labels: Any, name: str) -> FloatArray:
        t = finite_float64(labels, name)
        if self.loss == "ce":
            require_probabilities(t, name)
        return t

    def _pair(self, predictions: Any, labels: Any) -> tuple[FloatArray, FloatArray]:
        y = numeric_array(predictions, "predictions").astype(np.float64)
        if y.ndim == 3 and y.shape[2] == 1:  # the list of columns (O, 1) that predict gives
            y = y[:, :, 0]
        if y.ndim != 2 or y.shape[1] != self.num_output or len(y) == 0:
            raise ValueError(f"predictions must be T arrays (O={self.num_output}, 1). Got {y.shape}.")
        return y, self._labels(labels, len(y), "labels")
