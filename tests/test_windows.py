"""Windows over one long series: the same bits as copies of them, and bounded memory over files larger than it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_problem import network, parameters
from support import EXACT, assert_all_close, assert_same_bits

from rnn_from_scratch import GRU, LSTM, Elman, Network, Windows, check_gradients

generator = np.random.default_rng(0)
S = 203
X, Y = generator.normal(size=(S, 3)), generator.normal(size=(S, 2))
TOKENS = generator.integers(5, size=S)


def copies(windows: Windows) -> np.ndarray:
    """The array that holds the windows one by one."""
    return np.stack([windows.series[n * windows.stride :][: windows.steps] for n in range(len(windows))])


def series(dtype: str, tmp_path: Path) -> list[np.ndarray]:
    """Inputs and outputs as maps of files that cannot be written to."""
    found = []
    for name, values in (("X", X), ("Y", Y)):
        np.ascontiguousarray(values, dtype).tofile(tmp_path / name)
        found.append(np.memmap(tmp_path / name, dtype, "r", shape=values.shape))
    return found


def train_twice(engine: str, dtype: str, pairs: list[tuple[Any, Any]], layers: Any, **words: Any) -> list[Any]:
    """History and predictions of the same network on different forms of the same data."""
    ends = []
    for inputs, targets in pairs:
        options = {name: words.pop(name) for name in ("readout",) if name in words}
        net = network(engine, layers, dtype=dtype, dropout=0.2, **options)
        history = net.fit(inputs, targets, 3, learning_rate=0.03, **words)
        words |= options
        ends.append((history.to_dict(), net.predict(inputs), parameters(net)))
    return ends


RUNS: dict[str, dict[str, Any]] = {
    "plain": {"batch_size": 7},
    "validation and metrics": {"batch_size": 4, "metrics": ["r2", "mae"]},
    "truncated": {"batch_size": 6, "tbptt_steps": 4},
    "stateful": {"batch_size": 2, "stateful": True},
    "both": {"batch_size": 2, "stateful": True, "tbptt_steps": 3, "metrics": "rmse"},
}


@pytest.mark.parametrize("run", list(RUNS))
@pytest.mark.parametrize("stride", [4, 13])
def test_windows_are_their_copies(engine: str, dtype: str, run: str, stride: int, tmp_path: Path) -> None:
    inputs, targets = series(dtype, tmp_path)
    T = 9
    N = (S - T) // stride + 1
    last = (N - N % 2 - 1) * stride + T  # an even number of windows
    pair = Windows(inputs[:last], T, stride=stride), Windows(targets[:last], T, stride=stride)
    copied = copies(pair[0]), copies(pair[1])
    words = dict(RUNS[run])
    layers = [LSTM(4, recurrent_dropout=0.3, learned_state=True), GRU(3)]
    ends = []
    for x, y in (pair, copied):
        if run == "validation and metrics":
            words["validation"] = (x, y)
        ends += train_twice(engine, dtype, [(x, y)], layers, **words)
    a, b = ends
    assert {**a[0], "seconds": []} == {**b[0], "seconds": []}
    assert_same_bits(a[1], b[1])
    for name, W in a[2].items():
        assert_same_bits(W, b[2][name], name)


def test_windows_of_networks_that_read_both_ways(engine: str) -> None:
    pair = Windows(X, 7, stride=3), Windows(Y, 7, stride=3)
    layers = [GRU(4, bidirectional=True, learned_state=True), Elman(3)]
    a, b = train_twice(engine, "float64", [pair, (copies(pair[0]), copies(pair[1]))], layers, batch_size=6)
    assert a[0]["loss"] == b[0]["loss"]
    assert_same_bits(a[1], b[1])


@pytest.mark.parametrize("readout", ["last", "mean"])
def test_windows_with_one_target_each(engine: str, readout: str) -> None:
    windows = Windows(X, 6, stride=2)
    t = generator.normal(size=(len(windows), 2))
    pairs = [(windows, t), (copies(windows), t)]
    weights = generator.uniform(0, 1, len(windows))
    words: dict[str, Any] = {"batch_size": 8, "sample_weight": weights, "metrics": "mae"}
    a, b = train_twice(engine, "float64", pairs, [GRU(4)], readout=readout, validation=0.2, **words)
    assert {**a[0], "seconds": []} == {**b[0], "seconds": []}
    assert_same_bits(a[1], b[1])


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
def test_tokens_and_labels(engine: str, kind: str) -> None:
    tokens = TOKENS.astype(kind)
    pair = Windows(tokens[:-1], 8, stride=3), Windows(tokens[1:], 8, stride=3)
    words: dict[str, Any] = {"output_activation": "softmax", "loss": "ce", "vocabulary_size": 5, "random_state": 0}
    ends = []
    for x, y in (pair, (copies(pair[0]), copies(pair[1]))):
        net = Network(3, [LSTM(6)], 5, engine=engine, **words)
        history = net.fit(x, y, 3, batch_size=5, metrics=["accuracy", "f1"], validation=(x, y))
        ends.append(({**history.to_dict(), "seconds": []}, net.predict(x), net.loss_and_gradient(x, y)))
    assert ends[0][0] == ends[1][0]
    assert_same_bits(ends[0][1], ends[1][1])
    assert ends[0][2][0] == pytest.approx(ends[1][2][0], abs=EXACT)
    assert_all_close(ends[0][2][1], ends[1][2][1], EXACT)
    assert check_gradients(net, *pair).passed


def test_predictions_in_pieces_are_predictions(engine: str, readout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(engine, [LSTM(4, learned_state=True)], readout=readout)
    lengths = generator.integers(1, 8, size=23)
    x = generator.normal(size=(23, 7, 3))
    state = {name: generator.normal(size=(23, 4)) for name in ("layer0.h", "layer0.c")}
    for words in ({"lengths": lengths}, {"lengths": lengths, "state": state}, {}):
        whole, after = net.predict(x, return_states=True, **words)
        with monkeypatch.context() as small:
            small.setattr("rnn_from_scratch.sequences.MOST_ROWS", 20)
            small.setattr("rnn_from_scratch.sequences.LEAST_SEQUENCES", 1)
            pieces, after_pieces = net.predict(x, return_states=True, **words)
            np.testing.assert_array_equal(net.predict(x, **words), pieces)
        np.testing.assert_allclose(pieces, whole, rtol=0, atol=EXACT)
        assert_all_close(after_pieces, after, EXACT)


@pytest.mark.parametrize(("steps", "stride"), [(9, 2), (9, 9), (4, 20)])
def test_a_fraction_for_validation_shares_no_target_with_training(engine: str, steps: int, stride: int) -> None:
    pair = Windows(X, steps, stride=stride), Windows(Y, steps, stride=stride)
    N = len(pair[0])
    kept = N - round(0.25 * N)
    free = [
        n for n in range(kept) if n * stride + steps <= kept * stride
    ]  # read no target from the first that is held out
    assert len(free) == kept - max(0, -(-steps // stride) - 1)
    a, b = network(engine), network(engine)
    history = a.fit(*pair, 2, validation=0.25)
    reference = b.fit(copies(pair[0])[free], copies(pair[1])[free], 2)
    assert history.loss == reference.loss
    expected = ((a.predict(copies(pair[0])[kept:]) - copies(pair[1])[kept:]) ** 2).mean()
    assert history.validation_loss[-1] == pytest.approx(expected, abs=EXACT)
    with pytest.raises(ValueError, match=r"must leave windows that have no targets in common with it. None is left"):
        a.fit(Windows(X, 150), Windows(Y, 150), 1, validation=0.5)


def test_what_no_window_reads_may_be_anything(engine: str) -> None:
    holed, other = X.copy(), Y.copy()
    read = np.zeros(S, bool)
    for n in range((S - 4) // 10 + 1):
        read[10 * n : 10 * n + 4] = True
    holed[~read], other[~read] = np.nan, np.inf
    nets = network(engine), network(engine)
    losses = [
        net.fit(Windows(x, 4, stride=10), Windows(y, 4, stride=10), 2).loss
        for net, x, y in zip(nets, (X, holed), (Y, other), strict=True)
    ]
    assert losses[0] == losses[1]
    holed[23, 1] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite\. Got nan at step 23 of the series\."):
        nets[0].predict(Windows(holed, 4, stride=10))
    with pytest.raises(ValueError, match=r"X must be finite\. Got nan at step 4 of the series\."):
        nets[0].predict(Windows(holed, 5, stride=3))


def test_windows_are_a_sequence_of_views() -> None:
    windows = Windows(X, 4, stride=50)
    assert len(windows) == 4
    assert windows.shape == (4, 4, 3)
    assert [window.tolist() for window in windows] == copies(windows).tolist()
    assert np.shares_memory(windows[2], X)
    assert windows[-1].tolist() == X[150:154].tolist()
    assert repr(windows) == "Windows of 4 steps over (203, 3) of float64, stride 50: 4"
    assert Windows(X, S).shape == (1, S, 3)
    assert Windows(X, 4, stride=10**12).shape == (1, 4, 3)
    with pytest.raises(IndexError):
        windows[4]
    with pytest.raises(TypeError):
        windows[0:2]  # type: ignore[index]


def test_windows_of_float32_make_a_float32_network(engine: str) -> None:
    net = Network(3, [Elman(4)], 2, random_state=0, engine=engine)
    net.fit(Windows(X.astype(np.float32), 5), Windows(Y.astype(np.float32), 5), 1)
    assert net.dtype == np.float32
    assert net.predict(Windows(X, 5)).dtype == np.float32  # a small series is cast


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (
        lambda: Windows(X[None], 4),
        ValueError,
        "series of Windows must be (S,) or (S, D), and not empty. Got (1, 203, 3).",
    ),
    (lambda: Windows(X[:0], 4), ValueError, "series of Windows must be (S,) or (S, D), and not empty. Got (0, 3)."),
    (lambda: Windows(["a"], 1), TypeError, "series of Windows must be an array of real numbers."),
    (lambda: Windows(X, 0), ValueError, "steps of Windows must be an int >= 1. Got 0."),
    (lambda: Windows(X, 204), ValueError, "steps of Windows must be at most S=203. Got 204."),
    (lambda: Windows(X, 4, stride=0), ValueError, "stride of Windows must be an int >= 1. Got 0."),
    (lambda: Windows(X, 4.0), TypeError, "steps of Windows must be an int >= 1. Got 4.0."),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_refused_windows(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


W = Windows(X, 5)
V = Windows(Y, 5)
BAD = Y.copy()
BAD[7] = np.inf
REFUSED_BY_FIT: list[tuple[dict[str, Any], tuple[Any, Any], dict[str, Any], str]] = [
    ({}, (Windows(Y, 5), V), {}, "X must be Windows over (S, D=3). Got (203, 2)."),
    ({}, (W, Windows(X, 5)), {}, "y must be Windows over (S, O=2). Got (203, 3)."),
    ({}, (W, Windows(Y, 6)), {}, "y must have N=199 windows of T=5 steps, as X has. Got 198 of 6."),
    ({}, (W, Windows(Y, 5, stride=2)), {}, "y must have N=199 windows of T=5 steps, as X has. Got 100 of 5."),
    ({}, (W, Windows(BAD, 5)), {}, "y must be finite. Got inf at step 7 of the series."),
    ({}, (W, V), {"lengths": [5] * 199}, "lengths must be None when X is Windows."),
    ({}, (W, V), {"sample_weight": [1] * 199}, "sample_weight of Network.fit must be None when y is Windows"),
    ({}, (W, V), {"class_weight": [1, 2]}, "class_weight of Network.fit must be None when y is Windows"),
    (
        {"readout": "last"},
        (W, V),
        {},
        "y must be an array with a row for each sequence when readout='last'. Got Windows.",
    ),
    (
        {"readout": "mean"},
        (W, V),
        {},
        "y must be an array with a row for each sequence when readout='mean'. Got Windows.",
    ),
    ({"output_activation": "sigmoid", "loss": "ce"}, (W, V), {}, "y must lie in [0, 1] when the loss is 'ce'. Got"),
    (
        {"output_activation": "softmax", "loss": "ce"},
        (W, Windows(TOKENS, 5)),
        {},
        "y must hold labels in [0, O=2). Got",
    ),
    ({"vocabulary_size": 9}, (W, V), {}, "X must be Windows over (S,) of int tokens. Got (203, 3) of float64."),
    ({"vocabulary_size": 4}, (Windows(TOKENS, 5), V), {}, "X must hold tokens in [0, V=4). Got 4 at step"),
]


@pytest.mark.parametrize(
    ("options", "pair", "words", "message"), REFUSED_BY_FIT, ids=[message[:50] for *_, message in REFUSED_BY_FIT]
)
def test_what_is_refused_changes_nothing(options: Any, pair: Any, words: Any, message: str) -> None:
    net = network(**options)
    before = parameters(net)
    with pytest.raises(ValueError, match=re.escape(message)):
        net.fit(*pair, 2, **words)
    assert_all_close(parameters(net), before, 0)
    assert net.history is None


def test_a_series_too_large_to_be_copied_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "series", "wb") as file:
        file.truncate(1 << 31)
    whole = np.memmap(tmp_path / "series", np.float32, "r")
    net = Network(1, [Elman(2)], 1, dtype="float64")
    expected = "X must be Windows over a C-contiguous series of float64, or a small one. Got float32, of which a copy"
    with pytest.raises(ValueError, match=re.escape(f"{expected} would take 4.0 GiB.")):
        net.predict(Windows(whole, 5, stride=10**6))
    columns = whole.reshape(-1, 2)[:, :1]
    with pytest.raises(ValueError, match=r"or a small one\. Got float32, of which a copy would take 1\.0 GiB\."):
        Network(1, [Elman(2)], 1, dtype="float32").predict(Windows(columns, 5, stride=10**6))


BOUNDED = """
import mmap, os, sys, threading
import numpy as np
from rnn_from_scratch import GRU, Network, Windows

