"""All parameters of a network in one contiguous vector, with named views into it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.layers import TensorShape
from rnn_from_scratch.specification import NetworkSpecification

__all__ = ["Parameters"]

CACHE_LINE = 64


class Parameters:
    """The numbers of a network: one vector, never rebound, and read-only views of it by name.

    Optimisers, clipping, files and the native engine work on `vector`; people read `views` and write inside
    ``with parameters.edit() as p``, which raises `version` and so tells engines that copies in their own layout are stale.

    Parameters
    ----------
    specification : NetworkSpecification
        Gives names, shapes and their order.
    dtype : numpy.dtype
        float32 or float64.

    Attributes
    ----------
    vector : ndarray (P,)
        Every parameter of the network; writable, for the floors above.
    views : mapping of str to ndarray
        Read-only views such as ``views["layer0.W_h"]``.
    slices : mapping of str to slice
        Where each tensor lies in `vector`.
    version : int
        Counts the changes that engines' packed copies have to notice.

    Examples
    --------
    >>> from rnn_from_scratch.layers import Elman
    >>> from rnn_from_scratch.specification import NetworkSpecification
    >>> parameters = Parameters(NetworkSpecification(3, [Elman(2)], 1), np.dtype(np.float64))
    >>> {name: view.shape for name, view in parameters.views.items()}
    {'layer0.W_x': (2, 3), 'layer0.W_h': (2, 2), 'layer0.b_h': (2,), 'readout.W_y': (1, 2), 'readout.b_y': (1,)}
    >>> with parameters.edit() as p:
    ...     p["readout.b_y"][:] = 7
    >>> float(parameters.vector[-1]), parameters.version
    (7.0, 1)
    """

    def __init__(self, specification: NetworkSpecification, dtype: np.dtype[np.floating]) -> None:
        self.tensors = self._laid_out(specification.tensors())
        self.slices: Mapping[str, slice] = MappingProxyType(self._places())
        self.vector: FloatArray = _aligned_zeros(self._size(), dtype)
        self.views: Mapping[str, FloatArray] = MappingProxyType(self._read_only_views())
        self.version = 0

    def _laid_out(self, tensors: tuple[TensorShape, ...]) -> tuple[TensorShape, ...]:
        """The tensors in the order in which they lie in the vector: that of the specification."""
        return tensors

    def _size(self) -> int:
        """Numbers in the vector."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    def _places(self) -> dict[str, slice]:
        """Where each tensor lies."""
        slices: dict[str, slice] = {}
        end = 0
        for tensor in self.tensors:
            start, end = end, end + math.prod(tensor.shape)
            slices[tensor.name] = slice(start, end)
        return slices

    def __getstate__(self) -> dict[str, object]:
        return {"tensors": self.tensors, "vector": self.vector, "version": self.version}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.tensors, self.version, values = state["tensors"], state["version"], state["vector"]
        self.vector = _aligned_zeros(len(values), values.dtype)  # joblib hands out memory maps that nobody may write to
        self.vector[:] = values
        self.slices = MappingProxyType(self._places())
        self.views = MappingProxyType(self._read_only_views())

    def _read_only_views(self) -> dict[str, FloatArray]:
        views = self.named(self.vector)
        for view in views.values():
            view.flags.writeable = False
        return views

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The dtype of every parameter."""
        return self.vector.dtype

    @property
    def matrices(self) -> tuple[slice, ...]:
        """Where the weight matrices lie: no biases, no initial states."""
        return tuple(self.slices[tensor.name] for tensor in self.tensors if tensor.is_matrix)

    def named(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Views by name into any vector laid out like the parameters: a gradient, say."""
        return {tensor.name: vector[self.slices[tensor.name]].reshape(tensor.shape) for tensor in self.tensors}

    @contextmanager
    def edit(self) -> Iterator[dict[str, FloatArray]]:
        """Views that are writable for the time of a ``with`` block; afterwards the engines know of the change."""
        views = self.named(self.vector)
        try:
            yield views
        finally:
            for view in views.values():
                view.flags.writeable = False  # what was written later, no engine would hear of
            self.version += 1


def _aligned_zeros(size: int, dtype: np.dtype[np.floating]) -> FloatArray:
    """Zeros that begin at a cache line: kernels read rows of weights from here, and a line crossed costs twice."""
    room = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    skip = -room.ctypes.data % CACHE_LINE
    return room[skip : skip + size * dtype.itemsize].view(dtype)
