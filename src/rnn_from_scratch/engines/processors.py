"""How many processors this process may use: its affinity, the quotas of its control groups, and whether it is one of many."""

from __future__ import annotations

import math
import os
import sys
from functools import lru_cache

__all__ = ["is_worker", "own_share", "usable_processors"]


def own_share() -> int:
    """How many threads are this process's own share of the machine: one in a worker process, else all it may use.

    >>> own_share() >= 1
    True
    """
    return 1 if is_worker() else _usable_processors(os.getpid())


def is_worker() -> bool:
    """Whether this is a process that `multiprocessing`, `concurrent.futures` or joblib (loky) started to share work."""
    process = sys.modules.get(
        "multiprocessing.process"
    )  # where it was never imported, nobody has started this process with it
    return process is not None and process.parent_process() is not None


@lru_cache(maxsize=1)
def _usable_processors(process: int) -> int:
    """Remembered for the process with this number: its child by a fork looks again."""
    return usable_processors()


def usable_processors(root: str | os.PathLike[str] = "/") -> int:
    """Processors that the scheduler lets this process use, or fewer where a control group has a quota below them.

    A quota of one and a half processors counts as two: threads that wait for it use it up, one thread would not.
    """
    return max(1, min(_affinity(), math.ceil(_quota(os.fspath(root)))))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: str) -> float:
    """The smallest quota of the control groups that this process is in, in processors; without any, all there are."""
    groups = os.path.join(root, "sys/fs/cgroup")
    found = [float(os.cpu_count() or 1)]
    for line in _lines(os.path.join(root, "proc/self/cgroup")):
        number, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "", "/")
        for group in _upwards(path):
            if number == "0" and not controllers:  # version 2
                found += _ratio(*_words(os.path.join(groups, group, "cpu.max")))
            elif "cpu" in controllers.split(","):
                folder = os.path.join(groups, controllers, group)
                if not os.path.isdir(folder):
                    folder = os.path.join(groups, "cpu", group)
                quota, period = (_words(os.path.join(folder, f"cpu.cfs_{name}_us"))[:1] for name in ("quota", "period"))
                found += _ratio(*quota, *period)
    return min(found)


def _upwards(path: str) -> list[str]:
    """A group and all around it, relative to the root of the groups; inside a container its path may be that outside."""
    parts = [part for part in path.strip().split("/") if part]
    return ["/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]


def _ratio(*words: str) -> list[float]:
    """Quota over period; nothing where there is no limit ('max', or −1) or the words are no such pair."""
    try:
        quota, period = map(float, words)
    except ValueError:
        return []
    return [quota / period] if quota > 0 and period > 0 else []


def _words(path: str) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
