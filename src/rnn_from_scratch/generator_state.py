"""Where a random generator stands, in words of JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.validation import shown

__all__ = ["generator_words", "require_generator_words", "restore_generator"]


class Words(NamedTuple):
    """An array in the state of a generator: how many numbers, of which dtype."""

    size: int
    dtype: type[np.unsignedinteger[Any]]


UINT32 = {"has_uint32": 2, "uinteger": 2**32}  # half of a number that was drawn and not yet used
PCG = {"state": {"state": 2**128, "inc": 2**128}, **UINT32}

STATES: dict[str, dict[str, Any]] = {
    "PCG64": PCG,
    "PCG64DXSM": PCG,
    "MT19937": {"state": {"key": Words(624, np.uint32), "pos": 625}},
    "Philox": {
        "state": {"counter": Words(4, np.uint64), "key": Words(2, np.uint64)},
        "buffer": Words(4, np.uint64),
        "buffer_pos": 5,
        **UINT32,
    },
    "SFC64": {"state": {"state": Words(4, np.uint64)}, **UINT32},
}
"""What the state of each of NumPy's bit generators consists of: ints below a number, arrays, and mappings of those.

NumPy believes what it is given, and a position past the end of a buffer would have it read foreign memory.
"""


def generator_words(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a generator as JSON can say it.

    Raises
    ------
    ValueError
        If its bit generator is none of NumPy's own.

    Examples
    --------
    >>> generator_words(np.random.default_rng(0))["bit_generator"]
    'PCG64'
    """
    state = generator.bit_generator.state
    name = state["bit_generator"]
    if name not in STATES:
        raise ValueError(f"bit generator must be one of {', '.join(STATES)} to be written. Got {shown(name)}.")
    return {"bit_generator": str(name), **_plain({part: state[part] for part in STATES[name]})}


def restore_generator(generator: np.random.Generator, words: Mapping[str, Any]) -> None:
    """Put a generator where another one stood.

    Raises
    ------
    FileFormatError
        If the words are no state of a generator.
    ValueError
        If they are that of another kind of generator. In either case the generator is as it was.

    Examples
    --------
    >>> first, second = np.random.default_rng(0), np.random.default_rng(1)
    >>> restore_generator(second, generator_words(first))
    >>> bool(first.random() == second.random())
    True
    """
    state = require_generator_words(words)
    name = type(generator.bit_generator).__name__
    if words["bit_generator"] != name:
        raise ValueError(f"the bit generator must be {words['bit_generator']}, as in the checkpoint. Got {name}.")
    generator.bit_generator.state = {"bit_generator": name, **state}


def require_generator_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """The state that words stand for, as NumPy takes it; anything else is refused."""
    name = words.get("bit_generator")
    if not isinstance(name, str) or name not in STATES:
        raise FileFormatError(f"the generator must be one of {', '.join(STATES)}. Got {shown(name)}.")
    rest = {part: value for part, value in words.items() if part != "bit_generator"}
    state: dict[str, Any] = _checked(rest, STATES[name], name)
    return state


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else int(value)


def _checked(value: Any, expected: Any, place: str) -> Any:
    if isinstance(expected, dict) and isinstance(value, dict) and value.keys() == expected.keys():
        return {name: _checked(value[name], part, f"{place}.{name}") for name, part in expected.items()}
    if isinstance(expected, Words) and isinstance(value, list) and len(value) == expected.size:
        below = int(np.iinfo(expected.dtype).max) + 1
        return np.array([_checked(number, below, place) for number in value], expected.dtype)
    if isinstance(expected, int) and type(value) is int and 0 <= value < expected:
        return value
    raise FileFormatError(f"the state of the generator is not one: {place} is {shown(value)}.")
