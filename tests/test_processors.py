"""How many processors a process may use, read from control groups as different systems write them."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnn_from_scratch.engines import processors

PROCESSORS = 16


@pytest.fixture(autouse=True)
def sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: PROCESSORS)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(PROCESSORS)), raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
GROUPS = "sys/fs/cgroup"

SYSTEMS: dict[str, tuple[dict[str, str], int]] = {
    "nothing to read": ({}, PROCESSORS),
    "v2 without a limit": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "max 100000\n"}, PROCESSORS),
    "v2 two": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "200000 100000\n"}, 2),
    "v2 one and a half": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "150000 100000\n"}, 2),
    "v2 a tenth": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "10000 100000\n"}, 1),
    "v2 more than there are": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "9900000 100000\n"}, PROCESSORS),
    "v2 nested, the tightest counts": (
        {
            "proc/self/cgroup": "0::/user.slice/job\n",
            f"{GROUPS}/user.slice/cpu.max": "300000 100000\n",
            f"{GROUPS}/user.slice/job/cpu.max": "500000 100000\n",
        },
        3,
    ),
    "v2 path of the outside": (
        {"proc/self/cgroup": "0::/../../docker/abc\n", f"{GROUPS}/cpu.max": "400000 100000\n"},
        4,
    ),
    "v1": (
        {
            "proc/self/cgroup": V1,
            f"{GROUPS}/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
            f"{GROUPS}/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
        },
        3,
    ),
    "v1 in a container": (
        {
            "proc/self/cgroup": V1,
            f"{GROUPS}/cpu/cpu.cfs_quota_us": "100000\n",
            f"{GROUPS}/cpu/cpu.cfs_period_us": "50000\n",
        },
        2,
    ),
    "v1 without a limit": (
        {
            "proc/self/cgroup": V1,
            f"{GROUPS}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            f"{GROUPS}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        PROCESSORS,
    ),
    "v1 and v2 together": (
        {
            "proc/self/cgroup": "1:cpu:/\n0::/\n",
            f"{GROUPS}/cpu/cpu.cfs_quota_us": "700000\n",
            f"{GROUPS}/cpu/cpu.cfs_period_us": "100000\n",
            f"{GROUPS}/cpu.max": "max 100000\n",
        },
        7,
    ),
    "quotas of something else": (
        {"proc/self/cgroup": "2:cpuset,memory:/\n", f"{GROUPS}/cpu/cpu.cfs_quota_us": "100000\n"},
        PROCESSORS,
    ),
    "no sense": (
        {"proc/self/cgroup": "what?\n:::::\n0::\n1:cpu:\n", f"{GROUPS}/cpu.max": "many 0\n"},
        PROCESSORS,
    ),
    "half a file": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "200000"}, PROCESSORS),
    "empty file": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": ""}, PROCESSORS),
    "a period of nothing": ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "200000 0\n"}, PROCESSORS),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_quotas_of_control_groups(tmp_path: Path, name: str) -> None:
    files, expected = SYSTEMS[name]
    assert processors.usable_processors(write(tmp_path, files)) == expected


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/self/cgroup": "0::/\n"})
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_bytes(b"\xff\xfe\x00 100000")
    assert processors.usable_processors(root) == PROCESSORS


def test_affinity_counts_before_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, SYSTEMS["v2 nested, the tightest counts"][0])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 7}, raising=False)
    assert processors.usable_processors(root) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors.usable_processors(root) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors.usable_processors(root) == 1


def test_a_worker_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "multiprocessing.process", SimpleNamespace(parent_process=lambda: None))
    assert not processors.is_worker()
    monkeypatch.setitem(sys.modules, "multiprocessing.process", SimpleNamespace(parent_process=lambda: "parent"))
    assert processors.is_worker()
    assert processors.own_share() == 1
    monkeypatch.delitem(sys.modules, "multiprocessing.process")
    assert not processors.is_worker()


def test_workers_of_concurrent_futures_are_workers() -> None:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(processors.is_worker).result()
