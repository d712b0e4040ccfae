"""How a model file says an estimator or a pipeline: its own words beside the specification and the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.file_format import FileFormatError, naming
from rnn_from_scratch.model_files import Model, write_model
from rnn_from_scratch.network import Network
from rnn_from_scratch.prediction.labels import classes_from_words, classes_to_words
from rnn_from_scratch.prediction.predictor import Predictor
from rnn_from_scratch.prediction.steps import Step, step_from_words
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.validation import shown

__all__ = ["KINDS", "SavedEstimator", "SavedStep", "predictor_of", "read_estimator", "write_estimator"]

KINDS = ("RNNRegressor", "RNNClassifier")
FIELDS = {"parameters", "classes", "single", "steps", "feature_names", "fitted", "before", "name"}
STEP_FIELDS = {"name", "kind", "parameters", "step", "features", "steps", "feature_names"}
FITTED: dict[str, type] = {"epochs": int, "sequences": int, "loss": float}
MAX_PIPELINE = 100


@dataclass(frozen=True, eq=False)
class SavedStep:
    """A step of a pipeline: its name there, its kind, its constructor's parameters, what it does, and what it was fitted on."""

    name: str
    kind: str
    parameters: dict[str, Any]
    step: Step
    features: int
    steps: int | None
    feature_names: list[str] | None


@dataclass(frozen=True, eq=False)
class SavedEstimator:
    """What a file says of an estimator beside its network.

    Attributes
    ----------
    parameters : dict
        Those of the constructor.
    classes : ndarray (K,) or None
        The labels of a classifier.
    single : bool
        Whether targets came without an axis of outputs.
    steps : int or None
        T, if it was trained on (N, T).
    feature_names : list of str or None
    fitted : dict
        ``epochs`` and ``loss`` of the last training, and how many ``sequences`` were seen in all.
    before : sequence of SavedStep
        What comes before it in its pipeline.
    name : str or None
        Its own name in the pipeline; None without one.
    """

    parameters: dict[str, Any]
    classes: npt.NDArray[Any] | None
    single: bool
    steps: int | None
    feature_names: list[str] | None
    fitted: dict[str, Any]
    before: Sequence[SavedStep] = ()
    name: str | None = None


def write_estimator(path: str, kind: str, network: Network, saved: SavedEstimator) -> None:
    """Write an estimator or a pipeline; if that fails, the file that was there is untouched.

    Raises
    ------
    TypeError, ValueError
        If a parameter of the constructor or a label is something that a file cannot hold.
    OSError
    """
    own_words = {
        "parameters": _parameters_to_words(saved.parameters, kind),
        "classes": None if saved.classes is None else classes_to_words(saved.classes, kind),
        "single": saved.single,
        "steps": saved.steps,
        "feature_names": saved.feature_names,
        "fitted": saved.fitted,
        "before": [
            {
                "name": step.name,
                "kind": step.kind,
                "parameters": _parameters_to_words(step.parameters, step.kind),
                "step": step.step.to_words(),
                "features": step.features,
                "steps": step.steps,
                "feature_names": step.feature_names,
            }
            for step in saved.before
        ],
        "name": saved.name,
    }
    write_model(path, kind, network.specification, network.parameters, own_words)


def read_estimator(model: Model) -> SavedEstimator:
    """What a model file says of an estimator, checked.

    Raises
    ------
    FileFormatError
    """
    with naming(model.path):
        words = model.own_words
        if words.keys() != FIELDS:
            raise FileFormatError(f"its 'own_words' must be {sorted(FIELDS)}. Got {shown(sorted(words))}.")
        classes = None if words["classes"] is None else classes_from_words(words["classes"])
        saved = SavedEstimator(
            _parameters_from_words(words["parameters"]),
            classes,
            _of_type(words, "single", bool),
            None if words["steps"] is None else _of_type(words, "steps", int),
            _names(words["feature_names"]),
            _fitted(words["fitted"]),
            _steps(words["before"]),
            None if words["name"] is None else _of_type(words, "name", str),
        )
        _require_agreement(model.kind, model.specification, saved)
    return saved


def predictor_of(model: Model, random_state: Any, engine: str) -> Predictor:
    """What predicts as the estimator in a file does."""
    saved = read_estimator(model)
    return Predictor(
        Network.of_model(model, random_state, engine),
        classes=saved.classes,
        single=saved.single,
        steps=saved.steps,
        before=[step.step for step in saved.before],
    )


