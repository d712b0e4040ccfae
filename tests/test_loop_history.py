"""What is left of a run and what is seen of it: `History` against independent values, and progress word by word."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import pytest
from loop_problem import network, problem
from support import DTYPES, tolerance

from rnn_from_scratch import ByValue, Elman, GlobalNorm, History, Network, TensorNorm
from rnn_from_scratch.training.progress import Progress

CLIPS: dict[str, Any] = {"none": None, "global": GlobalNorm(0.7), "tensor": TensorNorm(0.4), "value": ByValue(0.3)}


def is_clipped(gradient: dict[str, np.ndarray], clip: Any) -> bool:
    if clip is None:
        return False
    if isinstance(clip, GlobalNorm):
        return bool(np.sqrt(sum((d * d).sum() for d in gradient.values())) > clip.limit)
    if isinstance(clip, TensorNorm):
        return any(np.sqrt((d * d).sum()) > clip.limit for d in gradient.values())
    return any(np.abs(d).max() > clip.limit for d in gradient.values())


@pytest.mark.parametrize("clip", list(CLIPS))
@pytest.mark.parametrize("kind", DTYPES)
def test_every_entry_against_the_updates_one_by_one(engine: str, clip: str, kind: str) -> None:
    X, y = problem()
    X, y = X.astype(kind), y.astype(kind)
    weights = np.linspace(0.1, 1, 10)
    words: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.4, "clip": CLIPS[clip], "l2": 0.05}
    words |= {"shuffle": False, "batch_size": 4}
    whole, single = network(engine, dtype=kind), network(engine, dtype=kind)
    history = whole.fit(X, y, 6, sample_weight=weights, schedule="exponential", **words)
    for epoch in range(6):
        losses, norms, clipped, shares = [], [], 0, []
        for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
            loss, gradient = single.loss_and_gradient(X[rows], y[rows], sample_weight=weights[rows], l2=0.05)
            losses.append(loss)
            norms.append(np.sqrt(sum((d * d).sum() for d in gradient.values())))
            clipped += is_clipped(gradient, CLIPS[clip])
            shares.append(weights[rows].sum())
            rate = {**words, "learning_rate": 0.4 * 0.95**epoch}
            single.fit(X[rows], y[rows], 1, sample_weight=weights[rows], **rate)
        close = {"rel": 1e3 * tolerance(kind)}
        assert history.loss[epoch] == pytest.approx(np.average(losses, weights=shares), **close)
        assert history.gradient_norm_mean[epoch] == pytest.approx(np.mean(norms), **close)
        assert history.gradient_norm_max[epoch] == pytest.approx(max(norms), **close)
        assert history.clipped[epoch] == clipped
    assert history.learning_rate == pytest.approx([0.4 * 0.95**epoch for epoch in range(6)])
    assert history.non_finite == [0] * 6
    assert history.validation_loss == []
    assert history.metrics == history.validation_metrics == {}
    if CLIPS[clip] is not None:
        assert 0 < sum(history.clipped) < 18


def test_seconds_are_those_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def a_minute(outputs: np.ndarray, targets: np.ndarray) -> float:
        now[0] += 60
        return 0.0

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    X, y = problem()
    history = network().fit(X, y, 2, metrics=a_minute, validation=0.2)
    assert history.seconds == [120.0, 120.0]  # metrics of both sets are part of an epoch


def test_a_history_is_shown_by_its_last_epoch() -> None:
    assert repr(History()) == "History, no epochs"
    history = History([3, 2.00004], [6, 5], {"mae": [1, 0.5]}, {"mae": [4, np.nan]}, clipped=[0, 7])
    shown = "History, epoch 2: loss 2, validation_loss 5, mae 0.5, validation_mae nan, clipped 7"
    assert repr(history) == shown
    history.keep(0)
    assert repr(history) == "History, no epochs"


def test_keep_forgets_in_every_list() -> None:
    history = History([3, 2, 1], [6, 5, 4], {"mae": [1, 2, 3]}, {"mae": [4, 5, 6]}, [7, 8, 9])
    history.keep(2)
    assert history == History([3, 2], [6, 5], {"mae": [1, 2]}, {"mae": [4, 5]}, [7, 8])
    history.keep(5)
    assert len(history) == 2
    history.keep(0)
    assert history == History(metrics={"mae": []}, validation_metrics={"mae": []})


def test_to_dict_gives_copies_under_their_names() -> None:
    X, y = problem()
    history = network().fit(X, y, 3, metrics=["mae", "r2"], validation=0.3)
    found = history.to_dict()
    lists = ["learning_rate", "gradient_norm_mean", "gradient_norm_max", "clipped", "non_finite", "seconds"]
    assert sorted(found) == sorted(["loss", "validation_loss", "mae", "r2", "validation_mae", "validation_r2", *lists])
    assert found["validation_r2"] == history.validation_metrics["r2"]
    found["loss"].clear()
    found["mae"].clear()
    assert len(history.loss) == len(history.metrics["mae"]) == 3


def test_to_frame_has_a_row_for_each_epoch() -> None:
    pandas = pytest.importorskip("pandas")
    history = network().fit(*problem(), 3, metrics="mae", validation=0.3)
    frame = history.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.index.name == "epoch"
    assert {name: frame[name].tolist() for name in frame} == history.to_dict()


def test_to_frame_without_pandas_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=re.escape("to_frame needs pandas: pip install 'rnn-from-scratch[pandas]'.")):
        History([1.0]).to_frame()


def test_history_of_the_network_is_that_of_the_last_fit() -> None:
    net = network()
    assert net.history is None
    first = net.fit(*problem(), 2)
    assert net.history is first
    second = net.fit(*problem(), 3)
    assert net.history is second
    assert (len(first), len(second)) == (2, 3)


def lines(text: str) -> list[tuple[int, int, float, float]]:
    """(epoch, epochs, loss, rate) of each line, which must be one of these."""
    found = [re.fullmatch(r"epoch (\d+)/(\d+): loss (\S+), rate (\S+)", line) for line in text.splitlines()]
    assert all(found), text
    return [(int(m[1]), int(m[2]), float(m[3]), float(m[4])) for m in found if m]


@pytest.mark.parametrize("epochs", [1, 3, 10, 11, 25, 99, 100])
@pytest.mark.parametrize("watched", [False, True], ids=["together", "one by one"])
def test_a_line_for_each_tenth_of_the_run(epochs: int, watched: bool, capsys: pytest.CaptureFixture[str]) -> None:
    callbacks = [lambda epoch, history: None] if watched else []
    history = network().fit(*problem(N=2, T=1), epochs, verbose=True, schedule="exponential", callbacks=callbacks)
    out, err = capsys.readouterr()
    said = lines(out)
    assert err == ""
    assert said[-1][0] == epochs
    assert {total for _, total, *_ in said} == {epochs}
    assert len(said) == min(epochs, 10)
    for epoch, _, loss, rate in said:
        assert loss == pytest.approx(history.loss[epoch - 1], rel=1e-3)
        assert rate == pytest.approx(history.learning_rate[epoch - 1], rel=1e-3)
    assert [epoch for epoch, *_ in said] == sorted({-(-tenth * epochs // 10) for tenth in range(1, 11)})


def test_lines_name_the_validation_loss(capsys: pytest.CaptureFixture[str]) -> None:
    history = network().fit(*problem(), 1, verbose=True, validation=0.2)
    loss, held_out = f"{history.loss[0]:.4g}", f"{history.validation_loss[0]:.4g}"
    assert capsys.readouterr().out == f"epoch 1/1: loss {loss}, rate 0.001, validation loss {held_out}\n"


def test_silence_unless_asked_for(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    network(engine).fit(*problem(), 30, validation=0.2, metrics="mae", early_stopping=3)
    assert capfd.readouterr() == ("", "")


def test_progress_changes_no_bits(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    X, y = problem()
    loud, silent = network(engine), network(engine)
    assert loud.fit(X, y, 37, batch_size=3, verbose=True).loss == silent.fit(X, y, 37, batch_size=3).loss
    assert capsys.readouterr().out


class Terminal(io.StringIO):
    """Looks like one."""

    def isatty(self) -> bool:
        return True


def test_one_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    history = network().fit(*problem(), 20, verbose=True, validation=0.2)
    text = terminal.getvalue()
    assert "epoch 1/" not in text  # a bar, no lines
    last = text.rstrip().split("\r")[-1]
    assert re.search(r"100%.* 20/20 ", last)
    assert f"loss={history.loss[-1]:.4g}" in last
    assert "rate=0.001" in last
    assert f"validation loss={history.validation_loss[-1]:.4g}" in last
    assert text.endswith("\n")  # the bar is closed


def test_the_bar_is_closed_when_training_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)

    def refuse(epoch: int, history: History) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        network().fit(*problem(), 20, verbose=True, callbacks=refuse)
    assert re.search(r" 1/20 ", terminal.getvalue())
    assert terminal.getvalue().endswith("\n")


def test_lines_in_a_terminal_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    network().fit(*problem(), 20, verbose=True)
    assert [epoch for epoch, *_ in lines(terminal.getvalue())] == list(range(2, 21, 2))


def test_progress_of_a_run_that_goes_on_counts_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    history = History(loss=[1.0] * 14, learning_rate=[0.1] * 14)
    with Progress(20, True, done=14) as progress:
        for _ in range(6):
            history.loss.append(0.5)
            history.learning_rate.append(0.1)
            progress.show(history)
    assert [epoch for epoch, *_ in lines(capsys.readouterr().out)] == [16, 18, 20]


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"verbose": 1}, TypeError, "verbose of Network.fit must be True or False. Got 1."),
    ({"epochs": 0}, ValueError, "epochs of Network.fit must be an int >= 1. Got 0."),
    ({"epochs": 1.5}, TypeError, "epochs of Network.fit must be an int >= 1. Got 1.5."),
    ({"batch_size": 0}, ValueError, "batch_size of Network.fit must be an int >= 1. Got 0."),
    ({"learning_rate": 0}, ValueError, "learning_rate of Network.fit must be a finite number > 0. Got 0."),
    ({"learning_rate": "fast"}, TypeError, "learning_rate of Network.fit must be a finite number > 0. Got 'fast'."),
    ({"shuffle": "yes"}, TypeError, "shuffle of Network.fit must be True or False. Got 'yes'."),
    ({"optimizer": "lion"}, ValueError, "optimizer of Network.fit must be one of .* Got 'lion'."),
    ({"clip": -1.0}, ValueError, "Got -1.0."),
    ({"tbptt_steps": 0}, ValueError, "tbptt_steps of Network.fit must be an int >= 1. Got 0."),
    ({"stateful": 1}, TypeError, "stateful of Network.fit must be True or False. Got 1."),
    ({"frozen": "layer7"}, ValueError, "frozen of Network.fit must name tensors or their places"),
]


@pytest.mark.parametrize(("words", "error", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_what_is_refused_changes_nothing(
    words: dict[str, Any], error: type[Exception], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    X, y = problem()
    generator = np.random.default_rng(5)
    net = Network(3, [Elman(4)], 2, random_state=generator)
    before = net.fit(X, y, 1)
    state, kept = generator.bit_generator.state, net.predict(X)
    with pytest.raises(error, match=message):
        net.fit(X, y, **{"epochs": 2, **words})
    assert net.history is before
    assert generator.bit_generator.state == state
    np.testing.assert_array_equal(net.predict(X), kept)
