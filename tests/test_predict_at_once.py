"""`predict` on an array that needs no conversion: the bits of the ordinary path, and everything unusual still goes there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from support import assert_close, assert_same_bits, make, tolerance
from test_stream import inputs, network_of

from rnn_from_scratch import GRU, LSTM, Elman, Network


def ordinary(network: Network, X: np.ndarray) -> np.ndarray:
    """What `predict` gives if it has to look: lengths never go at once."""
    return network.predict(X, lengths=np.full(len(X), X.shape[1]))


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever `predict` takes the ordinary path."""
    seen: list[int] = []
    original = Network._dtype_for

    def counting(self: Network, X: Any) -> Any:
        seen.append(1)
        return original(self, X)

    monkeypatch.setattr(Network, "_dtype_for", counting)
    return seen


@pytest.mark.parametrize("N", [1, 5])
@pytest.mark.parametrize("vocabulary_size", [None, 7])
def test_the_bits_are_those_of_the_ordinary_path(
    native: None, looked: list[int], dtype: str, architecture: str, readout: str, N: int, vocabulary_size: int | None
) -> None:
    case = make(
        architecture, readout, N=N, T=9, ragged=False, vocabulary_size=vocabulary_size, output=("softmax", "ce")
    )
    network, X = network_of(case, "native", dtype), np.ascontiguousarray(inputs(case, dtype))
    network.predict(X)  # the first makes the plan
    for steps in (9, 1, 4, 9):
        part = X[:, :steps].copy()
        expected = ordinary(network, part)
        looked.clear()
        assert_same_bits(network.predict(part), expected)
        assert not looked


def test_large_arrays_go_at_once_too(native: None, looked: list[int], dtype: str) -> None:
    network = Network(3, [GRU(33)], 2, dtype=dtype, random_state=0)
    X = np.random.default_rng(0).normal(size=(70, 40, 3)).astype(dtype)
    expected = ordinary(network, X)
    looked.clear()
    assert_same_bits(network.predict(X), expected)
    assert not looked
    long = np.random.default_rng(0).normal(size=(3, 30_000, 3)).astype(dtype)  # in pieces: the ordinary path's business
    assert network.predict(long).shape == (3, 30_000, 2)
    assert looked


def test_learned_states_and_edits_are_seen(engine: str, dtype: str) -> None:
    network = Network(2, [LSTM(3, learned_state=True)], 1, dtype=dtype, engine=engine, random_state=0)
    X = np.ones((1, 4, 2), dtype)
    first = network.predict(X)
    for name in ("layer0.h_0", "layer0.c_0", "layer0.W_h", "layer0.b_h", "readout.W_y"):
        with network.edit_parameters() as p:
            p[name] += 0.5
        second = network.predict(X)
        assert abs(second - first).max() > 1e-3
        assert_same_bits(second, ordinary(network, X))
        assert_same_bits(second, network.predict(X))
        first = second
    network.fit(X, X[:, :, :1], 2)
    assert abs(network.predict(X) - first).max() > 1e-6
    assert_same_bits(network.predict(X), ordinary(network, X))


def test_readouts_that_share_parameters_see_edits(engine: str) -> None:
    every = Network(1, [Elman(4)], 1, random_state=0, engine=engine, dtype="float64")
    last, X = every.with_readout("last"), np.ones((1, 3, 1))
    for _ in range(3):
        assert_close(every.predict(X)[:, -1], last.predict(X), 1e-12)
        with every.edit_parameters() as p:
            p["layer0.W_x"] += 0.3


def test_what_is_unusual_takes_the_ordinary_path(native: None, looked: list[int], dtype: str) -> None:
    network = Network(2, [GRU(4)], 1, dtype=dtype, random_state=0)
    X = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32").astype(dtype)
    expected = network.predict(X)
    other = "float64" if dtype == "float32" else "float32"
    unusual: list[Any] = [
        X.tolist(), list(X), X.astype(other), np.asfortranarray(X), X[::-1].copy()[::-1], X.astype(X.dtype.newbyteorder()),
        np.ma.array(X), X.view(type("Sub", (np.ndarray,), {})),
    ]  # fmt: skip
    for given in unusual:
        looked.clear()
        assert_close(network.predict(given), expected, tolerance(dtype))
        assert looked, type(given)
    for wrong, message in (
        (X[:, :, :1].copy(), r"X must be \(N, T, D=2\)\. Got \(3, 5, 1\)"),
        (X[:0].copy(), "at least one sequence"),
        (np.where(X[2, 1, 0] == X, np.nan, X).astype(dtype), r"X\[2\] must be finite. Got nan"),
        (np.where(X[2, 1, 0] == X, -np.inf, X).astype(dtype), r"X\[2\] must be finite. Got -inf"),
        (X[0].copy(), "A single sequence goes in a list"),
    ):
        with pytest.raises(ValueError, match=message):
            network.predict(wrong)
    with pytest.raises(TypeError, match=r"return_states of Network\.predict must be True or False"):
        network.predict(X, return_states=0)  # type: ignore[call-overload]
    assert_same_bits(network.predict(X), expected)


def test_outputs_are_arrays_of_their_own(engine: str) -> None:
    network = Network(1, [Elman(3)], 1, random_state=0, engine=engine)
    X = np.ones((1, 4, 1))
    first = network.predict(X)
    kept = first.copy()
    second = network.predict(2 * X)
    assert_same_bits(first, kept)
    assert not np.shares_memory(first, second)
    assert first.flags.writeable
    assert (X == 1).all()


def test_threads_predict_and_step_with_one_network_at_once(native: None, dtype: str) -> None:
    network = Network(3, [LSTM(20), GRU(9)], 2, dtype=dtype, random_state=0)
    shapes = [(1, 5), (4, 7), (1, 60), (90, 20)]  # short ones and one that gives up Python's lock
    data = [np.random.default_rng(n).normal(size=(*shape, 3)).astype(dtype) for n, shape in enumerate(shapes)]
    expected = [network.predict(X) for X in data]

    def work(number: int) -> None:
        stream = network.stream()
        for X, y in [(X, y) for _ in range(5) for X, y in zip(data, expected, strict=True)]:
            assert_same_bits(network.predict(X), y)
            stream.reset()
            steps = [stream.step(x) for x in X[0]]
            assert_close(steps, y[0], tolerance(dtype), f"thread {number}")

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(12))) == [None] * 12


def test_a_few_go_at_once_in_numpy_too(looked: list[int], dtype: str, architecture: str, readout: str) -> None:
    case = make(architecture, readout, N=5, T=9, ragged=False)
    network, X = network_of(case, "numpy", dtype), np.ascontiguousarray(inputs(case, dtype))
    network.predict(X)
    for part in (X, X[:1].copy(), X[:2, :4].copy(), X[:, :1].copy()):
        expected = ordinary(network, part)
        looked.clear()
        assert_same_bits(network.predict(part), expected)
        assert not looked
    other = "float64" if dtype == "float32" else "float32"
    for part in (X.tolist(), X.astype(other), np.asfortranarray(X), X[:, ::2], np.repeat(X, 200, axis=1)):
        looked.clear()
        network.predict(part)
        assert looked
    for wrong in (np.full_like(X, np.nan), X[0].copy(), X[:0].copy(), np.concatenate([X, X], axis=2)):
        with pytest.raises(ValueError, match="X"):
            network.predict(wrong)
