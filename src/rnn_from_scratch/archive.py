"""Dicts of arrays and JSON words, and one file that holds them: safe to read, atomic to write, `.npz` for everybody else.

A file is a zip of stored members: ``words.json``, and ``NAME.npy`` for every array. The same content gives the same bytes.
Reading believes nothing: every count, length and size is capped or compared with what is there before memory is allocated for
it, nothing is ever evaluated or unpickled, and checksums have to fit. What is wrong is a `FileFormatError`.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.atomic_file import replacing
from rnn_from_scratch.file_format import FileFormatError, naming
from rnn_from_scratch.npy_format import DTYPES, MAX_HEADER, as_bytes, dtype_word, header, parse_header
from rnn_from_scratch.stored_zip import (
    MAX_MEMBERS,
    MAX_NAME,
    NAME,
    Buffer,
    Member,
    MemberReader,
    read_directory,
    write_members,
)
from rnn_from_scratch.validation import shown

__all__ = ["Archive", "ArrayFacts", "open_archive", "write_archive"]

WORDS = "words.json"
SUFFIX = ".npy"
MAX_WORDS = 1 << 20  # bytes of JSON
MAX_DEPTH = 32  # of lists in lists
MAX_DIGITS = 100  # of a number: Python's integers take quadratic time
TOO_LARGE = 10**MAX_DIGITS
BOOL = np.dtype(np.bool_)


class ArrayFacts(NamedTuple):
    """What the header of an array says; its size is known to agree with the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int


