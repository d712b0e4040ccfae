"""`show_config`: what runs, on what, and why."""

from __future__ import annotations

import os
import platform
import sys

import numpy as np

from rnn_from_scratch._version import __version__
from rnn_from_scratch.engines.select import engine_status

__all__ = ["configuration", "show_config"]

VARIABLES = ("RNN_FROM_SCRATCH_ISA", "RNN_FROM_SCRATCH_REQUIRE_NATIVE")


def configuration() -> dict[str, str]:
    """The facts that `show_config` prints, by name.

    >>> configuration()["rnn-from-scratch"] == __version__
    True
    """
    facts = {
        "rnn-from-scratch": __version__,
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} ({sys.implementation.name})",
        "machine": f"{platform.system()} {platform.machine()}",
    }
    status = engine_status()
    facts["engine 'auto'"] = status.pop("auto")
    facts["engine 'native'"] = status.pop("native")
    facts.update(status)
    facts["training"] = (
        "native: fused into one call; a loss of your own (a callable) is composed of forward, loss and backward"
    )
    for name in VARIABLES:
        facts[name] = os.environ.get(name, "not set")
    return facts


def show_config() -> None:
    """Print what runs: versions, engines, instruction set, threads, and the environment variables that are looked at.

    ``RNN_FROM_SCRATCH_ISA`` (v2, v3 or v4 on x86-64) lowers the instruction set that the native engine takes when it is
    imported. ``RNN_FROM_SCRATCH_REQUIRE_NATIVE=1`` makes an installation without the native engine an error, when the
    package is built and when it is imported.

    >>> show_config()  # doctest: +ELLIPSIS
    rnn-from-scratch ...
    """
    facts = configuration()
    width = max(map(len, facts))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))
