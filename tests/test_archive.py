"""Archives: what goes in comes out, bit for bit; old files survive whatever happens to new ones."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_helpers import TEMPORARIES, random_checkpoint, run_alone, strays
from properties import given, st
from support import assert_same_bits

from rnn_from_scratch import archive as archive_module
from rnn_from_scratch import atomic_file, stored_zip
from rnn_from_scratch.archive import open_archive, write_archive
from rnn_from_scratch.atomic_file import replacing, sweep
from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.npy_format import DTYPES, header, parse_header

ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
    "every_second": np.arange(10)[::2],
    "other_order": np.array([1.5, -2.5], dtype=">f8"),
    "one": np.array(True),
    "none": np.zeros((0, 3)),
    "layer0.reverse.h": np.array([2**64 - 1], np.uint64),
    "strange": np.array([np.nan, -0.0, np.inf, 5e-324]),
}

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def read_all(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with open_archive(str(path)) as archive:
        return archive.words, {name: archive.read(name) for name in archive.names}


# --- What goes in comes out ---


def test_arrays_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    write_archive(str(path), {}, ARRAYS)
    words, arrays = read_all(path)
    assert words == {}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
        assert arrays[name].dtype == native.dtype
        assert arrays[name].shape == array.shape
        assert_same_bits(arrays[name], native, name)
        assert arrays[name].flags.writeable


def test_numpy_and_zip_programs_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    write_archive(str(path), {"unit": "m"}, ARRAYS)
    with np.load(path, allow_pickle=False) as found:
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "numpy.npz"
    np.savez(path, **{name: np.ascontiguousarray(ARRAYS[name]) for name in ("matrix", "strange")})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("words.json", '{"unit": "m"}')
    words, arrays = read_all(path)
    assert words == {"unit": "m"}
    assert_same_bits(arrays["matrix"], ARRAYS["matrix"])
    assert_same_bits(arrays["strange"], ARRAYS["strange"])


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        write_archive(str(path), {"a": 1}, ARRAYS)
        os.utime(path, (0, 0))
    assert first.read_bytes() == second.read_bytes()


def json_values() -> Any:
    leaves = st.one_of(
        st.none(), st.booleans(), st.text(max_size=5), st.floats(), st.integers(-(2**128), 2**128), st.just(-0.0)
    )
    return st.recursive(
        leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner))
    )


@given(words=st.dictionaries(st.text(max_size=5), json_values(), max_size=4))
def test_words_come_back_equal(words: dict[str, Any]) -> None:
    found = archive_module._from_json(archive_module._as_json(words))
    assert repr(found) == repr(words)  # of floats, repr is exact, and NaN equals itself


@given(word=st.sampled_from(sorted(DTYPES)), shape=st.lists(st.integers(0, 150), max_size=8), extra=st.integers(0, 3))
def test_headers_are_what_numpy_writes(word: str, shape: list[int], extra: int) -> None:
    text = header(word, tuple(shape))
    size = int(np.prod(shape, dtype=object)) * np.dtype(word).itemsize
    found = parse_header(text, len(text) + size)
    assert found == (word, tuple(shape), len(text))
    with pytest.raises(FileFormatError, match="claims"):
        parse_header(text, len(text) + size + 1 + extra)


def test_headers_are_those_of_numpy_itself(tmp_path: Path) -> None:
    for array in (np.zeros((3, 4)), np.zeros(7, np.float32), np.array(1), np.zeros((1, 2, 3), np.bool_)):
        np.save(tmp_path / "array.npy", array)
        content = (tmp_path / "array.npy").read_bytes()
        word, shape, begin = parse_header(content[:512], len(content))
        assert header(word, shape) == content[:begin]
        assert (np.dtype(word), shape) == (array.dtype, array.shape)


def test_members_of_more_than_four_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 64-bit fields, at a limit of 200 bytes: Python's own reader understands them, and so does this one."""
    monkeypatch.setattr(stored_zip, "FULL", 200)
    local, entry = stored_zip._local(b"name", 300, 7), stored_zip._central(b"name", 300, 7, 1000)
    assert local.endswith(stored_zip.EXTRA64.pack(1, 16, 300, 300))
    assert stored_zip._long((200, 200, 200), entry[-28:]) == (300, 300, 1000)
    assert stored_zip._long((10, 10, 200), stored_zip._central(b"name", 10, 7, 1000)[-12:]) == (10, 10, 1000)
    monkeypatch.undo()
    path = tmp_path / "sparse.npz"
    size = 2**32 + 8
    with path.open("wb") as file:  # a member of 4 GiB that nobody reads, as a hole, and one behind it
        file.write(stored_zip._local(b"large.npy", size, 5))
        file.seek(size, 1)
        small_at = file.tell()
        file.write(stored_zip._local(b"small", 3, 9) + b"abc")
        directory_at = file.tell()
        entries = stored_zip._central(b"large.npy", size, 5, 0) + stored_zip._central(b"small", 3, 9, small_at)
        file.write(entries + stored_zip._end(2, len(entries), directory_at))
    with zipfile.ZipFile(path) as python, path.open("rb") as file:
        found = stored_zip.read_directory(file, path.stat().st_size)
        assert [(info.filename, info.file_size) for info in python.infolist()] == [("large.npy", size), ("small", 3)]
    assert [(member.name, member.size) for member in found.values()] == [("large.npy", size), ("small", 3)]


