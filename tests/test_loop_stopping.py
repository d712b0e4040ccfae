"""How training ends: early stopping, callbacks, divergence; and that the same seed gives the same bits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from loop_problem import network, parameters, problem
from support import assert_all_close, assert_same_bits

from rnn_from_scratch import SGD, Adam, EarlyStopping, Elman, History, Network, NonFiniteError, RMSprop
from rnn_from_scratch.training import loop

NAN, INF = float("nan"), float("inf")


class Recorder:
    """A callback that keeps the parameters of every epoch."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.kept = [parameters(net)]

    def __call__(self, epoch: int, history: History) -> None:
        assert epoch == len(self.kept) == len(history)
        self.kept.append(parameters(self.net))


def stop_and_best(losses: list[float], patience: int, min_delta: float) -> tuple[int, int]:
    """After which epoch training stops, and which was the best, both from 1: by looking at all the losses at once."""
    best = 0
    for epoch in range(1, len(losses) + 1):
        if losses[epoch - 1] < (losses[best - 1] if best else INF) - min_delta:
            best = epoch
        elif epoch - best >= patience:
            return epoch, best
    return len(losses), best


@pytest.mark.parametrize("held_out", [False, True], ids=["training loss", "validation loss"])
@pytest.mark.parametrize("stopping", [2, EarlyStopping(3), EarlyStopping(1, min_delta=0.02)], ids=repr)
def test_early_stopping_restores_the_best_epoch(engine: str, held_out: bool, stopping: Any) -> None:
    X, y = problem()
    other_X, other_y = problem(seed=4)
    words: dict[str, Any] = {"batch_size": 5, "optimizer": SGD(momentum=0.95), "learning_rate": 0.2}
    words |= {"validation": (other_X, other_y) if held_out else None}
    free, stopped = network(engine), network(engine)
    recorder = Recorder(free)
    whole = free.fit(X, y, 60, callbacks=recorder, **words)
    history = stopped.fit(X, y, 60, early_stopping=stopping, **words)
    rule = stopping if isinstance(stopping, EarlyStopping) else EarlyStopping(stopping)
    losses = whole.validation_loss if held_out else whole.loss
    end, best = stop_and_best(losses, rule.patience, rule.min_delta)
    assert 0 < best < end < 60  # this problem does stop
    assert (history.validation_loss if held_out else history.loss) == losses[:end]
    for name, W in stopped.parameters.items():
        assert_same_bits(W, recorder.kept[best][name], name)


def test_best_is_restored_at_the_end_and_when_a_callback_stops(engine: str) -> None:
    X, y = problem()
    words: dict[str, Any] = {"batch_size": 5, "optimizer": SGD(momentum=0.95), "learning_rate": 0.2}
    free = network(engine)
    recorder = Recorder(free)
    losses = free.fit(X, y, 30, callbacks=recorder, **words).loss
    for epochs, callbacks in ((20, []), (30, [lambda epoch, history: epoch == 20])):
        net = network(engine)
        history = net.fit(X, y, epochs, early_stopping=1000, callbacks=callbacks, **words)
        assert history.loss == losses[:20]
        best = int(np.argmin(losses[:20])) + 1
        assert best < 20
        for name, W in net.parameters.items():
            assert_same_bits(W, recorder.kept[best][name], name)


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    stopping = EarlyStopping(3)
    state, history = stopping.init(), History()
    seen = []
    for loss in (NAN, INF, 3.0, NAN, 2.0, NAN, NAN, 5.0):
        history.loss.append(loss)
        state = stopping.observe(state, history)
        seen.append((state["best"], state["epoch"], state["bad"], stopping.stops(state)))
    assert [best for best, *_ in seen] == [None, None, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0]
    assert [epoch for _, epoch, *_ in seen] == [0, 0, 3, 3, 5, 5, 5, 5]
    assert [stops for *_, stops in seen] == [False] * 7 + [True]


def test_validation_loss_that_overflows_at_first(engine: str) -> None:
    X, y = problem()
    net = Network(3, [Elman(4, "linear")], 2, random_state=0, dtype="float64", engine=engine)
    with net.edit_parameters() as p:
        p["readout.W_y"][:] = 1e3
    recorder = Recorder(net)
    words: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.2, "clip": 1e3, "frozen": "layer0"}
    history = net.fit(X, y, 8, validation=(X * 5e149, y), early_stopping=8, callbacks=recorder, **words)
    finite = np.isfinite(history.validation_loss)
    assert not finite[0]
    assert finite.any()
    best = int(np.argmin(np.where(finite, history.validation_loss, INF))) + 1
    for name, W in net.parameters.items():
        assert_same_bits(W, recorder.kept[best][name], name)


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (True, TypeError, "early_stopping of Network.fit must be None, an int >= 1 or EarlyStopping. Got True."),
    (0, ValueError, "early_stopping of Network.fit must be an int >= 1. Got 0."),
    ("soon", TypeError, "early_stopping of Network.fit must be an int >= 1. Got 'soon'."),
    (2.5, TypeError, "early_stopping of Network.fit must be an int >= 1. Got 2.5."),
]


