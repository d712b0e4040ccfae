"""`Network` as people call it: what it takes, what it refuses, and that nothing is lost when something goes wrong."""

from __future__ import annotations

import copy
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close, assert_same_bits

from rnn_from_scratch import GRU, LSTM, Elman, Network, network_base
from rnn_from_scratch.initializers import initialize


def data(N: int = 12, T: int = 5, D: int = 3, O: int = 2) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, T, D)), generator.normal(size=(N, T, O))


def network(engine: str = "auto", **options: Any) -> Network:
    return Network(3, [Elman(6)], 2, **{"random_state": 0, "engine": engine, **options})


# --- What a network is ---


def test_first_weights_are_xavier_uniform_and_biases_zero() -> None:
    big = Network(300, [Elman(200), Elman(100)], 50, random_state=0)
    for name, W in big.parameters.items():
        if W.ndim == 1:
            assert not W.any()
            continue
        limit = np.sqrt(6 / sum(W.shape))
        assert np.abs(W).max() <= limit
        assert W.var() == pytest.approx(limit**2 / 3, rel=0.05), name
        assert abs(W.mean()) < 0.02 * limit


def test_threads_that_use_a_new_network_at_once_use_the_same_one(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*arguments: Any) -> None:
        time.sleep(0.02)  # all threads are here before one of them has finished
        initialize(*arguments)

    monkeypatch.setattr(network_base, "initialize", slowly)
    X, _ = data()
    net = network(engine)
    with ThreadPoolExecutor(4) as pool:
        found = [run.result() for run in [pool.submit(net.predict, X) for _ in range(4)]]
    again = pickle.loads(pickle.dumps(net))  # with a plan of its own
    for outputs in (*found, net.predict(X)):
        assert_same_bits(outputs, again.predict(X))


def test_same_seed_same_start_in_both_precisions() -> None:
    double, single = network(dtype="float64"), network(dtype=np.float32)
    for name, W in double.parameters.items():
        assert_same_bits(single.parameters[name], W.astype(np.float32), name)
    other = network(dtype="float64", random_state=1)
    assert not np.array_equal(other.parameters["layer0.W_h"], double.parameters["layer0.W_h"])


def test_dtype_is_that_of_the_first_data() -> None:
    X, y = data()
    for first, expected in [
        (np.float32, "float32"),
        (np.float64, "float64"),
        (np.float16, "float64"),
        (np.int64, "float64"),
    ]:
        trained = network()
        assert trained.dtype is None
        trained.fit(X.astype(first), y, 1)
        assert trained.dtype == expected
        assert trained.predict(X).dtype == expected
    ragged = network()
    ragged.predict([X[0].astype(np.float32), X[1, :2].astype(np.float32)])
    assert ragged.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(input_size=0), "input_size of Network must be an int >= 1. Got 0."),
        (dict(input_size=2.5), "input_size of Network must be an int >= 1. Got 2.5."),
        (dict(output_size=True), "output_size of Network must be an int >= 1. Got True."),
        (dict(layers=[]), "layers of Network must be a list of one or more layers. Got []."),
        (dict(layers=Elman(3)), "layers of Network must be a list of one or more layers. Got Elman("),
        (dict(layers=[3]), "layers of Network must hold layers such as GRU(8). Got 3."),
        (dict(readout="first"), "readout of Network must be one of 'every', 'last', 'mean'. Got 'first'."),
        (dict(loss="hinge"), "loss of Network must be one of 'mse', 'ce', 'mae', 'huber'. Got 'hinge'."),
        (dict(output_activation=None), "output_activation of Network must be one of 'linear', 'sigmoid', 'softmax'. Got None."),
        (dict(output_activation="softmax", output_size=1), "must be 'linear' or 'sigmoid' for one output."),
        (dict(loss="ce"), "must be 'sigmoid' or 'softmax' when the loss is 'ce'. Got 'linear'"),
        (dict(dropout=1), "dropout of Network must be a number in [0, 1). Got 1."),
        (dict(vocabulary_size=0), "vocabulary_size of Network must be an int >= 1. Got 0."),
        (dict(huber_delta=-1), "huber_delta of Network must be a finite number > 0. Got -1."),
        (dict(initializer="zeros"), "initializer of Network must be one of 'xavier_uniform', 'xavier_normal', 'he', "),
        (dict(dtype="int8"), "dtype of Network must be one of 'float32', 'float64'. Got 'int8'."),
        (dict(dtype="number"), "dtype of Network must be one of 'float32', 'float64'. Got 'number'."),
        (dict(engine="gpu"), "engine of Network must be one of 'auto', 'numpy', 'native'. Got 'gpu'."),
        (dict(random_state=-1), "random_state of Network must be None, an int >= 0, a SeedSequence"),
        (dict(random_state="seed"), "random_state of Network must be None, an int >= 0, a SeedSequence"),
    ],
)  # fmt: skip
def test_a_wrong_network_is_refused(arguments: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"input_size": 3, "layers": [Elman(4)], "output_size": 2}
    with pytest.raises((TypeError, ValueError)) as caught:
        Network(**{**right, **arguments})
    assert message in str(caught.value)


