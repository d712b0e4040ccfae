"""Parameters that may be written to: a mapping whose arrays are the parameters themselves.

`Network.edit_parameters` hands it out for a while; the documented `weights` and `bias` of `RNNScratch` are two that stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.validation import finite_float64, numeric_array, shown

__all__ = ["LiveTensors"]


class LiveTensors(MutableMapping[str, FloatArray]):
    """Writable views by short names; assignment writes into them and never puts another array in their place.

    Parameters
    ----------
    owner : str
        What messages call the mapping.
    views : dict of str to ndarray

    Examples
    --------
    >>> import numpy as np
    >>> tensors = LiveTensors("bias", {"by": np.zeros((1, 1))})
    >>> tensors["by"] = [[0.25]]
    >>> tensors
    {'by': array([[0.25]])}
    """

    def __init__(self, owner: str, views: dict[str, FloatArray]) -> None:
        self._owner, self._views = owner, views

    def __getitem__(self, name: str) -> FloatArray:
        return self._views[name]

    def __setitem__(self, name: str, values: object) -> None:
        self._views[name][...] = self._checked(name, values)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{self._owner} must keep {name!r}: write other values into it instead.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return repr(self._views)

    def replace(self, values: Mapping[str, Any]) -> None:
        """Write all tensors of another mapping of the same names, or none if one of them does not fit."""
        if not isinstance(values, Mapping) or set(values) != set(self._views):
            raise ValueError(f"{self._owner} must be a mapping of {self._names()}. Got {shown(values)}.")
        checked = {name: self._checked(name, array) for name, array in values.items()}
        for name, array in checked.items():
            self._views[name][...] = array

    def _checked(self, name: str, values: object) -> FloatArray:
        if name not in self._views:
            raise KeyError(f"{self._owner} has {self._names()}. Got {name!r}.")
        array = numeric_array(values, f"{self._owner}[{name!r}]")
        if array.shape != self._views[name].shape:
            raise ValueError(f"{self._owner}[{name!r}] must be {self._views[name].shape}. Got {array.shape}.")
        return finite_float64(array, f"{self._owner}[{name!r}]")

    def _names(self) -> str:
        return ", ".join(map(repr, self._views))
