"""A run that was killed and goes on ends with the bits of one that was not; anything else is refused by name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_helpers import rewrite, run_alone, strays, vector_of
from support import assert_same_bits

from rnn_from_scratch import GRU, LSTM, SGD, Elman, FileFormatError, History, Network
from rnn_from_scratch.training.checkpoint import Checkpoint
from rnn_from_scratch.training.resuming import Checkpoints

EPOCHS = 6
rng = np.random.default_rng(5)
X, Y = rng.normal(size=(12, 7, 2)), rng.normal(size=(12, 7, 3))

RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "dropout": ({"dropout": 0.3, "layers": [LSTM(4, recurrent_dropout=0.2), Elman(3)]}, {"optimizer": "rmsprop"}),
    "plateau": ({}, {"schedule": "plateau", "validation": 0.25, "optimizer": SGD(momentum=0.9), "metrics": ["mae"]}),
    "early stopping": ({}, {"early_stopping": 1, "learning_rate": 0.3, "validation": (X[:3] + 1, Y[:3])}),
    "truncated": ({"layers": [GRU(4, learned_state=True)]}, {"tbptt_steps": 3, "clip": 0.5}),
    "stateful": ({}, {"stateful": True, "schedule": "cosine", "optimizer": "adamw"}),
    "own loss": ({"loss": lambda y, t: (float(((y - t) ** 2).mean()), 2 * (y - t) / y.size)}, {}),
    "weights": (
        {},
        {"sample_weight": np.arange(12.0), "l2": 0.01, "frozen": "readout", "lengths": np.arange(12) % 7 + 1},
    ),
}


class Stopped(Exception):
    """Raised in the middle of a run."""


def a_network(engine: str, **words: Any) -> Network:
    layers = words.pop("layers", [GRU(4)])
    return Network(2, layers, 3, dtype="float64", random_state=7, engine=engine, **words)


def fit(network: Network, **words: Any) -> History:
    return network.fit(X, Y, words.pop("epochs", EPOCHS), **{"batch_size": 4, "learning_rate": 0.01, **words})


def stop_at(epoch: int) -> Callable[[int, History], None]:
    def stop(now: int, history: History) -> None:
        if now == epoch:
            raise Stopped

    return stop


def assert_same_run(found: Network, expected: Network) -> None:
    """Parameters and history agree in every bit, but for the seconds."""
    assert_same_bits(vector_of(found), vector_of(expected))
    assert found.history is not None
    assert expected.history is not None
    for entry in fields(History):
        after, before = getattr(found.history, entry.name), getattr(expected.history, entry.name)
        if entry.name == "seconds":
            assert len(after) == len(before)
        else:
            assert after == before, entry.name


@pytest.fixture(autouse=True)
def somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_from_any_epoch(name: str, engine: str) -> None:
    network_words, words = RUNS[name]
    undisturbed = a_network(engine, **network_words)
    fit(undisturbed, **words)
    for epoch in range(1, EPOCHS):
        Path("run.npz").unlink(missing_ok=True)
        first = a_network(engine, **network_words)
        checkpoint = Checkpoints("run.npz", every_epochs=2)
        try:
            fit(first, checkpoint=checkpoint, callbacks=stop_at(epoch), **words)
        except Stopped:
            assert epoch <= len(undisturbed.history or [])
        second = a_network(engine, **network_words)
        fit(second, checkpoint=checkpoint, resume=True, **words)
        assert_same_run(second, undisturbed)
        assert np.array_equal(second.predict(X), undisturbed.predict(X))


def test_a_finished_run_is_put_back(engine: str) -> None:
    words = RUNS["early stopping"][1]
    first, second = a_network(engine), a_network(engine)
    fit(first, checkpoint="run.npz", resume=True, **words)  # there is none to resume from: begins
    before = Path("run.npz").read_bytes()
    heard = []
    fit(second, checkpoint="run.npz", resume=True, callbacks=lambda epoch, history: heard.append(epoch), **words)
    assert_same_run(second, first)
    assert heard == []
    assert second.history is not None
    assert second.history.seconds == first.history.seconds  # type: ignore[union-attr]
    assert Path("run.npz").read_bytes() == before


def test_a_run_may_be_made_longer(engine: str) -> None:
    longer, shorter, resumed = (a_network(engine) for _ in range(3))
    fit(longer, epochs=9)
    fit(shorter, epochs=5, checkpoint="run.npz")
    fit(resumed, epochs=9, checkpoint="run.npz", resume=True)
    assert_same_run(resumed, longer)


def test_the_generator_goes_on_where_it_stood(engine: str) -> None:
    """What is drawn after a resumed run is what would have been drawn after the undisturbed one."""
    first, second = a_network(engine), a_network(engine)
    fit(first, checkpoint="run.npz")
    fit(second, checkpoint="run.npz", resume=True)
    fit(first)
    fit(second)
    assert_same_run(second, first)


KILLED = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from rnn_from_scratch import GRU, Network
from rnn_from_scratch.training.checkpoint import Checkpoint
from rnn_from_scratch.training.resuming import Checkpoints

engine, kills = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(int(sys.argv[3]))
X, Y = rng.normal(size=(24, 10, 3)), rng.normal(size=(24, 10, 2))

def job(path, result):
    network = Network(3, [GRU(8, recurrent_dropout=0.2)], 2, dropout=0.1, dtype="float32", random_state=1, engine=engine)
    words = {"validation": 0.25, "metrics": ["mae"], "early_stopping": 30, "schedule": "cosine", "clip": 1.0}
    checkpoint = Checkpoints(path, every_epochs=1)
    history = network.fit(X, Y, 40, 4, checkpoint=checkpoint, resume=True, **words).to_dict()
    del history["seconds"]
    network.save(result + ".npz")
    Path(result + ".txt").write_text(repr(history))
    return network.specification

def child(path, result):
    pid = os.fork()
    if pid == 0:
        try:
            job(path, result)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return pid

start = time.perf_counter()
specification = job("undisturbed.npz", "undisturbed")
whole = time.perf_counter() - start
done = runs = unwritten = 0
pending = True
while done < kills or pending:  # the last run comes to its end
    pid = child("run.npz", "killed")
    patience = rng.uniform(0, 0.25 * whole) if done < kills else np.inf
    deadline = time.perf_counter() + patience
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found or time.perf_counter() > deadline:
            break
        time.sleep(0.0005)
    if not found:
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        done, pending = done + 1, True
        if os.path.exists("run.npz"):
            Checkpoint.read("run.npz", specification)  # no moment leaves a file that cannot be read
        else:
            unwritten += 1
        continue
    assert os.waitstatus_to_exitcode(status) == 0, "a resumed run failed"
    for name in ("txt", "npz"):
        same = Path(f"killed.{name}").read_bytes() == Path(f"undisturbed.{name}").read_bytes()
        assert same, f"another {name} after {done} kills"
    runs, pending = runs + 1, False
    os.remove("run.npz")
print(done, runs, unwritten)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_killed_at_a_hundred_moments(engine: str, tmp_path: Path) -> None:
    ended = run_alone(KILLED, engine, 100, 11)
    assert ended.returncode == 0, ended.stderr
    kills, runs, unwritten = map(int, ended.stdout.split())
    assert kills == 100
    assert runs >= 1
    assert unwritten < 50  # most were killed in the middle of things
    assert strays(tmp_path) == []


ANOTHER_PROCESS = """
import os, signal, sys
import numpy as np
from rnn_from_scratch import LSTM, Network
from rnn_from_scratch.training.resuming import Checkpoints

