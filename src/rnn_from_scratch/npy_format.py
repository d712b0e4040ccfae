"""The `.npy` format, version 1.0, as far as this library writes it: read by a strict grammar, never by evaluation."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.validation import shown

__all__ = ["DTYPES", "MAGIC", "MAX_HEADER", "as_bytes", "dtype_word", "header", "parse_header"]

MAGIC = b"\x93NUMPY\x01\x00"
PREAMBLE = len(MAGIC) + 2  # and the length of what follows, 16 bits

DTYPES = {"<f4": np.float32, "<f8": np.float64, "<i8": np.int64, "<u8": np.uint64, "|b1": np.bool_}
"""What an array may be: the word in the file, always little-endian, and the dtype in memory."""

MAX_DIMENSIONS = 8
MAX_HEADER = 512
"""Bytes; 8 dimensions of 18 digits need 256."""

GRAMMAR = re.compile(
    rb"\{'descr': '([<>=|][a-zA-Z0-9]{1,8})', 'fortran_order': (True|False), 'shape': \(([0-9, ]{0,200})\), \} *\n"
)
DIMENSIONS = re.compile(
    rb"|(0|[1-9][0-9]{0,17}),|(0|[1-9][0-9]{0,17})(, (0|[1-9][0-9]{0,17})){1,%d}" % (MAX_DIMENSIONS - 1)
)


def dtype_word(dtype: np.dtype[Any]) -> str | None:
    """How the format says a dtype, in whatever byte order it is; None if files do not hold it.

    >>> dtype_word(np.dtype(">f8")), dtype_word(np.dtype("complex128"))
    ('<f8', None)
    """
    return next((word for word, known in DTYPES.items() if dtype.newbyteorder("=") == np.dtype(known)), None)


def header(word: str, shape: tuple[int, ...]) -> bytes:
    """What stands before the numbers of an array, as NumPy writes it.

    >>> header("<f8", (3, 2))[10:60]
    b"{'descr': '<f8', 'fortran_order': False, 'shape': "
    """
    text = f"{{'descr': '{word}', 'fortran_order': False, 'shape': {shape!r}, }}".encode("ascii")
    length = -(-(PREAMBLE + len(text) + 1) // 64) * 64  # the numbers begin at a multiple of 64 bytes
    text = text.ljust(length - PREAMBLE - 1) + b"\n"
    return MAGIC + len(text).to_bytes(2, "little") + text


def parse_header(start: bytes, size: int) -> tuple[str, tuple[int, ...], int]:
    """Dtype word, shape, and where the numbers begin.

    Parameters
    ----------
    start : bytes
        The first `MAX_HEADER` bytes of the member, all of it if it is shorter.
    size : int
        Bytes of the whole member: header and numbers have to fill it exactly.

    Raises
    ------
    FileFormatError
        If a byte of the header is not as this library and NumPy write it, or if the sizes disagree.

    Examples
    --------
    >>> parse_header(header("<f4", (10,)), size=168)
    ('<f4', (10,), 128)
    >>> parse_header(header("<f4", (10**11,)), size=168)
    Traceback (most recent call last):
    rnn_from_scratch.file_format.FileFormatError: an array claims to be (100000000000,) of '<f4', 400000000000 bytes. ...
    """
    if start[: len(MAGIC)] != MAGIC:
        raise FileFormatError(f"an array must begin as .npy files of version 1.0 do. Got {shown(start[:8])}.")
    length = int.from_bytes(start[len(MAGIC) : PREAMBLE], "little")
    begin = PREAMBLE + length
    if begin > len(start):
        raise FileFormatError(f"the header of an array must lie within its first {MAX_HEADER} bytes. Got {length}.")
    match = GRAMMAR.fullmatch(start, PREAMBLE, begin)
    if not match or not DIMENSIONS.fullmatch(match[3]):
        raise FileFormatError(f"the header of an array is not understood: {shown(start[PREAMBLE:begin])}.")
    word = match[1].decode("ascii")
    if word not in DTYPES:
        raise FileFormatError(f"an array must be one of {', '.join(map(repr, DTYPES))}. Got {word!r}.")
    if match[2] != b"False":
        raise FileFormatError("an array must be stored row by row. Got one in Fortran order.")
    shape = tuple(int(dimension) for dimension in match[3].split(b",") if dimension)
    # Python's integers do not wrap around; and nothing has been allocated yet
    claimed = math.prod(shape) * np.dtype(DTYPES[word]).itemsize
    if claimed != size - begin:
        raise FileFormatError(f"an array claims to be {shape} of {word!r}, {claimed} bytes. There are {size - begin}.")
    if not claimed and math.prod(dimension for dimension in shape if dimension) > 2**60:
        raise FileFormatError(f"an array claims to be {shape}.")  # empty, and yet too large for NumPy
    return word, shape, begin


def as_bytes(array: npt.NDArray[Any]) -> memoryview:
    """The memory of a contiguous array, byte by byte, without a copy."""
    return array.reshape(-1).view(np.uint8).data
