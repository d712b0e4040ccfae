"""``rnn-from-scratch benchmark``: run a tier, write its JSON, its report and its pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from rnn_from_scratch.benchmark.compare import compare_files
from rnn_from_scratch.benchmark.pictures import draw
from rnn_from_scratch.benchmark.plan import TIERS, Tier
from rnn_from_scratch.benchmark.registry import PEERS, install_hint, missing
from rnn_from_scratch.benchmark.report import markdown
from rnn_from_scratch.benchmark.run import run_tier

__all__ = ["add_arguments", "run", "write"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    tier = parser.add_mutually_exclusive_group()
    tier.add_argument("--quick", action="store_true", help="the documented table and two workloads, in two minutes")
    tier.add_argument("--full", action="store_true", help="everything, in forty minutes")
    tier.add_argument(
        "--compare", type=Path, nargs=2, metavar=("OLD.json", "NEW.json"), help="two runs: what has changed"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmark-output"), help="folder for what is written")


def run(options: argparse.Namespace, say: Callable[[str], None] = print) -> int:
    """Do what the options ask for; the exit status."""
    if options.compare:
        say(compare_files(*options.compare))
        return 0
    if why := missing(PEERS[0]):
        say(f"The benchmark compares with PyTorch, which is {why}. Everything that it can use:\n    {install_hint()}")
        return 1
    absent = [f"{peer.name} ({why})" for peer in PEERS[1:] if (why := missing(peer))]
    if absent:
        say(f"Without {', '.join(absent)}. To have them too:\n    {install_hint()}")
    name = "quick" if options.quick else "full" if options.full else "default"
    write(TIERS[name], name, options.output, say)
    return 0


def write(tier: Tier, name: str, folder: Path, say: Callable[[str], None]) -> None:
    """Run a tier, and write ``result.json``, ``report.md`` and the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    result = run_tier(tier, name, say)
    (folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    try:
        pictures = draw(result, folder)
    except ImportError as error:
        say(str(error))
        pictures = []
    shown = "".join(f"\n![{path.stem}]({path.name})\n" for path in pictures)
    text = markdown(result)
    (folder / "report.md").write_text(text + shown, encoding="utf-8")
    say(text)
    say(f"Written to {folder}: result.json, report.md{''.join(f', {path.name}' for path in pictures)}")
