"""The forms in which sequences come and go: (N, T, D), univariate (N, T), and lists of (T_i, D)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.sequences import as_lengths
from rnn_from_scratch.validation import numeric_array, shown

__all__ = ["Sequences", "as_objects", "as_sequences", "cut", "is_ragged", "rows_of", "take"]


def is_ragged(values: object, dimensions: int = 2) -> bool:
    """Whether these are sequences one by one: a list, tuple or object array of things with so many dimensions or more.

    >>> is_ragged([np.zeros((3, 2)), np.zeros((5, 2))]), is_ragged([[0.1, 0.2], [0.3, 0.4]])
    (True, False)
    """
    if isinstance(values, np.ndarray):
        if values.dtype != object or values.ndim != 1:
            return False
    elif not isinstance(values, (list, tuple)):
        return False
    if len(values) == 0:
        return False
    first = values[0]
    if isinstance(first, (str, bytes)):
        return False
    try:
        return np.ndim(first) >= dimensions
    except ValueError:  # nested lists of unequal lengths: whoever reads them says what is wrong
        return True


def as_objects(items: Iterable[Any]) -> npt.NDArray[np.object_]:
    """An object array (N,) of whatever the items are: indexed and concatenated as arrays are.

    >>> as_objects([np.zeros(2), np.zeros(2)]).shape
    (2,)
    """
    found = list(items)
    array = np.empty(len(found), dtype=object)
    for n, item in enumerate(found):  # at once, NumPy would look inside items of equal shapes
        array[n] = item
    return array


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences as a network takes them, and the form in which they came.

    Attributes
    ----------
    X : ndarray (N, T, D), or list of N arrays (T_i, D)
    univariate : bool
        Whether they came as (N, T).
    given_lengths : ndarray (N,) of int64 or None
        Where an array came with lengths.
    """

    X: Any
    univariate: bool
    given_lengths: IndexArray | None

    @property
    def ragged(self) -> bool:
        """Whether sequences may differ in length, so that what is said of every step comes one by one as well."""
        return self.given_lengths is not None or isinstance(self.X, list)

    @property
    def lengths(self) -> IndexArray:
        """(N,): the real steps of each sequence."""
        if self.given_lengths is not None:
            return self.given_lengths
        if isinstance(self.X, list):
            return np.array([len(x) for x in self.X], np.int64)
        return np.full(len(self.X), self.X.shape[1], np.int64)

    @property
    def steps(self) -> int:
        """T of the arrays (N, T, …) that belong to them."""
        return int(self.lengths.max()) if isinstance(self.X, list) else int(self.X.shape[1])


def as_sequences(X: object, lengths: object = None) -> Sequences:
    """Sequences in any of the three forms, not yet looked into: the network does that.

    >>> as_sequences([[1.0, 2.0], [3.0, 4.0]]).X.shape, as_sequences([[[1.0]], [[2.0], [3.0]]]).lengths
    ((2, 2, 1), array([1, 2]))
    """
    if is_ragged(X):
        if lengths is not None:
            raise ValueError(f"lengths must be None when X is a list of sequences. Got {shown(lengths)}.")
        return Sequences(list(X), False, None)  # type: ignore[call-overload]  # it is iterable
    values = X if type(X) is np.ndarray and X.dtype.kind == "f" else numeric_array(X, "X")
    univariate = values.ndim == 2
    if lengths is not None and values.ndim in (2, 3):
        lengths = as_lengths(lengths, *values.shape[:2])
    return Sequences(values[:, :, None] if univariate else values, univariate, lengths)  # type: ignore[arg-type]  # checked


def cut(values: npt.NDArray[Any], lengths: Sequence[int] | IndexArray) -> npt.NDArray[np.object_]:
    """(N, T, …) as N arrays (T_i, …) without what is past the ends."""
    return as_objects(row[:length] for row, length in zip(values, lengths, strict=True))


def take(values: Any, index: IndexArray) -> Any:
    """Some of the sequences, targets or weights, in whatever form they are; None stays None.

    >>> take(["a", "b", "c"], np.array([2, 0])), take(np.arange(3.0), np.array([2, 0]))
    (['c', 'a'], array([2., 0.]))
    """
    if values is None or isinstance(values, np.ndarray):
        return None if values is None else values[index]
    return [values[n] for n in index]


def rows_of(values: Any, lengths: IndexArray, name: str, steps: int) -> npt.NDArray[Any]:
    """(M, …): what is said of every real step, sequence after sequence.

    Parameters
    ----------
    values : array_like (N, T, …), or list of N array_like (T_i, …)
        What stands past the ends is left out.
    lengths : ndarray (N,) of int
    name : str
        For the messages.
    steps : int
        T.

    Examples
    --------
    >>> rows_of([[1, 2, 0], [3, 0, 0]], np.array([2, 1]), "y", 3), rows_of([["a"], ["b", "c"]], np.array([1, 2]), "y", 2)
    (array([1, 2, 3]), array(['a', 'b', 'c'], dtype='<U1'))
    """
    N, T = len(lengths), steps
    items = [np.asarray(item) for item in values] if is_ragged(values, 1) else None
    if items is None or (
        [len(item) for item in items] != lengths.tolist() and len({item.shape for item in items}) == 1
    ):
        array = np.asarray(values if items is None else items)
        if array.ndim < 2 or array.shape[:2] != (N, T):
            raise ValueError(
                f"{name} must have something for each of the N={N} sequences and T={T} steps. Got {array.shape}."
            )
        real: npt.NDArray[Any] = array[np.arange(array.shape[1]) < lengths[:, None]]
        return real
    came = [item.shape[:1] for item in items]
    if came != [(length,) for length in lengths.tolist()]:
        wrong = next((n for n, length in enumerate(lengths.tolist()) if n >= len(came) or came[n] != (length,)), N)
        shape = items[wrong].shape if wrong < len(items) else "nothing"
        allowed = f"{lengths[wrong]} steps, as X[{wrong}]" if wrong < N else f"no item, since X has N={N}"
        raise ValueError(f"{name}[{wrong}] must have {allowed}. Got {shape}.")
    if len({item.dtype.kind for item in items}) > 1 and not all(item.dtype.kind in "buif" for item in items):
        items = [item.astype(object) for item in items]  # numbers would become words beside words
    return np.concatenate(items)