@pytest.mark.parametrize(("size", "activation"), [(0, "tanh"), ("8", "tanh"), (8, "gelu"), (None, "tanh"), (8, 3)])
def test_a_wrong_layer_is_refused(size: Any, activation: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="of Elman must be"):
        Elman(size, activation)


# --- Data ---


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e30), ("float64", 1e200)])
def test_large_numbers_are_numbers(engine: str, dtype: str, large: float) -> None:
    """Their squares overflow, and nobody has to hear of it: warnings are errors here."""
    X = np.array([[[large], [-large]]])
    y = Network(1, [LSTM(2)], 1, random_state=0, engine=engine, dtype=dtype).predict(X)
    assert np.isfinite(y).all()


BAD_DATA: list[tuple[dict[str, Any], str]] = [
    (dict(X=np.zeros((4, 5))), "X must be (N, T, D=3). Got (4, 5)."),
    (dict(X=np.zeros((4, 3))), "X must be (N, T, D=3). Got (4, 3). A single sequence goes in a list: [X]."),
    (dict(X=np.zeros((4, 5, 2))), "X must be (N, T, D=3). Got (4, 5, 2)."),
    (dict(X=np.zeros((0, 5, 3))), "X must hold at least one sequence of at least one step. Got (0, 5, 3)."),
    (dict(X=np.zeros((4, 0, 3))), "X must hold at least one sequence of at least one step. Got (4, 0, 3)."),
    (dict(X=[]), "X must hold at least one sequence. Got an empty list."),
    (dict(X=[np.zeros((2, 3)), np.zeros((0, 3))]), "X[1] must have at least one step. Got (0, 3)."),
    (dict(X=[np.zeros((2, 3)), np.zeros((2, 4))]), "X[1] must be (T, D=3). Got (2, 4)."),
    (dict(X=[[["a", "b", "c"]]]), "X[0] must be an array of real numbers. Got dtype <U1."),
    (dict(X=np.zeros((4, 5, 3), complex)), "X must be an array of real numbers. Got dtype complex128."),
    (dict(X=np.full((4, 5, 3), None)), "X must be an array of real numbers. Got dtype object."),
    (dict(X=[[[1, 2, 3], [4, 5]]]), "X[0] must be a rectangular array of real numbers."),
    (dict(X=np.ma.masked_less(np.zeros((4, 5, 3)), 1)), "X must not have masked entries. Got a masked array."),
    (dict(X=np.full((4, 5, 3), np.nan)), "X[0] must be finite. Got nan at index (0, 0)."),
    (dict(X=np.full((4, 5, 3), 1e300), dtype="float32"), "X[0] must be finite. Got inf at index (0, 0)."),
    (dict(y=np.full((4, 5, 2), -np.inf)), "y[0] must be finite. Got -inf at index (0, 0)."),
    (dict(y=np.zeros((4, 5))), "y must be (N=4, T=5, O=2). Got (4, 5)."),
    (dict(y=np.zeros((4, 6, 2))), "y must be (N=4, T=5, O=2). Got (4, 6, 2)."),
    (dict(y=np.zeros((3, 5, 2))), "y must be (N=4, T=5, O=2). Got (3, 5, 2)."),
    (dict(y=[np.zeros((5, 2))] * 3 + [np.zeros((4, 2))]), "y must have the lengths of X, [5, 5, 5, 5]. Got [5, 5, 5, 4]."),
    (dict(y=[np.zeros(5)] * 4), "y[0] must be (T, O=2). Got (5,)."),
    (dict(readout="last"), "y must be (N=4, O=2). Got (4, 5, 2)."),
    (dict(y=np.full((4, 2), np.nan), readout="last"), "y must be finite. Got nan at index (0, 0)."),
    (dict(y=np.full((4, 5, 2), 1.5), loss="ce", output_activation="sigmoid"), "y must lie in [0, 1] when the loss"),
    (dict(lengths=[5, 5, 5]), "lengths must be (N=4,) of ints. Got (3,) of int64."),
    (dict(lengths=[5, 5, 5, 1.5]), "lengths must be (N=4,) of ints. Got (4,) of float64."),
    (dict(lengths=[5, 5, 0, 5]), "lengths must lie between 1 and T=5. Got 0 for sequence 2."),
    (dict(lengths=[5, 6, 5, 5]), "lengths must lie between 1 and T=5. Got 6 for sequence 1."),
    (dict(X=[np.zeros((5, 3))] * 4, lengths=[5, 5, 5, 5]), "lengths must be None when X is a list of sequences."),
    (dict(sample_weight=[1, 1, 1]), "sample_weight of Network.fit must be (N=4,) or (N=4, T=5). Got (3,)."),
    (dict(sample_weight=np.ones((4, 6))), "sample_weight of Network.fit must be (N=4,) or (N=4, T=5). Got (4, 6)."),
    (dict(sample_weight=np.ones((4, 5)), readout="mean", y=np.zeros((4, 2))), "sample_weight of Network.fit must be (N=4,)."),
    (dict(sample_weight=[np.ones(5)] * 3 + [np.ones(4)]), "sample_weight of Network.fit must have the lengths of X, [5, 5"),
    (dict(sample_weight=[1, 1, -1, 1]), "sample_weight of Network.fit must hold finite numbers >= 0. Got -1."),
    (dict(sample_weight=[1, 1, np.nan, 1]), "sample_weight of Network.fit must hold finite numbers >= 0. Got nan."),
    (dict(sample_weight="all"), "sample_weight of Network.fit must be an array of real numbers. Got 'all'."),
    (dict(sample_weight=[0, 0, 0, 0]), "sample_weight of Network.fit must leave at least one row a positive weight."),
    (dict(class_weight=[1, 2]), "class_weight of Network.fit must be None unless the outputs are 'softmax' or"),
    (dict(l2=-1), "l2 of Network.fit must be a finite number >= 0. Got -1."),
    (dict(l2="much"), "l2 of Network.fit must be a finite number >= 0. Got 'much'."),
    (dict(frozen=["layer1"]), "frozen of Network.fit must name tensors or their places, ['layer0.W_x', "),
    (dict(frozen="layer"), "frozen of Network.fit must name tensors or their places, ['layer0.W_x', "),
    (dict(frozen=3), "frozen of Network.fit must be a list of names such as 'layer0'. Got 3."),
    (dict(epochs=0), "epochs of Network.fit must be an int >= 1. Got 0."),
    (dict(epochs=1.0), "epochs of Network.fit must be an int >= 1. Got 1.0."),
    (dict(batch_size=0), "batch_size of Network.fit must be an int >= 1. Got 0."),
    (dict(learning_rate=0), "learning_rate of Network.fit must be a finite number > 0. Got 0."),
    (dict(learning_rate=np.nan), "learning_rate of Network.fit must be a finite number > 0. Got nan."),
    (dict(learning_rate="fast"), "learning_rate of Network.fit must be a finite number > 0. Got 'fast'."),
    (dict(learning_rate=10**400), "learning_rate of Network.fit must be a finite number > 0. Got 1000"),
    (dict(optimizer="adagrad"), "optimizer of Network.fit must be one of 'sgd', 'rmsprop', 'adam', 'adamw'. Got 'adagrad'."),
    (dict(clip=-1), "clip of Network.fit must be a finite number > 0. Got -1."),
    (dict(shuffle="yes"), "shuffle of Network.fit must be True or False. Got 'yes'."),
    (dict(callbacks=3), "callbacks of Network.fit must be callables (epoch, history). Got 3."),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD_DATA)
