"""Run workload B with the native engine alone, and write into docs/native-engine.md how far below its roof that is.

With the instruction set that is chosen here it is drawn; a table has the other sets of this processor, and float64.

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
from rnn_from_scratch.benchmark.tables import markdown_table, percent

DOCUMENT = Path(__file__).parent.parent / "docs" / "native-engine.md"
BEGIN, END = "<!-- roofline: begin -->", "<!-- roofline: end -->"
SIZES = (32, 64, 128, 256)
WIDTH = 60


def measure() -> dict[str, Any]:
    """What `run_sets` found, of every instruction set and both precisions."""
    oracle = Library(ours.__name__)
    try:
        rows = [(row.title, row.make().astype(dtype)) for row in workload_b(SIZES) for dtype in ("float32", "float64")]
        problems = ((title, problem, Reference.of(oracle, problem)) for title, problem in rows)
        return instruction_sets.run_sets(problems, oracle, Pace(5, 0.06))
    finally:
        oracle.close()


def drawing(found: Mapping[str, Any], machine: Mapping[str, str]) -> str:
    """A bar for each race: what is reached, and the rest up to its roof; the scale ends where there are no activations."""
    name, rates = list(found["rates"].items())[-1]
    peak = rates["peak float32"]
    lines = [f"{'GFLOP/s':22} 0{peak / 1e9:>{WIDTH - 1}.0f}", f"{'':22} ├{'─' * (WIDTH - 2)}┤   of its roof"]
    for race in _of("float32", found):
        flops, seconds, roof = race["work"]["flops"], *_seconds(race, name, rates)
        reached, whole = (round(WIDTH * flops / time / peak) for time in (seconds, roof))
        bar = "█" * reached + "░" * (whole - reached)
        lines.append(f"{_title(race):16} {flops / seconds / 1e9:5.0f} {bar:{WIDTH}} {100 * roof / seconds:5.0f} %")
    activations = f"{rates['activations float32'] / 1e9:.2f} tanh or σ in a nanosecond"
    where = (
        f"{machine['processor']}, {name}, one thread, {machine['date'][:10]}: {peak / 1e9:.0f} GFLOP/s, {activations}"
    )
    return "\n".join(["```", *lines, "```", "", where + "."])


def shares(found: Mapping[str, Any]) -> str:
    """The share of its roof that each set reaches in both precisions; and how much longer float64 takes with the chosen one."""
    sets = list(found["rates"])
    rows = []
    for narrow, wide in zip(_of("float32", found), _of("float64", found), strict=True):
        times = {
            (race["dtype"], name): _seconds(race, name, found["rates"][name])
            for race in (narrow, wide)
            for name in sets
        }
        reached = [percent(roof / seconds) for seconds, roof in times.values()]
        pairs = zip(times["float32", sets[-1]], times["float64", sets[-1]], strict=True)
        rows.append([_title(narrow), *reached, *(f"{longer / time:.2f}" for time, longer in pairs)])
    header = [f"{name}, {dtype}" for dtype in ("float32", "float64") for name in sets]
    return markdown_table(["", *header, f"{sets[-1]}, float64 / float32", "of their roofs"], rows)


def _of(dtype: str, found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [race for race in found["races"] if race["dtype"] == dtype]


def _title(race: Mapping[str, Any]) -> str:
    return str(race["title"]).removeprefix("train ").replace(" B=32,", "")


def _seconds(race: Mapping[str, Any], name: str, rates: Mapping[str, Any]) -> tuple[float, float]:
    """An epoch with an instruction set, the median as everywhere in the report; and its roof."""
    return Spread.of(race["entries"][name]["wall"]).median, limit(race["work"], rates, race["dtype"])


def inserted(text: str, drawn: str) -> str:
    """The text with a drawing between the markers."""
    before, marker, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not marker or not end:
        raise ValueError(f"{DOCUMENT.name} must have the markers {BEGIN} and {END}, in this order.")
    return f"{before}{BEGIN}\n\n{drawn}\n\n{END}{after}"


if __name__ == "__main__":
    found = measure()
    written = f"{drawing(found, facts())}\n\n{shares(found)}"
    DOCUMENT.write_text(inserted(DOCUMENT.read_text(encoding="utf-8"), written), encoding="utf-8")