engine, path, kill, result = sys.argv[1:]
rng = np.random.default_rng(0)
network = Network(3, [LSTM(5)], 1, dtype="float64", random_state=2, engine=engine)
die = lambda epoch, history: epoch == int(kill) and os.kill(os.getpid(), signal.SIGKILL)
X, y = rng.normal(size=(9, 6, 3)), rng.normal(size=(9, 6, 1))
network.fit(X, y, 8, 2, checkpoint=Checkpoints(path, every_epochs=1), resume=True, callbacks=die)
network.save(result)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_another_process_goes_on(engine: str) -> None:
    assert run_alone(ANOTHER_PROCESS, engine, "whole.npz", -1, "whole-result.npz").returncode == 0
    assert run_alone(ANOTHER_PROCESS, engine, "run.npz", 5, "result.npz").returncode == -9
    assert not Path("result.npz").exists()
    ended = run_alone(ANOTHER_PROCESS, engine, "run.npz", -1, "result.npz")
    assert ended.returncode == 0, ended.stderr
    assert Path("result.npz").read_bytes() == Path("whole-result.npz").read_bytes()


# --- When they are written ---


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs at which checkpoints were written."""
    epochs: list[int] = []
    write = Checkpoint.write

    def note(checkpoint: Checkpoint, path: str) -> None:
        epochs.append(len(checkpoint.history["loss"]))
        write(checkpoint, path)

    monkeypatch.setattr(Checkpoint, "write", note)
    return epochs


@pytest.mark.parametrize(("every", "expected"), [(1, [0, 1, 2, 3, 4, 5, 6]), (4, [0, 4, 6]), (6, [0, 6]), (50, [0, 6])])
def test_every_so_many_epochs(every: int, expected: list[int], written: list[int]) -> None:
    fit(a_network("numpy"), checkpoint=Checkpoints("run.npz", every_epochs=every))
    assert written == expected


def test_every_so_many_seconds(written: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by ten seconds in every epoch."""
    now = [0.0]
    monkeypatch.setattr("rnn_from_scratch.training.resuming.time.monotonic", lambda: now[0])

    def pass_time(epoch: int, history: History) -> None:
        now[0] += 10

    words = {"callbacks": pass_time, "epochs": 9}
    fit(a_network("numpy"), checkpoint=Checkpoints("a.npz", every_seconds=25), **words)
    assert written == [0, 3, 6, 9]
    written.clear()
    fit(a_network("numpy"), checkpoint=Path("b.npz"), **words)
    assert written == [0, 6, 9]  # a path alone: every 60 seconds
    written.clear()
    fit(a_network("numpy"), checkpoint=Checkpoints("c.npz", 4, 25), **words)
    assert written == [0, 3, 4, 7, 8, 9]


