"""Files that are replaced as a whole or not at all, whatever happens in between, and by whomever at the same time.

The new content goes to a temporary file in the same folder, reaches the disk, and only then takes the name of the old one.
A process that dies on the way leaves its temporary behind, which the next write in that folder sweeps. A temporary in use is
recognised by the lock that its writer holds: the kernel lets go of it when the writer dies, however that happens.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

__all__ = ["replacing", "sweep"]

TEMPORARY = re.compile(r"\.rnn-from-scratch-([0-9a-f]{8})-[0-9a-f]{16}\.tmp")
"""A temporary: the machine that writes it, and a name of its own."""

OLD = 24 * 3600.0
"""Seconds after which a temporary counts as left behind where no lock can tell."""

# The names exist on some systems only; O_NOFOLLOW refuses a link that somebody put in the place of a temporary
PRIVATE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write to, which takes the name `path` at the end of the ``with`` block, complete and on the disk.

    If anything goes wrong, what had that name before is untouched and no temporary stays. A symbolic link is followed: what
    it points to is replaced. The permissions of an old file are kept.

    Raises
    ------
    OSError
        With the name `path`, whatever step failed.

    Examples
    --------
    >>> from pathlib import Path
    >>> with replacing("numbers.txt") as file:
    ...     _ = file.write(b"1 2 3")
    >>> Path("numbers.txt").read_bytes()
    b'1 2 3'
    """
    try:
        if not os.path.basename(path):  # "models/" asks for a folder, and realpath would leave out the slash
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        target = os.path.realpath(path)
        mode = _require_replaceable(target)
        folder = os.path.dirname(target)
        sweep(folder)
        temporary, file = _temporary(folder)
        try:
            with file:
                yield file
                file.flush()
                if mode is not None and hasattr(os, "fchmod"):
                    os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                if sys.platform != "win32":  # while the lock is held, so that nobody sweeps it in the last moment
                    os.replace(temporary, target)
            if sys.platform == "win32":
                os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
    except OSError as error:
        error.filename, error.filename2 = path, None  # not the temporary, of which the user knows nothing
        del error.filename2  # else the message would end in "-> None"
        raise


def sweep(folder: str) -> None:
    """Remove the temporaries that dead processes left in a folder; what cannot be removed stays."""
    strays = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        strays = [(entry.path, match[1]) for entry in entries if (match := TEMPORARY.fullmatch(entry.name))]
    for stray, machine in strays:
        with contextlib.suppress(OSError):
            _remove_if_left_behind(stray, machine)


def _require_replaceable(target: str) -> int | None:
    """The permissions of the file that is there, None if there is none; anything but a writable file is refused."""
    try:
        present = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(present.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(present.st_mode):  # /dev/null, say, which must not become a file
        raise OSError(errno.EINVAL, "Not a regular file")
    if not os.access(target, os.W_OK):  # the folder would allow it, but the file says no
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_IMODE(present.st_mode)


def _temporary(folder: str) -> tuple[str, BinaryIO]:
    """A new file with a name of its own, locked."""
    while True:
        temporary = os.path.join(folder, f".rnn-from-scratch-{_machine()}-{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | PRIVATE, 0o666)
        _lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return temporary, os.fdopen(descriptor, "wb")
        os.close(descriptor)  # somebody swept it before it was locked


def _remove_if_left_behind(stray: str, machine: str) -> None:
    descriptor = os.open(stray, os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | PRIVATE)
    try:
        facts = os.fstat(descriptor)
        locked = _try_lock(descriptor)
        # The lock of another machine may not be seen from here, so its temporaries have to be old too
        left_behind = locked is True and machine == _machine()
        left_behind |= locked is not False and time.time() - facts.st_mtime > OLD
        if stat.S_ISREG(facts.st_mode) and left_behind:
            os.unlink(stray)
    finally:
        os.close(descriptor)


@functools.cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _lock(descriptor: int) -> None:
    """Hold the lock of a temporary; on file systems without locks, age has to tell."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _try_lock(descriptor: int) -> bool | None:
    """True if nobody held it, False if somebody does, None where that cannot be known."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
    return None


def _sync_folder(folder: str) -> None:
    """Let the new name reach the disk too. Not every system can; the file is complete under either name."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
