"""A result in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rnn_from_scratch.benchmark.limits import limit, limit_parts
from rnn_from_scratch.benchmark.race import best, compared
from rnn_from_scratch.benchmark.scaling import fitted
from rnn_from_scratch.benchmark.statistics import Paired, Spread
from rnn_from_scratch.benchmark.tables import engineering, factor, markdown_table, percent, significant
from rnn_from_scratch.benchmark.verdicts import (
    Line,
    Standing,
    behind,
    claims,
    documented_rows,
    insights,
    paired_ratios,
    standings,
    winner,
)

__all__ = ["documented_table", "environment", "markdown", "race_table", "summary"]

RULES = (
    "Every library works in a process of its own, one thread each on the same core unless the row says otherwise, in turns, "
    "round after round. Imports, construction, compilation and a warm-up are not in the times. Losses, weights and outputs "
    "of everybody were first compared with this library's NumPy engine in float64; who disagrees is not timed. Ratios are "
    "taken within a round: best peer / ours, the median with quartiles, and the lower 95 % bound of the median (sign test; "
    "none below five rounds). *ahead*: that bound is at least 1; *behind*: the upper one is below 1."
)


def markdown(result: Mapping[str, Any]) -> str:
    """The whole report."""
    parts = [f"# Benchmark, {result['tier']}", environment(result), *_key_insights(result)]
    if result["tables"]:
        parts += _table_sections(result)
    parts += ["## The race", RULES, *_races(result)]
    parts += _elsewhere(result)
    for section in (_programs, _quality, _scaling, _limits, _overheads):
        parts += section(result)
    parts += ["## Everybody's times", *_details(result)]
    return "\n\n".join(parts) + "\n"


def summary(result: Mapping[str, Any]) -> str:
    """The documented table, the claims and where a peer wins, with machine, versions and date: for a README."""
    main = result["tables"][0]
    lines = documented_rows(main, result["programs"])
    parts = [
        f"The documented workload (100 sequences, T=20, D=5, H={main['H']}, {main['epochs']} epochs, {main['dtype']}):",
        documented_table(lines),
        "\n".join(f"- {sentence}" for sentence in insights(result)),
        "What the original claimed, and what was measured here:",
        _claims_table(lines),
        "Where a peer is as fast or faster, among the races of this run:",
        *_elsewhere(result)[1:2],
        environment(result),
    ]
    return "\n\n".join(parts)


def environment(result: Mapping[str, Any]) -> str:
    """Machine, versions, date, who is missing, and how long it took."""
    machine = result["machine"]
    lines = [
        f"{machine['date']} · {machine['processor']}, {machine['cores']} cores, {machine['system']} · "
        f"instruction set {machine['instruction set']}, engine {machine['engine']} · load before {machine['load before']}",
        "Python "
        + ", ".join([machine["Python"], *(f"{name} {version}" for name, version in result["versions"].items())])
        + f" · the run took {result['seconds'] / 60:.1f} minutes",
    ]
    lines += [f"missing: {name} ({why})" for name, why in result["missing"].items()]
    return "  \n".join(lines)


def _key_insights(result: Mapping[str, Any]) -> list[str]:
    said = insights(result)
    return ["## Key insights", "\n".join(f"- {sentence}" for sentence in said)] if said else []


def documented_table(lines: Sequence[Line]) -> str:
    """The table with a Winner column."""
    columns = list(lines[0].values)
    rows, section = [], ""
    for line in lines:
        if line.section != section:
            section = line.section
            rows.append([f"**{section}**", *[""] * (len(columns) + 1)])
        rows.append([line.label, *(_figure(line.values[name], line.unit) for name in columns), winner(line)])
    return markdown_table(["", *columns, "winner"], rows)


def _figure(value: float | None, unit: str) -> str:
    if unit in ("s", "B"):
        return engineering(value, unit)
    return significant(value, 4) + (f" {unit}" if unit and value is not None else "")


def _table_sections(result: Mapping[str, Any]) -> list[str]:
    main, *others = result["tables"]
    lines = documented_rows(main, result["programs"])
    parts = [
        "## The documented table",
        f"Gaussian features, the target of each step a fixed linear combination of them; N=100, T=20, D=5, H={main['H']}, an "
        f"update per sequence at rate 0.01, {main['epochs']} epochs, {main['dtype']}, the gradient clipped to norm 5, the "
        "same first weights and order for all.",
        documented_table(lines),
        *_nan_notes(main),
        *_paired_notes(main),
        "### What the original claimed",
        _claims_table(lines),
    ]
    for block in others:
        parts += _summed(main, block) if block["summed"] else []
    appendix = [block for block in others if not block["summed"]]
    if appendix:
        parts.append("### The same for other sizes and precisions")
    for block in appendix:
        title = f"H={block['H']}, {block['dtype']}, {block['epochs']} epochs"
        parts += [title, documented_table(documented_rows(block, {})), *_nan_notes(block)]
    return parts


def _paired_notes(block: Mapping[str, Any]) -> list[str]:
    """PyTorch over ours, taken in pairs: turns of training, rounds of predictions."""
    rows = []
    for title, ratios in paired_ratios(block).items():
        for name, paired in ratios.items():
            rows.append([f"{title}, {name}", str(paired.spread), _bound(paired), paired.verdict])
    header = ["PyTorch / ours, in pairs", "median (quartiles)", "lower 95 %", ""]
    return [markdown_table(header, rows)] if rows else []


def _nan_notes(block: Mapping[str, Any]) -> list[str]:
    notes = []
    for name, entry in block["entries"].items():
        if entry["status"] != "trained":
            notes.append(f"- {name}: {entry['status']}")
        elif entry.get("NaN epoch"):
            notes.append(f"- {name}: NaN in epoch {entry['NaN epoch']}, where its run ended.")
    return ["\n".join(notes)] if notes else []


def _claims_table(lines: Sequence[Line]) -> str:
    rows = []
    engines: list[str] = []
    found = claims(lines)
    for _, measured in found:
        engines += [name for name in measured if name not in engines]
    for claim, measured in found:
        row = [claim.text]
        for name in engines:
            figure, verdict = measured.get(name, (None, "–"))
            row += [factor(figure) if claim.kind == "factor" else percent(figure), verdict]
        rows.append(row)
    header = ["claim, against PyTorch", *(word for name in engines for word in (name, "verdict"))]
    return markdown_table(header, rows) if rows else "PyTorch was not there to compare with."


def _summed(main: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """What summing the gradient does, at the epoch that both runs have reached."""
    rows = []
    for name, entry in block["entries"].items():
        reference = main["entries"].get(name, {})
        if entry["status"] != "trained" or reference.get("status") != "trained":
            continue
        same_epoch = dict(map(tuple, reference["course"]))
        epoch, summed = entry["course"][-1]
        known = [e for e in same_epoch if e <= epoch]
        if not known:
            continue
        plain = same_epoch[known[-1]]
        note = f"NaN in epoch {entry['NaN epoch']}" if entry["NaN epoch"] else factor(plain / summed)
        rows.append([name, f"{plain:.3g}", f"{summed:.3g}", note, str(entry["exploding"])])
    header = ["", "MSE, mean over time", "MSE, summed over time", "lower by", "exploding epochs"]
    return [
        "### What the original's summed gradient does",
        f"It summed the gradient over time where the loss takes the mean: a rate {20}× larger. The same for everybody, "
        f"PyTorch included, after {block['epochs']} epochs: whatever it gains or loses is a matter of the rate, not of the "
        "library.",
        markdown_table(header, rows),
    ]


def _races(result: Mapping[str, Any]) -> list[str]:
    groups: dict[str, list[Standing]] = {}
    for standing in standings(result):
        groups.setdefault(standing.race["workload"], []).append(standing)
    parts = []
    for workload, members in groups.items():
        parts += [f"### Workload {workload}", race_table(members, result["limits"])]
    return parts


def race_table(members: Sequence[Standing], rates: Mapping[str, Any]) -> str:
    """One row for each race."""
    rows = []
    for standing in members:
        race, entries = standing.race, standing.race["entries"]
        title = race["title"] + (f" ({race['threads']} threads)" if race["threads"] > 1 else "")
        own = [_time(entries, name) for name in ("ours, native", "ours, numpy")]
        peer = _time(entries, standing.theirs)
        torch = best(entries, ours=False, library="PyTorch")
        beside = compared(entries, torch, standing.ours).spread.median if torch and standing.ours else None
        ratios = [_ratio(standing.wall), _bound(standing.wall), standing.verdict]
        least, _, reached = _reached(standing, rates)
        others = [_ratio(standing.cpu), factor(beside)]
        rows.append([title, *ratios, *own, peer, standing.theirs or "–", least, reached, *others])
    header = ["", "best peer / ours", "lower 95 %", "", "native", "NumPy", "best peer", "which", "limit", "reached"]
    return markdown_table([*header, "by processor time", "PyTorch / ours"], rows)


def _time(entries: Mapping[str, Any], name: str | None) -> str:
    entry = entries.get(name) if name else None
    if entry is None:
        return "–"
    return engineering(Spread.of(entry["wall"]).median, "s") if entry["status"] == "timed" else entry["status"]


def _ratio(paired: Paired | None) -> str:
    return str(paired.spread) if paired else "–"


def _bound(paired: Paired | None) -> str:
    return f"{paired.lower:.3g}" if paired and paired.lower == paired.lower else "–"


def _elsewhere(result: Mapping[str, Any]) -> list[str]:
    """Where a peer wins, and what to make of it."""
    lines = []
    for standing in behind(result):
        if standing.wall is None:
            continue
        word = "is faster" if standing.verdict == "behind" else "is as fast as far as this run can tell"
        threads = f" with {standing.race['threads']} threads" if standing.race["threads"] > 1 else ""
        lines.append(f"- {standing.race['title']}{threads}: {standing.theirs} {word} ({standing.wall.spread}).")
    if not lines:
        lines = ["In no race of this run was a peer as fast."]
    advice = (
        "Where your work looks like a row with a peer ahead, use that peer for it. Use PyTorch or JAX for accelerators, large "
        "networks, architectures beyond recurrent layers and a readout, or automatic differentiation: nothing of that "
        "was run here, and nothing is claimed about it, nor about devices other than this machine."
    )
    return ["## Where to use something else", "\n".join(lines), advice]


def _programs(result: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, entry in result["programs"].items():
        if "failed" in entry and not entry["seconds"]:
            rows.append([name, entry["failed"], *[""] * 4])
            continue
        cells = [
            engineering(_middle(entry[key]), unit) for key, unit in (("import", "s"), ("seconds", "s"), ("peak", "B"))
        ]
        growth = engineering(_middle(entry["growth"]), "B")
        rows.append([name, *cells, growth, engineering(entry["installed"], "B")])
    header = ["", "import beyond NumPy", "whole program", "peak memory", "of it for the work", "installed"]
    text = "A process from its first to its last moment: import, train workload A with H=32 for 20 epochs, predict."
    return ["## The process (workload E)", text, markdown_table(header, rows)]


def _middle(values: Sequence[float]) -> float | None:
    return Spread.of(values).median if values else None


def _quality(result: Mapping[str, Any]) -> list[str]:
    quality = result["quality"]
    if not quality:
        return []
    header = ["", *(f"MSE ≤ {level:.2g}" for level in quality["levels"])]
    rows = []
    for name, course in quality["courses"].items():
        if isinstance(course, str):
            rows.append([name, course, *[""] * (len(header) - 2)])
            continue
        reached = [next((t for t, error in course if error <= level), None) for level in quality["levels"]]
        rows.append([name, *("not reached" if t is None else engineering(t, "s") for t in reached)])
    text = "From the start of the process, import and compilation included, to the first epoch with so small a held-out error."
    return ["## Time to quality", text, markdown_table(header, rows)]


def _scaling(result: Mapping[str, Any]) -> list[str]:
    parts = []
    for sweep in result["scaling"]:
        rows = []
        for kind, unit in (("seconds", "s"), ("bytes", "B")):
            for name, values in sweep[kind].items():
                power = fitted(sweep["sizes"], values)
                cells = [engineering(value, unit) for value in values]
                rows.append([f"{name}, {kind}", *cells, "–" if power is None else f"{power:.2f}"])
        header = [f"{sweep['axis']} =", *map(str, sweep["sizes"]), "exponent"]
        parts += [f"Over {sweep['axis']}:", markdown_table(header, rows)]
    if not parts:
        return []
    text = (
        "An epoch of training with Adam, one update for all sequences (over threads: LSTM, 32 per update). The exponent is "
        "fitted to the larger half of the sizes; memory is what an epoch needs beyond the data, in a process of its own."
    )
    return ["## Scaling", text, *parts]


def _limits(result: Mapping[str, Any]) -> list[str]:
    """For every race with one thread: what it asks for, what that takes at least, and what it took."""
    rates = result["limits"]
    rows = []
    for standing in standings(result):
        race, work = standing.race, standing.race["work"]
        if race["threads"] > 1 or standing.ours is None:
            continue
        parts = limit_parts(work, rates, race["dtype"])
        asked = [engineering(work["flops"], "FLOP"), significant(work["activations"]), engineering(work["bytes"], "B")]
        asked.append(f"{engineering(work['weights'], 'B')} × {significant(work['passes'])}")
        rows.append([race["title"], *asked, max(parts, key=lambda part: parts[part]), *_reached(standing, rates)])
    header = ["", "products", "tanh, σ", "least traffic", "weights × passes", "bound by", "limit", "ours", "reached"]
    text = (
        f"One core of this machine: {_rates(rates)}. The limit is the longest of three: multiplications, additions and "
        "activations at these rates; the weights, read at the rate of the cache that they fit into once in every step of "
        "time; and activations that wait for each other. The last column is the share of it that is reached."
    )
    parts_of_report = ["## Distance from the limit", text, *([markdown_table(header, rows)] if rows else [])]
    return parts_of_report + _sets(result["instruction sets"])


def _rates(rates: Mapping[str, Any]) -> str:
    known = []
    for dtype in ("float32", "float64"):
        peak, gemm = (engineering(rates[f"{name} {dtype}"], "FLOP/s") for name in ("peak", "gemm"))
        known.append(
            f"{dtype} {peak} (NumPy's BLAS library on large products {gemm}), {engineering(rates[f'activations {dtype}'], '')}"
            f" tanh a second, each {engineering(rates[f'wait {dtype}'], 's')} after one that it needs"
        )
    reading = ", ".join(f"{engineering(rate, 'B/s')} from {size >> 10} kB" for size, rate in rates["read"])
    return "; ".join([*known, f"reading {reading}"])


def _reached(standing: Standing, rates: Mapping[str, Any]) -> list[str]:
    """Limit, ours, and the share of the limit that it reaches; of several threads each has its share of the work."""
    race = standing.race
    if standing.ours is None:
        return ["–"] * 3
    least = limit(race["work"], rates, race["dtype"]) / race["threads"]
    seconds = Spread.of(race["entries"][standing.ours]["wall"]).median
    return [engineering(least, "s"), engineering(seconds, "s"), percent(least / seconds)]


def _sets(found: Mapping[str, Any]) -> list[str]:
    """The native engine with each instruction set beside its own limit."""
    if not found:
        return []
    rows = []
    for race in found["races"]:
        cells = []
        for name, rates in found["rates"].items():
            entry, least = race["entries"][name], limit(race["work"], rates, race["dtype"])
            seconds = Spread.of(entry["wall"]).median if entry["status"] == "timed" else math.nan
            cells += [engineering(least, "s"), engineering(seconds, "s"), percent(least / seconds)]
        rows.append([race["title"], *cells])
    header = ["", *(word for name in found["rates"] for word in (f"{name}: limit", "ours", "reached"))]
    text = "The native engine with the instruction sets of this processor, each beside its own limit: " + "; ".join(
        f"{name} {engineering(rates['peak float32'], 'FLOP/s')}, {engineering(rates['activations float32'], '')} tanh a second"
        for name, rates in found["rates"].items()
    )
    return [f"{text}.", markdown_table(header, rows)]


GROWTH_LIMITS = {
    "twice the steps": 2.2,
    "twice the sequences": 2.2,
    "twice the layers": 2.2,
    "unequal lengths": 1.1,
    "float64, training": 2.2,
    "float64, prediction": 2.2,
}


def _overheads(result: Mapping[str, Any]) -> list[str]:
    if not result["overheads"]:
        return []
    fixed, growth = [], []
    for engine, found in result["overheads"].items():
        fixed.append([engine, *(engineering(_middle(found["fixed"][k]), "s") for k in ("predict", "fit", "epoch"))])
        for name, ratios in found["growth"].items():
            limit = GROWTH_LIMITS[name]
            spread = Spread.of(ratios)
            verdict = "within" if spread.median <= limit else "beyond"
            growth.append([f"{engine}: {name}", str(spread), f"{limit:.2g}", verdict])
    return [
        "## Fixed costs, and growth",
        "One unit, one feature, one step: what a call costs beyond its work.",
        markdown_table(["", "a call of predict", "a call of fit", "every further epoch"], fixed),
        "Ratios of two costs; float64 may cost twice as much as float32, and a tenth for noise.",
        markdown_table(["", "ratio", "limit", ""], growth),
    ]


def _details(result: Mapping[str, Any]) -> list[str]:
    parts = []
    for race in result["races"]:
        rows = []
        for name, entry in sorted(race["entries"].items(), key=lambda item: _order(item[1])):
            timed = entry["status"] == "timed"
            time = str(Spread.of([1e6 * t for t in entry["wall"]])) if timed else entry["status"]
            cpu = str(Spread.of([1e6 * t for t in entry["cpu"]])) if timed else ""
            first = significant(entry["preparation"]) if entry["preparation"] == entry["preparation"] else "–"
            apart = f"{entry['disagreement']:.1e}" if entry["disagreement"] == entry["disagreement"] else "–"
            rows.append([name, time, cpu, first, apart])
        threads = f", {race['threads']} threads" if race["threads"] > 1 else ""
        header = ["", f"µs per {race['unit']}", "processor µs", "made and first run, s", "distance from the reference"]
        body = markdown_table(header, rows)
        parts.append(
            f"<details><summary>{race['workload']}: {race['title']}{threads}</summary>\n\n{body}\n\n</details>"
        )
    return parts


def _order(entry: Mapping[str, Any]) -> tuple[bool, float]:
    timed = entry["status"] == "timed"
    return not timed, Spread.of(entry["wall"]).median if timed else 0.0
