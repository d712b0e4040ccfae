"""Who can take part: a module for each library, what it needs, and which of its ways a program of its own takes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OURS", "PEERS", "Peer", "install_hint", "installed_bytes", "missing"]

PACKAGE = "rnn_from_scratch.benchmark"


@dataclass(frozen=True)
class Peer:
    """A library that can take part.

    Attributes
    ----------
    name : str
    file : str
        Of this package, without its ending.
    needs : tuple of (str, str)
        Packages as they are imported, and as pip names them; the first is the library itself.
    program : str
        Which contestant a process of its own runs; empty for those that cannot train.
    """

    name: str
    file: str
    needs: tuple[tuple[str, str], ...]
    program: str = ""

    @property
    def module(self) -> str:
        """The module's full name."""
        return f"{PACKAGE}.{self.file.replace('/', '.')}"

    @property
    def path(self) -> Path:
        """The module's file."""
        return Path(__file__).parent / f"{self.file}.py"


OURS = Peer("rnn-from-scratch", "ours", (("rnn_from_scratch", "rnn-from-scratch"),), "ours, native")

PEERS = (
    Peer("PyTorch", "peers/pytorch", (("torch", "torch==2.13.0"),), "PyTorch"),
    Peer("JAX", "peers/jax", (("jax", "jax"),), "JAX by epoch, W_x x out, unroll 1"),
    Peer("Keras", "peers/keras", (("keras", "keras"), ("jax", "jax")), "Keras"),
    Peer("ONNX Runtime", "peers/onnx_runtime", (("onnxruntime", "onnxruntime"), ("onnx", "onnx"))),
    Peer("OpenVINO", "peers/openvino", (("openvino", "openvino"), ("onnx", "onnx"))),
    Peer("LiteRT", "peers/litert", (("ai_edge_litert", "ai-edge-litert"), ("flatbuffers", "flatbuffers"))),
)


def missing(peer: Peer) -> str:
    """What is not installed; empty if it can be tried."""
    absent = [requirement for package, requirement in peer.needs if importlib.util.find_spec(package) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def install_hint() -> str:
    """The command that installs everything: the packages of `PEERS` are the extra ``benchmark``."""
    return 'pip install "rnn-from-scratch[benchmark]"'


def installed_bytes(requirement: str) -> int | None:
    """The size on disk of a distribution and all that it needs and that is there; None if it is not installed.

    An editable installation has its files elsewhere; those of this library are looked up where they are.

    >>> installed_bytes("no-such-thing") is None
    True
    """
    name = _distribution_name(requirement)
    found: dict[str, int] = {}
    _collect(name, found)
    return sum(found.values()) if found.get(name) else None


def _collect(name: str, found: dict[str, int]) -> None:
    if name in found:
        return
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        if name != OURS.name:
            return
        found[name] = _own_bytes()
        _collect("numpy", found)
        return
    if name == OURS.name:
        found[name] = _own_bytes()
    else:
        paths = (Path(str(distribution.locate_file(file))) for file in distribution.files or ())
        found[name] = sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement:
            _collect(_distribution_name(requirement), found)


def _distribution_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _own_bytes() -> int:
    folder = Path(__file__).parents[1]
    native = importlib.util.find_spec("rnn_from_scratch.engines._native")
    elsewhere = Path(native.origin) if native and native.origin else folder
    return _folder_bytes(folder) + (0 if elsewhere.is_relative_to(folder) else elsewhere.stat().st_size)


def _folder_bytes(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc")
