"""Estimators and transformers for sequences, as scikit-learn knows them: ``pip install "rnn-from-scratch[sklearn]"``.

>>> from rnn_from_scratch.estimators import RNNClassifier, SequenceScaler
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnn_from_scratch.estimators.classifier import RNNClassifier
    from rnn_from_scratch.estimators.pipelines import load_pipeline, save_pipeline
    from rnn_from_scratch.estimators.preprocessing import SequencePadder, SequenceScaler
    from rnn_from_scratch.estimators.regressor import RNNRegressor

__all__ = ["RNNClassifier", "RNNRegressor", "SequencePadder", "SequenceScaler", "load_pipeline", "save_pipeline"]

_WHERE = {
    "RNNClassifier": "classifier",
    "RNNRegressor": "regressor",
    "SequencePadder": "preprocessing",
    "SequenceScaler": "preprocessing",
    "load_pipeline": "pipelines",
    "save_pipeline": "pipelines",
}


def __getattr__(name: str) -> Any:
    """What the package offers, made when it is first asked for: scikit-learn takes longer to import than all the rest."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_WHERE[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "sklearn":
            raise
        raise ImportError(f"{name} needs scikit-learn: pip install 'rnn-from-scratch[sklearn]'.") from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
