"""Agreement before time, turns, and what becomes of contestants that are wrong, missing, slower or break."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rnn_from_scratch.benchmark import ours
from rnn_from_scratch.benchmark.documented import table_block
from rnn_from_scratch.benchmark.problems import inference, mini_batches, recent_past, unequal
from rnn_from_scratch.benchmark.processes import Library, Seconds, Server, _serve, results
from rnn_from_scratch.benchmark.race import Pace, Reference, best, compared, disagreement, race
from rnn_from_scratch.benchmark.scaling import Sweep, run_sweep, sweeps
from rnn_from_scratch.network import Network

PACE = Pace(5, 0.0)


class InProcess:
    """A library without a process of its own."""

    missing = ""

    def __init__(self, module: Any, name: str) -> None:
        self.server, self.name = Server(module), name
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, command: str, *arguments: Any) -> Any:
        self.asked.append((command, *(a for a in arguments if isinstance(a, str))))
        try:
            return getattr(self.server, command)(*arguments)
        except Exception as error:
            raise RuntimeError(str(error)) from error


def library(name: str, **makers: Any) -> InProcess:
    return InProcess(SimpleNamespace(contestants=lambda problem: makers), name)


OURS = InProcess(ours, "ours")


class Wrong(ours.Training):
    """It adds a hundredth to its weights."""

    def train(self, epochs: int) -> tuple[list[float], list[float]]:
        losses, norms = super().train(epochs)
        with self.network.edit_parameters() as p:
            p["layer0.W_h"][...] *= 1.01
        return losses, norms


def maker(kind: Any, problem: Any) -> Any:
    return lambda: kind(problem, "numpy", "float32")


def test_a_wrong_peer_is_shown_and_not_timed() -> None:
    problem = recent_past(4, N=6, T=5)
    peer = library("peer", right=maker(ours.Training, problem), wrong=maker(Wrong, problem))
    entries = race([OURS, peer], OURS, problem, PACE)  # type: ignore[list-item,arg-type]
    assert entries["wrong"]["status"] == "disagrees"
    assert entries["wrong"]["wall"] == []
    assert 2e-3 < entries["wrong"]["disagreement"] < 0.1
    assert entries["right"]["status"] == "timed"
    assert entries["right"]["disagreement"] < 1e-5
    assert len(entries["right"]["wall"]) == len(entries["right"]["cpu"]) == 5
    assert all(seconds > 0 for seconds in entries["right"]["wall"])
    assert ("measure", "wrong") not in peer.asked
    assert best(entries, ours=False) == "right"


def test_everybody_begins_once() -> None:
    problem = recent_past(2, N=2, T=2)
    order: list[str] = []

    def noted(name: str) -> InProcess:
        made = library(name, **{name: maker(ours.Training, problem)})
        measure = made.server.measure
        made.server.measure = lambda *a: (order.append(name), measure(*a))[1]  # type: ignore[method-assign]
        return made

    peers = [noted(name) for name in "abc"]
    race(peers, OURS, problem, Pace(3, 0.0))  # type: ignore[arg-type]
    assert "".join(order) == "abcbcacab"


def pretend(peer: InProcess, seconds: dict[str, float], fails: tuple[str, int] = ("", 0)) -> list[str]:
    """Let contestants take so many seconds, and one of them break when it is measured for the n-th time; who was measured."""
    asked: list[str] = []

    def measure(name: str, at_least: float) -> Seconds:
        asked.append(name)
        if (name, asked.count(name)) == fails:
            raise OSError("gone")
        return Seconds(seconds[name], 0.5)

    peer.server.measure = measure  # type: ignore[method-assign]
    peer.server.look = lambda name: seconds[name]  # type: ignore[method-assign]
    return asked


def test_missing_broken_and_slower_ones_are_named() -> None:
    problem = recent_past(3, N=4, T=4)

    def broken() -> None:
        raise ValueError("no such device")

    agreeing = ("fast", "close", "third", "slow")
    makers = {name: maker(ours.Training, problem) for name in agreeing}
    peer = library("peer", **makers, bad=broken, no="not here")
    asked = pretend(peer, {"fast": 0.1, "close": 0.12, "third": 0.121, "slow": 0.13}, fails=("close", 3))
    entries = race([peer], OURS, problem, PACE)  # type: ignore[list-item,arg-type]
    assert {name: entry["status"] for name, entry in entries.items()} == {
        "fast": "timed",
        "close": "failed: gone",  # in the third round
        "third": "slower",  # than two others
        "slow": "slower",
        "bad": "failed: no such device",
        "no": "not here",
    }
    assert (entries["fast"]["wall"], entries["fast"]["cpu"]) == ([0.1] * 5, [0.5] * 5)
    assert len(entries["close"]["wall"]) == 2
    assert "slow" not in asked
    assert best(entries, ours=False) == "fast"
    assert compared(entries, "fast", "fast").spread.median == 1.0
    # of one's own, both engines are always timed
    entries = race([OURS], OURS, problem, PACE)  # type: ignore[list-item,arg-type]
    assert entries["ours, numpy"]["status"] == "timed"


def test_short_turns_are_tried_twice_before_the_first_round() -> None:
    problem = recent_past(3, N=4, T=4)
    peer = library("peer", a=maker(ours.Training, problem))
    asked = pretend(peer, {"a": 0.1})
    entries = race([peer], OURS, problem, Pace(5, 0.2))  # type: ignore[list-item,arg-type]
    assert (len(asked), len(entries["a"]["wall"])) == (7, 5)


def test_where_it_takes_long_a_look_is_enough() -> None:
    problem = recent_past(3, N=4, T=4)
    names = ("first", "hopeless", "better", "close")
    peer = library("peer", **{name: maker(ours.Training, problem) for name in names})
    asked = pretend(peer, {"first": 2.0, "hopeless": 2.6, "better": 1.5, "close": 1.6})
    entries = race([peer], OURS, problem, Pace(9, 0.1, patience=0.0))  # type: ignore[list-item,arg-type]
    assert {name: entry["status"] for name, entry in entries.items()} == dict.fromkeys(names, "slower") | {
        "better": "timed"
    }
    assert math.isnan(entries["hopeless"]["disagreement"])  # what is not timed need not agree
    assert entries["first"]["disagreement"] < 1e-5
    assert asked == ["better"] * 5  # rounds are the fewest that have bounds


def test_long_epochs_are_compared_once() -> None:
    problem = recent_past(3, N=4, T=4)
    short = Reference.of(OURS, problem)  # type: ignore[arg-type]
    assert (short.epochs, short.results["epoch losses"].shape, short.tolerance) == (3, (3,), 2e-3)
    assert Reference.of(OURS, inference("sequence", "elman", 3)).epochs == 1  # type: ignore[arg-type]
    OURS.asked.clear()
    entries = race([OURS], OURS, problem, PACE, short)  # type: ignore[list-item,arg-type]
    assert entries["ours, numpy"]["status"] == "timed"
    assert ("reference",) not in OURS.asked  # it is known


def test_disagreement_is_relative_and_strict() -> None:
    reference = {"a": np.array([6.0, 8.0]), "b": np.array([1.0])}
    assert disagreement({"a": np.array([6.3, 8.4]), "b": np.array([1.0])}, reference) == pytest.approx(0.05)
    assert disagreement({"a": np.array([6.0, 8.0]), "b": np.array([1.2])}, reference) == pytest.approx(0.2)
    assert disagreement({"a": np.array([10.0, math.nan]), "b": np.array([1.0])}, reference) == math.inf
    assert disagreement({"a": np.array([10.0, 0.0])}, reference) == math.inf
    assert disagreement({"a": np.array([[10.0], [0.0]]), "b": np.array([1.0])}, reference) == math.inf


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_our_contestants_agree_with_the_reference(cell: str, dtype: str) -> None:
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    problems = [
        mini_batches(cell, 3, N=8, T=4, B=4, layers=2),
        unequal(cell, 3, N=8, longest=9),
        inference("sequence", cell, 3, N=2, T=5),
        inference("step", cell, 3, T=5),
    ]
    for problem in (p.astype(dtype) for p in problems):
        reference = results(ours.reference(problem), problem, 2)
        for name, make in ours.contestants(problem).items():
            if isinstance(make, str):
                assert "no Network.stream" in make or name == "ours, native"
                continue
            assert disagreement(results(make(), problem, 2), reference) < tolerance, name


def test_steps_need_streams() -> None:
    made = ours.contestants(inference("step", "elman", 3))
    assert isinstance(made["ours, numpy"], str) != hasattr(Network, "stream")


def test_a_run_that_ends_in_nan_says_so() -> None:
    problem = recent_past(3, N=4, T=4)
    training = ours.Training(problem, "numpy", "float32")
    training.X[2, 1], training.y[2, 1] = 3e38, -3e38
    with np.errstate(all="ignore"):
        losses, norms = training.train(3)
    assert len(losses) == len(norms) == 1
    assert math.isnan(losses[0])


def test_the_table_is_the_same_for_both_engines(native: None) -> None:
    block = table_block([OURS], 4, 4, PACE)  # type: ignore[list-item]
    one, other = (block["entries"][f"ours, {engine}"] for engine in ("native", "numpy"))
    assert one["losses"] == pytest.approx(other["losses"], rel=1e-5)
    assert one["norms"] == pytest.approx(other["norms"], rel=1e-4)
    assert len(one["losses"]) == 4
    assert one["losses"][-1] < one["losses"][0]
    assert one["course"][-1] == [4, pytest.approx(one["MSE"])]
    assert sum(turn["epochs"] for turn in one["turns"]) == 4
    assert set(block["latency"]) == {"ours, native", "ours, numpy"}
    assert {entry["status"] for entry in block["latency"].values()} == {"timed"}


def test_summed_is_a_larger_rate_and_a_smaller_limit() -> None:
    """The gradient summed over T steps, clipped at c, is the mean one clipped at c/T at a rate of T times."""
    block = table_block([OURS], 3, 1, PACE, summed=True)  # type: ignore[list-item]
    plain = table_block([OURS], 3, 1, PACE)  # type: ignore[list-item]
    one, other = (b["entries"]["ours, numpy"] for b in (block, plain))
    assert one["maximum norm"] == pytest.approx(20 * one["norms"][-1])
    assert one["losses"][0] != other["losses"][0]
    assert "latency" not in block


def test_sweeps_have_a_number_for_every_size() -> None:
    sweep = Sweep("H", (2, 4), lambda H: mini_batches("elman", H, N=4, T=3))
    found = run_sweep(sweep, lambda threads: [OURS], PACE, [])  # type: ignore[list-item]
    assert found["sizes"] == [2, 4]
    assert all(seconds > 0 for seconds in found["seconds"]["ours, numpy"])
    assert found["bytes"] == {}
    axes = [sweep.axis for sweep in sweeps("all", cores=4)]
    assert axes == ["T", "N", "H", "layers", "threads"]
    assert [list(sweep.sizes) for sweep in sweeps("some", cores=4)][-1] == [1, 2, 4]
    assert list(sweeps("none", cores=4)) == []


def test_a_library_that_cannot_be_imported_is_missing() -> None:
    made = Library("rnn_from_scratch.benchmark.peers.no_such_file")
    assert "No module named" in made.missing
    assert made.name == "no_such_file"
    made.close()


class Script:
    """A pipe whose other end asks one question after the other, and then is gone."""

    def __init__(self, *questions: tuple[str, tuple[Any, ...]]) -> None:
        self.questions, self.answers = list(questions), []  # type: ignore[var-annotated]

    def recv(self) -> Any:
        if not self.questions:
            raise EOFError
        return self.questions.pop(0)

    def send(self, answer: Any) -> None:
        self.answers.append(answer)


@pytest.fixture
def ctrl_c_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_process_answers_until_nobody_asks(ctrl_c_as_before: None) -> None:
    problem = recent_past(3, N=2, T=2)
    name = "ours, numpy"
    questions = [
        ("open", (problem,)),
        ("enter", (name,)),
        ("reset", (name,)),
        ("train", (name, 2)),
        ("weights", (name,)),
        ("enter", ("x",)),
    ]
    pipe = Script(*questions, ("call", ("versions",)), ("leave", (name,)))
    _serve(pipe, ours.__name__, 1, None)
    (hello, _), (known, _), _, _, ((_, losses, norms), _), (weights, _), (_, error), (versions, _), _ = pipe.answers
    assert hello[:3] == ("", "ours", ours.versions())
    assert known[name] == ""
    twice = ours.Training(problem, "numpy", "float32")
    assert (losses, norms) == twice.train(2)
    assert (weights["layer0.W_h"] == twice.weights()["layer0.W_h"]).all()
    assert error == "KeyError: 'x'"
    assert versions == ours.versions()


def test_a_process_says_why_it_cannot_start(ctrl_c_as_before: None) -> None:
    pipe = Script()
    _serve(pipe, "rnn_from_scratch.benchmark.peers.no_such_file", 1, None)
    ((why, name, versions, _), error) = pipe.answers[0]
    assert why.startswith("ModuleNotFoundError")
    assert (name, versions, error) == ("no_such_file", {}, "")
