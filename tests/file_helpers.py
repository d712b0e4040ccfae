"""What the tests of files share: content to write, ways to damage it, and processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from support import ARCHITECTURES, random_case

from rnn_from_scratch import Network
from rnn_from_scratch.archive import open_archive, write_archive
from rnn_from_scratch.generator_state import generator_words
from rnn_from_scratch.stored_zip import write_members
from rnn_from_scratch.training.checkpoint import Checkpoint

TEMPORARIES = ".rnn-from-scratch-*.tmp"


def random_network(architecture: str = "gru", seed: int = 0, **words: Any) -> Network:
    """A network whose parameters are all far from zero, on the NumPy engine."""
    case = random_case(np.random.default_rng(seed), ARCHITECTURES[architecture], **words)
    network = Network.from_specification(case.specification, dtype="float64", random_state=seed, engine="numpy")
    set_vector(network, case.vector)
    return network


def set_vector(network: Network, vector: np.ndarray) -> None:
    with network.edit_parameters() as p:
        position = 0
        for values in p.values():
            values[...] = vector[position : position + values.size].reshape(values.shape)
            position += values.size


def vector_of(network: Network) -> np.ndarray:
    return np.concatenate([values.ravel() for values in network.parameters.values()])


def random_checkpoint(seed: int = 0, size: int = 5) -> Checkpoint:
    """A checkpoint with something in every place."""
    network, generator = random_network(seed=seed), np.random.default_rng(seed)
    vector = vector_of(network)
    return Checkpoint(
        network.specification,
        vector,
        {"m": vector / 3, "v": vector**2, "updates": np.array([seed])},
        generator_words(generator),
        {"loss": [0.1, float("nan")], "clipped": [0, 2], "note": ["a", None]},
        {"engine": "numpy"},
        {"seed": seed},
        {"layer0.h": generator.normal(size=(size, 3)), "flags": np.array([True, False])},
    )


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Write a file again after words and arrays were changed, with everything else about it in order."""
    with open_archive(str(path)) as archive:
        words, arrays = archive.words, {name: archive.read(name) for name in archive.names}
    change(words, arrays)
    write_archive(str(path), words, arrays)


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write_raw(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Any members at all, with a directory and checksums that are right."""
    with path.open("wb") as file:
        write_members(file, [(name, [content]) for name, content in members])


def strays(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(TEMPORARIES))


def run_alone(script: str, *arguments: object, prefix: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, which can import what the tests can."""
    folders = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OPENBLAS_NUM_THREADS": "1"}
    command = [*prefix, sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