def test_bad_input_is_refused_before_anything_changes(arguments: dict[str, Any], message: str) -> None:
    options = {k: arguments[k] for k in ("dtype", "readout", "loss", "output_activation") if k in arguments}
    call = {k: v for k, v in arguments.items() if k not in options}
    refusing = network(**{"dtype": "float64", **options})
    before = {name: W.copy() for name, W in refusing.parameters.items()}
    right: dict[str, Any] = {"X": np.zeros((4, 5, 3)), "y": np.zeros((4, 5, 2)), "epochs": 1}
    with pytest.raises((TypeError, ValueError)) as caught:
        refusing.fit(**{**right, **call})
    assert message in str(caught.value)
    for name, W in refusing.parameters.items():
        assert_same_bits(W, before[name], name)


def test_one_output_may_come_without_its_axis(engine: str) -> None:
    X, y = data(O=1)
    one = Network(3, [Elman(4)], 1, random_state=0, engine=engine)
    assert one.loss_and_gradient(X, y)[0] == one.loss_and_gradient(X, y[:, :, 0])[0]
    assert one.loss_and_gradient(X, y)[0] == one.loss_and_gradient(list(X), list(y[:, :, 0]))[0]
    last = one.with_readout("last")
    assert last.loss_and_gradient(X, y[:, 0])[0] == last.loss_and_gradient(X, y[:, 0, 0])[0]


