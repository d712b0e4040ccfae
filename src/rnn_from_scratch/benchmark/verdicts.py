"""What the figures of a result say: winners, the original's claims, and where another library is the better choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_from_scratch.benchmark.race import best, compared
from rnn_from_scratch.benchmark.statistics import Paired, Spread, geometric_mean
from rnn_from_scratch.benchmark.tables import factor, percent, significant

__all__ = [
    "CLAIMS",
    "Claim",
    "Standing",
    "claims",
    "documented_rows",
    "insights",
    "paired_ratios",
    "standings",
    "winner",
]

COLUMNS = ("ours, native", "ours, numpy", "PyTorch")
SAME = 1e-3
"""Figures of quality that differ by less, relatively, are the same to rounding."""


@dataclass(frozen=True)
class Standing:
    """How one race ended for us.

    Attributes
    ----------
    race : mapping
        As in the result.
    ours, theirs : str or None
        The fastest contestants of each side; None where nobody was timed.
    wall, cpu : Paired or None
        Theirs over ours.
    """

    race: Mapping[str, Any]
    ours: str | None
    theirs: str | None
    wall: Paired | None
    cpu: Paired | None

    @property
    def verdict(self) -> str:
        """'ahead', 'level' or 'behind'; 'alone', 'absent' or 'empty' where one side or both are missing."""
        if self.wall is None:
            return {(True, False): "alone", (False, True): "absent"}.get((bool(self.ours), bool(self.theirs)), "empty")
        return self.wall.verdict


def standings(result: Mapping[str, Any]) -> list[Standing]:
    """One for every race of a result."""
    found = []
    for race in result["races"]:
        entries = race["entries"]
        ours, theirs = best(entries, ours=True), best(entries, ours=False)
        wall = cpu = None
        if ours and theirs:
            wall, cpu = (compared(entries, theirs, ours, clock) for clock in ("wall", "cpu"))
        found.append(Standing(race, ours, theirs, wall, cpu))
    return found


@dataclass(frozen=True)
class Line:
    """One row of the documented table: a number for every column.

    Attributes
    ----------
    section, label, unit : str
    values : dict of str to (float or None)
    higher : bool
        Whether more is better.
    exact : bool
        Whether the mathematics is the same, so that figures may only differ by rounding.
    """

    section: str
    label: str
    unit: str
    values: Mapping[str, float | None]
    higher: bool = False
    exact: bool = False


def winner(line: Line) -> str:
    """Who has the best figure; 'same' within rounding, 'level' within two per cent where something was timed.

    >>> winner(Line("", "", "", {"a": 1.0, "b": 2.0}))
    'a'
    >>> winner(Line("", "", "", {"a": 1.0, "b": 1.0001}, exact=True))
    'same to rounding'
    >>> winner(Line("", "", "", {"a": 1.0, "b": None}))
    '–'
    """
    known = {name: value for name, value in line.values.items() if value is not None and math.isfinite(value)}
    failed = [name for name, value in line.values.items() if value is not None and not math.isfinite(value)]
    if len(known) + len(failed) < 2 or not known:
        return "–"
    ranked = sorted(known, key=lambda name: known[name], reverse=line.higher)
    first, last, second = ranked[0], ranked[-1], ranked[min(1, len(ranked) - 1)]

    def distance(name: str) -> float:
        return abs(known[name] - known[first]) / max(abs(known[first]), 1e-300) if known[name] != known[first] else 0.0

    if not failed and distance(last) <= (SAME if line.exact else 0.0):
        return "same to rounding" if line.exact else "level"
    if second != first and distance(second) <= (SAME if line.exact else 0.02):
        return f"{first} · {second}"
    return first


def documented_rows(block: Mapping[str, Any], programs: Mapping[str, Any]) -> list[Line]:
    """The rows of the documented table, from one of its blocks and, if there are any, whole programs."""
    entries = block["entries"]
    columns = [name for name in COLUMNS if name in entries]

    def of(get: Callable[[Mapping[str, Any]], float | None]) -> dict[str, float | None]:
        return {n: get(entries[n]) if entries[n]["status"] == "trained" else None for n in columns}

    def total(entry: Mapping[str, Any]) -> float:
        return math.fsum(turn["wall"] for turn in entry["turns"])

    def epochs(entry: Mapping[str, Any]) -> int:
        return sum(turn["epochs"] for turn in entry["turns"])

    lines = [
        Line("Model quality", f"{name}, held out", "", of(lambda e, n=name: e[n]), exact=True)  # type: ignore[misc]
        for name in ("MSE", "MAE", "RMSE")
    ]
    lines += [
        Line("Training", "final loss", "", of(lambda e: e["final loss"]), exact=True),
        Line("Training", f"total time, {block['epochs']} epochs", "s", of(total)),
        Line("Training", "average time per epoch", "s", of(lambda e: total(e) / epochs(e))),
    ]
    if "latency" in block:
        latency = {n: _fastest(block["latency"], n) for n in columns}
        together = {n: _fastest(block["throughput"], n) for n in columns}
        N = len(block["entries"]) and 100
        one = {n: seconds and 1 / seconds for n, seconds in latency.items()}
        many = {n: seconds and N / seconds for n, seconds in together.items()}
        lines += [
            Line("Inference", "latency per sample", "s", latency),
            Line("Inference", "throughput, one at a time", "/s", one, higher=True),
            Line("Inference", "throughput, all in one call", "/s", many, higher=True),
        ]
    if programs:
        lines += _resource_lines(columns, programs)
    return [
        *lines,
        Line("Gradient stability", "maximum norm, last epoch", "", of(lambda e: e["maximum norm"]), exact=True),
        Line("Gradient stability", "epochs with NaN gradients", "", of(lambda e: e["not finite"])),
        Line("Gradient stability", "exploding epochs (norm > 100)", "", of(lambda e: e["exploding"])),
    ]


def paired_ratios(block: Mapping[str, Any]) -> dict[str, dict[str, Paired]]:
    """PyTorch's times over those of our engines: of the turns of training, and of the rounds of both kinds of prediction."""
    found: dict[str, dict[str, Paired]] = {}
    entries = block["entries"]
    own = [name for name in COLUMNS[:2] if name in entries]

    def pace(name: str) -> list[float]:
        return [turn["wall"] / turn["epochs"] for turn in entries[name]["turns"]] if name in entries else []

    for name in own:
        theirs, ours = pace("PyTorch"), pace(name)
        if theirs and len(theirs) == len(ours):
            found.setdefault("training", {})[name] = Paired.of(theirs, ours)
    for key in ("latency", "throughput"):
        race = block.get(key, {})
        theirs_best = best(race, ours=False, library="PyTorch")
        for name in own if theirs_best else ():
            if race[name]["status"] == "timed":
                found.setdefault(key, {})[name] = compared(race, theirs_best or "", name)
    return found


