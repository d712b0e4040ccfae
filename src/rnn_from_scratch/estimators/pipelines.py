"""Files of whole pipelines: scalers and padders before an estimator."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from rnn_from_scratch.estimators.base import SequenceEstimator
from rnn_from_scratch.estimators.classifier import RNNClassifier
from rnn_from_scratch.estimators.preprocessing import SequencePadder, SequenceScaler
from rnn_from_scratch.estimators.regressor import RNNRegressor
from rnn_from_scratch.file_format import FileFormatError, as_path, naming
from rnn_from_scratch.model_files import read_model
from rnn_from_scratch.prediction.files import KINDS, SavedStep, read_estimator, write_estimator
from rnn_from_scratch.prediction.steps import Padding, Scaling
from rnn_from_scratch.validation import shown

__all__ = ["load_pipeline", "save_pipeline"]

TRANSFORMERS: dict[str, Any] = {"SequenceScaler": SequenceScaler, "SequencePadder": SequencePadder}
ESTIMATORS: dict[str, Any] = {"RNNRegressor": RNNRegressor, "RNNClassifier": RNNClassifier}


def save_pipeline(pipeline: Pipeline, path: str | os.PathLike[str]) -> None:
    """Write a fitted pipeline to one file, without pickle.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Any number of `SequenceScaler` and `SequencePadder`, then an `RNNRegressor` or `RNNClassifier`.
    path : str or os.PathLike
        The file, under exactly this name; replaced as a whole or not at all.

    Raises
    ------
    sklearn.exceptions.NotFittedError
    TypeError, ValueError
        If a step, a parameter or a label is something that a file cannot hold; see also `RNNClassifier.save`.
    OSError
        If the system cannot write the file.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from rnn_from_scratch import load
    >>> from rnn_from_scratch.estimators import RNNRegressor, SequenceScaler, load_pipeline, save_pipeline
    >>> X, y = np.sin(np.arange(60.0)).reshape(10, 3, 2), np.arange(10.0)
    >>> model = make_pipeline(SequenceScaler(), RNNRegressor(4, tol=1.0, random_state=0)).fit(X, y)
    >>> save_pipeline(model, "pipeline.npz")
    >>> bool((load_pipeline("pipeline.npz").predict(X) == model.predict(X)).all())
    True
    >>> bool((load("pipeline.npz").predict(X) == model.predict(X)).all())  # with NumPy alone
    True
    """
    name = as_path(path, "save_pipeline")
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"pipeline of save_pipeline must be a Pipeline. Got {shown(pipeline)}.")
    steps = [(step_name, step) for step_name, step in pipeline.steps if step is not None and step != "passthrough"]
    *before, (own_name, estimator) = steps
    if not isinstance(estimator, SequenceEstimator):
        raise TypeError(
            f"pipeline of save_pipeline must end in one of {', '.join(ESTIMATORS)}. Got {shown(estimator)}."
        )
    check_is_fitted(estimator)
    saved_steps = [_saved_step(step_name, step) for step_name, step in before]
    saved = replace(estimator._saved(), before=saved_steps, name=own_name)
    write_estimator(name, estimator._kind(), estimator.network_, saved)


def load_pipeline(path: str | os.PathLike[str], *, random_state: Any = None, engine: str = "auto") -> Pipeline:
    """Read a pipeline that `save_pipeline` wrote.

    Parameters
    ----------
    path : str or os.PathLike
    random_state : None, int, SeedSequence, BitGenerator or Generator, default=None
        Seeds what training that goes on draws.
    engine : {'auto', 'numpy', 'native'}, default='auto'
        Who computes, until the next `fit`.

    Returns
    -------
    sklearn.pipeline.Pipeline

    Raises
    ------
    FileFormatError
        If the file is damaged, holds something else, or was written by a newer version.
    OSError
        If the system cannot read it.

    Examples
    --------
    See `save_pipeline`.
    """
    model = read_model(as_path(path, "load_pipeline"))
    with naming(model.path):
        if model.kind not in KINDS:
            raise FileFormatError(
                f"it holds a model of the kind {model.kind}, not a pipeline; {model.kind}.load reads it."
            )
    saved = read_estimator(model)
    with naming(model.path):
        if saved.name is None:
            raise FileFormatError(f"it holds an estimator by itself; {model.kind}.load reads it.")
        steps = [(step.name, _restored_step(step)) for step in saved.before]
        estimator = ESTIMATORS[model.kind]._of_file(model, saved, random_state, engine)
        names = [name for name, _ in steps] + [saved.name]
        if len(set(names)) < len(names) or any("__" in name or not name for name in names):
            raise FileFormatError(f"the names of its steps must differ. Got {shown(names)}.")
        return Pipeline([*steps, (saved.name, estimator)])


def _saved_step(name: str, step: Any) -> SavedStep:
    kind = next((kind for kind, known in TRANSFORMERS.items() if isinstance(step, known)), None)
    if kind is None:
        allowed = ", ".join(TRANSFORMERS)
        raise TypeError(f"pipeline of save_pipeline must have steps of the kinds {allowed}. Got {shown(step)}.")
    check_is_fitted(step)
    does: Scaling | Padding = step._scaling() if kind == "SequenceScaler" else step._padding
    names = vars(step).get("feature_names_in_")
    features = None if names is None else [str(feature) for feature in names]
    parameters = step.get_params(deep=False)
    return SavedStep(name, kind, parameters, does, int(step.n_features_in_), step._steps, features)


def _restored_step(saved: SavedStep) -> Any:
    kind = TRANSFORMERS[saved.kind]
    unknown = sorted(set(saved.parameters) - set(kind._get_param_names()))
    if unknown:
        raise FileFormatError(f"the parameters of its steps must be those of {saved.kind}. Got {shown(unknown)}.")
    step = kind(**saved.parameters)
    if isinstance(saved.step, Scaling):
        step.center_, step.scale_ = saved.step.center, saved.step.scale
    else:
        step._padding, step.length_ = saved.step, saved.step.steps
    step.n_features_in_, step._steps = saved.features, saved.steps
    if saved.feature_names is not None:
        step.feature_names_in_ = np.array(saved.feature_names, dtype=object)
    return step
