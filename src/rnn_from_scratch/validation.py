"""Checks of what users pass. Every message names the parameter, its owner, what is allowed and what came."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "all_finite",
    "boolean",
    "choice",
    "fraction",
    "generator",
    "integer",
    "non_negative",
    "number",
    "numeric_array",
    "positive",
    "require_finite",
    "shown",
]


FEW = 4096
"""Numbers that are looked at byte by byte."""


def shown(value: object) -> str:
    """How a refused value appears in a message: short, on one line.

    >>> shown("tanh"), shown(list(range(100)))
    ("'tanh'", '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ...')
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:56] + "..."


def integer(value: object, name: str, owner: str, minimum: int = 1) -> int:
    """An int of at least `minimum`; NumPy integers count, bools and floats do not.

    >>> integer(0, "hidden_size", "Elman")
    Traceback (most recent call last):
    ValueError: hidden_size of Elman must be an int >= 1. Got 0.
    """
    message = f"{name} of {owner} must be an int >= {minimum}. Got {shown(value)}."
    if isinstance(value, (bool, np.bool_, np.ndarray)):
        raise TypeError(message)
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # the very question asked here
    except TypeError:
        raise TypeError(message) from None
    if number < minimum:
        raise ValueError(message)
    return number


def number(value: object, name: str, owner: str, allowed: str) -> float:
    """A finite real number, as a Python float; `allowed` describes the range in the message."""
    message = f"{name} of {owner} must be {allowed}. Got {shown(value)}."
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(message)
    try:
        result = float(value)
    except OverflowError:
        raise ValueError(message) from None
    if not np.isfinite(result):
        raise ValueError(message)
    return result


def positive(value: object, name: str, owner: str) -> float:
    """A finite number above zero.

    >>> positive(-1, "learning_rate", "Network.fit")
    Traceback (most recent call last):
    ValueError: learning_rate of Network.fit must be a finite number > 0. Got -1.
    """
    result = number(value, name, owner, "a finite number > 0")
    if result <= 0:
        raise ValueError(f"{name} of {owner} must be a finite number > 0. Got {shown(value)}.")
    return result


def non_negative(value: object, name: str, owner: str) -> float:
    """A finite number, zero or above.

    >>> non_negative(-1, "l2", "Network.fit")
    Traceback (most recent call last):
    ValueError: l2 of Network.fit must be a finite number >= 0. Got -1.
    """
    result = number(value, name, owner, "a finite number >= 0")
    if result < 0:
        raise ValueError(f"{name} of {owner} must be a finite number >= 0. Got {shown(value)}.")
    return result


def fraction(value: object, name: str, owner: str) -> float:
    """A number from 0 up to, but not, 1.

    >>> fraction(1, "dropout", "Network")
    Traceback (most recent call last):
    ValueError: dropout of Network must be a number in [0, 1). Got 1.
    """
    result = number(value, name, owner, "a number in [0, 1)")
    if not 0 <= result < 1:
        raise ValueError(f"{name} of {owner} must be a number in [0, 1). Got {shown(value)}.")
    return result


def boolean(value: object, name: str, owner: str) -> bool:
    """True or False, NumPy's bools included."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} of {owner} must be True or False. Got {shown(value)}.")
    return bool(value)


def choice(value: object, name: str, owner: str, allowed: Collection[str]) -> str:
    """One of a few words.

    >>> choice("gelu", "activation", "Elman", ["tanh", "relu"])
    Traceback (most recent call last):
    ValueError: activation of Elman must be one of 'tanh', 'relu'. Got 'gelu'.
    """
    if not isinstance(value, str) or value not in allowed:
        words = ", ".join(repr(word) for word in allowed)
        kind: type[Exception] = ValueError if isinstance(value, str) else TypeError
        raise kind(f"{name} of {owner} must be one of {words}. Got {shown(value)}.")
    return value


def generator(random_state: object, owner: str, name: str = "random_state") -> np.random.Generator:
    """The random generator that `random_state` stands for: None, an int >= 0, a SeedSequence or a Generator itself."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    seeds = (np.random.SeedSequence, np.random.BitGenerator)
    if random_state is None or isinstance(random_state, seeds):
        return np.random.default_rng(random_state)
    try:
        return np.random.default_rng(integer(random_state, name, owner, minimum=0))
    except (TypeError, ValueError) as error:
        allowed = "None, an int >= 0, a SeedSequence, a BitGenerator or a Generator"
        raise type(error)(f"{name} of {owner} must be {allowed}. Got {shown(random_state)}.") from None


def numeric_array(values: object, name: str) -> npt.NDArray[Any]:
    """`values` as an array of real numbers of whatever dtype they have; anything else is refused."""
    if type(values) is not np.ndarray and np.ma.is_masked(values):  # asarray would hand out what stands under the mask
        raise ValueError(f"{name} must not have masked entries. Got a masked array.")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError):  # NumPy refuses nested lists of unequal lengths
        raise ValueError(f"{name} must be a rectangular array of real numbers. Got rows of unequal shapes.") from None
    if array.dtype.kind not in "buif":
        came = shown(values) if array.ndim == 0 else f"dtype {array.dtype}"  # None, a dict, a generator, a word
        raise TypeError(f"{name} must be an array of real numbers. Got {came}.")
    return array


def all_finite(array: FloatArray) -> bool:
    """Whether no number is NaN or infinite; without sums, which may overflow and warn."""
    finite = np.isfinite(array)
    # Of a few, a search for a zero byte is over before a reduction would have begun
    return 0 not in finite.tobytes() if finite.size <= FEW else bool(finite.all())


def require_finite(array: FloatArray, name: str) -> None:
    """Refuse NaN and infinity, naming the first place where one stands."""
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"{name} must be finite. Got {array[place]} at index {place}.")


def finite_float64(array: npt.NDArray[Any], name: str) -> FloatArray:
    """A copy in float64, refused if a number is not finite or does not fit."""
    with np.errstate(over="ignore"):  # what does not fit becomes inf, which is refused by name
        wide: FloatArray = array.astype(np.float64)
    require_finite(wide, name)
    return wide
