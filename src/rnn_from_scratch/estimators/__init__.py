"""Estimators and transformers for sequences, as scikit-learn knows them: ``pip install "rnn-from-scratch[sklearn]"``.

>>> from rnn_from_scratch.estimators import RNNClassifier, SequenceScaler
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnn_from_scratch.deferred import deferred_names

if TYPE_CHECKING:
    from rnn_from_scratch.estimators.classifier import RNNClassifier
    from rnn_from_scratch.estimators.pipelines import load_pipeline, save_pipeline
    from rnn_from_scratch.estimators.preprocessing import SequencePadder, SequenceScaler
    from rnn_from_scratch.estimators.regressor import RNNRegressor

__all__ = ["RNNClassifier", "RNNRegressor", "SequencePadder", "SequenceScaler", "load_pipeline", "save_pipeline"]

_OFFERED = {
    "classifier": ("RNNClassifier",),
    "pipelines": ("load_pipeline", "save_pipeline"),
    "preprocessing": ("SequencePadder", "SequenceScaler"),
    "regressor": ("RNNRegressor",),
}

_get, __dir__ = deferred_names(__name__, _OFFERED)


def __getattr__(name: str) -> Any:
    """What the package offers, made when it is first asked for: scikit-learn takes longer to import than all the rest."""
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "sklearn":
            raise
        raise ImportError(f"{name} needs scikit-learn: pip install 'rnn-from-scratch[sklearn]'.") from None