def test_lists_and_padded_arrays_say_the_same(engine: str) -> None:
    X, y = data()
    lengths = np.random.default_rng(1).integers(1, 6, len(X))
    ragged_X = [x[:n] for x, n in zip(X, lengths, strict=True)]
    ragged_y = [t[:n] for t, n in zip(y, lengths, strict=True)]
    net = network(engine)
    loss, gradient = net.loss_and_gradient(X, y, lengths=lengths)
    list_loss, list_gradient = net.loss_and_gradient(ragged_X, ragged_y)
    assert list_loss == pytest.approx(loss, abs=EXACT)
    for name in gradient:
        assert_close(list_gradient[name], gradient[name], EXACT, name)
    padded = net.predict(X, lengths=lengths)
    assert padded.shape == (12, 5, 2)
    assert_close(net.predict(ragged_X), padded[:, : lengths.max()], EXACT)
    objects = np.empty(12, object)
    objects[:] = ragged_X
    assert_close(net.predict(objects), padded[:, : lengths.max()], EXACT)


def test_loss_counts_real_steps_only(engine: str) -> None:
    X, y = data()
    lengths = np.random.default_rng(1).integers(1, 6, len(X))
    net = network(engine)
    real = np.arange(5) < lengths[:, None]
    outputs = net.predict(X, lengths=lengths)
    expected = ((outputs - y)[real] ** 2).mean()
    assert net.loss_and_gradient(X, y, lengths=lengths)[0] == pytest.approx(expected, abs=EXACT)


# --- Parameters ---


