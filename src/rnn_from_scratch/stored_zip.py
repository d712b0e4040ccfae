"""Zip files of members that are stored, not compressed: the same bytes for the same content, read without trust.

Every zip program and `numpy.load` can open what is written here. Read is less than zip files can be: members lie end to end,
nothing is compressed or encrypted, and the directory at the end says the same as the header of each member.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.validation import shown

__all__ = ["MAX_MEMBERS", "NAME", "Member", "MemberReader", "read_directory", "write_members"]

MAX_MEMBERS = 1000
NAME = re.compile(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*")
"""No folders, no '..', nothing hidden."""

MAX_NAME = 128
MAX_DIRECTORY = MAX_MEMBERS * 512  # bytes
CHUNK = 1 << 20  # bytes that are read, and their checksum taken, at once

LOCAL = struct.Struct(
    "<4s5H3L2H"
)  # signature, version, flags, method, time, date, crc, 2 sizes, lengths of name and extra
CENTRAL = struct.Struct("<4s6H3L5H2L")  # the same, comment, disk, attributes, and where the member lies
END = struct.Struct("<4s4H2LH")  # signature, disks, members, size and place of the directory, length of the comment
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
EXTRA64 = struct.Struct("<2H2Q")

LOCAL_SIGN, CENTRAL_SIGN, END_SIGN, END64_SIGN, LOCATOR_SIGN = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
FULL = 0xFFFFFFFF  # the number stands in 64 bits elsewhere
STORED = 0
UTF8 = 0x800  # the only flag that changes nothing for names in ASCII
MIDNIGHT, NEW_YEAR_1980 = 0, 0x21  # one time for all, or the same content would not be the same bytes
MADE_ON_UNIX = 3 << 8
READABLE = 0o644 << 16

Buffer = bytes | memoryview


class Member(NamedTuple):
    """Where a member's content lies, how long it is, and its checksum."""

    name: str
    begin: int
    size: int
    crc: int


# --- Writing ---


def write_members(file: BinaryIO, members: Iterable[tuple[str, Sequence[Buffer]]]) -> None:
    """Write a whole zip file; each member is a name and the buffers that make up its content."""
    entries, position = [], 0
    for name, buffers in members:
        crc = 0
        for buffer in buffers:
            crc = zlib.crc32(buffer, crc)
        size = sum(len(buffer) for buffer in buffers)
        head = _local(name.encode("ascii"), size, crc)
        for part in (head, *buffers):
            file.write(part)
        entries.append(_central(name.encode("ascii"), size, crc, position))
        position += len(head) + size
    directory = b"".join(entries)
    file.write(directory + _end(len(entries), len(directory), position))


def _local(name: bytes, size: int, crc: int) -> bytes:
    large = size >= FULL
    extra = EXTRA64.pack(1, 16, size, size) if large else b""
    short = FULL if large else size
    version = 45 if large else 20
    numbers = (version, 0, STORED, MIDNIGHT, NEW_YEAR_1980, crc, short, short, len(name), len(extra))
    return LOCAL.pack(LOCAL_SIGN, *numbers) + name + extra


def _central(name: bytes, size: int, crc: int, position: int) -> bytes:
    large = [number for number in (size, size, position) if number >= FULL]
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    short = min(size, FULL)
    version = 45 if large else 20
    numbers = (MADE_ON_UNIX | version, version, 0, STORED, MIDNIGHT, NEW_YEAR_1980, crc, short, short, len(name))
    more = (len(extra), 0, 0, 0, READABLE, min(position, FULL))
    return CENTRAL.pack(CENTRAL_SIGN, *numbers, *more) + name + extra


def _end(count: int, size: int, position: int) -> bytes:
    long = b""
    if position >= FULL:
        long = END64.pack(END64_SIGN, END64.size - 12, MADE_ON_UNIX | 45, 45, 0, 0, count, count, size, position)
        long += LOCATOR.pack(LOCATOR_SIGN, 0, position + size, 1)
    return long + END.pack(END_SIGN, 0, 0, count, count, size, min(position, FULL), 0)


# --- Reading ---


def read_directory(file: BinaryIO, size: int) -> dict[str, Member]:
    """All members of a zip file of `size` bytes, by name.

    Raises
    ------
    FileFormatError
        If the file is anything but members, stored end to end, and a directory that tells the truth about them.
    """
    count, directory_size, directory_at = _read_end(file, size)
    if count > MAX_MEMBERS or directory_size > MAX_DIRECTORY:
        raise FileFormatError(f"it must have at most {MAX_MEMBERS} members. Got {count}.")
    directory = _read(file, directory_at, directory_size)
    members: dict[str, Member] = {}
    position = 0
    for entry in _entries(directory, count):
        if entry.begin != position:  # no gaps, no overlaps
            raise FileFormatError(f"member {entry.name!r} must lie at {position}. The directory says {entry.begin}.")
        if entry.name in members:
            raise FileFormatError(f"member {entry.name!r} is there twice.")
        begin = position + _local_size(file, entry)
        members[entry.name] = entry._replace(begin=begin)
        position = begin + entry.size
        if position > directory_at:
            raise FileFormatError(f"member {entry.name!r} must end before the directory. Got {entry.size} bytes.")
    if position != directory_at:
        raise FileFormatError(f"its members must end where the directory begins, at {directory_at}. Got {position}.")
    return members