def test_a_callback_that_stops_is_heard_before_the_last_checkpoint(written: list[int]) -> None:
    fit(a_network("numpy"), checkpoint="run.npz", callbacks=lambda epoch, history: epoch == 2)
    assert written == [0, 2]


# --- What is refused ---


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"resume": True}, ValueError, "resume of Network.fit must be False without a checkpoint"),
        ({"checkpoint": 3}, TypeError, "checkpoint of Network.fit must be None, a path or Checkpoints. Got 3"),
        ({"checkpoint": "run.npz", "resume": 1}, TypeError, "resume of Network.fit must be"),
        ({"checkpoint": "no/folder/run.npz"}, FileNotFoundError, "no/folder/run.npz"),
        ({"checkpoint": "."}, FileExistsError, "must be a new file unless resume=True"),
        ({"checkpoint": ".", "resume": True}, IsADirectoryError, r"'\.'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_a_checkpoint(words: dict[str, Any], error: type[Exception], message: str) -> None:
    network = a_network("numpy")
    before = vector_of(network)
    with pytest.raises(error, match=message):
        fit(network, **words)
    assert_same_bits(vector_of(network), before)


@pytest.mark.parametrize("name", ["every_epochs", "every_seconds"])
def test_how_often_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} of Checkpoints must be"):
        Checkpoints("run.npz", **{name: 0})