def test_parameters_are_read_only_views_that_follow_training(engine: str) -> None:
    net = network(engine)
    views = dict(net.parameters)
    before = {name: W.copy() for name, W in views.items()}
    with pytest.raises(ValueError, match="read-only"):
        views["layer0.W_h"][0, 0] = 1
    net.fit(*data(), 1)
    for name, W in net.parameters.items():
        assert W is views[name]
        assert not np.array_equal(W, before[name]), name


def test_edits_take_effect_and_bad_ones_are_undone(engine: str) -> None:
    X, _ = data()
    net = network(engine)
    before = net.predict(X)
    with net.edit_parameters() as p:
        p["readout.b_y"] += 1
    assert_close(net.predict(X), before + 1, EXACT)
    with pytest.raises(ValueError, match=r"readout\.W_y of Network must be finite"), net.edit_parameters() as p:
        p["readout.W_y"][:] = np.nan
    with pytest.raises(ZeroDivisionError), net.edit_parameters() as p:
        p["readout.W_y"][:] = 1 / len(p["readout.W_y"][:, :0].ravel())
    assert_close(net.predict(X), before + 1, EXACT)


def test_assigning_to_a_name_writes_into_the_tensor(engine: str) -> None:
    X, _ = data()
    net, other = network(engine), network(engine, random_state=7)
    expected = other.predict(X)
    assert np.abs(net.predict(X) - expected).max() > 0.1
    view = net.parameters["layer0.W_h"]
    with net.edit_parameters() as p:
        p.update(other.parameters)
    assert net.parameters["layer0.W_h"] is view
    assert_same_bits(net.predict(X), expected)
    for wrong, message in (
        ({"layer0.W_h": [[1.0]]}, r"parameters\['layer0\.W_h'\] must be .* Got \(1, 1\)\."),
        ({"readout.b_y": np.full_like(net.parameters["readout.b_y"], np.nan)}, r"\['readout\.b_y'\] must be finite"),
    ):
        with pytest.raises(ValueError, match=message), net.edit_parameters() as p:
            p.update({"layer0.W_x": 2 * p["layer0.W_x"], **wrong})
        assert_same_bits(net.predict(X), expected)
    with pytest.raises(KeyError, match="Got 'W_h'"), net.edit_parameters() as p:
        p["W_h"] = 0


def test_nothing_is_written_after_the_block(engine: str) -> None:
    X, _ = data()
    net = network(engine)
    before = net.predict(X)
    with net.edit_parameters() as p:
        pass
    with pytest.raises(ValueError, match="read-only"):
        p["layer0.W_x"][:] = 0
    assert_same_bits(net.predict(X), before)


def test_copies_and_pickles_are_independent_and_equal(engine: str) -> None:
    X, y = data()
    net = network(engine)
    net.fit(X, y, 2)
    expected = net.predict(X)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_same_bits(twin.predict(X), expected)
        twin.fit(X, y, 2)
        assert_same_bits(net.predict(X), expected)
        with pytest.raises(ValueError, match="read-only"):
            twin.parameters["layer0.b_h"][:] = 0
        with twin.edit_parameters() as p:
            p["readout.b_y"][:] = 5
        assert (twin.parameters["readout.b_y"] == 5).all()


def test_readouts_share_their_parameters(engine: str) -> None:
    X, y = data()
    every = network(engine)
    last = every.with_readout("last")
    assert_close(last.predict(X), every.predict(X)[:, -1], EXACT)
    last.fit(X, y[:, -1], 3)
    assert_close(last.predict(X), every.predict(X)[:, -1], EXACT)
    assert every.specification.readout == "every"


# --- Tokens ---


def token_network(engine: str = "auto", **options: Any) -> Network:
    words: dict[str, Any] = dict(
        output_activation="softmax", loss="ce", vocabulary_size=7, random_state=0, engine=engine
    )
    return Network(4, [GRU(5), LSTM(3, bidirectional=True)], 6, **{**words, **options})


