"""Pictures of a result: ratios as bars, growth as curves, and the time until a model is good. They need matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_from_scratch.benchmark.verdicts import standings

__all__ = ["draw"]

COLOURS = {
    "ours, native": "tab:blue",
    "ours, numpy": "tab:cyan",
    "PyTorch": "tab:orange",
    "JAX": "tab:green",
    "Keras": "tab:red",
}


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``ratios.png``, and where there is something to show ``scaling.png`` and ``quality.png``.

    Raises
    ------
    ImportError
        When matplotlib is not installed.
    """
    try:
        # The figure is made without pyplot: no window, no global state, no change of the user's backend.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "rnn-from-scratch[plot]"') from error
    written = []
    for name, painter in {"ratios": _ratios, "scaling": _scaling, "quality": _quality}.items():
        figure = Figure(layout="constrained")
        if painter(figure, result):
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=110)
            written.append(path)
    return written


def _ratios(figure: Any, result: Mapping[str, Any]) -> bool:
    """A bar for each race: how many times longer the best peer takes, on a logarithmic axis."""
    shown = [(s, s.wall) for s in standings(result) if s.wall is not None]
    if not shown:
        return False
    figure.set_size_inches(9, 1.2 + 0.3 * len(shown))
    axes = figure.subplots()
    colours = {"ahead": "tab:blue", "level": "tab:gray", "behind": "tab:orange"}
    for place, (standing, paired) in enumerate(reversed(shown)):
        ratio = paired.spread
        axes.barh(place, math.log2(ratio.median), color=colours[standing.verdict])
        low, high = math.log2(ratio.low), math.log2(ratio.high)
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        side = "left" if ratio.high >= 1 else "right"
        axes.annotate(
            f"{ratio.median:.2g}× {standing.theirs}",
            (max(high, 0.0) if side == "left" else min(low, 0.0), place),
            xytext=(4 if side == "left" else -4, 0),
            textcoords="offset points",
            va="center",
            ha=side,
            fontsize=7,
        )
    titles = [s.race["title"] + (f", {s.race['threads']} threads" if s.race["threads"] > 1 else "") for s, _ in shown]
    axes.set_yticks(range(len(shown)), titles[::-1], fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    ends = [math.log2(r) for _, paired in shown for r in (paired.spread.low, paired.spread.high)]
    first, last = math.floor(min(0.0, *ends)), math.ceil(max(1.0, *ends))
    axes.set_xticks(range(first, last + 1), [f"{2.0**k:g}" for k in range(first, last + 1)])
    axes.set_xlim(first - 0.15 * (last - first) * (first < 0) - 0.2, last + 0.4 * (last - first) + 0.5)
    axes.set_xlabel("time of the best peer / time of this library; right of 1 this library is faster")
    axes.set_title(f"{result['machine']['processor']}, {result['machine']['date'][:10]}", fontsize=9)
    return True


def _scaling(figure: Any, result: Mapping[str, Any]) -> bool:
    """Seconds above, bytes below, for each sweep."""
    sweeps = result["scaling"]
    if not sweeps:
        return False
    figure.set_size_inches(3.2 * len(sweeps), 5.5)
    panels = figure.subplots(2, len(sweeps), squeeze=False)
    for column, sweep in enumerate(sweeps):
        for row, kind in enumerate(("seconds", "bytes")):
            axes = panels[row][column]
            for name, values in sweep[kind].items():
                known = [(size, value) for size, value in zip(sweep["sizes"], values, strict=True) if value]
                if known:
                    axes.loglog(*zip(*known, strict=True), "o-", markersize=3, label=name, color=COLOURS.get(name))
            axes.set(xlabel=sweep["axis"], ylabel=kind if column == 0 else "")
            axes.set_xticks(sweep["sizes"], [str(size) for size in sweep["sizes"]], fontsize=7)
            axes.minorticks_off()
            if not axes.lines:
                axes.set_axis_off()
            elif column == 0:
                axes.legend(fontsize=6)
    return True


def _quality(figure: Any, result: Mapping[str, Any]) -> bool:
    """The held-out error over the time since the start of the process."""
    courses = {name: c for name, c in (result["quality"] or {}).get("courses", {}).items() if not isinstance(c, str)}
    if not courses:
        return False
    figure.set_size_inches(7, 4.5)
    axes = figure.subplots()
    for name, course in courses.items():
        axes.loglog(*zip(*course, strict=True), ".-", markersize=2, label=name, color=COLOURS.get(name))
    for level in result["quality"]["levels"]:
        axes.axhline(level, color="gray", linewidth=0.5, linestyle=":")
    axes.set(xlabel="seconds since the start of the process", ylabel="held-out MSE")
    axes.legend(fontsize=8)
    return True
