"""`Network`: a specification, its parameters and an engine, with the methods that people call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.clipping import Clipping, as_clipping
from rnn_from_scratch.engines.base import Plan, UpdateRule, batch_loss, first_state
from rnn_from_scratch.engines.select import select_engine
from rnn_from_scratch.initializers import initialize
from rnn_from_scratch.optimizers import Optimizer, as_optimizer
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, Targets, as_batch, as_targets, model_dtype
from rnn_from_scratch.layers import Layer
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.training.history import History
from rnn_from_scratch.training.loop import TrainingData, TrainingPlan, train
from rnn_from_scratch.validation import boolean, choice, generator, integer, positive, shown

__all__ = ["Network"]


class Network:
    """A stack of recurrent layers and a readout, trained by exact backpropagation through time.

    ::

        h_t = f(W_x x_t + W_h h_{t-1} + b_h)          each layer; see `Elman`
        y_t = g(W_y h_t + b_y)                        readout of the top layer

    Parameters
    ----------
    input_size : int
        Input features, D.
    layers : sequence of Elman
        The recurrent layers, from the input upwards.
    output_size : int
        Outputs, O.
    readout : {'every', 'last'}, default='every'
        An output for every time step, or one for the last.
    output_activation : {'linear', 'sigmoid', 'softmax'}, default='linear'
        The function g.
    loss : {'mse', 'ce'}, default='mse'
        What training makes small: the mean squared error, or the cross-entropy (binary after 'sigmoid', categorical after
        'softmax'), averaged over real steps.
    dtype : {None, 'float32', 'float64'}, default=None
        Precision of parameters and arithmetic. None takes that of the first data: float32 stays float32, everything else
        becomes float64.
    random_state : None, int, SeedSequence, BitGenerator or Generator, default=None
        Seeds the first weights and the order of sequences in training.
    engine : {'auto', 'numpy', 'native'}, default='auto'
        Who computes; 'auto' takes the compiled engine where this installation has it. `show_config` says what runs.

    Attributes
    ----------
    specification : NetworkSpecification
    engine : str
        'numpy' or 'native'.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Examples
    --------
    Learn to say the mean of what has been heard:

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(64, 5, 1))
    >>> y = X.mean(axis=1)
    >>> from rnn_from_scratch import Elman, Network
    >>> network = Network(1, [Elman(8)], 1, readout="last", random_state=0)
    >>> history = network.fit(X, y, epochs=60, batch_size=16, learning_rate=0.01)
    >>> history.loss[-1] < 0.05 * history.loss[0]
    True
    >>> network.predict(X[:2]).shape
    (2, 1)
    """

    def __init__(
        self,
        input_size: int,
        layers: Sequence[Layer],
        output_size: int,
        *,
        readout: str = "every",
        output_activation: str = "linear",
        loss: str = "mse",
        dtype: Any = None,
        random_state: Any = None,
        engine: str = "auto",
    ) -> None:
        self.specification = NetworkSpecification(
            input_size,
            layers,
            output_size,
            readout,
            output_activation,
            loss,
        )
        self._engine = select_engine(engine, "Network")
        self._generator = generator(random_state, "Network")
        self._parameters: Parameters | None = None
        self._plan: Plan | None = None
        if dtype is not None:
            self._build(_dtype(dtype))

    @property
    def engine(self) -> str:
        """The name of the engine at work: 'numpy' or 'native'."""
        return self._engine.name

    @property
    def dtype(self) -> np.dtype[np.floating] | None:
        """float32, float64, or None before the first data."""
        return None if self._parameters is None else self._parameters.dtype

    @property
    def parameters(self) -> Mapping[str, FloatArray]:
        """Read-only views of all parameters by name; a network without a dtype becomes float64 by looking.

        >>> from rnn_from_scratch import Elman
        >>> network = Network(3, [Elman(2)], 1, random_state=0)
        >>> network.parameters["layer0.W_x"].shape
        (2, 3)
        """
        return self._built().views

    @contextmanager
    def edit_parameters(self) -> Iterator[dict[str, FloatArray]]:
        """Writable views of all parameters for the time of a ``with`` block.

        Raises
        ------
        ValueError
            At the end of the block, if a parameter is no longer finite; all parameters are then as they were before.

        Examples
        --------
        >>> from rnn_from_scratch import Elman
        >>> network = Network(3, [Elman(2)], 1, random_state=0)
        >>> with network.edit_parameters() as p:
        ...     p["readout.b_y"][:] = 0.5
        >>> network.parameters["readout.b_y"]
        array([0.5])
        """
        parameters = self._built()
        before = parameters.vector.copy()
        try:
            with parameters.edit() as views:
                yield views
            for name, view in parameters.views.items():
                if not np.isfinite(view).all():
                    raise ValueError(f"{name} of Network must be finite. Got {shown(view)}.")
        except BaseException:
            with parameters.edit():
                parameters.vector[:] = before
            raise

    def with_readout(self, readout: str) -> Network:
        """Another network on the same parameters and generator, read out differently: training one trains both.

        Parameters
        ----------
        readout : {'every', 'last'}

        Examples
        --------
        >>> from rnn_from_scratch import Elman
        >>> every = Network(1, [Elman(2)], 1, random_state=0)
        >>> last = every.with_readout("last")
        >>> X = np.array([[[1.0], [2.0]]])
        >>> bool(every.predict(X)[0, -1] == last.predict(X)[0])
        True
        """
        self._built()
        other = copy(self)
        other.specification = replace(self.specification, readout=readout)
        other._plan = None
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_plan": None}  # packed weights are made anew where they are needed

    def fit(
        self,
        X: Any,
        y: Any,
        epochs: int,
        batch_size: int = 32,
        *,
        optimizer: str | Optimizer = "adam",
        learning_rate: float = 1e-3,
        clip: float | Clipping | None = None,
        shuffle: bool = True,
        lengths: Any = None,
        on_epoch: Callable[[int, History], None] | None = None,
    ) -> History:
        """Train, starting from the present parameters.

        Parameters
        ----------
        X : array_like (N, T, D), or list of N array_like (T_i, D)
            Sequences.
        y : array_like
            With ``readout="every"`` (N, T, O), (N, T) for one output, or a list of (T_i, O); with ``"last"`` (N, O), or
            (N,) for one output.
        epochs : int
            Passes over the data.
        batch_size : int, default=32
            Sequences per update; the last update of an epoch takes those that are left.
        optimizer : {'adam', 'sgd'} or Optimizer, default='adam'
            Starts anew at each call.
        learning_rate : float, default=0.001
        clip : None, float or Clipping, default=None
            A number is the largest allowed norm of the whole gradient; see `rnn_from_scratch.clipping`.
        shuffle : bool, default=True
            Whether sequences are visited in a new random order in every epoch.
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a three-dimensional X; what stands beyond them is never read.
        on_epoch : callable (epoch, history), optional
            Called after every epoch, counted from 1.

        Returns
        -------
        History
            Loss, gradient norms and times of every epoch.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing has changed then.
        NonFiniteError
            If a loss or gradient is not finite; the parameters are those of the last good epoch.
        """
        owner = "Network.fit"
        how = TrainingPlan(
            epochs=integer(epochs, "epochs", owner),
            batch_size=integer(batch_size, "batch_size", owner),
            learning_rate=positive(learning_rate, "learning_rate", owner),
            rule=UpdateRule(as_optimizer(optimizer, owner), as_clipping(clip, owner)),
            shuffle=boolean(shuffle, "shuffle", owner),
        )
        if on_epoch is not None and not callable(on_epoch):
            raise TypeError(f"on_epoch of {owner} must be None or callable. Got {shown(on_epoch)}.")
        inputs, targets = self._data(X, y, lengths)
        plan = self._planned(inputs.array.dtype)
        return train(self._engine, plan, TrainingData(inputs, targets), how, self._generator, on_epoch)

    def predict(self, X: Any, *, lengths: Any = None) -> FloatArray:
        """Outputs for whole sequences, each from a zero state.

        Parameters
        ----------
        X : array_like (N, T, D), or list of N array_like (T_i, D)
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a three-dimensional X.

        Returns
        -------
        ndarray (N, T, O) with ``readout="every"``, zero past the end of a sequence; (N, O) with ``"last"``

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        inputs = as_batch(X, self.specification.input_size, self._dtype_for(X), lengths)
        plan = self._planned(inputs.array.dtype)
        return self._engine.forward(plan, inputs, first_state(plan, len(inputs)), keep_tape=False).outputs

    def loss_and_gradient(self, X: Any, y: Any, *, lengths: Any = None) -> tuple[float, dict[str, FloatArray]]:
        """The loss over all given sequences, and its exact gradient by every parameter.

        Parameters
        ----------
        X, y, lengths
            As in `fit`.

        Returns
        -------
        loss : float
        gradient : dict of str to ndarray
            By the names and in the shapes of `parameters`.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.

        Examples
        --------
        >>> from rnn_from_scratch import Elman
        >>> network = Network(1, [Elman(2, activation="linear")], 1, random_state=0)
        >>> with network.edit_parameters() as p:
        ...     p["readout.W_y"][:] = 0
        >>> loss, gradient = network.loss_and_gradient([[[1.0], [2.0]]], [[[3.0], [4.0]]])
        >>> loss, gradient["readout.b_y"]
        (12.5, array([-7.]))
        """
        inputs, targets = self._data(X, y, lengths)
        plan = self._planned(inputs.array.dtype)
        loss, gradient = batch_loss(self._engine, plan, inputs, targets)
        return loss, self._built().named(gradient)

    def _data(self, X: Any, y: Any, lengths: Any) -> tuple[Batch, Targets]:
        specification, dtype = self.specification, self._dtype_for(X)
        inputs = as_batch(X, specification.input_size, dtype, lengths)
        targets = as_targets(y, inputs, specification.output_size, specification.readout, dtype)
        if specification.loss == "ce":
            _require_probabilities(targets)
        return inputs, targets

    def _dtype_for(self, X: Any) -> np.dtype[np.floating]:
        return model_dtype(X) if self._parameters is None else self._parameters.dtype

    def _build(self, dtype: np.dtype[np.floating]) -> Parameters:
        self._parameters = Parameters(self.specification, dtype)
        initialize(self._parameters, self._generator)
        return self._parameters

    def _built(self, dtype: np.dtype[np.floating] | None = None) -> Parameters:
        return self._parameters or self._build(dtype or np.dtype(np.float64))

    def _planned(self, dtype: np.dtype[np.floating]) -> Plan:
        parameters = self._built(dtype)
        if self._plan is None:
            self._plan = self._engine.plan(self.specification, parameters)
        return self._plan


def _dtype(dtype: Any) -> np.dtype[np.floating]:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    return np.dtype(choice(name, "dtype", "Network", ("float32", "float64")))


def _require_probabilities(targets: Targets) -> None:
    rows = targets.array[targets.rows()]
    outside = (rows < 0) | (rows > 1)
    if outside.any():
        raise ValueError(f"y must lie in [0, 1] when the loss is 'ce'. Got {float(rows[outside][0])}.")
