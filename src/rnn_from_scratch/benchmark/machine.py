"""Where and when a benchmark was run."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from rnn_from_scratch.configuration import configuration

__all__ = ["facts"]


def facts() -> dict[str, str]:
    """Machine, date, load, and what this installation runs."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    own = configuration()
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": str(cores),
        "system": f"{platform.system()} {platform.machine()}",
        "load before": load,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "rnn-from-scratch": own["rnn-from-scratch"],
        "engine": own["engine 'auto'"],
        "instruction set": own.get("instruction set", "–"),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
