"""Two results of the same benchmark: which ratios are beyond the noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_from_scratch.benchmark.statistics import Spread
from rnn_from_scratch.benchmark.tables import engineering, markdown_table

__all__ = ["changes", "compare_files"]

SMALLEST = 0.05
"""A change by less than this share is never reported."""


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "ours") -> list[list[str]]:
    """Rows of what became slower or faster: title, contestant, old and new time, ratio, and which of the two.

    Times of two runs are not paired, and the machine may have been busier in one of them. So a change counts if the
    quartiles of the two runs do not touch, after the change that all peers of the race show together, if there are any,
    has been divided out; and if it is more than five per cent.

    Parameters
    ----------
    old, new : mapping
        Results of `run_tier`.
    prefix : str
        Contestants whose names begin so are looked at; the others are the measure.

    Examples
    --------
    >>> def result(ours, peer):
    ...     entries = {"ours": {"status": "timed", "wall": ours}, "peer": {"status": "timed", "wall": peer}}
    ...     return {"races": [{"title": "A", "workload": "A", "threads": 1, "entries": entries}]}
    >>> before, after = result([1.0, 1.1, 1.2], [5.0, 5.0, 5.0]), result([4.0, 4.4, 4.8], [10.0, 10.0, 10.0])
    >>> changes(before, after)
    [['A: A', 'ours', '1.1 s', '4.4 s', '2.00', 'slower']]
    """
    earlier = {(race["workload"], race["title"], race["threads"]): race["entries"] for race in old["races"]}
    rows = []
    for race in new["races"]:
        before = earlier.get((race["workload"], race["title"], race["threads"]))
        if before is None:
            continue
        drift = _drift(before, race["entries"], prefix)
        for name, entry in race["entries"].items():
            if not name.startswith(prefix) or not _timed(before.get(name)) or not _timed(entry):
                continue
            was, now = Spread.of(before[name]["wall"]), Spread.of(entry["wall"])
            ratio = now.median / was.median / drift
            apart = now.low / drift > was.high or now.high / drift < was.low
            if apart and abs(ratio - 1) > SMALLEST:
                title = f"{race['workload']}: {race['title']}"
                times = [engineering(spread.median, "s") for spread in (was, now)]
                rows.append([title, name, *times, f"{ratio:.2f}", "slower" if ratio > 1 else "faster"])
    return rows


def _timed(entry: Mapping[str, Any] | None) -> bool:
    return entry is not None and entry["status"] == "timed"


def _drift(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str) -> float:
    """By how much the machine changed: the median over the peers that both runs have."""
    ratios = [
        Spread.of(entry["wall"]).median / Spread.of(before[name]["wall"]).median
        for name, entry in after.items()
        if not name.startswith(prefix) and _timed(entry) and _timed(before.get(name))
    ]
    return Spread.of(ratios).median if ratios else 1.0


def compare_files(old: Path, new: Path) -> str:
    """The changes between two JSON files, as a table or as a sentence."""
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (old, new))
    rows = changes(first, second)
    warning = ""
    if first["machine"]["processor"] != second["machine"]["processor"]:
        warning = "The two runs were made on different processors.\n\n"
    if not rows:
        return warning + "No change beyond the noise."
    return warning + markdown_table(["", "", "old", "new", "new / old", ""], rows)
