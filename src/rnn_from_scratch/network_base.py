"""What a network holds before anything is computed: a specification, its parameters and an engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.engines.base import Plan
from rnn_from_scratch.engines.select import select_engine
from rnn_from_scratch.file_format import as_path
from rnn_from_scratch.initializers import as_recipes, initialize
from rnn_from_scratch.layers import Layer
from rnn_from_scratch.live_tensors import LiveTensors
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import model_dtype
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.training.history import History
from rnn_from_scratch.validation import choice, generator, shown

if TYPE_CHECKING:
    from rnn_from_scratch import model_files
    from rnn_from_scratch import summary as table
else:
    model_files = deferred_module("rnn_from_scratch.model_files")
    table = deferred_module("rnn_from_scratch.summary")

__all__ = ["NetworkBase"]

NetworkType = TypeVar("NetworkType", bound="NetworkBase")

BUILDING = threading.RLock()
"""Held while a network gets its parameters or its plan, so that threads that use a new one at once all use the same."""


class NetworkBase:
    """The part of `Network` that holds things; see there for the parameters."""

    def __init__(
        self,
        input_size: int,
        layers: Sequence[Layer],
        output_size: int,
        *,
        readout: str = "every",
        output_activation: str = "linear",
        loss: str | Callable[..., Any] = "mse",
        dropout: float = 0.0,
        vocabulary_size: int | None = None,
        huber_delta: float = 1.0,
        initializer: Any = "xavier_uniform",
        dtype: Any = None,
        random_state: Any = None,
        engine: str = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.specification = NetworkSpecification(
            input_size,
            layers,
            output_size,
            readout,
            output_activation,
            loss,
            dropout,
            vocabulary_size,
            huber_delta,
        )
        self._recipes = as_recipes(initializer, self.specification.tensors())
        self._engine = select_engine(engine, "Network", n_threads)
        self._generator = generator(random_state, "Network")
        self._parameters: Parameters | None = None
        self._plan: Plan | None = None
        self._history: History | None = None
        if dtype is not None:
            self._build(_dtype(dtype))

    @classmethod
    def from_specification(
        cls: type[NetworkType],
        specification: NetworkSpecification,
        *,
        initializer: Any = "xavier_uniform",
        dtype: Any = None,
        random_state: Any = None,
        engine: str = "auto",
        n_threads: int | None = None,
    ) -> NetworkType:
        """A new network of a specification, such as one that was read with `NetworkSpecification.from_json`.

        Parameters
        ----------
        specification : NetworkSpecification
        initializer, dtype, random_state, engine, n_threads
            As in `Network`.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.

        Examples
        --------
        >>> from rnn_from_scratch import GRU, Network, NetworkSpecification
        >>> text = Network(3, [GRU(8)], 1).specification.to_json()
        >>> Network.from_specification(NetworkSpecification.from_json(text))
        Network(3, [GRU(8)], 1)
        """
        if not isinstance(specification, NetworkSpecification):
            message = "specification of Network.from_specification must be a NetworkSpecification."
            raise TypeError(f"{message} Got {shown(specification)}.")
        words = {field.name: getattr(specification, field.name) for field in fields(specification)}
        words |= {"initializer": initializer, "dtype": dtype, "random_state": random_state}
        return cls(**words, engine=engine, n_threads=n_threads)

    def __repr__(self) -> str:
        """As it is written: sizes and layers, and what differs from the defaults."""
        described = fields(self.specification)
        first = [
            repr(self.specification.input_size),
            repr(list(self.specification.layers)),
            repr(self.specification.output_size),
        ]
        named = {field.name: (getattr(self.specification, field.name), field.default) for field in described[3:]}
        said = [f"{name}={value!r}" for name, (value, default) in named.items() if value != default]
        return f"{type(self).__name__}({', '.join([*first, *said])})"

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """A table of the layers, the shapes of all tensors, and how many parameters there are; ``print(network)`` shows it.

        Examples
        --------
        >>> from rnn_from_scratch import Elman, Network
        >>> print(Network(3, [Elman(2)], 1, engine="numpy").summary())
        Network: 3 features to 1 output
        <BLANKLINE>
        part              tensor    shape      parameters
        layer0  Elman(2)  W_x       (2, 3)              6
                          W_h       (2, 2)              4
                          b_h       (2,)                2   layer0: 12
        readout linear    W_y       (1, 2)              2
                          b_y       (1,)                1   readout: 3
                                       total           15
        <BLANKLINE>
        readout 'every', output 'linear', loss 'mse', dtype that of the first data, engine 'numpy'
        """
        return table.summary(self.specification, self.dtype, self.engine)

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

        >>> from rnn_from_scratch import Elman, Network
        >>> network = Network(3, [Elman(2)], 1, random_state=0)
        >>> network.parameters["layer0.W_x"].shape
        (2, 3)
        """
        return self._built().views

    @contextmanager
    def edit_parameters(self) -> Iterator[LiveTensors]:
        """Views of all parameters, writable for the time of a ``with`` block; assigning to a name writes into its tensor.

        Raises
        ------
        ValueError
            If what is assigned has another shape or is not finite, or, at the end of the block, if a parameter is no longer
            finite; all parameters are then as they were before, as after any other error in the block.

        Examples
        --------
        >>> from rnn_from_scratch import Elman, Network
        >>> network = Network(3, [Elman(2)], 1, random_state=0)
        >>> with network.edit_parameters() as p:
        ...     p["readout.b_y"] = [0.5]
        ...     p["layer0.W_h"] *= 2
        >>> network.parameters["readout.b_y"]
        array([0.5])
        """
        parameters = self._built()
        before = parameters.vector.copy()
        try:
            with parameters.edit() as views:
                yield LiveTensors("parameters", views)
            for name, view in parameters.views.items():
                if not np.isfinite(view).all():
                    raise ValueError(f"{name} of Network must be finite. Got {shown(view)}.")
        except BaseException:
            with parameters.edit():
                parameters.vector[:] = before
            raise

    def with_readout(self: NetworkType, readout: str) -> NetworkType:
        """Another network on the same parameters and generator, read out differently: training one trains both.

        Parameters
        ----------
        readout : {'every', 'last', 'mean'}

        Examples
        --------
        >>> from rnn_from_scratch import Elman, Network
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, which `load` reads: what it is and its parameters, not where its generator stands.

        The file is replaced as a whole or not at all. A network without a dtype becomes float64 by being saved.

        Parameters
        ----------
        path : str or os.PathLike
            The file, under exactly this name; ``.npz`` is a good ending, as NumPy can open it.

        Raises
        ------
        ValueError
            If the loss is a callable, which no file can hold; nothing has been touched then.
        OSError
            If the system cannot write the file; the old one, if any, is still there.

        Examples
        --------
        >>> from rnn_from_scratch import LSTM, Network
        >>> network = Network(3, [LSTM(8)], 2, random_state=0)
        >>> network.save("network.npz")
        >>> X = np.ones((1, 4, 3))
        >>> bool((Network.load("network.npz").predict(X) == network.predict(X)).all())
        True
        """
        name = as_path(path, "Network.save")
        self.specification.to_dict()  # refuses a callable before the parameters are made
        model_files.write_model(name, "Network", self.specification, self.parameters, {})

    @classmethod
    def load(
        cls: type[NetworkType],
        path: str | os.PathLike[str],
        *,
        random_state: Any = None,
        engine: str = "auto",
        n_threads: int | None = None,
    ) -> NetworkType:
        """Read a network that `save` wrote, by this or any earlier version of the library.

        Parameters
        ----------
        path : str or os.PathLike
        random_state : None, int, SeedSequence, BitGenerator or Generator, default=None
            Seeds whatever training it further draws: a file does not continue the random numbers of the saved network.
        engine : {'auto', 'numpy', 'native'}, default='auto'
        n_threads : None or int, default=None
            As in `Network`: a file does not say how many threads the saved network used.

        Raises
        ------
        FileFormatError
            If the file is damaged, holds something else, or was written by a newer version.
        OSError
            If the system cannot read it.

        Examples
        --------
        See `save`.
        """
        model = model_files.read_model(as_path(path, "Network.load"), "Network")
        return cls.of_model(model, random_state, engine, n_threads)

    @classmethod
    def of_model(
        cls: type[NetworkType], model: model_files.Model, random_state: Any, engine: str, n_threads: int | None = None
    ) -> NetworkType:
        """The network of a model file; see `load`."""
        words = {"random_state": random_state, "engine": engine, "n_threads": n_threads}
        network = cls.from_specification(model.specification, **words)
        network._parameters = model.parameters
        return network

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_plan": None}  # packed weights are made anew where they are needed

    def _dtype_for(self, X: Any) -> np.dtype[np.floating]:
        return model_dtype(X) if self._parameters is None else self._parameters.dtype

    def _build(self, dtype: np.dtype[np.floating]) -> Parameters:
        parameters = Parameters(self.specification, dtype)
        initialize(parameters, self._generator, self._recipes)
        self._parameters = parameters
        return parameters

    def _built(self, dtype: np.dtype[np.floating] | None = None) -> Parameters:
        if self._parameters is None:
            with BUILDING:
                return self._parameters or self._build(dtype or np.dtype(np.float64))
        return self._parameters

    def _planned(self, dtype: np.dtype[np.floating]) -> Plan:
        parameters = self._built(dtype)
        if self._plan is None:
            with BUILDING:
                self._plan = self._plan or self._engine.plan(self.specification, parameters)
        return self._plan


def _dtype(dtype: Any) -> np.dtype[np.floating]:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    return np.dtype(choice(name, "dtype", "Network", ("float32", "float64")))
