"""The one kind of error for files that are not what they should be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rnn_from_scratch.validation import shown

__all__ = ["FileFormatError", "as_path", "naming"]


class FileFormatError(ValueError):
    """A file is damaged, hostile, of a newer version, or of another kind. Nothing was changed by reading it.

    What the operating system refuses (a missing file, a full disk, a folder in the place of a file) stays an `OSError`.
    """


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the name of the file in front of what is wrong with it.

    >>> with naming("model.npz"):
    ...     raise FileFormatError("it is empty.")
    Traceback (most recent call last):
    rnn_from_scratch.file_format.FileFormatError: Cannot read 'model.npz': it is empty.
    """
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"Cannot read {path!r}: {error}") from None


def as_path(path: object, owner: str) -> str:
    """The name of a file, from a str or an `os.PathLike`.

    >>> as_path(3, "Network.save")
    Traceback (most recent call last):
    TypeError: path of Network.save must be a str or os.PathLike. Got 3.
    """
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str):
        raise TypeError(f"path of {owner} must be a str or os.PathLike. Got {shown(path)}.")
    return name
