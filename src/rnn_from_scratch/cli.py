"""The command `rnn-from-scratch`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rnn_from_scratch._version import __version__
from rnn_from_scratch.benchmark import command as benchmark
from rnn_from_scratch.configuration import show_config
from rnn_from_scratch.forecasting import co2_demo

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status.

    >>> main(["info"])  # doctest: +ELLIPSIS
    rnn-from-scratch ...
    0
    """
    options = _parser().parse_args(arguments)
    if options.command == "info":
        show_config()
    elif options.command == "benchmark":
        return benchmark.run(options)
    else:
        co2_demo.run(options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rnn-from-scratch", description="Recurrent networks from scratch.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("info", help="versions, engines and instruction sets of this installation")
    demo = commands.add_parser("demo", help="forecast the CO2 of Mauna Loa, one month ahead, beside simple baselines")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the picture")
    race = commands.add_parser(
        "benchmark", help="the documented table and the race against other libraries, measured here"
    )
    benchmark.add_arguments(race)
    return parser
