"""Run workload B with the native engine alone, and draw it below its roof between the markers of docs/native-engine.md.

python benchmarks/roofline.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_from_scratch.benchmark import instruction_sets, ours
from rnn_from_scratch.benchmark.limits import limit
from rnn_from_scratch.benchmark.machine import facts
from rnn_from_scratch.benchmark.plan import workload_b
from rnn_from_scratch.benchmark.processes import Library
from rnn_from_scratch.benchmark.race import Pace, Reference
from rnn_from_scratch.benchmark.statistics import Spread

DOCUMENT = Path(__file__).parent.parent / "docs" / "native-engine.md"
BEGIN, END = "<!-- roofline: begin -->", "<!-- roofline: end -->"
SIZES = (32, 64, 128, 256)
WIDTH = 60


def measure() -> dict[str, Any]:
    """What `run_sets` found, of the instruction set that is chosen here."""
    oracle = Library(ours.__name__)
    try:
        rows = [(row.title, row.make()) for row in workload_b(SIZES)]
        problems = ((title, problem, Reference.of(oracle, problem)) for title, problem in rows)
        return instruction_sets.run_sets(problems, oracle, Pace(5, 0.06), names=[instruction_sets.LIBRARY])
    finally:
        oracle.close()


def drawing(found: Mapping[str, Any], machine: Mapping[str, str]) -> str:
    """A bar for each race: what is reached, and the rest up to its roof; the scale ends where there are no activations."""
    ((name, rates),) = found["rates"].items()
    peak = rates["peak float32"]
    lines = [f"{'GFLOP/s':22} 0{peak / 1e9:>{WIDTH - 1}.0f}", f"{'':22} ├{'─' * (WIDTH - 2)}┤   of its roof"]
    for race in found["races"]:
        flops, seconds = race["work"]["flops"], Spread.of(race["entries"][name]["wall"]).median
        roof = limit(race["work"], rates, race["dtype"])
        reached, whole = (round(WIDTH * flops / time / peak) for time in (seconds, roof))
        bar = "█" * reached + "░" * (whole - reached)
        title = race["title"].removeprefix("train ").replace(" B=32,", "")
        lines.append(f"{title:16} {flops / seconds / 1e9:5.0f} {bar:{WIDTH}} {100 * roof / seconds:5.0f} %")
    activations = f"{rates['activations float32'] / 1e9:.2f} tanh or σ in a nanosecond"
    where = (
        f"{machine['processor']}, {name}, one thread, {machine['date'][:10]}: {peak / 1e9:.0f} GFLOP/s, {activations}"
    )
    return "\n".join(["```", *lines, "```", "", where + "."])


def inserted(text: str, drawn: str) -> str:
    """The text with a drawing between the markers."""
    before, marker, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not marker or not end:
        raise ValueError(f"{DOCUMENT.name} must have the markers {BEGIN} and {END}, in this order.")
    return f"{before}{BEGIN}\n\n{drawn}\n\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(inserted(DOCUMENT.read_text(encoding="utf-8"), drawing(measure(), facts())), encoding="utf-8")
