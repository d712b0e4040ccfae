"""Training: `Network.fit` against a loop by hand, weights of rows, penalties, and what happens when it goes wrong."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close, assert_same_bits

from rnn_from_scratch import SGD, Adam, Elman, GlobalNorm, History, Network, NonFiniteError, TensorNorm
from rnn_from_scratch.training import loop


def data(N: int = 12, T: int = 5, D: int = 3, O: int = 2) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, T, D)), generator.normal(size=(N, T, O))


def network(engine: str = "auto", **options: Any) -> Network:
    return Network(3, [Elman(6)], 2, **{"random_state": 0, "engine": engine, **options})


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


def test_callbacks_hear_of_every_epoch(engine: str) -> None:
    heard: list[tuple[int, float]] = []

    def listen(epoch: int, history: History) -> None:
        heard.append((epoch, history.loss[-1]))

    history = network(engine).fit(*data(), 4, callbacks=listen)
    assert heard == list(zip(range(1, 5), history.loss, strict=True))


def test_divergence_stops_with_the_last_good_epoch(engine: str) -> None:
    X, y = data(N=6)
    net = Network(3, [Elman(4, activation="linear")], 2, random_state=0, engine=engine)
    good: dict[str, np.ndarray] = {}

    def remember(epoch: int, history: History) -> None:
        good.update({name: W.copy() for name, W in net.parameters.items()})

    with pytest.raises(NonFiniteError) as caught:
        net.fit(X, y, 500, batch_size=2, optimizer="sgd", learning_rate=3.0, callbacks=remember)
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
        net.fit(X, y, 10, callbacks=interrupt)
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


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=lambda o: o.kind)
def test_epochs_handed_over_together_are_the_same_epochs(engine: str, optimizer: Any) -> None:
    X, y = data()
    together, one_by_one = network(engine), network(engine)
    history = together.fit(X, y, 30, batch_size=5, optimizer=optimizer, learning_rate=0.01)
    other = one_by_one.fit(
        X, y, 30, batch_size=5, optimizer=optimizer, learning_rate=0.01, callbacks=lambda epoch, history: None
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
        net.fit(X, y, 500, optimizer="sgd", learning_rate=3.0, callbacks=lambda epoch, history: None)


def test_adam_takes_whole_numbers_and_numpy_scalars(engine: str) -> None:
    net = network(engine)
    history = net.fit(*data(), 2, optimizer=Adam(beta1=0, beta2=np.float32(0.5), epsilon=1))
    assert history.loss[1] < history.loss[0]


def test_a_forgotten_argument_is_missed_by_the_name_that_users_know() -> None:
    with pytest.raises(TypeError, match=r"^Network\.fit\(\) missing 1 required positional argument: 'epochs'"):
        network().fit(*data())  # type: ignore[call-arg]
