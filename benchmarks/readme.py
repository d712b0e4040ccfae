"""Put the table and the picture of a real run between the markers of README.md.

python benchmarks/readme.py benchmark-output/result.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rnn_from_scratch.benchmark.pictures import draw
from rnn_from_scratch.benchmark.report import summary

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
PICTURE = Path("docs", "benchmark.png")


def inserted(text: str, result: Mapping[str, Any]) -> str:
    """The text with what a result says between the markers."""
    before, marker, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not marker or not end:
        raise ValueError(f"README.md must have the markers {BEGIN} and {END}, in this order.")
    picture = f"![Time of the best peer over time of this library, race by race]({PICTURE.as_posix()})"
    return f"{before}{BEGIN}\n\n{summary(result)}\n\n{picture}\n\n{END}{after}"


def main(file: str) -> None:
    """Rewrite README.md and its picture."""
    result = json.loads(Path(file).read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    text = inserted(readme.read_text(encoding="utf-8"), result)
    with TemporaryDirectory() as folder:
        ratios = next(path for path in draw(result, Path(folder)) if path.stem == "ratios")
        (ROOT / PICTURE).write_bytes(ratios.read_bytes())
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
