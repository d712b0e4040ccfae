"""Hidden states as users pass them: one array for each name of the specification."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.validation import numeric_array, require_finite, shown

__all__ = ["as_state"]


def as_state(
    state: object,
    specification: NetworkSpecification,
    N: int,
    dtype: np.dtype[np.floating],
    *,
    name: str = "state",
    complete: bool = True,
) -> dict[str, FloatArray]:
    """A state, or a gradient by one, for N sequences: checked, copied and cast.

    Parameters
    ----------
    state : mapping of str to array_like (N, H)
    complete : bool, default=True
        Whether every name must be there; otherwise those that are missing become zeros.

    Raises
    ------
    TypeError, ValueError
        Naming `name`, what is allowed and what came.

    Examples
    --------
    >>> from rnn_from_scratch.layers import LSTM
    >>> specification = NetworkSpecification(3, [LSTM(2)], 1)
    >>> as_state({"layer0.h": [[1, 2]]}, specification, 1, np.dtype(np.float64), complete=False)
    {'layer0.h': array([[1., 2.]]), 'layer0.c': array([[0., 0.]])}
    >>> as_state({"layer0.h": [[1, 2]]}, specification, 1, np.dtype(np.float64))
    Traceback (most recent call last):
    ValueError: state must have the names ['layer0.h', 'layer0.c']. Got ['layer0.h'].
    """
    shapes = specification.state_shapes
    if not isinstance(state, Mapping):
        raise TypeError(f"{name} must be a mapping from names such as 'layer0.h' to arrays (N, H). Got {shown(state)}.")
    unknown = [key for key in state if key not in shapes]
    if unknown or (complete and len(state) < len(shapes)):
        demand = "have the names" if complete else "have no names but"
        raise ValueError(f"{name} must {demand} {list(shapes)}. Got {list(state)}.")
    checked: dict[str, FloatArray] = {}
    for key, H in shapes.items():
        values = numeric_array(state[key], f"{name}[{key!r}]") if key in state else np.zeros((N, H))
        if values.shape != (N, H):
            raise ValueError(f"{name}[{key!r}] must be (N={N}, H={H}). Got {values.shape}.")
        with np.errstate(over="ignore"):  # what does not fit becomes inf, which is refused by name
            checked[key] = values.astype(dtype)
        require_finite(checked[key], f"{name}[{key!r}]")
    return checked
