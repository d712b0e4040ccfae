"""Ctrl-C in the middle of one long computation: it ends there, and leaves a network that goes on as if nothing had happened.

Whether a computation was left early is told without a clock: signals that arrive while nobody looks for them count as one,
so only a computation that looks in between hears of several.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from conftest import require_native
from support import assert_close, assert_same_bits

from rnn_from_scratch import GRU, LSTM, Elman, History, Network

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that send signals")

SECONDS = 0.05  # between two signals; the computations below take many times as long
H = 256


class Alarm:
    """Sends a signal again and again once it is set; at the third it does what it is told."""

    def __init__(self) -> None:
        self.heard = 0
        self.action: Callable[[], Any] = lambda: signal.raise_signal(signal.SIGINT)

    def set(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)

    def ring(self, *_: Any) -> None:
        self.heard += 1
        if self.heard == 3:
            self.action()


@pytest.fixture
def alarm(ctrl_c: None) -> Iterator[Alarm]:
    rings = Alarm()
    before = signal.signal(signal.SIGALRM, rings.ring)
    yield rings
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["numpy", "native", "native 2"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn; the native one also with two threads."""
    if request.param != "numpy":
        require_native()
    return str(request.param)


def network(engine: str, layer: Any = None) -> Network:
    word, _, count = engine.partition(" ")
    words = {"random_state": 0, "engine": word, "n_threads": int(count or 1), "dtype": "float32"}
    return Network(3, [layer or GRU(H)], 2, **words)


def data(N: int = 192, T: int = 250) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, T, 3)).astype("float32"), generator.normal(size=(N, T, 2)).astype("float32")


def copied(net: Network) -> dict[str, np.ndarray]:
    return {name: W.copy() for name, W in net.parameters.items()}


def assert_as_good_as_new(net: Network, fresh: Network, expected: dict[str, np.ndarray]) -> None:
    """It has the expected parameters, and does with them what a network does that was never interrupted."""
    for name, W in net.parameters.items():
        assert_same_bits(W, expected[name], name)
        assert np.isfinite(W).all()
    with fresh.edit_parameters() as p:
        for name, W in expected.items():
            p[name][...] = W
    X, y = data(N=5, T=7)
    assert_same_bits(net.predict(X), fresh.predict(X))
    after, reference = (n.fit(X, y, 2, batch_size=2, shuffle=False) for n in (net, fresh))
    assert after.loss == reference.loss
    assert_same_bits(net.predict(X), fresh.predict(X))


@pytest.mark.parametrize("layer", [Elman(2 * H), GRU(H, reset="before"), LSTM(H)], ids=lambda layer: layer.cell)
def test_an_update_is_made_whole_or_not_at_all(engine: str, alarm: Alarm, layer: Any) -> None:
    net, (X, y) = network(engine, layer), data()
    first: dict[str, np.ndarray] = {}

    def after_epoch(epoch: int, history: History) -> None:
        first.update(copied(net))
        alarm.set()

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, 3, batch_size=len(X), callbacks=after_epoch)
    assert alarm.heard >= 3
    history = net.history
    assert history is not None
    lengths = (history.loss, history.seconds, history.gradient_norm_max, history.learning_rate, history.clipped)
    assert [len(values) for values in lengths] == [1] * 5
    assert_as_good_as_new(net, network(engine, layer), first)


def test_prediction_and_gradient_are_left_early(engine: str, alarm: Alarm) -> None:
    net, (X, y) = network(engine), data()
    before = copied(net)
    for call in (lambda: net.predict(np.tile(X, (4, 1, 1))), lambda: net.loss_and_gradient(X, y)):
        alarm.heard = 0
        alarm.set()
        with pytest.raises(KeyboardInterrupt):
            call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert_as_good_as_new(net, network(engine), before)


def test_signals_change_no_bit_of_a_run_that_goes_on(engine: str, alarm: Alarm) -> None:
    undisturbed, net, (X, y) = network(engine), network(engine), data(64 if engine == "numpy" else 192)
    loss, gradient = undisturbed.loss_and_gradient(X, y)
    alarm.action = lambda: None
    alarm.set()
    other_loss, other = net.loss_and_gradient(X, y)
    assert alarm.heard >= 3
    assert loss == other_loss
    for name, d in gradient.items():
        assert_same_bits(d, other[name], name)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("engine", ["native", "native 2"])
def test_a_signal_handler_cannot_use_the_network_at_work(engine: str, alarm: Alarm) -> None:
    net, (X, y) = network(engine), data()
    before = copied(net)

    def use() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)  # no other signal while this one is served, or after it
        net.predict(X)
        alarm.heard = 2  # this one came between two calls of the engine: the next one tries again
        alarm.set()

    alarm.action = use
    alarm.set()
    with pytest.raises(RuntimeError, match="this network is at work"):
        net.loss_and_gradient(X, y)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert_as_good_as_new(net, network(engine), before)


@pytest.mark.usefixtures("native")
def test_a_signal_handler_can_use_another_network_meanwhile(alarm: Alarm) -> None:
    net, other, (X, y) = network("native 2"), network("native 2"), data()
    expected, answers = other.predict(X[:5]), []
    loss = network("native 2").loss_and_gradient(X, y)[0]
    alarm.action = lambda: answers.append(other.predict(X[:5]))
    alarm.set()
    assert net.loss_and_gradient(X, y)[0] == loss
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert_same_bits(answers[0], expected)


@pytest.mark.usefixtures("native")
def test_a_signal_handler_may_run_a_little_beside_a_run_and_nothing_beside_training(alarm: Alarm) -> None:
    net, (X, y) = network("native"), data()
    expected, stream, heard = net.predict(X[:1, :2]), net.stream(), []
    alarm.action = lambda: heard.extend([net.predict(X[:1, :2]), stream.step(X[0, 0])])
    alarm.set()
    net.loss_and_gradient(X, y)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert_same_bits(heard[0], expected)
    assert_close(heard[1], expected[0, 0], 1e-6)
    state = stream.state

    for action, message in (
        (lambda: net.predict(X[:1, :2]), "this network is at work"),
        (lambda: stream.step(X[0, 0]), "this network is being trained"),
    ):
        alarm.heard, alarm.action = 0, action
        alarm.set()
        with pytest.raises(RuntimeError, match=message):
            net.fit(X, y, 3, batch_size=len(X))
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert_same_bits(stream.state["layer0.h"], state["layer0.h"])