def _require_agreement(kind: str, specification: NetworkSpecification, saved: SavedEstimator) -> None:
    """Refuse words that are not those of such a network."""
    said = (specification.output_activation, specification.loss, specification.output_size)
    if kind == "RNNClassifier":
        if saved.classes is None:
            raise FileFormatError("its classifier must have classes. Got None.")
        K = len(saved.classes)
        right = said == (("softmax", "ce", K) if K > 2 else ("sigmoid", "ce", 1)) and saved.single
    else:
        right = saved.classes is None and said[0] == "linear" and (said[2] == 1 or not saved.single)
    if not right or specification.vocabulary_size is not None:
        raise FileFormatError(f"its network must be that of its {kind}. Got outputs {said}.")
    if saved.steps is not None and (saved.steps < 1 or specification.input_size != 1):
        raise FileFormatError(f"its steps must be an int >= 1 for one feature, or None. Got {saved.steps}.")
    features = specification.input_size if saved.steps is None else saved.steps
    if saved.feature_names is not None and len(saved.feature_names) != features:
        raise FileFormatError(f"its feature names must be {features}. Got {len(saved.feature_names)}.")
    if saved.name is None and saved.before:
        raise FileFormatError("its estimator must have a name in its pipeline. Got None.")


def _of_type(words: Mapping[str, Any], name: str, kind: type) -> Any:
    if type(words[name]) is not kind:
        raise FileFormatError(f"its {name!r} must be of type {kind.__name__}. Got {shown(words[name])}.")
    return words[name]


def _names(words: Any) -> list[str] | None:
    if words is not None and not (isinstance(words, list) and all(isinstance(name, str) for name in words)):
        raise FileFormatError(f"its feature names must be a list of str, or None. Got {shown(words)}.")
    return words


def _fitted(words: Any) -> dict[str, Any]:
    if not isinstance(words, dict) or words.keys() != FITTED.keys():
        raise FileFormatError(f"its 'fitted' must have {sorted(FITTED)}. Got {shown(words)}.")
    for name, kind in FITTED.items():
        if _of_type(words, name, kind) < 0:
            raise FileFormatError(f"its {name!r} must be >= 0. Got {words[name]}.")
    return words


def _steps(words: Any) -> list[SavedStep]:
    if not isinstance(words, list) or len(words) > MAX_PIPELINE:
        raise FileFormatError(f"its 'before' must be a list of at most {MAX_PIPELINE} steps. Got {shown(words)}.")
    found = []
    for step in words:
        if not isinstance(step, dict) or step.keys() != STEP_FIELDS:
            raise FileFormatError(f"its steps must have {sorted(STEP_FIELDS)}. Got {shown(step)}.")
        parameters = _parameters_from_words(step["parameters"])
        transform = step_from_words(step["kind"], step["step"])
        features = _of_type(step, "features", int)
        T = None if step["steps"] is None else _of_type(step, "steps", int)
        names = _names(step["feature_names"])
        if features < 1 or (T is not None and features != T) or (names is not None and len(names) != features):
            raise FileFormatError(
                f"its steps must have features that fit each other. Got {features}, {T}, {shown(names)}."
            )
        found.append(SavedStep(_of_type(step, "name", str), step["kind"], parameters, transform, features, T, names))
    return found


# --- Parameters of constructors: JSON knows neither tuples nor mappings from labels ---


def _parameters_to_words(parameters: Mapping[str, Any], owner: str) -> dict[str, Any]:
    return {name: _to_word(value, name, owner) for name, value in parameters.items()}


def _to_word(value: Any, name: str, owner: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (str, bool, int, float):
        return value
    if isinstance(value, (tuple, list, np.ndarray)):
        return {"list" if isinstance(value, list) else "tuple": [_to_word(item, name, owner) for item in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[_to_word(key, name, owner), _to_word(part, name, owner)] for key, part in value.items()]}
    allowed = "a str, number, bool, None, or a list, tuple or mapping of those, to be saved"
    raise TypeError(f"{name} of {owner} must be {allowed}. Got {shown(value)}.")


def _parameters_from_words(words: Any) -> dict[str, Any]:
    if not isinstance(words, dict):
        raise FileFormatError(f"its 'parameters' must be a mapping. Got {shown(words)}.")
    return {name: _from_word(word) for name, word in words.items()}


def _from_word(word: Any) -> Any:
    if not isinstance(word, dict):
        if isinstance(word, list):
            raise FileFormatError(f"a parameter must be a number, a word, or say what it is. Got {shown(word)}.")
        return word
    [(kind, parts)] = word.items() if len(word) == 1 else [("", None)]
    if kind in ("list", "tuple") and isinstance(parts, list):
        found = [_from_word(part) for part in parts]
        return found if kind == "list" else tuple(found)
    if kind == "mapping" and isinstance(parts, list) and all(isinstance(p, list) and len(p) == 2 for p in parts):
        pairs = [(_from_word(key), _from_word(part)) for key, part in parts]
        if all(key is None or type(key) in (str, bool, int, float) for key, _ in pairs):
            return dict(pairs)
    raise FileFormatError(f"a parameter must be a number, a word, a list, a tuple or a mapping. Got {shown(word)}.")