def _fastest(entries: Mapping[str, Any], column: str) -> float | None:
    """The best of a column's ways of writing a prediction."""
    timed = [e["wall"] for n, e in entries.items() if n.startswith(column) and e["status"] == "timed"]
    return min((Spread.of(times).median for times in timed), default=None)


def _resource_lines(columns: Sequence[str], programs: Mapping[str, Any]) -> list[Line]:
    def of(key: str) -> dict[str, float | None]:
        return {n: _median(programs[n][key]) if n in programs else None for n in columns}

    installed = {n: programs[n]["installed"] if n in programs else None for n in columns}
    return [
        Line("Resources", "memory for model and training", "B", of("growth")),
        Line("Resources", "peak memory of the process", "B", of("peak")),
        Line("Resources", "installed size, NumPy included", "B", installed),
        Line("Resources", "import, beyond Python and NumPy", "s", of("import")),
    ]


def _median(values: Sequence[float]) -> float | None:
    return Spread.of(values).median if values else None


@dataclass(frozen=True)
class Claim:
    """One claim of the original, and the row of the documented table that it is about."""

    text: str
    stated: float
    label: str
    kind: str = "factor"  # PyTorch's figure over ours; or 'less', the share that is saved


CLAIMS = (
    Claim("2.88× faster training", 2.88, "total time"),
    Claim("3.45× lower latency (its heading: training)", 3.45, "latency per sample"),
    Claim("85 % less memory (its heading)", 0.85, "peak memory of the process", "less"),
    Claim("17 % less peak memory (its table)", 0.17, "peak memory of the process", "less"),
    Claim("1080× less memory for the model", 1080.0, "memory for model and training"),
    Claim("6.35× lower MSE", 6.35, "MSE, held out"),
    Claim("5.37× lower final loss", 5.37, "final loss"),
)