def tokens(N: int = 5, T: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    return generator.integers(0, 7, (N, T)), generator.integers(0, 6, (N, T)), np.array([6, 2, 4, 1, 3])


def test_tokens_are_rows_of_the_embedding(engine: str) -> None:
    X, y, lengths = tokens()
    net = token_network(engine)
    plain = Network(4, net.specification.layers, 6, output_activation="softmax", loss="ce", engine=engine)
    with plain.edit_parameters() as p:
        for name in p:
            p[name][...] = net.parameters[name]
    W_e = net.parameters["embedding.W_e"]
    assert_close(net.predict(X, lengths=lengths), plain.predict(W_e[X], lengths=lengths), EXACT)
    loss, gradient = net.loss_and_gradient(X, y, lengths=lengths)
    expected_loss, expected = plain.loss_and_gradient(W_e[X], y, lengths=lengths)
    assert loss == pytest.approx(expected_loss, abs=EXACT)
    for name in expected:
        assert_close(gradient[name], expected[name], EXACT, name)
    d_W_e = np.zeros_like(W_e)
    run = plain.forward(W_e[X], lengths=lengths)
    d_a = (run.outputs - np.eye(6)[y]) * (np.arange(6) < lengths[:, None])[:, :, None] / lengths.sum()
    d_x = plain.backward(run, d_preactivations=d_a).d_inputs
    np.add.at(d_W_e, X, d_x)
    assert_close(gradient["embedding.W_e"], d_W_e, EXACT)


def test_padding_of_tokens_and_labels_is_never_looked_at(engine: str) -> None:
    X, y, lengths = tokens()
    net = token_network(engine)
    expected = net.loss_and_gradient(X, y, lengths=lengths)
    outputs = net.predict(X, lengths=lengths)
    past = np.arange(6) >= lengths[:, None]
    poisoned_X, poisoned_y = np.where(past, -(10**12), X), np.where(past, 10**9, y)
    loss, gradient = net.loss_and_gradient(poisoned_X, poisoned_y, lengths=lengths)
    assert loss == expected[0]
    for name, d in gradient.items():
        assert_same_bits(d, expected[1][name], name)
    assert_same_bits(net.predict(poisoned_X, lengths=lengths), outputs)
    lists = [x[:n] for x, n in zip(X, lengths, strict=True)], [t[:n].tolist() for t, n in zip(y, lengths, strict=True)]
    assert net.loss_and_gradient(*lists)[0] == pytest.approx(expected[0], abs=EXACT)
    assert net.loss_and_gradient(X, lists[1], lengths=lengths)[0] == pytest.approx(expected[0], abs=EXACT)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_tokens_of_any_int_make_a_network_of_float64(engine: str, dtype: Any) -> None:
    X, y, _ = tokens()
    net = token_network(engine)
    outputs = net.predict(X.astype(dtype))
    assert net.dtype == outputs.dtype == np.float64
    assert_same_bits(outputs, net.predict(X.tolist()))
    single = token_network(engine, dtype="float32")
    assert single.predict(X).dtype == np.float32
    history = single.fit(X, y, 30, learning_rate=0.02)
    assert history.loss[-1] < 0.9 * history.loss[0]


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (np.zeros((2, 3)), {}, TypeError, "X must be an array of ints, since tokens are ints. Got dtype float64."),
        (np.zeros((2, 3), bool), {}, TypeError, "X must be an array of ints, since tokens are ints. Got dtype bool."),
        ([[0, 1], [1.5]], {}, TypeError, "X[1] must be an array of ints, since tokens are ints. Got dtype float64."),
        (np.zeros(3, int), {}, ValueError, "X must be (N, T) of tokens. Got (3,)."),
        (np.zeros((2, 3, 1), int), {}, ValueError, "X must be (N, T) of tokens. Got (2, 3, 1)."),
        ([0, 1], {}, ValueError, "X[0] must be (T,) of tokens. Got ()."),
        ([[0, 1], []], {}, ValueError, "X[1] must have at least one step. Got (0,)."),
        ([], {}, ValueError, "X must hold at least one sequence. Got an empty list."),
        (np.zeros((2, 0), int), {}, ValueError, "X must hold at least one sequence of at least one step. Got (2, 0)."),
        ([[0, 6], [3, 7, -1]], {}, ValueError, "X[1] must hold tokens in [0, V=7). Got 7 at step 1."),
        (np.array([[0, 6], [-1, 9]]), {}, ValueError, "X[1] must hold tokens in [0, V=7). Got -1 at step 0."),
        (np.array([[9, 6], [6, 9]]), dict(lengths=[2, 1]), ValueError, "X[0] must hold tokens in [0, V=7). Got 9 at step 0."),
        (np.array([[1, 9], [6, 9]]), dict(lengths=[1, 2]), ValueError, "X[1] must hold tokens in [0, V=7). Got 9 at step 1."),
        (np.array([[2**64 - 1]], np.uint64), {}, ValueError, "X[0] must hold tokens in [0, V=7). Got 9223372036854775807"),
        (np.zeros((2, 3), int), dict(lengths=[4, 1]), ValueError, "lengths must lie between 1 and T=3. Got 4"),
        ([[0, 1]], dict(lengths=[2]), ValueError, "lengths must be None when X is a list of sequences. Got [2]."),
    ],
)  # fmt: skip
def test_wrong_tokens_are_refused(X: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        token_network().predict(X, **options)
    assert message in str(caught.value)


def test_labels_are_one_hot_rows(engine: str) -> None:
    X, y, lengths = tokens()
    for readout in ("every", "last", "mean"):
        net = token_network(engine, readout=readout)
        labels = y if readout == "every" else y[:, 0]
        by_label = net.loss_and_gradient(X, labels, lengths=lengths)
        by_row = net.loss_and_gradient(X, np.eye(6)[labels], lengths=lengths)
        assert by_label[0] == by_row[0]
        for name in by_row[1]:
            assert_same_bits(by_label[1][name], by_row[1][name], name)
        soft = 0.5 * np.eye(6)[labels] + 0.5 / 6
        assert net.loss_and_gradient(X, soft, lengths=lengths)[0] != by_row[0]


@pytest.mark.parametrize(
    ("y", "readout", "message"),
    [
        ([0, 1, 6], "last", "y must hold labels in [0, O=6). Got 6."),
        ([0, -1, 5], "mean", "y must hold labels in [0, O=6). Got -1."),
        ([0.0, 1.0, 2.0], "last", "y must hold int labels, or a row of O=6 for each. Got dtype float64."),
        (
            ["a", "b", "a"],
            "last",
            "y must be an array of real numbers. Got dtype <U1. To number classes: names, y = np.unique(",
        ),
        ([True, False, True], "last", "y must hold int labels, or a row of O=6 for each. Got dtype bool."),
        ([0, 1], "last", "y must be (N=3, O=6). Got (2,)."),
        ([[0, 1], [1, 6], [0, 0]], "every", "y[1] must hold labels in [0, O=6). Got 6."),
        (np.array([[0, 1], [1, 6], [0, 0]]), "every", "y must hold labels in [0, O=6). Got 6."),
        ([[0, 1], [1], [0, 0]], "every", "y must have the lengths of X, [2, 2, 2]. Got [2, 1, 2]."),
        (np.zeros((3, 3), int), "every", "y must be (N=3, T=2, O=6). Got (3, 3)."),
    ],
)
def test_wrong_labels_are_refused(y: Any, readout: str, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        token_network(readout=readout).fit(np.zeros((3, 2), int), y, 1)
    assert message in str(caught.value)


def test_labels_are_for_softmax_and_ce_alone() -> None:
    X = np.zeros((3, 2), int)
    with pytest.raises(ValueError, match=r"y must be \(N=3, O=6\)\. Got \(3,\)\."):
        token_network(readout="last", loss="mse").fit(X, [0, 1, 2], 1)
