"""Classes: labels of any hashable kind, their numbers, and how a file says them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.prediction.forms import as_objects
from rnn_from_scratch.validation import shown

__all__ = ["classes_from_words", "classes_to_words", "find_classes", "numbers_of"]

Labels = npt.NDArray[Any]

MAX_CLASSES = 1 << 16
SCALARS = (str, bool, int, float)


def find_classes(rows: Labels, name: str = "y") -> Labels:
    """The different labels, sorted; where they cannot be compared, by the names of their types and how they are shown.

    >>> find_classes(np.array(["b", "a", "b"])), find_classes(as_objects([("x", 1), None, "a"]))
    (array(['a', 'b'], dtype='<U1'), array([None, 'a', ('x', 1)], dtype=object))
    """
    if rows.dtype != object:
        return np.unique(rows)
    try:
        found = list(dict.fromkeys(rows.tolist()))
    except TypeError:
        raise TypeError(f"{name} must hold hashable labels. Got {shown(_unhashable(rows))}.") from None
    missing = [label for label in found if label != label]
    if missing:
        raise ValueError(f"{name} must not hold labels that are NaN. Got {shown(missing[0])}.")
    try:
        found = sorted(found)
    except TypeError:
        found = sorted(found, key=lambda label: (type(label).__name__, repr(label)))
    return as_objects(found)


def _unhashable(rows: Labels) -> object:
    for label in rows.tolist():
        try:
            hash(label)
        except TypeError:
            return label
    return None


def numbers_of(rows: Labels, classes: Labels, owner: str) -> IndexArray:
    """The number of each label's class.

    Raises
    ------
    ValueError
        If a label is of none of the classes.

    Examples
    --------
    >>> numbers_of(np.array(["b", "a"]), np.array(["a", "b"]), "RNNClassifier.fit")
    array([1, 0])
    """
    if classes.dtype == object or rows.dtype == object:
        place = {label: number for number, label in enumerate(classes.tolist())}
        found = np.array([place.get(label, -1) for label in rows.tolist()], np.int64)
    else:
        found = np.searchsorted(classes, rows).astype(np.int64)
        found[classes[np.minimum(found, len(classes) - 1)] != rows] = -1
    unknown = np.flatnonzero(found < 0)
    if unknown.size:
        known, came = shown(classes.tolist()), shown(rows[unknown[0]])
        raise ValueError(f"y of {owner} must hold classes that it knows, {known}. Got {came}.")
    return found


def classes_to_words(classes: Labels, owner: str) -> dict[str, Any]:
    """How a file says classes: str, bool, int and float labels, each with its kind.

    >>> classes_to_words(np.array([1, 3], np.int32), "RNNClassifier")
    {'dtype': '<i4', 'labels': [1, 3]}
    """
    labels = classes.tolist()
    for label in labels:
        if type(label) not in SCALARS:
            allowed = "labels that are str, bool, int or float to be saved"
            raise TypeError(f"classes_ of {owner} must hold {allowed}. Got {shown(label)}.")
    if len(labels) > MAX_CLASSES:
        raise ValueError(f"classes_ of {owner} must be at most {MAX_CLASSES} to be saved. Got {len(labels)}.")
    words = {"O": "object", "U": "str"}  # how wide an array of words is says nothing
    return {"dtype": words.get(classes.dtype.kind, classes.dtype.newbyteorder("<").str), "labels": labels}


def classes_from_words(words: Any) -> Labels:
    """The classes that a file says, checked.

    >>> classes_from_words({"dtype": "object", "labels": ["a", 1, 2.5]})
    array(['a', 1, 2.5], dtype=object)
    """
    if not isinstance(words, dict) or words.keys() != {"dtype", "labels"}:
        raise FileFormatError(f"its classes must have 'dtype' and 'labels'. Got {shown(words)}.")
    dtype, labels = words["dtype"], words["labels"]
    if not isinstance(labels, list) or not 1 <= len(labels) <= MAX_CLASSES:
        raise FileFormatError(f"its labels must be a list of 1 to {MAX_CLASSES}. Got {shown(labels)}.")
    if not all(type(label) in SCALARS for label in labels):
        raise FileFormatError(f"its labels must be str, bool, int or float. Got {shown(labels)}.")
    if any(label != label for label in labels):
        raise FileFormatError("its labels must not be NaN.")
    if dtype == "object":
        classes: Labels = as_objects(labels)
    else:
        classes = _plain(dtype, labels)
        if not (classes[1:] > classes[:-1]).all():
            raise FileFormatError(f"its labels must be sorted, each once. Got {shown(labels)}.")
    if len(set(classes.tolist())) != len(labels):
        raise FileFormatError(f"its labels must be different from each other. Got {shown(labels)}.")
    return classes


KINDS: dict[str, type] = {
    "str": str,
    "|b1": bool,
    **dict.fromkeys(("|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"), int),
    **dict.fromkeys(("<f2", "<f4", "<f8"), float),
}


def _plain(dtype: Any, labels: list[Any]) -> Labels:
    kind = KINDS.get(dtype) if isinstance(dtype, str) else None
    if kind is None or not all(type(label) is kind for label in labels):
        raise FileFormatError(f"its labels must be of the dtype {shown(dtype)}. Got {shown(labels)}.")
    if kind is str:
        return np.array(labels)
    with np.errstate(over="ignore"):  # a number that does not fit is found by its not coming back
        array: Labels = np.array(labels, object).astype(dtype) if _may_fit(labels, dtype) else np.zeros(0)
    if array.tolist() != labels:
        raise FileFormatError(f"its labels must fit the dtype {dtype!r}. Got {shown(labels)}.")
    return array


def _may_fit(labels: list[Any], dtype: str) -> bool:
    """Whether ints are in the range of a dtype of ints, outside of which NumPy's versions differ."""
    if np.dtype(dtype).kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return all(limits.min <= label <= limits.max for label in labels)