def test_the_checkpoint_of_an_earlier_run_is_not_lost() -> None:
    fit(a_network("numpy"), checkpoint="run.npz")
    before = Path("run.npz").read_bytes()
    with pytest.raises(
        FileExistsError, match=r"must be a new file unless resume=True, which goes on from it\. Got 'run.npz'"
    ):
        fit(a_network("numpy"), checkpoint="run.npz")
    assert Path("run.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"learning_rate": 0.02}, "training.learning_rate was 0.01 and is 0.02"),
        ({"batch_size": 3}, "training.batch_size was 4 and is 3"),
        ({"optimizer": SGD(momentum=0.5)}, r"training.optimizer was .*Adam\(.* and is .*momentum=0.5"),
        ({"clip": 1.0}, "training.clip was"),
        ({"schedule": "cosine"}, "training.schedule was"),
        ({"early_stopping": 3}, "training.early_stopping was 'None' and is"),
        ({"tbptt_steps": 2}, "training.tbptt_steps was None and is 2"),
        ({"l2": 0.1, "frozen": "readout"}, "training.l2 was 0.0 and is 0.1; training.frozen had 0 entries and has 2"),
        ({"metrics": "mae"}, "training.metrics had 0 entries and has 1"),
        ({"validation": 0.5}, "data.X.sequences was 12 and is 6; .*data.validation was None and is"),
        ({"sample_weight": np.arange(1.0, 13.0)}, "data.y.digest was"),
        ({"epochs": 5}, "epochs of Network.fit must be at least those that the checkpoint has. Got 5 for 6"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_under_other_conditions_is_refused(words: dict[str, Any], message: str) -> None:
    fit(a_network("numpy"), checkpoint="run.npz")
    network = a_network("numpy")
    fit(network, epochs=2)
    before, history = vector_of(network), network.history
    with pytest.raises(ValueError, match=message):
        fit(network, checkpoint="run.npz", resume=True, **words)
    assert_same_bits(vector_of(network), before)
    assert network.history is history


def test_other_data_are_refused() -> None:
    network = a_network("numpy")
    network.fit(X, Y, 2, checkpoint="run.npz")
    other = X.copy()
    other[5, 3, 1] += 1e-9
    for inputs, targets, place in (
        (other, Y, "data.X.digest"),
        (X, Y + 1, "data.y.digest"),
        (X[:11], Y[:11], "sequences"),
    ):
        with pytest.raises(ValueError, match=f"is of another run: .*{place}"):
            a_network("numpy").fit(inputs, targets, 2, checkpoint="run.npz", resume=True)


def test_another_network_or_generator_is_refused() -> None:
    fit(a_network("numpy"), checkpoint="run.npz")
    with pytest.raises(ValueError, match=r"is of another network: dropout was 0\.0 and is 0.5"):
        fit(a_network("numpy", dropout=0.5), checkpoint="run.npz", resume=True)
    generator = np.random.Generator(np.random.SFC64(1))
    network = Network(2, [GRU(4)], 3, dtype="float64", random_state=generator, engine="numpy")
    with pytest.raises(ValueError, match="generator was 'PCG64' and is 'SFC64'"):
        fit(network, checkpoint="run.npz", resume=True)


def test_another_machine_cannot_promise_the_same_bits() -> None:
    fit(a_network("numpy"), checkpoint="run.npz", epochs=3)
    rewrite(Path("run.npz"), lambda words, _: words["ran_on"].update(NumPy="1.0", engine="abacus"))
    undisturbed, resumed = a_network("numpy"), a_network("numpy")
    fit(undisturbed)
    with pytest.warns(UserWarning, match="cannot promise the same bits: NumPy was '1.0' and is .*engine was 'abacus'"):
        fit(resumed, checkpoint="run.npz", resume=True)
    assert_same_run(resumed, undisturbed)  # here it is the same, after all


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words, _: words["words"].pop("run"), "its run must have"),
        (lambda words, _: words["words"]["run"].update(more=1), "its run must have"),
        (lambda words, _: words["words"]["run"].update(drawn=2), "its run has 2 for drawn"),
        (lambda words, _: words["words"]["run"].update(dropout_key=-1), "its run has -1 for dropout_key"),
        (lambda words, _: words["words"]["run"].update(dropout_key=2**63), "for dropout_key"),
        (lambda words, _: words["words"]["run"].update(schedule_state={"best": 1.0}), "for schedule_state"),
        (lambda words, _: words["words"]["run"].update(stopping_state=None), "its run has None for stopping_state"),
        (lambda words, _: words["words"]["run"]["stopping_state"].update(bad=None), "for stopping_state"),
        (lambda words, _: words["words"]["run"]["stopping_state"].update(bad="x"), "for stopping_state"),
        (lambda words, _: words["words"]["run"].update(recent_norms=["x"]), "for recent_norms"),
        (lambda words, _: words["history"].append(["gossip", [1.0]]), "by known names. Got 'gossip'"),
        (lambda words, _: words["history"].append(["loss.mae", [1.0]]), "by known names. Got 'loss.mae'"),
        (lambda words, _: words["history"].append(["metrics.f1", ["x"]]), "by known names. Got 'metrics.f1'"),
        (lambda words, _: words["history"].append(["metrics.f1", [1.0]]), r"must be of one length. Got \[1, 6\]"),
        (lambda _, arrays: arrays.pop("optimizer.m"), "its optimizer must be"),
        (lambda _, arrays: arrays.update({"optimizer.updates": np.zeros(2, np.int64)}), "its optimizer must be"),
        (lambda _, arrays: arrays.pop("arrays.best"), "its arrays must be"),
        (lambda _, arrays: arrays.update({"arrays.best": np.zeros(3)}), "its arrays must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_no_run_can_have_left_is_refused(change: Callable[..., object], message: str) -> None:
    fit(a_network("numpy"), checkpoint="run.npz", early_stopping=50)
    shutil.copy("run.npz", "old.npz")
    rewrite(Path("run.npz"), change)
    network = a_network("numpy")
    before = vector_of(network)
    with pytest.raises(FileFormatError, match=f"Cannot read 'run.npz': .*{message}"):
        fit(network, checkpoint="run.npz", resume=True, early_stopping=50)
    assert_same_bits(vector_of(network), before)
    fit(network, checkpoint="old.npz", resume=True, early_stopping=50)  # nothing was wrong with the rest of it