@pytest.mark.parametrize(("value", "error", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_refused_early_stopping(value: Any, error: type[Exception], message: str) -> None:
    net = network()
    before = parameters(net)
    with pytest.raises(error, match=re.escape(message)):
        net.fit(*problem(), 2, early_stopping=value)
    assert_all_close(parameters(net), before, 0)
    with pytest.raises(ValueError, match=r"patience of EarlyStopping must be an int >= 1. Got 0."):
        EarlyStopping(0)
    with pytest.raises(ValueError, match=r"min_delta of EarlyStopping must be a finite number >= 0. Got -1"):
        EarlyStopping(min_delta=-1)


def test_all_callbacks_hear_of_every_epoch_in_order_even_of_the_last(engine: str) -> None:
    X, y = problem()
    heard: list[tuple[str, int, int]] = []

    def first(epoch: int, history: History) -> bool:
        heard.append(("first", epoch, len(history.validation_loss)))
        return epoch == 3

    def second(epoch: int, history: History) -> str:
        heard.append(("second", epoch, len(history.metrics["mae"])))
        return "an answer that is not True"

    history = network(engine).fit(X, y, 10, callbacks=[first, second], validation=0.2, metrics="mae")
    assert heard == [(name, epoch, epoch) for epoch in (1, 2, 3) for name in ("first", "second")]
    assert len(history) == len(history.seconds) == 3


def test_what_a_callback_raises_passes_and_the_history_is_kept(engine: str) -> None:
    X, y = problem()
    net, reference = network(engine), network(engine)

    def refuse(epoch: int, history: History) -> None:
        if epoch == 4:
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        net.fit(X, y, 9, batch_size=3, callbacks=refuse, validation=0.2, metrics="rmse")
    expected = reference.fit(X, y, 4, batch_size=3, validation=0.2, metrics="rmse")
    assert net.history is not None
    kept, other = net.history.to_dict(), expected.to_dict()
    assert {name: len(values) for name, values in kept.items()} == dict.fromkeys(other, 4)
    assert {**kept, "seconds": []} == {**other, "seconds": []}
    assert_same_bits(net.predict(X), reference.predict(X))


def test_a_metric_that_raises_leaves_whole_epochs(engine: str) -> None:
    X, y = problem()
    net = network(engine)
    calls = 0

    def brittle(outputs: np.ndarray, targets: np.ndarray) -> float:
        nonlocal calls
        calls += 1
        if calls == 6:  # on the validation set of the third epoch
            raise ZeroDivisionError
        return 0.5

    with pytest.raises(ZeroDivisionError):
        net.fit(X, y, 9, metrics=brittle, validation=0.2)
    assert net.history is not None
    assert {len(values) for values in net.history.to_dict().values()} == {2}


@pytest.mark.parametrize("callbacks", [3, [3], "text", [None]], ids=repr)
def test_refused_callbacks(callbacks: Any) -> None:
    net = network()
    before = parameters(net)
    with pytest.raises(TypeError, match=r"callbacks of Network.fit must be callables \(epoch, history\). Got"):
        net.fit(*problem(), 2, callbacks=callbacks)
    assert_all_close(parameters(net), before, 0)


def diverging(engine: str) -> Network:
    return Network(3, [Elman(4, "linear")], 2, random_state=0, dtype="float64", engine=engine)


@pytest.mark.parametrize("together", [True, False], ids=["epochs together", "one by one"])
@pytest.mark.parametrize("slices", [10.0, 1e-9], ids=["long slices", "short slices"])
@pytest.mark.parametrize("optimizer", [SGD(momentum=0.5), RMSprop(), Adam()], ids=lambda o: o.kind)
def test_divergence_is_reported_and_undone(
    engine: str, optimizer: Any, slices: float, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", slices)
    X, y = problem(N=6)
    rate = 3.0 if isinstance(optimizer, SGD) else 1e120
    words: dict[str, Any] = {"batch_size": 2, "optimizer": optimizer, "learning_rate": rate}
    net, reference = diverging(engine), diverging(engine)
    norms: list[float] = []

    with pytest.raises(NonFiniteError) as caught:
        net.fit(X, y, 400, callbacks=() if together else (lambda epoch, history: None), **words)
    found = re.fullmatch(
        r"Training stopped at epoch (\d+) of 400, update (\d+): the loss was (\S+) and the norm of the gradient (\S+?)"
        r"(, and the step led to parameters that are not finite)? \(norms before it: (.+)\)\. "
        r"The network holds the parameters of the last good epoch\. "
        r"Try a smaller learning_rate, clip=1\.0, or inputs scaled to about unit size\.",
        str(caught.value),
    )
    assert found, str(caught.value)
    epoch, update = int(found[1]), int(found[2])
    assert 1 <= update <= 3
    assert found[5] or not (np.isfinite(float(found[3])) and np.isfinite(float(found[4])))
    if epoch > 1:
        history = reference.fit(X, y, epoch - 1, **words)
        norms = history.gradient_norm_max
        assert net.history is not None
        kept = net.history.to_dict()
        assert {**kept, "seconds": []} == {**history.to_dict(), "seconds": []}
        assert caught.value.history is net.history
    for name, W in net.parameters.items():
        assert_same_bits(W, reference.parameters[name], name)
    shown = [float(norm) for norm in found[6].split(", ")] if found[6] != "none" else []
    assert len(shown) == min(3, 3 * (epoch - 1) + update - 1)
    if norms and update == 1:
        assert max(shown) == pytest.approx(norms[-1], rel=0.01)  # the three of the last good epoch


def test_a_run_goes_on_after_divergence(engine: str) -> None:
    X, y = problem(N=6)
    net = diverging(engine)
    with pytest.raises(NonFiniteError):
        net.fit(X, y, 400, batch_size=2, optimizer="sgd", learning_rate=1e200)  # the first epoch diverges
    history = net.fit(X, y, 60, batch_size=2, optimizer="adam", learning_rate=0.02, clip=1.0)
    assert history is net.history
    assert history.loss[-1] < history.loss[0]


def test_one_seed_one_network(engine: str, dtype: str) -> None:
    X, y = problem()
    X, y = X.astype(dtype), y.astype(dtype)
    ends = []
    for seed in (3, 3, 4):
        layers = [Elman(4, input_dropout=0.3)]
        net = Network(3, layers, 2, dropout=0.1, random_state=seed, dtype=dtype, engine=engine)
        history = net.fit(X, y, 6, batch_size=3, schedule="cosine", clip=0.5, validation=0.2, metrics="r2")
        ends.append(
            (np.concatenate([W.ravel() for W in net.parameters.values()]), {**history.to_dict(), "seconds": []})
        )
    assert_same_bits(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    assert not np.array_equal(ends[0][0], ends[2][0])
    assert ends[0][1]["loss"] != ends[2][1]["loss"]


def test_the_seed_alone_decides_order_and_masks(engine: str) -> None:
    X, y = problem()
    start = network(engine).parameters
    ends = []
    for seed in (3, 4):
        net = network(engine, random_state=seed)
        with net.edit_parameters() as p:
            for name, W in p.items():
                W[...] = start[name]
        ends.append(net.fit(X, y, 2, batch_size=3).loss)
    assert ends[0] != ends[1]


class Patient:
    """A callback that wants to hear of every third epoch."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    @property
    def epochs_left(self) -> int:
        return 3 - (self.epochs[-1] % 3 if self.epochs else 0)

    def __call__(self, epoch: int, history: Any) -> None:
        self.epochs.append(epoch)


def test_patient_callbacks_are_called_when_they_have_to_be(engine: str) -> None:
    X, y = problem()
    alone, watched, both = network(engine), network(engine), network(engine)
    history = alone.fit(X, y, 20, batch_size=4)
    patient = Patient()
    assert watched.fit(X, y, 20, batch_size=4, callbacks=patient).loss == history.loss
    assert [epoch for epoch in patient.epochs if epoch % 3 == 0] == [3, 6, 9, 12, 15, 18]
    assert patient.epochs[-1] == 20
    heard = []
    both.fit(X, y, 5, batch_size=4, callbacks=[Patient(), lambda epoch, history: heard.append(epoch)])
    assert heard == [1, 2, 3, 4, 5]
    for name, values in alone.parameters.items():
        assert np.array_equal(values, watched.parameters[name])