def anonymous():  # resident memory in bytes that is not of files
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

folder, engine, readout = sys.argv[1:]
S, T, stride = 1 << 33, 40, 1 << 23  # 32 GiB
paths = [os.path.join(folder, name) for name in ("X", "y")]
places = np.arange(0, S - T, stride)[::10]
for seed, path in enumerate(paths):
    with open(path, "wb") as file:
        file.truncate(4 * S)
        generator = np.random.default_rng(seed)
        for place in places:  # numbers in some places, holes in all others
            file.seek(4 * int(place))
            file.write(generator.normal(size=T).astype(np.float32).tobytes())
files = [np.memmap(path, np.float32, "r") for path in paths]
for file in files:
    file._mmap.madvise(mmap.MADV_RANDOM)  # or the system reads megabytes of holes around every window
X, y = (Windows(file, T, stride=stride) for file in files)
assert X.series.nbytes == 32 << 30
t = y if readout == "every" else np.random.default_rng(2).normal(size=len(X)).astype(np.float32)

def new():
    return Network(1, [GRU(6)], 1, readout=readout, random_state=0, engine=engine)

small, words = new(), {"batch_size": 128, "metrics": ["mae", "r2"]}
small.fit(np.zeros((2, T, 1), np.float32), np.zeros((2, T) if readout == "every" else 2), 1)  # what is loaded is loaded
before, peak, done = anonymous(), 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
net = new()
history = net.fit(X, t, 1, validation=(X, t), tbptt_steps=20, **words)
outputs = net.predict(X)
done.set()
watcher.join()

