"""Files that lie: one kind of error for all of them, in little memory, and nothing is executed or changed."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_helpers import members_of, random_checkpoint, random_network, vector_of, write_raw
from support import assert_same_bits

from rnn_from_scratch import FileFormatError, Network, RNNScratch, load
from rnn_from_scratch.archive import Archive, open_archive
from rnn_from_scratch.npy_format import header
from rnn_from_scratch.stored_zip import MAX_MEMBERS, write_members
from rnn_from_scratch.training.checkpoint import Checkpoint

MEGABYTES = 1e6


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    random_network().save(path)
    return path


@pytest.fixture
def in_little_memory() -> Iterator[None]:
    """Whatever the test does, what it makes itself included."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * MEGABYTES


def assert_refused(path: Path, message: str = "Cannot read") -> None:
    """By every reader, with the file's name."""
    for read in (Network.load, RNNScratch.load, load, read_checkpoint):
        with pytest.raises(FileFormatError, match=message) as caught:
            read(path)
        assert path.name in str(caught.value)
        assert len(str(caught.value)) < 1000


def read_checkpoint(path: Path) -> Checkpoint:
    return Checkpoint.read(str(path), random_network().specification)


def content_of(data: bytes) -> tuple[Any, ...]:
    """Everything that an archive says, comparable."""
    archive = Archive(io.BytesIO(data), len(data))
    return repr(archive.words), {
        name: (archive.facts(name)[:2], archive.read(name).tobytes()) for name in archive.names
    }


# --- Damage ---


