"""`Stream`: a network at work on data that come a step at a time."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray, State
from rnn_from_scratch.engines.base import Engine, Plan, first_state
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.states import as_state
from rnn_from_scratch.validation import all_finite, integer, numeric_array, require_finite, shown

__all__ = ["Stream", "make_stream"]

OWNER = "Stream.step"


class Stream:
    """A network and the state of one stream, or of N streams that advance together; made by `Network.stream`.

    Step after step gives what `Network.predict` gives for the whole sequence. The stream follows its network: after
    `fit` or `edit_parameters` the next step runs on the new parameters. One thread at a time may use a stream; several
    streams of one network may run in several threads.

    Examples
    --------
    >>> from rnn_from_scratch import GRU, Network
    >>> network = Network(2, [GRU(4)], 1, random_state=0)
    >>> X = np.random.default_rng(0).normal(size=(6, 2))
    >>> stream = network.stream()
    >>> steps = [stream.step(x) for x in X]
    >>> np.allclose(steps, network.predict(X[None])[0])
    True
    """

    def __init__(self, engine: Engine[Any], plan: Plan, streams: int | None, state: State | None) -> None:
        specification: NetworkSpecification = plan.specification
        N = 1 if streams is None else streams
        self._plan, self._N, self._alone = plan, N, streams is None
        self._dtype = plan.parameters.dtype
        self._stepper = engine.stepper(plan, streams)
        self._at_once = self._stepper.at_once
        given = (
            None if state is None else as_state(state, specification, N, self._dtype, name="state of Network.stream")
        )
        self._given = given
        self._x_shape: tuple[int, ...] = () if specification.vocabulary_size else (specification.input_size,)
        self._out_shape: tuple[int, ...] = (specification.output_size,)
        if not self._alone:
            self._x_shape, self._out_shape = (N, *self._x_shape), (N, *self._out_shape)
        self.reset()

    def step(self, x: Any, out: FloatArray | None = None) -> FloatArray:
        """One time step.

        Parameters
        ----------
        x : array_like (D,), with N streams (N, D)
            Features; with a vocabulary an int, or (N,) of int.
        out : ndarray (O,), with N streams (N, O), optional
            Where to put the outputs, of the network's dtype. An array of the same dtype in, an array out, both
            C-contiguous: then the native engine allocates nothing.

        Returns
        -------
        ndarray (O,), with N streams (N, O)
            The outputs of this step; `out` if that was given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; the state is as it was.

        Examples
        --------
        See `Stream`.
        """
        y = self._at_once(x, out)
        return self._step_with_care(x, out) if y is None else y

    def reset(self) -> None:
        """Back to the state before the first step: the one that the stream was made with, else the learned one, else zeros.

        >>> from rnn_from_scratch import LSTM, Network
        >>> stream = Network(1, [LSTM(3)], 1, random_state=0).stream()
        >>> first, second = stream.step([1.0]), stream.step([1.0])
        >>> stream.reset()
        >>> bool(stream.step([1.0]) == first), bool(first == second)
        (True, False)
        """
        self._stepper.state = first_state(self._plan, self._N) if self._given is None else self._given

    @property
    def state(self) -> dict[str, FloatArray]:
        """The present state by name, a copy, each (N, H), as `Network.predict` takes and returns it; may be set.

        >>> from rnn_from_scratch import Elman, Network
        >>> network = Network(1, [Elman(3)], 1, random_state=0)
        >>> stream = network.stream()
        >>> outputs, stream.state = network.predict([[[0.5], [0.2]]], return_states=True)
        >>> bool(np.allclose(stream.step([0.1]), network.predict([[[0.5], [0.2], [0.1]]])[0, -1]))
        True
        """
        return self._stepper.state

    @state.setter
    def state(self, state: State) -> None:
        self._stepper.state = as_state(state, self._plan.specification, self._N, self._dtype, name="state of Stream")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream cannot be copied or pickled: make another with Network.stream(state=stream.state).")

    def _step_with_care(self, x: Any, out: FloatArray | None) -> FloatArray:
        """The step for whatever the engine did not take at once: arguments are looked at and converted, or refused."""
        if out is not None:
            self._require_output(out)
        rows = self._features(x) if self._plan.specification.vocabulary_size is None else self._tokens(x)
        y = self._stepper.step(rows.reshape(self._N, -1)).reshape(self._out_shape)
        if out is None:
            return y
        out[...] = y
        return out

    def _require_output(self, out: Any) -> None:
        wanted = f"out of {OWNER} must be a writable ndarray {self._out_shape} of {self._dtype}."
        if not isinstance(out, np.ndarray):
            raise TypeError(f"{wanted} Got {shown(out)}.")
        if out.shape != self._out_shape or out.dtype != self._dtype or not out.flags.writeable:
            kind = "" if out.flags.writeable else "a read-only one "
            raise ValueError(f"{wanted} Got {kind}{out.shape} of {out.dtype}.")

    def _features(self, x: Any) -> FloatArray:
        values = numeric_array(x, f"x of {OWNER}")
        if values.shape != self._x_shape:
            names = f"(D={self._x_shape[-1]},)" if self._alone else f"(N={self._N}, D={self._x_shape[-1]})"
            raise ValueError(f"x of {OWNER} must be {names}. Got {values.shape}.")
        with np.errstate(over="ignore"):  # what does not fit becomes inf, which is refused by name
            rows: FloatArray = np.require(values, self._dtype, ["C", "A"])
        if not all_finite(rows):
            require_finite(rows, f"x of {OWNER}")
        return rows

    def _tokens(self, x: Any) -> IndexArray:
        values = numeric_array(x, f"x of {OWNER}")
        wanted = "an int" if self._alone else f"(N={self._N},) of int"
        if values.dtype.kind not in "iu":
            raise TypeError(f"x of {OWNER} must be {wanted}, since tokens are ints. Got {shown(x)}.")
        if values.shape != self._x_shape:
            raise ValueError(f"x of {OWNER} must be {wanted}. Got {values.shape}.")
        V = self._plan.specification.vocabulary_size
        if values.min() < 0 or values.max() >= V:
            raise ValueError(f"x of {OWNER} must hold tokens in [0, V={V}). Got {shown(x)}.")
        return values.astype(np.int64)


def make_stream(engine: Engine[Any], plan: Plan, streams: object, state: object) -> Stream:
    """What `Network.stream` returns; refuses networks whose outputs need the future or the whole past."""
    if plan.specification.bidirectional:
        raise ValueError(
            "a network that streams must have no bidirectional layer, which would have to read the future."
        )
    if plan.specification.readout == "mean":
        raise ValueError(
            "a network that streams must have the readout 'every' or 'last'. Got 'mean', whose output needs all steps; "
            "with_readout('every') has the same parameters."
        )
    count = None if streams is None else integer(streams, "streams", "Network.stream")
    return Stream(engine, plan, count, state)  # type: ignore[arg-type]  # as_state looks at it