def _read_end(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """How many members, and size and place of the directory, which has to end where this begins."""
    end_at = size - END.size
    if end_at < 0:
        raise FileFormatError(f"it must be a zip file. Got {size} bytes.")
    sign, disk, first_disk, here, count, directory_size, directory_at, comment = END.unpack(
        _read(file, end_at, END.size)
    )
    if sign != END_SIGN or comment:
        raise FileFormatError("it must be a zip file, whole to its end. It is something else, or was cut short.")
    if disk or first_disk or here != count:
        raise FileFormatError("it must be a zip file in one part.")
    if FULL in (directory_size, directory_at):
        locator_at = end_at - LOCATOR.size
        end_at = locator_at - END64.size
        if end_at < 0:
            raise FileFormatError("it must be a zip file, whole to its end.")
        sign, *where = LOCATOR.unpack(_read(file, locator_at, LOCATOR.size))
        sign64, length, _, _, *disks, here, count, directory_size, directory_at = END64.unpack(
            _read(file, end_at, END64.size)
        )
        expected = (LOCATOR_SIGN, [0, end_at, 1], END64_SIGN, END64.size - 12, [0, 0], count)
        if (sign, where, sign64, length, disks, here) != expected:
            raise FileFormatError("the 64-bit end of the zip file is not understood.")
    if directory_at + directory_size != end_at:
        raise FileFormatError("the directory of the zip file must lie right before its end.")
    return count, directory_size, directory_at


def _entries(directory: bytes, count: int) -> Iterator[Member]:
    """What the directory says of each member; `begin` is where its header lies."""
    place = 0
    for _ in range(count):
        if len(directory) - place < CENTRAL.size:
            raise FileFormatError("the directory of the zip file ends too early.")
        sign, _, _, flags, method, _, _, crc, packed, size, *more = CENTRAL.unpack_from(directory, place)
        name_length, extra_length, comment_length, disk, _, _, begin = more
        place += CENTRAL.size
        name_bytes = directory[place : place + name_length]
        extra = directory[place + name_length : place + name_length + extra_length]
        place += name_length + extra_length + comment_length
        if sign != CENTRAL_SIGN or disk or place > len(directory):
            raise FileFormatError("the directory of the zip file is not understood.")
        name = _name(name_bytes)
        packed, size, begin = _long((packed, size, begin), extra)
        if method != STORED or flags & ~UTF8 or packed != size:
            raise FileFormatError(f"member {name!r} must be stored as it is. It is compressed or encrypted.")
        yield Member(name, begin, size, crc)
    if place != len(directory):
        raise FileFormatError("the directory of the zip file has something behind its last entry.")


def _name(name: bytes) -> str:
    text = name.decode("latin-1")
    if len(name) > MAX_NAME or not NAME.fullmatch(text):
        raise FileFormatError(f"names of members must be words of at most {MAX_NAME} letters. Got {shown(text)}.")
    return text


def _long(numbers: tuple[int, int, int], extra: bytes) -> tuple[int, int, int]:
    """Packed size, size and place, those that do not fit into 32 bits from the extra field, where the size comes first."""
    packed, size, begin = numbers
    if FULL not in numbers:
        return numbers
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        values, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1 and length == 8 * numbers.count(FULL) == len(values):
            found = iter(struct.unpack(f"<{length // 8}Q", values))
            size = next(found) if size == FULL else size
            packed = next(found) if packed == FULL else packed
            begin = next(found) if begin == FULL else begin
            return packed, size, begin
    raise FileFormatError("a size of more than 32 bits is not understood.")


def _local_size(file: BinaryIO, entry: Member) -> int:
    """Bytes of the header in front of a member, after making sure that it says what the directory says."""
    head = _read(file, entry.begin, LOCAL.size)
    sign, _, flags, method, _, _, crc, packed, size, name_length, extra_length = LOCAL.unpack(head)
    name, extra = b"", b""
    if name_length <= MAX_NAME:
        rest = _read(file, entry.begin + LOCAL.size, name_length + extra_length)
        name, extra = rest[:name_length], rest[name_length:]
    said: Any = (sign, name, flags & ~UTF8, method, crc)
    if said == (LOCAL_SIGN, entry.name.encode("ascii"), 0, STORED, entry.crc):
        packed, size, _ = _long((packed, size, 0), extra)
        if packed == size == entry.size:
            return LOCAL.size + int(name_length) + int(extra_length)
    raise FileFormatError(f"member {entry.name!r} and the directory of the zip file disagree.")


class MemberReader:
    """Reads the content of one member from its begin, and takes the checksum of what was read."""

    def __init__(self, file: BinaryIO, member: Member) -> None:
        self.file, self.member, self.crc = file, member, 0
        self.left = member.size
        file.seek(member.begin)

    def read(self, most: int) -> bytes:
        """The next bytes of the member, at most so many."""
        content = bytearray(min(most, self.left))
        self.read_into(memoryview(content))
        return bytes(content)

    def read_into(self, content: memoryview) -> None:
        """The next bytes of the member, as many as there is room for, which are no more than it has left."""
        self.left -= len(content)
        for first in range(0, len(content), CHUNK):
            chunk = content[first : first + CHUNK]
            if self.file.readinto(chunk) != len(chunk):  # type: ignore[attr-defined]  # a BufferedReader fills it or ends
                raise FileFormatError(f"member {self.member.name!r} was cut short.")
            self.crc = zlib.crc32(chunk, self.crc)

    def require_intact(self) -> None:
        """Refuse a member whose content, all of it read by now, does not have its checksum."""
        if self.left or self.crc != self.member.crc:
            raise FileFormatError(f"member {self.member.name!r} is damaged: its checksum does not fit its content.")


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    content = file.read(size)
    if len(content) != size:
        raise FileFormatError("it was cut short.")
    return content