@pytest.mark.parametrize(
    ("words", "arrays", "error", "message"),
    [
        ({"a": (1, 2)}, {}, TypeError, r"words\['a'\] of a file"),
        ({"a": [{"b": {1}}]}, {}, TypeError, r"words\['a'\]\[0\]\['b'\]"),
        ({"a": {1: 2}}, {}, TypeError, "names of type str"),
        ({"a": 10**100}, {}, ValueError, "100 digits"),
        ({"a": "x" * 2**20}, {}, ValueError, "bytes of JSON"),
        ([1], {}, TypeError, "must be a mapping"),
        ({}, {"a": np.array(["x"])}, TypeError, "float32, float64, int64, uint64 or bool"),
        ({}, {"a": np.array([object()])}, TypeError, "float32, float64, int64, uint64 or bool"),
        ({}, {"a": np.zeros(2, np.int32)}, TypeError, "int32"),
        ({}, {"a": [1.0]}, TypeError, "must be an array"),
        ({}, {"../a": np.zeros(1)}, ValueError, r"\.\./a"),
        ({}, {"a" * 125: np.zeros(1)}, ValueError, "names of arrays"),
        ({}, {f"a{n}": np.zeros(1) for n in range(1000)}, ValueError, "at most 999"),
    ],
    ids=lambda value: "",
)
def test_what_cannot_be_written_is_refused_first(
    words: Any, arrays: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.npz"
    with pytest.raises(error, match=message):
        write_archive(str(path), words, arrays)
    assert list(tmp_path.iterdir()) == []


def test_deep_words_are_refused(tmp_path: Path) -> None:
    words: dict[str, Any] = {}
    for _ in range(40):
        words = {"a": words}
    with pytest.raises(ValueError, match="32 lists and mappings deep"):
        write_archive(str(tmp_path / "file.npz"), words, {})
    assert list(tmp_path.iterdir()) == []


# --- Replacing files ---


def interrupted(path: Path, happens: Callable[[], object]) -> None:
    with replacing(str(path)) as file:
        file.write(b"half")
        happens()


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with replacing(str(path)) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        assert len(strays(tmp_path)) == 1
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(ZeroDivisionError):
        interrupted(path, lambda: 1 // 0)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@POSIX
def test_a_link_keeps_pointing_to_what_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link, dangling = tmp_path / "there" / "file", tmp_path / "link", tmp_path / "dangling"
    target.write_bytes(b"old")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "there" / "other")
    for path in (link, dangling):
        with replacing(str(path)) as file:
            file.write(b"new")
        assert path.is_symlink()
        assert path.read_bytes() == b"new"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["file", "other"]


@POSIX
def test_what_the_system_refuses_names_the_file(tmp_path: Path) -> None:
    pipe, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    cases = {
        tmp_path: IsADirectoryError,
        tmp_path / "missing" / "file": FileNotFoundError,
        pipe: OSError,
        loop: OSError,
        tmp_path / ("x" * 300): OSError,
    }
    for path, error in cases.items():
        with pytest.raises(error) as caught:
            write_archive(str(path), {}, ARRAYS)
        assert caught.value.filename == str(path)
        assert str(caught.value).endswith(f": {str(path)!r}")
    assert strays(tmp_path) == []
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    for path in (tmp_path, tmp_path / "missing", loop):
        with pytest.raises(OSError) as caught, open_archive(str(path)):  # noqa: PT011  # three kinds of it
            pass
        assert caught.value.filename == str(path)
    with pytest.raises(FileFormatError, match="ordinary file"), open_archive(str(pipe)):
        pass


# --- Temporaries of others, dead and alive ---


def stray(folder: Path, machine: str, age: float = 0.0) -> Path:
    path = folder / f".rnn-from-scratch-{machine}-{'0' * 15}{len(strays(folder))}.tmp"
    path.write_bytes(b"half")
    facts = path.stat()
    os.utime(path, (facts.st_atime, facts.st_mtime - age))
    return path


@POSIX
def test_only_what_is_left_behind_is_swept(tmp_path: Path) -> None:
    here, elsewhere, day = atomic_file._machine(), "0" * 8, 25 * 3600.0
    mine, others, others_old = stray(tmp_path, here), stray(tmp_path, elsewhere), stray(tmp_path, elsewhere, day)
    unlike = [tmp_path / name for name in (".rnn-from-scratch-1.tmp", "model.tmp", ".model.npz.tmp")]
    for path in unlike:
        path.write_bytes(b"")
    link = tmp_path / f".rnn-from-scratch-{here}-{'a' * 16}.tmp"
    link.symlink_to(unlike[0])
    with replacing(str(tmp_path / "file")) as file:  # which sweeps, and is then being written
        assert not mine.exists()
        assert not others_old.exists()
        sweep(str(tmp_path))
        sweep(str(tmp_path / "missing"))
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", others, link, *unlike])


@POSIX
def test_where_there_are_no_locks_age_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks")

    monkeypatch.setattr(atomic_file.fcntl, "flock", no_locks)
    here = atomic_file._machine()
    new, old = stray(tmp_path, here), stray(tmp_path, here, 25 * 3600.0)
    with replacing(str(tmp_path / "file")) as file:
        file.write(b"whole")
    assert new.exists()
    assert not old.exists()
    assert (tmp_path / "file").read_bytes() == b"whole"


@POSIX
def test_a_temporary_swept_before_it_is_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, swept = atomic_file._lock, []

    def late(descriptor: int) -> None:
        if not swept:  # somebody comes between the creation and the lock, once
            swept.extend(strays(tmp_path))
            sweep(str(tmp_path))
        lock(descriptor)

    monkeypatch.setattr(atomic_file, "_lock", late)
    with replacing(str(tmp_path / "file")) as file:
        file.write(b"whole")
    assert len(swept) == 1
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert strays(tmp_path) == []


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from file_helpers import random_checkpoint, strays
from rnn_from_scratch.training.checkpoint import Checkpoint

path, kills, seen = Path(sys.argv[1]), 20, 0
checkpoints = [random_checkpoint(0, size=20_000), random_checkpoint(1, size=20_000)]
checkpoints[0].write(str(path))
pause = random.Random(0)
for kill in range(kills):
    child = os.fork()
    if not child:
        while True:
            for checkpoint in checkpoints:
                checkpoint.write(str(path))
    time.sleep(pause.uniform(0.002, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left = strays(path.parent)
    seen += len(left)
    assert len(left) <= 1, left  # each writer sweeps what the one before left behind
    found = Checkpoint.read(str(path), checkpoints[0].specification)
    expected = checkpoints[found.words["seed"]]
    for name, array in expected.arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes()
checkpoints[0].write(str(path))
assert strays(path.parent) == [], "not swept"
print(seen)
"""


@POSIX
def test_killed_while_writing_leaves_a_readable_file(tmp_path: Path) -> None:
    done = run_alone(KILLED, tmp_path / "run.npz")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0  # some were hit in the middle of a write


WRITER = """
import sys
from file_helpers import random_checkpoint
checkpoint = random_checkpoint(int(sys.argv[2]), size=5000)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    checkpoint.write(sys.argv[1])
"""


@POSIX
def test_two_processes_write_one_file_while_others_read(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    checkpoints = [random_checkpoint(seed, size=5000) for seed in (0, 1)]
    checkpoints[0].write(str(path))
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": folders, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(seed)], env=environment, **pipes) for seed in (0, 1)]
    seen = []
    try:
        assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            words, arrays = read_all(path)
            seed = words["words"]["seed"]
            assert_same_bits(arrays["arrays.layer0.h"], checkpoints[seed].arrays["layer0.h"])
            seen.append(seed)
        assert [writer.wait() for writer in writers] == [0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert len(seen) > 1
    assert set(seen) <= {0, 1}
    assert list(tmp_path.iterdir()) == [path]


# --- Full disks and closed folders ---

FULL = """
import resource, sys
import numpy as np
from rnn_from_scratch.archive import write_archive
if len(sys.argv) > 3:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_archive(sys.argv[1], {}, {"x": np.ones(int(sys.argv[2]))})
except OSError as error:
    print(error.errno, error.filename)
"""


@POSIX
def test_a_file_too_large_for_the_system(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    write_archive(str(path), {"old": True}, {})
    done = run_alone(FULL, path, 10**6, "limited")
    assert done.stdout.split() == [str(errno.EFBIG), str(path)], done.stderr
    assert read_all(path)[0] == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


ON_A_SMALL_DISK = f"""
import glob, os, subprocess, sys
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
path = os.path.join(folder, "file.npz")
sys.argv[1:] = [path, "10"]
exec({FULL!r})
before = open(path, "rb").read()
sys.argv[1:] = [path, "1000000"]
exec({FULL!r})
print(open(path, "rb").read() == before, glob.glob(os.path.join(folder, {TEMPORARIES!r})))
"""


@POSIX
def test_a_full_disk(tmp_path: Path) -> None:
    private = ["unshare", "--mount"]  # a mount that nobody else sees, and that ends with the process
    try:
        possible = subprocess.run([*private, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        possible = False
    if not possible:
        pytest.skip("mounting a small disk needs root and `unshare`; the limit on file sizes is tested anyway")
    done = run_alone(ON_A_SMALL_DISK, tmp_path, prefix=private)
    if "CalledProcessError" in done.stderr:
        pytest.skip("mounting is not allowed here; the limit on file sizes is tested anyway")
    lines = done.stdout.splitlines()
    assert lines == [f"{errno.ENOSPC} {tmp_path / 'file.npz'}", "True []"], done.stderr


CLOSED = """
import os, sys, tempfile
import numpy as np
from rnn_from_scratch.archive import write_archive
with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    closed = os.path.join(folder, "closed")
    path = os.path.join(closed, "file.npz")
    read_only = os.path.join(folder, "read_only.npz")
    os.mkdir(closed)
    write_archive(path, {"old": True}, {})
    write_archive(read_only, {"old": True}, {})
    os.chmod(read_only, 0o444)
    os.chmod(closed, 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    for name in (path, read_only):
        before = open(name, "rb").read()
        try:
            write_archive(name, {}, {"x": np.ones(3)})
        except PermissionError as error:
            print(error.filename == name, open(name, "rb").read() == before, len(os.listdir(os.path.dirname(name))))
    if os.getuid() == 0:
        os.seteuid(0)
    os.chmod(closed, 0o755)
"""


@POSIX
def test_a_folder_and_a_file_that_are_read_only() -> None:
    done = run_alone(CLOSED)
    assert done.stdout.splitlines() == ["True True 1", "True True 2"], done.stderr


@POSIX
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_writing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert list(tmp_path.iterdir()) == []