def test_a_file_cut_anywhere_is_refused(model: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.npz"
    random_checkpoint().write(str(checkpoint))
    for path in (model, checkpoint):
        whole = path.read_bytes()
        for percent in range(100):
            path.write_bytes(whole[: len(whole) * percent // 100])
            assert_refused(path)
        path.write_bytes(whole[:-1])
        assert_refused(path)
        path.write_bytes(whole + b"\0")
        assert_refused(path)
        path.write_bytes(whole[1:])
        assert_refused(path)


def flips(data: bytes, count: int) -> Iterator[bytes]:
    damaged = bytearray(data)
    for bit in np.random.default_rng(0).integers(8 * len(data), size=count).tolist():
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)
        damaged[bit // 8] ^= 1 << bit % 8


def test_a_flipped_bit_is_noticed_or_without_meaning(model: Path) -> None:
    data = model.read_bytes()
    content, refused = content_of(data), 0
    for damaged in flips(data, 10_000):
        try:
            assert content_of(damaged) == content
        except FileFormatError:
            refused += 1
    assert 9_000 < refused < 10_000  # the dates of members, for one, mean nothing


def test_every_flipped_bit_of_a_members_content_is_noticed(model: Path) -> None:
    data = model.read_bytes()
    inside = [data.index(content) for content in members_of(model).values()]
    lengths = [len(content) for content in members_of(model).values()]
    for begin, length in zip(inside, lengths, strict=True):
        for position in range(begin, begin + length, 3):
            damaged = bytearray(data)
            damaged[position] ^= 1 << position % 8
            with pytest.raises(FileFormatError):
                content_of(bytes(damaged))


@pytest.mark.usefixtures("in_little_memory")
def test_bytes_at_random_are_refused(tmp_path: Path) -> None:
    path, generator = tmp_path / "noise.npz", np.random.default_rng(0)
    for size in (0, 1, 21, 22, 23, 100, 5000):
        path.write_bytes(generator.bytes(size))
        assert_refused(path)
    path.write_bytes(b"PK\5\6" + bytes(18))  # an empty zip file
    assert_refused(path, "must have a member 'words.json'")


def test_objects_at_hand_stay_as_they_were(model: Path) -> None:
    network = Network.load(model, random_state=1)
    before = vector_of(network)
    model.write_bytes(model.read_bytes()[:-30])
    with pytest.raises(FileFormatError):
        Network.load(model)
    with pytest.raises(FileFormatError):
        network.load(model)
    assert_same_bits(vector_of(network), before)


# --- Lies about arrays ---


def with_array(path: Path, content: bytes) -> None:
    """Put another content in the place of the parameters, with a right checksum."""
    members = {**members_of(path), "parameters.npy": content}
    write_raw(path, members.items())


def lied(said: bytes, instead: bytes) -> bytes:
    """The header of an array (1,) of float64 with something else in one place, of the same length."""
    text = header("<f8", (1,))
    assert said in text
    changed = text.replace(said, instead, 1).rstrip(b" \n")
    return changed.ljust(len(text) - 1) + b"\n"


HEADERS = {
    "10**11 elements": (header("<f8", (10**11,)), "claims to be"),
    "wrapping around": (header("<f8", (2**32, 2**32)), "claims to be"),
    "nothing, hugely": (header("<f8", (0, 10**17, 10**17)), "claims to be"),
    "negative": (lied(b"(1,)", b"(-1,)"), "not understood"),
    "nine dimensions": (header("<f8", (1,) * 9), "not understood"),
    "long numbers": (header("<f8", (10**30,)), "not understood"),
    "octal": (lied(b"(1,)", b"(01,)"), "not understood"),
    "expression": (lied(b"(1,)", b"(1**4,)"), "not understood"),
    "a number": (lied(b"(1,)", b"(1)"), "not understood"),
    "call": (lied(b"'<f8'", b"exit()"), "not understood"),
    "objects": (lied(b"'<f8'", b"'|O8'"), "must be one of"),
    "complex": (lied(b"'<f8'", b"'<c16'"), "must be one of"),
    "strings": (lied(b"'<f8'", b"'<U9'"), "must be one of"),
    "void": (lied(b"'<f8'", b"'|V8'"), "must be one of"),
    "big-endian": (lied(b"'<f8'", b"'>f8'"), "must be one of"),
    "structured": (lied(b"'<f8'", b"[('a','<f8')]"), "not understood"),
    "Fortran order": (lied(b"False", b"True"), "Fortran order"),
    "repeated key": (lied(b", }", b", 'shape': (9,), }"), "not understood"),
    "version 2": (lied(b"\1\0", b"\2\0"), "version 1.0"),
    "version 3": (lied(b"\1\0", b"\3\0"), "version 1.0"),
    "header of 64 kB": (header("<f8", (1,))[:8] + b"\xff\xff" + b" " * 65535, "within its first 512 bytes"),
    "header past the end": (header("<f8", (1,))[:8] + b"\x90\0" + b" " * 20, "within its first 512 bytes"),
    "no header": (b"", "must begin as .npy files"),
}


@pytest.mark.usefixtures("in_little_memory")
@pytest.mark.parametrize("lie", HEADERS)
def test_headers_of_arrays_that_lie(lie: str, model: Path) -> None:
    content, message = HEADERS[lie]
    with_array(model, content + bytes(8 if content else 0))
    with pytest.raises(FileFormatError, match=message):
        Network.load(model)


def test_pickles_are_never_opened(model: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    with_array(model, buffer.getvalue())
    with pytest.raises(FileFormatError, match="must be one of"):
        Network.load(model)
    for content in (pickle.dumps(Bomb()), buffer.getvalue()):
        model.write_bytes(content)
        assert_refused(model)
    assert not (tmp_path / "executed").exists()
    np.load(io.BytesIO(buffer.getvalue()), allow_pickle=True)  # the bomb was a real one
    assert (tmp_path / "executed").exists()


def test_bools_that_are_neither_true_nor_false(model: Path) -> None:
    with_array(model, header("|b1", (3,)) + b"\0\1\2")
    with pytest.raises(FileFormatError, match="bytes 0 and 1"), open_archive(str(model)) as archive:
        archive.read("parameters")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(number: float, model: Path) -> None:
    vector = np.load(model)["parameters"]
    vector[-1] = number
    with_array(model, header("<f8", vector.shape) + vector.tobytes())
    with pytest.raises(FileFormatError, match="must be finite"):
        Network.load(model)


# --- Lies of the zip file ---


def rezipped(path: Path, change: Callable[[zipfile.ZipFile, dict[str, bytes]], None], **how: Any) -> None:
    """Write the members again with Python's own writer, and whatever else."""
    members = members_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of duplicate names
        with zipfile.ZipFile(path, "w", **how) as file:
            for name, content in members.items():
                file.writestr(name, content)
            change(file, members)


ADDITIONS: dict[str, tuple[str, str]] = {
    "upwards": ("../evil.npy", "names of members"),
    "absolute": ("/etc/passwd", "names of members"),
    "folder": ("a/b.npy", "names of members"),
    "hidden": (".npy", "names of members"),
    "Windows": ("C:evil.npy", "names of members"),
    "backslash": ("..\\evil.npy", "names of members"),
    "long": ("a" * 60_000, "names of members"),
    "letters": ("größe.npy", "names of members"),
    "twice": ("parameters.npy", "there twice"),
    "words twice": ("words.json", "there twice"),
    "unknown": ("readme.txt", "words.json' and arrays"),
    "one more": ("more.npy", "its arrays must be"),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_members_that_do_not_belong(name: str, model: Path) -> None:
    member, message = ADDITIONS[name]
    rezipped(model, lambda file, members: file.writestr(member, members["parameters.npy"]))
    with pytest.raises(FileFormatError, match=message):
        Network.load(model)


def test_names_with_a_null_byte(model: Path) -> None:
    data = model.read_bytes().replace(b"parameters.npy", b"parameter\0.npy")
    model.write_bytes(data)
    assert_refused(model, "names of members")


@pytest.mark.usefixtures("in_little_memory")
def test_a_bomb_is_not_unpacked(model: Path) -> None:
    def add(file: zipfile.ZipFile, members: dict[str, bytes]) -> None:
        with file.open("bomb.npy", "w") as member:
            for _ in range(60):
                member.write(bytes(10**6))

    rezipped(model, add, compression=zipfile.ZIP_DEFLATED)
    assert model.stat().st_size < 10**5
    assert_refused(model, "compressed or encrypted")


def test_encryption_comments_and_leading_bytes(model: Path) -> None:
    data = model.read_bytes()
    encrypted = bytearray(data)
    encrypted[data.index(b"PK\1\2") + 8] |= 1
    commented = data[:-2] + b"\5\0hello"
    for wrong in (bytes(encrypted), commented, b"#!/bin/sh\n" + data, data + data):
        model.write_bytes(wrong)
        assert_refused(model)


@pytest.mark.usefixtures("in_little_memory")
def test_more_members_than_anybody_needs(model: Path) -> None:
    members = members_of(model)
    empty = header("<f8", (0,))
    write_raw(model, [*members.items(), *((f"a{n}.npy", empty) for n in range(MAX_MEMBERS - 1))])
    assert_refused(model, f"at most {MAX_MEMBERS} members. Got {MAX_MEMBERS + 1}")
    write_raw(model, [*members.items(), *((f"a{n}.npy", empty) for n in range(5_000))])
    assert_refused(model, "at most")
    data = bytearray(model.read_bytes())
    data[-14:-10] = struct.pack("<2H", 3, 3)  # and a directory that is larger than its count
    model.write_bytes(data)
    assert_refused(model)


@pytest.mark.usefixtures("in_little_memory")
def test_members_that_overlap(model: Path) -> None:
    """Two entries of the directory for one place: how a small file unpacks to a large one."""
    data = model.read_bytes()
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 1)
    overlapping = bytearray(data)
    overlapping[second + 42 : second + 46] = bytes(4)
    model.write_bytes(overlapping)
    assert_refused(model, "must lie at")


@pytest.mark.usefixtures("in_little_memory")
def test_sizes_that_lie(model: Path) -> None:
    data = model.read_bytes()
    for sign, place in ((b"PK\1\2", 20), (b"PK\1\2", 24), (b"PK\3\4", 18), (b"PK\3\4", 22)):
        at = data.index(sign) + place
        for size in (0, 1, 10**6, 2**32 - 2, 2**32 - 1):
            damaged = bytearray(data)
            damaged[at : at + 4] = struct.pack("<L", size)
            model.write_bytes(damaged)
            assert_refused(model)


@pytest.mark.usefixtures("in_little_memory")
def test_the_64_bit_fields_cannot_lie_either(model: Path) -> None:
    data = model.read_bytes()
    end = data[-22:]
    directory_size, directory_at = struct.unpack("<2L", end[12:20])
    long = b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 2, 2, directory_size, directory_at)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, len(data) - 22, 1)
    short = end[:12] + b"\xff" * 8 + end[20:]
    content = content_of(data)
    assert content_of(data[:-22] + long + locator + short) == content
    for tail in (
        short,
        locator + short,
        long[:-16] + struct.pack("<2Q", 2**64 - 1, 2**64 - 1) + locator + short,
        long[:-32] + struct.pack("<4Q", 2**63, 2**63, directory_size, directory_at) + locator + short,
        long + locator[:8] + bytes(8) + locator[16:] + short,
    ):
        with pytest.raises(FileFormatError):
            content_of(data[:-22] + tail)


# --- Lies of the words ---

JSON = {
    "deep lists": ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "deep"),
    "deep mappings": ('{"a":' * 50_000 + "1" + "}" * 50_000, "deep"),
    "rather deep": ('{"a":' + "[" * 40 + "]" * 40 + "}", "deep"),
    "endless": ("[" * 1_000_000, "deep|JSON"),
    "large": ('{"a":"' + "x" * 2**20 + '"}', "at most 1048576 bytes"),
    "long number": ('{"a":' + "9" * 100_000 + "}", "digits"),
    "long fraction": ('{"a":0.' + "9" * 100_000 + "}", "digits"),
    "said twice": ('{"format":1,"format":2}', "once"),
    "a list": ("[]", "must be a mapping"),
    "a number": ("1", "must be a mapping"),
    "nothing": ("", "must be JSON"),
    "half": ('{"a":', "must be JSON"),
    "Python": ("{'a': 1}", "must be JSON"),
    "more behind": ('{"a":1} {}', "must be JSON"),
    "many lists": ('{"a":[' + "[]," * 349_000 + "0]}", "its format must be"),
    "many mappings": ('{"a":[' + '{"":0},' * 149_000 + "0]}", "its format must be"),
    "infinite": ('{"format":1e999}', "its format must be"),
    "half a surrogate": (r'{"format":"\ud800"}', "its format must be"),
    "many names": ("{" + ",".join(f'"{n}":0' for n in range(100_000)) + "}", "its format must be"),
}


@pytest.mark.usefixtures("in_little_memory")
@pytest.mark.parametrize("lie", JSON)
def test_words_that_lie(lie: str, model: Path) -> None:
    text, message = JSON[lie]
    write_raw(model, {**members_of(model), "words.json": text.encode()}.items())
    with pytest.raises(FileFormatError, match=message) as caught:
        Network.load(model)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", [b'{"a":"\xff\xfe"}', b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16")])