copies = [np.stack([w[n] for n in range(len(w))]) for w in (X, y)]
other = new()
reference = other.fit(copies[0][:, :, None], copies[1] if readout == "every" else t, 1, tbptt_steps=20, **words,
                      validation=(copies[0][:, :, None], copies[1] if readout == "every" else t))
assert outputs.tobytes() == other.predict(copies[0][:, :, None]).tobytes()
kept, same = history.to_dict(), reference.to_dict()
assert {**kept, "seconds": 0} == {**same, "seconds": 0}
assert 0 < kept["loss"][0] and len(X) == 1024
print((peak - before) >> 20)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("readout", ["every", "last"])
def test_memory_is_bounded_over_files_of_gigabytes(engine: str, readout: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(tmp_path), engine, readout], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150, done.stdout  # MiB beyond what an idle process has; each file is 32768


OVERLAPPING = """
import sys
import numpy as np
from rnn_from_scratch import Elman, Network, Windows

def anonymous_peak():  # of the whole process, files included: there are none here
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) >> 10

readout = sys.argv[1]
S, T, stride = 200_000, 1000, 20
series = np.random.default_rng(0).normal(size=(S, 8)).astype(np.float32)
X = Windows(series, T, stride=stride)
y = Windows(series[:, :1].copy(), T, stride=stride) if readout == "every" else np.ones(len(X), np.float32)
network = Network(8, [Elman(2)], 1, readout=readout, random_state=0, engine="native")
network.fit(Windows(series[:T], T), Windows(series[:T, :1].copy(), T) if readout == "every" else y[:1], 1)
before = anonymous_peak()
history = network.fit(X, y, 1, validation=(X, y), metrics=["mae", "rmse", "r2"])
if readout == "last":
    assert network.predict(X).shape == (len(X), 1)
assert len(X) * T * 8 * 4 > 300 << 20
print(anonymous_peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("readout", ["every", "last"])
def test_memory_does_not_grow_with_overlaps(native: None, readout: str) -> None:
    done = subprocess.run([sys.executable, "-c", OVERLAPPING, readout], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 90, done.stdout  # MiB; the windows one by one would be more than 300
