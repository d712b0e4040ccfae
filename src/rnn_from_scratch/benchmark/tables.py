"""Tables and numbers in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["engineering", "factor", "markdown_table", "percent", "significant"]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, columns as wide as they need be, the first one flush left.

    >>> print(markdown_table(["", "ms"], [["ours", "1"], ["theirs|x", "10"]]))
    |           |  ms |
    | :-------- | --: |
    | ours      |   1 |
    | theirs\\|x |  10 |
    """
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [header, *rows]]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = [":" + "-" * (width - 1) if k == 0 else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    lines = []
    for row in [cells[0], rule, *cells[1:]]:
        padded = [c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(f"| {' | '.join(padded)} |")
    return "\n".join(lines)


def significant(value: float | None, digits: int = 3) -> str:
    """So many significant digits, without an exponent where that is readable; a dash for what is not known.

    >>> significant(1234.5), significant(0.012345), significant(1.2e-9), significant(None), significant(math.nan)
    ('1,234', '0.0123', '1.2e-09', '–', 'NaN')
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    size = abs(value)
    if size >= min(10**digits, 1000):
        return f"{value:,.0f}" if size < 1e7 else f"{value:.{digits - 1}e}"
    return f"{value:.{digits}g}"


def engineering(value: float | None, unit: str) -> str:
    """With the prefix that leaves one to three digits before the point.

    >>> engineering(0.0123, "s"), engineering(4.5e-7, "s"), engineering(12345.0, "B")
    ('12.3 ms', '450 ns', '12.3 kB')
    """
    if value is None or not math.isfinite(value) or value == 0:
        return f"{significant(value)} {unit}" if value is not None else "–"
    prefixes = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
    power = min(12, max(-9, 3 * math.floor(math.log10(abs(value) * (1 + 1e-12)) / 3)))
    return f"{value / 10**power:.3g} {prefixes[power]}{unit}"


def factor(value: float | None) -> str:
    """How many times as much.

    >>> factor(12.34), factor(0.5), factor(None)
    ('12.3×', '0.5×', '–')
    """
    return f"{significant(value)}×" if value is not None and math.isfinite(value) else "–"


def percent(value: float | None) -> str:
    """A share.

    >>> percent(0.8512)
    '85 %'
    """
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.2g} %"