def claims(lines: Sequence[Line]) -> list[tuple[Claim, dict[str, tuple[float, str]]]]:
    """For every claim that there is a figure for: what was measured, and whether it holds, by our engines."""
    found = []
    for claim in CLAIMS:
        line = next((line for line in lines if line.label.startswith(claim.label)), None)
        theirs = line.values.get("PyTorch") if line else None
        if line is None or theirs is None or not math.isfinite(theirs):
            continue
        measured = {}
        for name, value in line.values.items():
            if name == "PyTorch" or value is None or value <= 0:
                continue
            figure = theirs / value if claim.kind == "factor" else 1 - value / theirs
            verdict = "holds" if figure >= claim.stated else "does not hold"
            if line.exact and abs(figure - 1) <= SAME:
                verdict = "does not hold: the same to rounding; withdrawn"
            measured[name] = (figure, verdict)
        found.append((claim, measured))
    return found


def insights(result: Mapping[str, Any]) -> list[str]:
    """Sentences about the table and the race, written from the figures."""
    said = []
    if result["tables"]:
        lines = documented_rows(result["tables"][0], result["programs"])
        for label, words in (
            ("total time", "trains {} times as fast as PyTorch"),
            ("latency per sample", "predicts one sequence {} times as fast as PyTorch"),
            ("peak memory", "holds {} of the memory of PyTorch's process"),
        ):
            said += _sentences(lines, label, words)
        quality = next(line for line in lines if line.label.startswith("MSE"))
        if winner(quality) == "same to rounding":
            said.append("Quality is the same to rounding, as it must be: all compute the same gradient.")
    verdicts = [s for s in standings(result) if s.wall is not None]
    if verdicts:
        counted = {word: sum(s.verdict == word for s in verdicts) for word in ("ahead", "level", "behind")}
        mean = geometric_mean([s.wall.spread.median for s in verdicts if s.wall is not None])
        said.append(
            f"Against the best peer of each of {len(verdicts)} races: {counted['ahead']} ahead, {counted['level']} too close "
            f"to tell, {counted['behind']} behind; geometric mean of the ratios {factor(mean)}."
        )
    return said


ENGINES = {"ours, native": "native engine", "ours, numpy": "NumPy engine"}


def _sentences(lines: Sequence[Line], label: str, words: str) -> list[str]:
    line = next((line for line in lines if line.label.startswith(label)), None)
    theirs = line.values.get("PyTorch") if line else None
    said = []
    for name, engine in ENGINES.items():
        value = line.values.get(name) if line else None
        if theirs is None or not value or not math.isfinite(theirs / value):
            continue
        figure = percent(value / theirs) if label == "peak memory" else significant(theirs / value)
        slower = ", so it is slower" if label != "peak memory" and theirs < value else ""
        said.append(f"The {engine} {words.format(figure)}{slower}.")
    return said


def behind(result: Mapping[str, Any]) -> list[Standing]:
    """The races in which we are not first for certain."""
    return [standing for standing in standings(result) if standing.verdict in ("behind", "level")]
