"""`Network` as people call it: what it takes, what it refuses, and that nothing is lost when something goes wrong."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close, assert_same_bits

from rnn_from_scratch import SGD, Adam, Elman, GlobalNorm, History, Network, NonFiniteError, TensorNorm, check_gradients
from rnn_from_scratch.textbook.losses import loss_and_gradient
from rnn_from_scratch.training import loop


def data(N: int = 12, T: int = 5, D: int = 3, O: int = 2) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, T, D)), generator.normal(size=(N, T, O))


def network(engine: str = "auto", **options: Any) -> Network:
    return Network(3, [Elman(6)], 2, **{"random_state": 0, "engine": engine, **options})


# --- what a network is ----------------------------------------------------------------------------------------------


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
        (dict(layers=[3]), "layers of Network must hold layers such as Elman(8). Got 3."),
        (dict(readout="first"), "readout of Network must be one of 'every', 'last'. Got 'first'."),
        (dict(loss="hinge"), "loss of Network must be one of 'mse', 'ce'. Got 'hinge'."),
        (dict(output_activation=None), "output_activation of Network must be one of 'linear', 'sigmoid', 'softmax'. Got None."),
        (dict(output_activation="softmax", output_size=1), "must be 'linear' or 'sigmoid' for one output."),
        (dict(loss="ce"), "must be 'sigmoid' or 'softmax' when the loss is 'ce'. Got 'linear'"),
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


# --- data -----------------------------------------------------------------------------------------------------------


BAD_DATA: list[tuple[dict[str, Any], str]] = [
    (dict(X=np.zeros((4, 5))), "X must be (N, T, D=3). Got (4, 5)."),
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
    (dict(epochs=0), "epochs of Network.fit must be an int >= 1. Got 0."),
    (dict(epochs=1.0), "epochs of Network.fit must be an int >= 1. Got 1.0."),
    (dict(batch_size=0), "batch_size of Network.fit must be an int >= 1. Got 0."),
    (dict(learning_rate=0), "learning_rate of Network.fit must be a finite number > 0. Got 0."),
    (dict(learning_rate=np.nan), "learning_rate of Network.fit must be a finite number > 0. Got nan."),
    (dict(learning_rate="fast"), "learning_rate of Network.fit must be a finite number > 0. Got 'fast'."),
    (dict(learning_rate=10**400), "learning_rate of Network.fit must be a finite number > 0. Got 1000"),
    (dict(optimizer="adagrad"), "optimizer of Network.fit must be one of 'sgd', 'adam'. Got 'adagrad'."),
    (dict(clip=-1), "clip of Network.fit must be a finite number > 0. Got -1."),
    (dict(shuffle="yes"), "shuffle of Network.fit must be True or False. Got 'yes'."),
    (dict(on_epoch=3), "on_epoch of Network.fit must be None or callable. Got 3."),
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


# --- parameters -----------------------------------------------------------------------------------------------------


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


# --- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=lambda o: o.kind)
@pytest.mark.parametrize("clip", [None, 0.05, TensorNorm(0.03)], ids=repr)
def test_fit_is_a_loop_over_loss_and_gradient(engine: str, optimizer: Any, clip: Any) -> None:
    X, y = data()
    trained, by_hand = network(engine), network(engine)
    history = trained.fit(X, y, 3, batch_size=5, optimizer=optimizer, learning_rate=0.02, clip=clip, shuffle=False)
    vector = np.concatenate([W.ravel() for W in by_hand.parameters.values()])
    state = optimizer.init(vector.size, vector.dtype)
    for epoch in range(3):
        losses, norms, clipped = [], [], 0
        for rows in (slice(0, 5), slice(5, 10), slice(10, 12)):
            loss, gradient = by_hand.loss_and_gradient(X[rows], y[rows])
            g = np.concatenate([d.ravel() for d in gradient.values()])
            losses.append(loss)
            norms.append(np.sqrt((g * g).sum()))
            if isinstance(clip, float):
                clipped += norms[-1] > clip
                g *= min(1, clip / norms[-1])
            elif clip:
                parts = [np.sqrt((d * d).sum()) for d in gradient.values()]
                clipped += max(parts) > clip.limit
                g = np.concatenate(
                    [d.ravel() * min(1, clip.limit / n) for d, n in zip(gradient.values(), parts, strict=True)]
                )
            optimizer.update(vector, g, state, 0.02)
            with by_hand.edit_parameters() as p:
                start = 0
                for W in p.values():
                    W[...] = vector[start : start + W.size].reshape(W.shape)
                    start += W.size
        assert history.loss[epoch] == pytest.approx(np.average(losses, weights=[5, 5, 2]), abs=EXACT)
        assert history.gradient_norm_mean[epoch] == pytest.approx(np.mean(norms), abs=EXACT)
        assert history.gradient_norm_max[epoch] == pytest.approx(max(norms), abs=EXACT)
        assert history.clipped[epoch] == clipped
    assert len(history) == 3
    assert history.learning_rate == [0.02] * 3
    assert min(history.seconds) > 0
    for name, W in trained.parameters.items():
        assert_close(W, by_hand.parameters[name], EXACT, name)


def test_loss_of_an_epoch_weighs_ragged_updates_by_their_steps(engine: str) -> None:
    X, y = data(N=5)
    lengths = np.array([5, 1, 2, 5, 3])
    net = network(engine)
    probe = copy.deepcopy(net)
    history = net.fit(X, y, 1, batch_size=2, optimizer="sgd", learning_rate=1e-12, lengths=lengths)
    assert history.loss[0] == pytest.approx(probe.loss_and_gradient(X, y, lengths=lengths)[0], rel=1e-6)


def test_slices_of_an_epoch_change_nothing(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(N=30)
    ends = []
    for seconds in (10.0, 1e-9):
        monkeypatch.setattr(loop, "SLICE_SECONDS", seconds)
        net = network(engine)
        history = net.fit(X, y, 4, batch_size=1)
        ends.append((net.predict(X), history.loss))
    assert_same_bits(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_same_seed_same_bits_and_shuffling_shuffles(engine: str) -> None:
    X, y = data()
    first, second, unshuffled = network(engine), network(engine), network(engine)
    histories = [net.fit(X, y, 3, batch_size=4) for net in (first, second)]
    assert histories[0].loss == histories[1].loss
    assert_same_bits(first.predict(X), second.predict(X))
    unshuffled.fit(X, y, 3, batch_size=4, shuffle=False)
    assert not np.array_equal(first.predict(X), unshuffled.predict(X))


def test_on_epoch_hears_of_every_epoch(engine: str) -> None:
    heard: list[tuple[int, float]] = []

    def listen(epoch: int, history: History) -> None:
        heard.append((epoch, history.loss[-1]))

    history = network(engine).fit(*data(), 4, on_epoch=listen)
    assert heard == list(zip(range(1, 5), history.loss, strict=True))


def test_divergence_stops_with_the_last_good_epoch(engine: str) -> None:
    X, y = data(N=6)
    net = Network(3, [Elman(4, activation="linear")], 2, random_state=0, engine=engine)
    good: dict[str, np.ndarray] = {}

    def remember(epoch: int, history: History) -> None:
        good.update({name: W.copy() for name, W in net.parameters.items()})

    with pytest.raises(NonFiniteError) as caught:
        net.fit(X, y, 500, batch_size=2, optimizer="sgd", learning_rate=3.0, on_epoch=remember)
    message = str(caught.value)
    assert "Training stopped at epoch" in message
    assert "Try a smaller learning_rate" in message
    assert good
    for name, W in net.parameters.items():
        assert_same_bits(W, good[name], name)
        assert np.isfinite(W).all()


def test_interrupt_leaves_a_usable_network(engine: str) -> None:
    X, y = data()
    net = network(engine)

    def interrupt(epoch: int, history: History) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, 10, on_epoch=interrupt)
    reference = network(engine)
    reference.fit(X, y, 2)
    assert_same_bits(net.predict(X), reference.predict(X))


def test_learning_makes_the_loss_small(engine: str) -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(100, 12, 2))
    y = np.cumsum(X[:, :, :1] - X[:, :, 1:], axis=1) / 3
    net = Network(2, [Elman(16)], 1, random_state=0, engine=engine)
    history = net.fit(X, y, 40, batch_size=10, learning_rate=0.01, clip=GlobalNorm(1.0))
    assert history.loss[-1] < 0.05 * history.loss[0]


# --- gradient check -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_check_gradients_passes_for_right_gradients(engine: str, dtype: str) -> None:
    X, y = data()
    net = Network(3, [Elman(6), Elman(4, "sigmoid")], 2, random_state=0, engine=engine, dtype=dtype)
    check = check_gradients(net, X, y, lengths=np.arange(12) % 5 + 1)
    assert check.passed, str(check)
    assert [row.tensor for row in check.rows] == list(net.parameters)
    assert all(abs(row.by_gradient) > 1e-6 for row in check.rows)
    assert check.max_error <= check.tolerance == (1e-6 if dtype == "float64" else 1e-3)


def test_check_gradients_names_the_wrong_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data()
    net = network("numpy")
    right = Network.loss_and_gradient

    def wrong(self: Network, *arguments: Any, **options: Any) -> Any:
        loss, gradient = right(self, *arguments, **options)
        gradient["layer0.b_h"] = gradient["layer0.b_h"] * 1.001
        return loss, gradient

    monkeypatch.setattr(Network, "loss_and_gradient", wrong)
    check = check_gradients(net, X, y)
    assert not check.passed
    marked = [line.split()[0] for line in str(check).splitlines() if line.endswith("WRONG")]
    assert marked == ["layer0.b_h"]
    assert check_gradients(net, X, y, tolerance=0.01).passed


def test_check_gradients_refuses_other_things() -> None:
    with pytest.raises(TypeError, match=r"must be a Network\. Got 3\."):
        check_gradients(3, *data())  # type: ignore[arg-type]


def test_loss_is_that_of_the_textbook(engine: str) -> None:
    X, y = data()
    net = network(engine)
    loss, gradient = net.loss_and_gradient(X, y)
    rows = net.predict(X).reshape(-1, 2)
    expected, d_a = loss_and_gradient("mse", "linear", rows, y.reshape(-1, 2), np.ones(len(rows)))
    assert loss == pytest.approx(expected, abs=EXACT)
    assert_close(gradient["readout.b_y"], d_a.sum(axis=0), EXACT)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=lambda o: o.kind)
def test_epochs_handed_over_together_are_the_same_epochs(engine: str, optimizer: Any) -> None:
    X, y = data()
    together, one_by_one = network(engine), network(engine)
    history = together.fit(X, y, 30, batch_size=5, optimizer=optimizer, learning_rate=0.01)
    other = one_by_one.fit(
        X, y, 30, batch_size=5, optimizer=optimizer, learning_rate=0.01, on_epoch=lambda epoch, history: None
    )
    assert_same_bits(together.predict(X), one_by_one.predict(X))
    assert history.loss == other.loss
    assert history.gradient_norm_max == other.gradient_norm_max
    assert len(history) == len(history.seconds) == len(history.clipped) == 30


@pytest.mark.parametrize(("optimizer", "rate"), [(SGD(), 3.0), (Adam(), 1e200)], ids=["sgd", "adam"])
def test_divergence_among_epochs_handed_over_together(engine: str, optimizer: Any, rate: float) -> None:
    X, y = data(N=6)

    def linear() -> Network:
        return Network(3, [Elman(4, activation="linear")], 2, random_state=0, engine=engine)

    diverged = linear()
    with pytest.raises(NonFiniteError) as caught:
        diverged.fit(X, y, 500, batch_size=2, optimizer=optimizer, learning_rate=rate)
    words = str(caught.value).split()
    good = int(words[words.index("epoch") + 1]) - 1
    expected = linear()
    if good:
        expected.fit(X, y, good, batch_size=2, optimizer=optimizer, learning_rate=rate)
    for name, W in diverged.parameters.items():
        assert_same_bits(W, expected.parameters[name], name)


def test_parameters_that_a_finite_gradient_drives_to_infinity_are_not_kept(engine: str) -> None:
    X, y = data(N=2)
    for epochs in (1, 20):
        net = network(engine)
        before = {name: W.copy() for name, W in net.parameters.items()}
        with pytest.raises(NonFiniteError, match="led to parameters that are not finite"):
            net.fit(X * 1e3, y * 1e3, epochs, optimizer="sgd", learning_rate=1e308)
        for name, W in net.parameters.items():
            assert_same_bits(W, before[name], name)


def test_after_divergence_the_order_of_sequences_goes_on_from_the_last_good_epoch(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data(N=6)
    draws = set()
    for seconds in (10.0, 1e-9):
        monkeypatch.setattr(loop, "SLICE_SECONDS", seconds)
        generator = np.random.default_rng(0)
        net = Network(3, [Elman(4, activation="linear")], 2, random_state=generator, engine=engine)
        with pytest.raises(NonFiniteError):
            net.fit(X, y, 500, batch_size=2, optimizer="sgd", learning_rate=3.0)
        draws.add(int(generator.integers(10**9)))
    assert len(draws) == 1


def test_message_of_divergence_shows_the_norms_that_led_there(engine: str) -> None:
    X, y = data(N=2)
    net = Network(3, [Elman(4, activation="linear")], 2, random_state=0, engine=engine)
    with pytest.raises(NonFiniteError, match=r"\(norms before it: \d[^,]*, \d[^,]*, \d[^,]*\)"):
        net.fit(X, y, 500, optimizer="sgd", learning_rate=3.0, on_epoch=lambda epoch, history: None)


def test_adam_takes_whole_numbers_and_numpy_scalars(engine: str) -> None:
    net = network(engine)
    history = net.fit(*data(), 2, optimizer=Adam(beta1=0, beta2=np.float32(0.5), epsilon=1))
    assert history.loss[1] < history.loss[0]
