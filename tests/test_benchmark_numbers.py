"""The benchmark's numbers: spreads, paired ratios with bounds, exponents, counted work, tables, and two runs compared."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnn_from_scratch.benchmark.compare import changes, compare_files
from rnn_from_scratch.benchmark.documented import errors, stability
from rnn_from_scratch.benchmark.limits import limit, limit_parts, work
from rnn_from_scratch.benchmark.problems import Problem, documented, inference, mini_batches, recent_past, unequal
from rnn_from_scratch.benchmark.scaling import fitted
from rnn_from_scratch.benchmark.statistics import Paired, Spread, doubling, exponent, geometric_mean
from rnn_from_scratch.benchmark.tables import engineering, factor, markdown_table, percent, significant


def test_spread_is_median_and_quartiles() -> None:
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0)
    assert str(Spread(1234.5, 0.001234, 2.0)) == "1.23e+03 (0.00123–2)"


def test_ratios_are_taken_in_pairs() -> None:
    """The machine was five times slower in the last rounds: for both."""
    ours = [1.0, 1.0, 5.0, 5.0, 5.0]
    paired = Paired.of([2.0, 2.0, 10.0, 10.0, 10.0], ours)
    assert paired == Paired(Spread(2.0, 2.0, 2.0), 2.0, 2.0)
    assert paired.verdict == "ahead"
    assert Paired.of(ours, [2.0, 2.0, 10.0, 10.0, 10.0]).verdict == "behind"


@pytest.mark.parametrize(("rounds", "rank"), [(5, 0), (7, 0), (8, 1), (9, 1), (11, 2), (20, 5)])
def test_bounds_are_those_of_the_sign_test(rounds: int, rank: int) -> None:
    """P(at most `rank` of n below the median) is at most 5 %, and one place further it is more."""
    ratios = np.random.default_rng(0).permutation(np.arange(1.0, rounds + 1))
    paired = Paired.of(list(ratios), [1.0] * rounds)
    assert (paired.lower, paired.upper) == (rank + 1, rounds - rank)
    tail = sum(math.comb(rounds, k) for k in range(rank + 1)) / 2**rounds
    assert tail <= 0.05 < tail + math.comb(rounds, rank + 1) / 2**rounds


def test_few_rounds_have_no_bounds() -> None:
    paired = Paired.of([3.0] * 4, [1.0] * 4)
    assert math.isnan(paired.lower)
    assert math.isnan(paired.upper)
    assert paired.verdict == "level"


def test_close_ratios_are_level() -> None:
    assert Paired.of([0.9, 1.1, 1.0, 1.2, 0.95], [1.0] * 5).verdict == "level"


def test_exponents_and_growth() -> None:
    sizes = [1, 2, 4, 8]
    assert exponent(sizes, [3 * n**1.5 for n in sizes]) == pytest.approx(1.5)
    assert doubling([1, 4], [1.0, 9.0]) == pytest.approx([3.0])
    assert fitted([1, 10, 100, 1000], [7.0, 7.0, 50.0, 5000.0]) == pytest.approx(2.0)
    assert fitted([1, 10], [None, 3.0]) is None
    assert geometric_mean([1.0, 10.0, 100.0]) == pytest.approx(10.0)


def flops(problem: Problem) -> float:
    return work(problem)["flops"]


def test_flops_by_hand() -> None:
    """LSTM, D=3, H=2, O=1: 2·4·2·(3 + 2) a step, 2·1·2 an answer."""
    assert flops(inference("step", "lstm", 2, D=3)) == 80 + 4
    assert flops(inference("sequence", "lstm", 2, D=3, N=5, T=7)) == 35 * (80 + 4)
    # training: three times, without the gradient by the inputs; one answer for each of two sequences of six steps
    assert flops(mini_batches("lstm", 2, N=2, T=6, D=3, B=2)) == 3 * (12 * 80 + 2 * 4) - 12 * 2 * 4 * 2 * 3
    # a second layer has H inputs, whose gradient is needed
    first, both = (flops(mini_batches("elman", 2, N=1, T=1, D=3, layers=n)) for n in (1, 2))
    assert both - first == 3 * 2 * 2 * (2 + 2)
    lengths = unequal("gru", 2, N=4)
    assert lengths.lengths is not None
    per_step = 3 * 2 * 3 * 2 * (8 + 2) - 2 * 3 * 2 * 8
    assert flops(lengths) == lengths.lengths.sum() * per_step + 3 * 4 * 2 * 2


def test_bytes_activations_and_steps_by_hand() -> None:
    """Elman, D=3, H=2, O=1 has 3·2 + 2·2 + 2 + 2 + 1 = 15 weights of 4 bytes."""
    step, sequences = inference("step", "elman", 2, D=3), inference("sequence", "elman", 2, D=3, N=5, T=7)
    assert work(step)["bytes"] == 4 * (15 + 3 + 1)
    assert work(sequences)["bytes"] == 4 * (15 + 35 * 3 + 35)
    assert work(recent_past(2, N=5, T=7, D=3))["bytes"] == 4 * (35 * 3 + 35 + 5 * 15 * 2)
    asked = ("activations", "waiting", "weights", "passes")
    assert [work(step)[name] for name in asked] == [2, 1, 60, 1]
    assert [work(sequences)[name] for name in asked] == [35 * 2, 7, 60, 7]
    # an LSTM has five activations, of which two wait; 6 sequences in batches of 4 and 2
    training = work(mini_batches("lstm", 2, N=6, T=9, D=3, B=4))
    assert [training[name] for name in asked] == [54 * 5 * 2, 2 * 9 * 2, 4 * (4 * 2 * 6 + 3), 2 * 2 * 9]
    lengths = unequal("gru", 2, N=64)
    assert lengths.lengths is not None
    assert work(lengths)["passes"] == 2 * (lengths.lengths[:32].max() + lengths.lengths[32:].max())


def test_the_limit_is_the_longest_of_three() -> None:
    rates: dict[str, Any] = {"peak float32": 100.0, "activations float32": 10.0, "wait float32": 0.5}
    rates["read"] = [(2**16, 2**20), (2**20, 2**18)]
    asked = {"flops": 50.0, "activations": 5.0, "waiting": 4.0, "weights": 2.0**17, "passes": 8.0, "bytes": 2.0**16}
    assert limit_parts(asked, rates, "float32") == {"arithmetic": 1.0, "memory": 4.0, "waiting": 2.0}
    assert limit(asked, rates, "float32") == 4.0
    small = asked | {"weights": 2.0**12, "bytes": 2.0**12}  # these stay where they are
    assert limit_parts(small, rates, "float32")["memory"] == 0.0
    assert limit(small, rates, "float32") == 2.0
    huge = asked | {"weights": 2.0**22, "passes": 1.0}  # larger than all that was measured
    assert limit_parts(huge, rates, "float32")["memory"] == 16.0


@pytest.mark.parametrize(
    ("cell", "limits"),
    [("elman", (3.6, 12.6, 46.6, 179)), ("gru", (10.9, 37.8, 140, 537)), ("lstm", (15, 51, 188, 719))],
)
def test_limits_of_another_machine(cell: str, limits: tuple[float, ...]) -> None:
    """Known for one with 117 GFLOP/s and 3.65 tanh in a nanosecond; rounded."""
    rates = {"peak float32": 117e9, "activations float32": 3.65e9, "wait float32": 0.0, "read": [(1, 100e9)]}
    for H, known in zip((32, 64, 128, 256), limits, strict=True):
        assert limit(work(mini_batches(cell, H)), rates, "float32") * 1e3 == pytest.approx(known, rel=0.02)


def test_problems_are_what_they_say() -> None:
    problem, X, y = documented(4)
    combination, *_ = np.linalg.lstsq(problem.X.reshape(-1, 5), problem.y.reshape(-1, 1), rcond=None)
    assert np.abs(X @ combination - y).max() < 1e-5
    assert all(np.abs(values).min() > 0 for values in problem.weights.values())
    shuffled, ordered, even = unequal("lstm", 4), unequal("lstm", 4, sort=True), unequal("lstm", 4, equal=True)
    assert shuffled.lengths is not None
    assert ordered.lengths is not None
    assert (np.sort(shuffled.lengths) == ordered.lengths).all()
    assert (shuffled.lengths.min(), shuffled.lengths.max()) == (5, 100)
    assert even.X.shape[0] * even.X.shape[1] == pytest.approx(shuffled.lengths.sum(), rel=0.01)
    past = np.arange(100) >= shuffled.lengths[:, None]
    assert (shuffled.X[past] == 0).all()


def test_errors_and_stability() -> None:
    outputs, y = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    assert errors(outputs, y) == pytest.approx({"MSE": 21 / 4, "MAE": 7 / 4, "RMSE": math.sqrt(21 / 4)})
    found = stability({"losses": [3.0, 2.0, 1.0], "norms": [6.0, 4.0, 5.0]}, factor=20.0)
    assert found["exploding"] == 1  # 120; 80 and 100 are not beyond 100
    assert found["maximum norm"] == 100.0
    broken = stability({"losses": [3.0, 2.0, math.nan], "norms": [1.0, math.inf, math.nan]})
    assert (broken["not finite"], broken["NaN epoch"]) == (2, 2)


def test_numbers_are_written_readably() -> None:
    shown = [significant(value) for value in (0.0, 0.5, 12.345, 123456.0, 1.5e9, 3e-6, math.inf)]
    assert shown == ["0", "0.5", "12.3", "123,456", "1.50e+09", "3e-06", "inf"]
    assert [engineering(value, "s") for value in (1e-9, 999.9e-6, 1.0, 59.96)] == ["1 ns", "1e+03 µs", "1 s", "60 s"]
    assert engineering(None, "B") == factor(None) == percent(math.nan) == "–"
    assert (factor(2.875), percent(-0.5)) == ("2.88×", "-50 %")


def test_tables_have_one_width_and_hold_any_text() -> None:
    lines = markdown_table(["", "a"], [["x|y", "1"], ["long\ncell", "22"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2] == "| x\\|y      |   1 |"
    assert "long cell" in lines[3]


def result_of(ours: float, peer: float, spread: float = 0.01, status: str = "timed") -> dict[str, Any]:
    def entry(median: float) -> dict[str, Any]:
        return {"status": status, "wall": [median * (1 + spread * k) for k in (-1, 0, 1)]}

    race = {
        "workload": "A",
        "title": "train",
        "threads": 1,
        "entries": {"ours, native": entry(ours), "peer": entry(peer)},
    }
    return {"races": [race], "machine": {"processor": "P"}}


def test_compare_sees_what_is_beyond_the_noise() -> None:
    before = result_of(1.0, 2.0)
    assert changes(before, result_of(1.2, 2.0)) == [["A: train", "ours, native", "1 s", "1.2 s", "1.20", "slower"]]
    assert changes(before, result_of(0.5, 2.0))[0][-2:] == ["0.50", "faster"]
    assert changes(before, result_of(1.04, 2.0)) == []  # too little
    assert changes(before, result_of(1.2, 2.0, spread=0.5)) == []  # too noisy
    assert changes(before, result_of(2.0, 4.0)) == []  # the machine is slower, not the library
    assert changes(before, result_of(9.0, 2.0, status="disagrees")) == []
    assert changes({"races": []}, before) == []


def test_compare_reads_files(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(result_of(1.0, 2.0)))
    new.write_text(json.dumps(result_of(3.0, 2.0)))
    assert "slower" in compare_files(old, new)
    assert compare_files(old, old) == "No change beyond the noise."
    new.write_text(json.dumps(result_of(1.0, 2.0) | {"machine": {"processor": "Q"}}))
    assert compare_files(old, new).startswith("The two runs were made on different processors.")
