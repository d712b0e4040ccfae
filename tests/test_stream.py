"""Streams: step by step, on both engines, is the sequence; the state comes and goes; and wrong arguments change nothing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from support import ARCHITECTURES, Case, assert_all_close, assert_close, assert_same_bits, make, tolerance

from rnn_from_scratch import GRU, LSTM, Elman, Network, Stream
from rnn_from_scratch.layers import Layer
from rnn_from_scratch.optimizers import SGD


def network_of(case: Case, engine: str, dtype: str) -> Network:
    """A network with the numbers of a case."""
    network = Network.from_specification(case.specification, dtype=dtype, engine=engine, random_state=0)
    with network.edit_parameters() as p:
        end = 0
        for tensor in p.values():
            tensor[...] = case.vector[end : end + tensor.size].reshape(tensor.shape)
            end += tensor.size
    return network


def inputs(case: Case, dtype: str) -> np.ndarray:
    return case.x[:, :, 0] if case.takes_tokens else case.x.astype(dtype)


def one(engine: str, **options: Any) -> tuple[Network, Stream]:
    network = Network(3, [GRU(5), LSTM(4)], 2, engine=engine, random_state=1, dtype="float64", **options)
    return network, network.stream()


@pytest.mark.parametrize("vocabulary_size", [None, 5])
@pytest.mark.parametrize("output", ["linear", "softmax"])
def test_streams_step_by_step_are_the_sequences(
    engine: str, dtype: str, one_way: str, vocabulary_size: int | None, output: str
) -> None:
    case = make(one_way, T=6, N=3, ragged=False, vocabulary_size=vocabulary_size, output=(output, "mse"))
    network, X = network_of(case, engine, dtype), inputs(case, dtype)
    whole, last = network.predict(X, state=case.state, return_states=True)
    together = network.stream(3, state=case.state)
    alone = [network.stream(state={name: h[n : n + 1] for name, h in case.state.items()}) for n in range(3)]
    out = np.empty((3, 2), dtype)
    for t in range(6):
        y = together.step(np.ascontiguousarray(X[:, t]), out if t % 2 else None)
        assert y is out or not t % 2
        assert y.dtype == dtype
        assert_close(y, whole[:, t], tolerance(dtype), f"step {t}")
        for n, stream in enumerate(alone):
            y = stream.step(int(X[n, t]) if case.takes_tokens else X[n, t])
            assert y.shape == (2,)
            assert_close(y, whole[n, t], tolerance(dtype), f"step {t} of stream {n}")
    assert_all_close(together.state, last, tolerance(dtype))
    for n, stream in enumerate(alone):
        assert_all_close(stream.state, {name: h[n : n + 1] for name, h in last.items()}, tolerance(dtype))


def test_one_stream_has_the_states_of_one_sequence_to_the_bit(engine: str, dtype: str, one_way: str) -> None:
    case = make(one_way, T=8, N=1, ragged=False)
    network, X = network_of(case, engine, dtype), inputs(case, dtype)
    stream = network.stream(state=case.state)
    for x in X[0]:
        stream.step(x)
    _, last = network.predict(X, state=case.state, return_states=True)
    for name, values in stream.state.items():
        assert_close(values, last[name], 0.0 if engine == "native" else tolerance(dtype), name)


def test_the_last_readout_is_that_of_the_last_step(engine: str) -> None:
    network, stream = one(engine, readout="last")
    X = np.random.default_rng(0).normal(size=(1, 7, 3))
    for x in X[0]:
        y = stream.step(x)
    assert_close(y, network.predict(X)[0], 1e-12)


def test_states_come_and_go(engine: str, dtype: str, one_way: str) -> None:
    """What one stream hands out, another goes on from; so does predict."""
    case = make(one_way, T=6, N=2, ragged=False)
    network, X = network_of(case, engine, dtype), inputs(case, dtype)
    first, second = network.stream(2), network.stream(2)
    for t in range(3):
        first.step(X[:, t].copy())
    state = first.state
    second.state = state
    rest = network.predict(X[:, 3:], state=state)
    for t in range(3, 6):
        y = first.step(X[:, t].copy())
        assert_same_bits(y, second.step(X[:, t].copy()))
        assert_close(y, rest[:, t - 3], tolerance(dtype))
    assert_all_close(second.state, first.state, 0.0)
    state["layer0.h"][:] = 0  # a copy, there and back
    assert second.state["layer0.h"].any()
    second.state = state
    state["layer0.h"][:] = 1
    assert not second.state["layer0.h"].any()


def test_streams_do_not_know_each_other(engine: str, dtype: str) -> None:
    case = make("stack", N=2, ragged=False)
    network, X = network_of(case, engine, dtype), inputs(case, dtype)
    left, right = network.stream(), network.stream()
    outputs = [(left.step(X[0, t]), right.step(X[1, t])) for t in range(case.T)]
    expected = network.predict(X)
    for n in range(2):
        assert_close([y[n] for y in outputs], expected[n], tolerance(dtype))


def test_rows_of_many_streams_do_not_know_each_other(engine: str, dtype: str, one_way: str) -> None:
    case = make(one_way, N=9, T=3, ragged=False)
    network, X = network_of(case, engine, dtype), inputs(case, dtype)
    together = network.stream(9, state=case.state)
    for t in range(3):
        y = together.step(X[:, t].copy())
    expected = [
        network.predict(X[n : n + 1], state={k: h[n : n + 1] for k, h in case.state.items()})[0, -1] for n in range(9)
    ]
    assert_close(y, expected, tolerance(dtype))


def test_reset_goes_back_to_the_beginning(engine: str, dtype: str) -> None:
    case = make("stack", N=1, ragged=False)
    network, X = network_of(case, engine, dtype), inputs(case, dtype)
    for stream in (network.stream(), network.stream(state=case.state)):
        before = stream.state
        first = [stream.step(x).copy() for x in X[0]]
        stream.reset()
        assert_all_close(stream.state, before, 0.0)
        assert_same_bits(first, [stream.step(x) for x in X[0]])


@pytest.mark.parametrize("layer", [Elman(131), GRU(70), LSTM(66)], ids=["elman", "gru", "lstm"])
def test_answers_depend_on_the_state_and_not_on_the_steps_before(engine: str, dtype: str, layer: Layer) -> None:
    """Weights that are more than the nearest cache holds: kernels read them in another order from step to step."""
    generator = np.random.default_rng(3)
    network = Network(9, [layer], 2, dtype=dtype, engine=engine, random_state=0)
    X = generator.normal(size=(5, 9)).astype(dtype)
    stream = network.stream()
    for x in X:
        stream.step(x)
    kept = stream.state
    first = [stream.step(x).copy() for x in X]
    stream.state = kept
    assert_same_bits(first, [stream.step(x) for x in X])


def test_streams_start_from_learned_states_and_reset_to_the_present_ones(engine: str, dtype: str) -> None:
    network = Network(2, [LSTM(3, learned_state=True), GRU(4)], 1, dtype=dtype, engine=engine, random_state=0)
    with network.edit_parameters() as p:
        p["layer0.h_0"] = [0.5, -0.2, 0.9]
        p["layer0.c_0"] = [-0.5, 1.2, 0.4]
    X = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(dtype)
    stream = network.stream(2)
    assert_close(stream.state["layer0.c"], np.tile([-0.5, 1.2, 0.4], (2, 1)), tolerance(dtype))
    assert not stream.state["layer1.h"].any()
    for t in range(3):
        assert_close(stream.step(X[:, t].copy()), network.predict(X)[:, t], tolerance(dtype))
    with network.edit_parameters() as p:
        p["layer0.h_0"] *= -1
    stream.reset()
    assert_close(stream.step(X[:, 0].copy()), network.predict(X)[:, 0], tolerance(dtype))


def test_a_stream_follows_edits_and_training(engine: str, dtype: str) -> None:
    network = Network(2, [Elman(6), LSTM(5)], 2, dtype=dtype, engine=engine, random_state=0)
    stream = network.stream()
    x = np.array([0.3, -0.8], dtype)
    first = stream.step(x)
    with network.edit_parameters() as p:
        p["layer0.W_x"] *= 2
        p["readout.b_y"] = [1.0, 2.0]
    stream.reset()
    second = stream.step(x)
    assert_close(second, network.predict(x[None, None])[0, 0], tolerance(dtype))
    assert abs(second - first).max() > 0.1
    network.fit(np.ones((4, 3, 2), dtype), np.ones((4, 3, 2), dtype), 3, optimizer=SGD(), learning_rate=0.5)
    stream.reset()
    third = stream.step(x)
    assert_close(third, network.predict(x[None, None])[0, 0], tolerance(dtype))
    assert abs(third - second).max() > 1e-3


def test_what_has_to_be_converted_is_converted(engine: str, dtype: str) -> None:
    network = Network(3, [GRU(4)], 2, dtype=dtype, engine=engine, random_state=0)
    exact = np.array([0.5, -1.0, 2.0], dtype)
    expected = network.stream().step(exact)
    strided = np.zeros(6, dtype)
    strided[::2] = exact
    swapped = exact.astype(exact.dtype.newbyteorder())
    odd = np.zeros(3 * exact.itemsize + 1, np.uint8)[1:].view(dtype)
    odd[:] = exact
    read_only = exact.copy()
    read_only.flags.writeable = False
    other = exact.astype("float32" if dtype == "float64" else "float64")
    for x in (exact.tolist(), tuple(exact.tolist()), strided[::2], swapped, odd, read_only, other):
        assert_same_bits(network.stream().step(x), expected, repr(x))
    wide = np.zeros((2, 2), dtype)
    y = network.stream().step(exact, wide[:, 0])
    assert_same_bits(y, expected)
    assert_same_bits(wide[:, 0].copy(), expected)
    assert not wide[:, 1].any()
    both = np.zeros(3, dtype)
    both[:] = exact  # x and out may be the same memory
    assert_same_bits(network.stream().step(both, both[:2]), expected)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        ([1.0, 2.0], {}, ValueError, "x of Stream.step must be (D=3,). Got (2,)."),
        (np.zeros((1, 3)), {}, ValueError, "x of Stream.step must be (D=3,). Got (1, 3)."),
        (np.zeros(3), {"streams": 2}, ValueError, "x of Stream.step must be (N=2, D=3). Got (3,)."),
        (np.array([0, np.nan, 0]), {}, ValueError, "x of Stream.step must be finite. Got nan at index (1,)."),
        (np.array([0, 0, -np.inf]), {}, ValueError, "x of Stream.step must be finite. Got -inf at index (2,)."),
        ("abc", {}, TypeError, "x of Stream.step must be an array of real numbers. Got 'abc'."),
        (None, {}, TypeError, "x of Stream.step must be an array of real numbers. Got None."),
        (np.zeros(3), {"out": [0.0, 0.0]}, TypeError, "out of Stream.step must be a writable ndarray (2,) of float64. Got"),
        (np.zeros(3), {"out": np.zeros(3)}, ValueError, "(2,) of float64. Got (3,) of float64."),
        (np.zeros(3), {"out": np.zeros((1, 2))}, ValueError, "(2,) of float64. Got (1, 2) of float64."),
        (np.zeros(3), {"out": np.zeros(2, "f")}, ValueError, "(2,) of float64. Got (2,) of float32."),
        (np.zeros(3), {"out": np.broadcast_to(0.0, 2)}, ValueError, "Got a read-only one (2,) of float64."),
    ],
)  # fmt: skip
def test_wrong_arguments_change_nothing(
    engine: str, x: Any, options: Any, error: type[Exception], message: str
) -> None:
    network, _ = one(engine)
    words = dict(options)
    stream = network.stream(words.pop("streams", None))
    stream.step(np.full(stream._x_shape, 0.3))
    before = stream.state
    with pytest.raises(error) as caught:
        stream.step(x, **words)
    assert message in str(caught.value)
    for name, values in stream.state.items():
        assert_same_bits(values, before[name], name)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (5, ValueError, "x of Stream.step must hold tokens in [0, V=5). Got 5."),
        (-1, ValueError, "x of Stream.step must hold tokens in [0, V=5). Got -1."),
        (2**70, TypeError, "x of Stream.step must be an array of real numbers."),
        (2**63, ValueError, "x of Stream.step must hold tokens in [0, V=5)."),
        (1.0, TypeError, "x of Stream.step must be an int, since tokens are ints. Got 1.0."),
        (True, TypeError, "x of Stream.step must be an int, since tokens are ints. Got True."),
        ([1], ValueError, "x of Stream.step must be an int. Got (1,)."),
    ],
)
def test_wrong_tokens_change_nothing(engine: str, x: Any, error: type[Exception], message: str) -> None:
    network = Network(2, [GRU(4)], 1, vocabulary_size=5, engine=engine, random_state=0)
    stream = network.stream()
    first = [stream.step(token).copy() for token in (np.int8(3), np.array(3), 3)]
    stream.reset()
    stream.step(3)
    with pytest.raises(error) as caught:
        stream.step(x)
    assert message in str(caught.value)
    assert_same_bits([stream.step(3), stream.step(3)], first[1:])
    with pytest.raises(ValueError, match=r"x of Stream\.step must be \(N=2,\) of int\. Got \(3,\)\."):
        network.stream(2).step([1, 2, 3])


@pytest.mark.parametrize(
    ("streams", "state", "message"),
    [
        (0, None, "streams of Network.stream must be an int >= 1. Got 0."),
        (2.0, None, "streams of Network.stream must be an int >= 1. Got 2.0."),
        (None, {"layer0.h": [[0.0] * 5]}, "state of Network.stream must have the names"),
        (None, [1], "state of Network.stream must be a mapping from names"),
        (2, {"layer0.h": np.zeros((1, 5)), "layer1.h": np.zeros((2, 4)), "layer1.c": np.zeros((2, 4))},
         "state of Network.stream['layer0.h'] must be (N=2, H=5). Got (1, 5)."),
    ],
)  # fmt: skip
def test_wrong_streams_are_refused(engine: str, streams: Any, state: Any, message: str) -> None:
    network, stream = one(engine)
    with pytest.raises((TypeError, ValueError)) as caught:
        network.stream(streams, state=state)
    assert message in str(caught.value)
    before = stream.state
    with pytest.raises(ValueError, match=r"state of Stream\['layer0.h'\] must be finite"):
        stream.state = {**before, "layer0.h": np.full((1, 5), np.nan)}
    assert_all_close(stream.state, before, 0.0)


def test_networks_that_need_the_future_do_not_stream(engine: str) -> None:
    for name in ("gru both ways", "stack with both ways"):
        network = Network(3, ARCHITECTURES[name], 2, engine=engine)
        with pytest.raises(ValueError, match="must have no bidirectional layer"):
            network.stream()
    with pytest.raises(ValueError, match="must have the readout 'every' or 'last'"):
        Network(3, [GRU(2)], 1, readout="mean", engine=engine).stream()


def test_streams_are_neither_copied_nor_pickled(engine: str) -> None:
    network, stream = one(engine)
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a Stream cannot be copied or pickled"):
            attempt(stream)
    assert pickle.loads(pickle.dumps(network)).stream().step(np.ones(3)).shape == (2,)


def test_a_stream_outlives_its_network(engine: str) -> None:
    network, _ = one(engine)
    stream, X = network.stream(), np.random.default_rng(0).normal(size=(1, 50, 3))
    expected = network.predict(X)[0]
    del network
    assert_close([stream.step(x) for x in X[0]], expected, 1e-12)


def test_a_new_network_becomes_float64_by_streaming(engine: str) -> None:
    network = Network(1, [Elman(2)], 1, engine=engine)
    assert network.stream().step([0.5]).dtype == np.float64 == network.dtype
