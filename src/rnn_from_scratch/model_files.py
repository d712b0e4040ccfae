"""Model files, format version 1: a specification, its parameters, and a few words of whoever saved them.

The layout is described in docs/files.md and never changes: a file that was written once is read for ever. What has to change
becomes version 2, which is then read beside version 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_from_scratch._version import __version__
from rnn_from_scratch.alphabet import FloatArray, Tensors
from rnn_from_scratch.archive import open_archive, write_archive
from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.validation import require_finite, shown

__all__ = ["FLOATS", "Model", "read_model", "require_format", "specification_from", "write_model"]

FORMAT, VERSION = "rnn-from-scratch model", 1
KINDS = ("Network", "RNNScratch", "RNNRegressor", "RNNClassifier")
FIELDS = {"format", "version", "written_by", "kind", "specification", "tensors", "own_words"}
VECTOR = "parameters"

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
MAX_LAYERS = 1000


@dataclass(frozen=True, eq=False)
class Model:
    """What a model file holds, all of it checked."""

    path: str
    kind: str
    specification: NetworkSpecification
    parameters: Parameters
    own_words: dict[str, Any]


def write_model(
    path: str, kind: str, specification: NetworkSpecification, tensors: Tensors, own_words: Mapping[str, Any]
) -> None:
    """Write a model; if that fails, the file that was there is untouched.

    Parameters
    ----------
    path : str
    kind : {'Network', 'RNNScratch', 'RNNRegressor', 'RNNClassifier'}
        What can be made of it.
    specification : NetworkSpecification
    tensors : mapping of str to ndarray
        The parameters by name, finite, all of one dtype.
    own_words : mapping
        What this kind needs to know besides, as JSON can say it.

    Raises
    ------
    ValueError
        If the loss is a callable or a parameter is not finite.
    OSError
    """
    described = specification.to_dict()
    if len(specification.layers) > MAX_LAYERS:
        raise ValueError(f"layers of {kind} must be at most {MAX_LAYERS} to be saved. Got {len(specification.layers)}.")
    for name, tensor in tensors.items():
        require_finite(tensor, f"{name} of {kind}")
    layout = specification.tensors()
    vector: FloatArray = np.concatenate([tensors[tensor.name].ravel() for tensor in layout])
    words = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"rnn-from-scratch {__version__}",
        "kind": kind,
        "specification": described,
        "tensors": [[tensor.name, list(tensor.shape)] for tensor in layout],
        "own_words": dict(own_words),
    }
    write_archive(path, words, {VECTOR: vector})


def read_model(path: str, kind: str | None = None) -> Model:
    """Read a model, of one kind or of any.

    Raises
    ------
    FileFormatError
        If the file is damaged, no model, of another kind, or written by a newer version of the library.
    OSError
    """
    with open_archive(path) as archive:
        words = archive.words
        require_format(words, FORMAT, VERSION, FIELDS)
        if words["kind"] not in KINDS:
            raise FileFormatError(f"it must hold one of {', '.join(KINDS)}. Got {shown(words['kind'])}.")
        if kind is not None and words["kind"] != kind:
            raise FileFormatError(
                f"it holds a model of the kind {words['kind']}, not {kind}; {words['kind']}.load reads it."
            )
        if not isinstance(words["own_words"], dict):
            raise FileFormatError(f"its 'own_words' must be a mapping. Got {shown(words['own_words'])}.")
        specification = specification_from(words["specification"])
        layout = [[tensor.name, list(tensor.shape)] for tensor in specification.tensors()]
        if words["tensors"] != layout:
            raise FileFormatError(f"its tensors must be those of its specification. Got {shown(words['tensors'])}.")
        archive.require_names(VECTOR)
        facts, P = archive.facts(VECTOR), sum(math.prod(tensor.shape) for tensor in specification.tensors())
        if facts.dtype not in FLOATS or facts.shape != (P,):  # before memory is taken for P numbers
            wanted = f"({P},) of float32 or float64"
            raise FileFormatError(f"its parameters must be {wanted}. Got {facts.shape} of {facts.dtype}.")
        parameters = Parameters(specification, facts.dtype)
        archive.read_finite_into(VECTOR, parameters.vector)
    return Model(path, words["kind"], specification, parameters, words["own_words"])


def require_format(words: Mapping[str, Any], what: str, version: int, fields: set[str]) -> None:
    """Refuse a file of another format or a newer version, or one that does not have exactly these fields."""
    found = words.get("format")
    if found != what:
        ours = isinstance(found, str) and found.startswith("rnn-from-scratch")  # the one was taken for the other
        readers = " Models are for load, checkpoints for Network.fit with resume=True." if ours else ""
        raise FileFormatError(f"its format must be {what!r}. Got {shown(found)}.{readers}")
    came = words.get("version")
    if type(came) is not int or came < 1:
        raise FileFormatError(f"its version must be an int >= 1. Got {shown(came)}.")
    if came > version:
        raise FileFormatError(
            f"it is an {what} of version {came}, written by {shown(words.get('written_by'))}; this is rnn-from-scratch "
            f"{__version__}, which reads up to version {version}. Install a newer one."
        )
    if words.keys() != fields:
        raise FileFormatError(f"its words must be {sorted(fields)}. Got {shown(sorted(words))}.")


def specification_from(words: Any) -> NetworkSpecification:
    """The specification that the words of a file describe."""
    layers = words.get("layers") if isinstance(words, dict) else None
    if isinstance(layers, list) and len(layers) > MAX_LAYERS:
        raise FileFormatError(f"its network must have at most {MAX_LAYERS} layers. Got {len(layers)}.")
    try:
        return NetworkSpecification.from_dict(words)
    except (TypeError, ValueError) as error:
        raise FileFormatError(str(error)) from None