def write_archive(path: str, words: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a file as a whole; if that fails, what had the name before is untouched.

    Parameters
    ----------
    path : str
        The file, under exactly this name.
    words : mapping
        What JSON can say, with lists (no tuples) and str for all names; also floats that are not finite, as ``NaN`` and
        ``Infinity``. Comes back equal, NaN as some NaN.
    arrays : mapping of str to ndarray
        float32, float64, int64, uint64 or bool, of any shape and byte order. Comes back bit for bit.

    Raises
    ------
    TypeError, ValueError
        If something cannot be written; nothing has been touched then.
    OSError
        If the system refuses, with the file's name.

    Examples
    --------
    >>> write_archive("numbers.npz", {"unit": "m"}, {"x": np.arange(3.0)})
    >>> with open_archive("numbers.npz") as archive:
    ...     archive.words, archive.read("x")
    ({'unit': 'm'}, array([0., 1., 2.]))
    >>> np.load("numbers.npz")["x"]
    array([0., 1., 2.])
    """
    members: list[tuple[str, list[Buffer]]] = [(WORDS, [_as_json(words)])]
    members += [(name + SUFFIX, _as_npy(name, array)) for name, array in arrays.items()]
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"arrays of a file must be at most {MAX_MEMBERS - 1}. Got {len(arrays)}.")
    with replacing(path) as file:
        write_members(file, members)


@contextmanager
def open_archive(path: str) -> Iterator[Archive]:
    """The words and the array headers of a file, checked; arrays are read when they are asked for, inside the block.

    Whatever `FileFormatError` the block raises is given the file's name.

    Raises
    ------
    FileFormatError
        If the file is not as `write_archive` writes it.
    OSError
        If the system cannot read it, with the file's name.
    """
    with _opened(path) as file, naming(path):
        try:
            yield Archive(file, os.fstat(file.fileno()).st_size)
        except OSError as error:  # of the disk, which knows no names
            error.filename = error.filename or path
            raise


def _opened(path: str) -> BinaryIO:
    # Without O_NONBLOCK, opening a named pipe would wait for somebody to write into it
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            with naming(path):
                raise FileFormatError("it must be an ordinary file. It is a device or a pipe.")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


class Archive:
    """An open file: its words, and its arrays by name; see `open_archive`."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._members = read_directory(file, size)
        if WORDS not in self._members:
            raise FileFormatError(f"it must have a member {WORDS!r}. Got {shown(sorted(self._members))}.")
        self.words = self._read_words(self._members.pop(WORDS))
        for name in self._members:
            if not name.endswith(SUFFIX):
                raise FileFormatError(f"its members must be {WORDS!r} and arrays, '….npy'. Got {name!r}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(name.removesuffix(SUFFIX) for name in self._members)

    def require_names(self, *names: str) -> None:
        """Refuse the file unless it has these arrays and no others."""
        if set(self.names) != set(names):
            raise FileFormatError(f"its arrays must be {shown(sorted(names))}. Got {shown(sorted(self.names))}.")

    def facts(self, name: str) -> ArrayFacts:
        """Dtype and shape of an array, of which nothing but the header is read."""
        member = self._member(name)
        word, shape, begin = parse_header(MemberReader(self._file, member).read(MAX_HEADER), member.size)
        return ArrayFacts(np.dtype(DTYPES[word]), shape, begin)

    def read(self, name: str) -> npt.NDArray[Any]:
        """An array, new and writable, in the machine's byte order."""
        facts = self.facts(name)
        array = np.empty(facts.shape, facts.dtype)
        self.read_into(name, array)
        return array

    def read_into(self, name: str, array: npt.NDArray[Any]) -> None:
        """An array, into the memory of a contiguous one of its dtype and shape."""
        facts, reader = self.facts(name), MemberReader(self._file, self._member(name))
        if (facts.dtype, facts.shape) != (array.dtype, array.shape):
            wanted, came = f"{array.shape} of {array.dtype}", f"{facts.shape} of {facts.dtype}"
            raise FileFormatError(f"array {name!r} must be {wanted}. Got {came}.")
        reader.read(facts.begin)
        reader.read_into(as_bytes(array))
        reader.require_intact()
        if facts.dtype == BOOL and array.view(np.uint8).max(initial=0) > 1:  # neither True nor False
            raise FileFormatError(f"array {name!r} must hold bytes 0 and 1. Got {array.view(np.uint8).max()}.")
        little = array.dtype.newbyteorder("<")
        if little != array.dtype:  # a big-endian machine
            array[...] = array.view(little)

    def read_finite_into(self, name: str, array: npt.NDArray[Any]) -> None:
        """The same, refused if a number is NaN or infinite."""
        self.read_into(name, array)
        if not np.isfinite(array).all():
            raise FileFormatError(f"array {name!r} must be finite. Got NaN or infinity.")

    def _member(self, name: str) -> Member:
        if name + SUFFIX not in self._members:
            raise FileFormatError(f"it must have an array {name!r}. Got {shown(sorted(self.names))}.")
        return self._members[name + SUFFIX]

    def _read_words(self, member: Member) -> dict[str, Any]:
        if member.size > MAX_WORDS:
            raise FileFormatError(f"{WORDS!r} must have at most {MAX_WORDS} bytes. Got {member.size}.")
        reader = MemberReader(self._file, member)
        text = reader.read(member.size)
        reader.require_intact()
        return _from_json(text)


def _as_npy(name: str, array: npt.NDArray[Any]) -> list[Buffer]:
    """Header and numbers of an array; the numbers without a copy where they lie row by row already."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name + SUFFIX) > MAX_NAME:
        raise ValueError(f"names of arrays in a file must be words such as 'layer0.h'. Got {shown(name)}.")
    word = dtype_word(array.dtype) if isinstance(array, np.ndarray) else None
    if word is None:
        allowed = "an array of float32, float64, int64, uint64 or bool"
        raise TypeError(f"{name} must be {allowed} to be written. Got {shown(getattr(array, 'dtype', array))}.")
    return [header(word, array.shape), as_bytes(np.ascontiguousarray(array, np.dtype(word)))]


# --- JSON ---


def _as_json(words: Mapping[str, Any]) -> bytes:
    if not isinstance(words, Mapping):
        raise TypeError(f"words of a file must be a mapping. Got {shown(words)}.")
    words = dict(words)
    _require_json(words, "words")
    text = json.dumps(words, separators=(",", ":")).encode("ascii")
    if len(text) > MAX_WORDS:
        raise ValueError(f"words of a file must have at most {MAX_WORDS} bytes of JSON. Got {len(text)}.")
    return text


def _require_json(value: Any, place: str, depth: int = 1) -> None:
    """Refuse what would not come back as it was."""
    if depth > MAX_DEPTH and isinstance(value, (dict, list)):
        raise ValueError(f"words of a file must be at most {MAX_DEPTH} lists and mappings deep. Got more.")
    if isinstance(value, dict):
        for name, part in value.items():
            if not isinstance(name, str):
                raise TypeError(f"{place} of a file must have names of type str. Got {shown(name)}.")
            _require_json(part, f"{place}[{name!r}]", depth + 1)
    elif isinstance(value, list):
        for n, part in enumerate(value):
            _require_json(part, f"{place}[{n}]", depth + 1)
    elif not (value is None or isinstance(value, (str, bool, int, float))):
        raise TypeError(f"{place} of a file must be a str, number, bool, None, list or dict. Got {shown(value)}.")
    elif isinstance(value, int) and abs(value) >= TOO_LARGE:
        raise ValueError(f"{place} of a file must have at most {MAX_DIGITS} digits. Got more.")


def _require_shallow(value: Any, depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise FileFormatError(f"{WORDS!r} must be at most {MAX_DEPTH} lists and mappings deep. Got more.")
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, (dict, list)):
            _require_shallow(part, depth + 1)


def _from_json(text: bytes) -> dict[str, Any]:
    try:
        words = json.loads(text.decode("utf-8"), object_pairs_hook=_each_once, parse_int=_int, parse_float=_float)
    except FileFormatError:
        raise
    except RecursionError:
        raise FileFormatError(f"{WORDS!r} must be at most {MAX_DEPTH} lists and mappings deep. Got more.") from None
    except ValueError as error:
        raise FileFormatError(f"{WORDS!r} must be JSON. {error}.") from None
    if not isinstance(words, dict):
        raise FileFormatError(f"{WORDS!r} must be a mapping. Got {type(words).__name__}.")
    _require_shallow(words)
    return words


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FileFormatError(f"{WORDS!r} must say every name once. Got one twice among {shown(sorted(found))}.")
    return found


def _int(digits: str) -> int:
    return int(_few(digits))


def _float(digits: str) -> float:
    return float(_few(digits))


def _few(digits: str) -> str:
    if len(digits) > MAX_DIGITS + 1:  # and a sign
        raise FileFormatError(f"{WORDS!r} must have numbers of at most {MAX_DIGITS} digits. Got {len(digits)}.")
    return digits