def test_words_in_another_encoding(text: bytes, model: Path) -> None:
    write_raw(model, {**members_of(model), "words.json": text}.items())
    assert_refused(model, "must be JSON")


def test_any_value_in_any_place_of_the_words_is_refused_or_understood(model: Path) -> None:
    """Every place of the JSON is replaced by values of every type: what loads has all it needs, and no other error comes."""
    with open_archive(str(model)) as archive:
        words, vector = archive.words, archive.read("parameters")
    strange = [None, True, -1, 0, 10**30, 0.5, float("nan"), float("inf"), "", "gru", [], [[]], {}, {"cell": "lstm"}]

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, part in inner:
            yield (*path, name)
            yield from places(part, (*path, name))

    def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
        if not path:
            return new
        changed = value.copy()
        changed[path[0]] = put(value[path[0]], path[1:], new)
        return changed

    members, loaded, refused = members_of(model), 0, 0
    for path in places(words):
        for new in strange:
            members["words.json"] = json.dumps(put(words, path, new)).encode()
            write_raw(model, members.items())
            try:
                assert_same_bits(vector_of(Network.load(model, engine="numpy")), vector)  # type: ignore[arg-type]
                loaded += 1
            except FileFormatError:
                refused += 1
    assert loaded > 0
    assert refused > 10 * loaded


def test_checksums_of_lies_are_right() -> None:
    """The helper that writes hostile files writes them so that nothing but the lie is wrong."""
    content = content_of(_zip([("words.json", b'{"a":1}'), ("x.npy", header("<f8", (1,)) + bytes(8))]))
    assert content == ("{'a': 1}", {"x": ((np.dtype(np.float64), (1,)), bytes(8))})
    assert zlib.crc32(b'{"a":1}') in struct.unpack("<3L", _zip([("words.json", b'{"a":1}')])[14:26])


def _zip(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    write_members(file, [(name, [content]) for name, content in members])
    return file.getvalue()
