"""Files of estimators and pipelines: they come back, predict with NumPy alone, and hostile ones are refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need the extra `sklearn`")

from file_helpers import rewrite, run_alone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from rnn_from_scratch import GRU, FileFormatError, Network, Predictor, RNNScratch, StepDecay, load
from rnn_from_scratch.estimators import (
    RNNClassifier,
    RNNRegressor,
    SequencePadder,
    SequenceScaler,
    load_pipeline,
    save_pipeline,
)
from rnn_from_scratch.prediction.forms import as_objects

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(3, 8, size=20)
RAGGED = [RNG.normal(size=(length, 2)) * 20 + 100 for length in LENGTHS]
PADDED = np.full((20, 7, 2), np.nan)
for row, x in zip(PADDED, RAGGED, strict=True):
    row[: len(x)] = x
Y = RNG.normal(size=20)
TAGS = [np.where(x[:, 0] > 100, "high", "low") for x in RAGGED]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (4, 3), "max_iter": 2, "random_state": 0}


def same(found: Any, expected: Any) -> None:
    """The same values in the same form."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "labels", [["a", "bc"], [3, 5, -1], [True, False], [0.5, "x", 3, False], [7], [2.0, 3.0, 4.0]], ids=repr
)
def test_classifiers_come_back(labels: list[Any], engine: str, tmp_path: Path) -> None:
    values = [labels[n % len(labels)] for n in range(20)]
    y = np.array(values) if len({type(label) for label in labels}) == 1 else as_objects(values)
    weights = {labels[0]: 2.0}
    model = RNNClassifier(cell="lstm", class_weight=weights, engine=engine, **SMALL).fit(RAGGED, y)
    model.save(tmp_path / "model.npz")
    found = RNNClassifier.load(tmp_path / "model.npz", engine=engine)
    assert found.classes_.dtype == model.classes_.dtype
    assert [(type(one), one) for one in found.classes_.tolist()] == [(type(o), o) for o in model.classes_.tolist()]
    assert found.get_params() == model.get_params()
    bare = load(tmp_path / "model.npz", engine=engine)
    assert type(bare) is Predictor
    for other in (found, bare):
        same(other.predict(RAGGED), model.predict(RAGGED))
        same(other.predict_proba(RAGGED), model.predict_proba(RAGGED))
        same(other.predict_log_proba(PADDED, lengths=LENGTHS), model.predict_log_proba(PADDED, lengths=LENGTHS))
    for name in ("n_features_in_", "n_iter_", "t_", "loss_", "n_outputs_", "n_layers_", "out_activation_"):
        assert getattr(found, name) == getattr(model, name), name
    found.partial_fit(RAGGED, y)  # goes on


def test_regressors_come_back(tmp_path: Path) -> None:
    for y, x in ((Y, RAGGED), (np.stack([Y, Y], axis=1), RAGGED), (Y, PADDED[:, :3, 0])):
        model = RNNRegressor(dtype=np.float32, **{**SMALL, "random_state": np.random.RandomState(0)}).fit(x, y)
        model.save(str(tmp_path / "model.npz"))
        found = RNNRegressor.load(tmp_path / "model.npz")
        same(found.predict(x), model.predict(x))
        same(load(tmp_path / "model.npz").predict(x), model.predict(x))
        assert found.n_features_in_ == model.n_features_in_
        assert found.get_params()["dtype"] == "float32"
        assert found.get_params()["random_state"] is None
        again = found.set_params(warm_start=True, random_state=0).fit(x, y)
        assert again.t_ == 2 * model.t_
    with pytest.raises(ValueError, match="T=3"):
        load(tmp_path / "model.npz").predict(PADDED[:, :4, 0])
    with pytest.raises(AttributeError, match="classifiers"):
        load(tmp_path / "model.npz").predict_proba(PADDED[:, :3, 0])


def test_names_of_features_come_back(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="tables need the extra `pandas`")
    frame = pandas.DataFrame(PADDED[:, :3, 0], columns=["a", "b", "c"])
    model = make_pipeline(SequenceScaler(), RNNRegressor(**SMALL)).set_output(transform="pandas").fit(frame, Y)
    save_pipeline(model, tmp_path / "model.npz")
    found = load_pipeline(tmp_path / "model.npz").set_output(transform="pandas")
    assert found[0].feature_names_in_.tolist() == found[1].feature_names_in_.tolist() == ["a", "b", "c"]
    same(found.predict(frame), model.predict(frame))


def pipeline(**words: Any) -> Pipeline:
    return make_pipeline(SequenceScaler("robust"), "passthrough", RNNClassifier(readout="every", **SMALL, **words))


def test_pipelines_come_back(tmp_path: Path) -> None:
    model = pipeline().fit(RAGGED, TAGS)
    save_pipeline(model, tmp_path / "model.npz")
    found, bare = load_pipeline(tmp_path / "model.npz"), load(tmp_path / "model.npz")
    assert [name for name, _ in found.steps] == ["sequencescaler", "rnnclassifier"]
    assert found[0].get_params() == model[0].get_params()
    for other in (found, bare):
        same(other.predict(RAGGED), model.predict(RAGGED))
        same(other.predict_proba(RAGGED), model.predict_proba(RAGGED))
    same(bare.predict(PADDED, lengths=LENGTHS), model.predict(RAGGED))
    padder = make_pipeline(SequencePadder(5, side="before", mask=True), SequenceScaler("minmax"), RNNRegressor(**SMALL))
    save_pipeline(padder.fit(RAGGED, Y), tmp_path / "padded.npz")
    for other in (load_pipeline(tmp_path / "padded.npz"), load(tmp_path / "padded.npz")):
        same(other.predict(RAGGED), padder.predict(RAGGED))
    flat = Pipeline([("pad", SequencePadder(flatten=True)), ("rnn", RNNRegressor(**SMALL))]).fit(RAGGED, Y)
    save_pipeline(flat, tmp_path / "flat.npz")
    for other in (load_pipeline(tmp_path / "flat.npz"), load(tmp_path / "flat.npz")):
        same(other.predict(RAGGED), flat.predict(RAGGED))
    assert load_pipeline(tmp_path / "flat.npz")["rnn"].n_features_in_ == 14


def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with pytest.raises(NotFittedError):
        RNNRegressor().save(path)
    with pytest.raises(NotFittedError):
        save_pipeline(pipeline(), path)
    with pytest.raises(TypeError, match="classes_ of RNNClassifier"):
        RNNClassifier(**SMALL).fit(RAGGED[:2], as_objects([("a", 1), ("b", 2)])).save(path)
    with pytest.raises(TypeError, match="learning_rate of RNNRegressor"):
        RNNRegressor(learning_rate=StepDecay(), **SMALL).fit(RAGGED, Y).save(path)
    with pytest.raises(TypeError, match="must be a Pipeline"):
        save_pipeline(RNNRegressor(), path)
    with pytest.raises(TypeError, match="must end in one of"):
        save_pipeline(make_pipeline(SequenceScaler()), path)
    with pytest.raises(TypeError, match="steps of the kinds"):
        save_pipeline(make_pipeline(FunctionTransformer(), RNNRegressor(**SMALL)).fit(RAGGED, Y), path)
    with pytest.raises(TypeError, match=r"path of RNNRegressor\.save"):
        RNNRegressor(**SMALL).fit(RAGGED, Y).save(3)
    assert list(tmp_path.iterdir()) == []


def test_each_reader_says_which_file_is_whose(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save_pipeline(pipeline().fit(RAGGED, TAGS), path)
    with pytest.raises(FileFormatError, match=r"model\.npz.*pipeline; load_pipeline reads it"):
        RNNClassifier.load(path)
    for read in (RNNRegressor.load, Network.load, RNNScratch.load):
        with pytest.raises(FileFormatError, match="kind RNNClassifier"):
            read(path)
    RNNRegressor(**SMALL).fit(RAGGED, Y).save(path)
    with pytest.raises(FileFormatError, match=r"by itself; RNNRegressor\.load reads it"):
        load_pipeline(path)
    Network(2, [GRU(2)], 1, random_state=0).save(path)
    with pytest.raises(FileFormatError, match=r"kind Network, not a pipeline"):
        load_pipeline(path)


def test_subclasses_are_read_by_themselves(tmp_path: Path) -> None:
    class Mine(RNNRegressor):
        pass

    model = Mine(**SMALL).fit(RAGGED, Y)
    model.save(tmp_path / "model.npz")
    found = Mine.load(tmp_path / "model.npz")
    assert type(found) is Mine
    same(found.predict(RAGGED), model.predict(RAGGED))


WITHOUT = """
import sys
for name in ("sklearn", "scipy", "pandas"):
    sys.modules[name] = None
import numpy as np
import rnn_from_scratch
from rnn_from_scratch import estimators, load
folder = sys.argv[1]
X = [np.load(folder + f"/{n}.npy") for n in range(3)]
model = load(folder + "/model.npz")
print(model.predict(X)[2].tolist(), model.predict_proba(X)[0].round(6).tolist(), model.classes_.tolist())
for name in estimators.__all__:
    try:
        getattr(estimators, name)
    except ImportError as error:
        print(error)
"""


def test_a_saved_pipeline_predicts_with_numpy_alone(tmp_path: Path) -> None:
    model = pipeline().fit(RAGGED, TAGS)
    save_pipeline(model, tmp_path / "model.npz")
    for n, x in enumerate(RAGGED[:3]):
        np.save(tmp_path / f"{n}.npy", x)
    process = run_alone(WITHOUT, tmp_path)
    assert process.stderr == ""
    first, *errors = process.stdout.splitlines()
    said, probabilities = model.predict(RAGGED[:3])[2].tolist(), model.predict_proba(RAGGED[:3])[0].round(6).tolist()
    assert first == f"{said} {probabilities} {model.classes_.tolist()}"
    assert errors[0] == "RNNClassifier needs scikit-learn: pip install 'rnn-from-scratch[sklearn]'."
    assert len(errors) == 6


def test_importing_the_package_does_not_import_scikit_learn() -> None:
    script = "import sys, rnn_from_scratch, rnn_from_scratch.estimators; print('sklearn' in sys.modules)"
    assert run_alone(script).stdout.strip() == "False", sys.version


def own(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewrite(path, lambda words, arrays: change(words["own_words"]))


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no classes": lambda w: w.update(classes=None),
    "a class too many": lambda w: w["classes"]["labels"].extend(["x", "y"]),
    "labels twice": lambda w: w["classes"].update(labels=["low", "low"]),
    "labels not sorted": lambda w: w["classes"].update(labels=["low", "high"]),
    "a list as label": lambda w: w["classes"].update(labels=["a", ["b"]]),
    "a label that is null": lambda w: w["classes"].update(dtype="object", labels=["a", None]),
    "a label that is NaN": lambda w: w["classes"].update(dtype="<f8", labels=[1.0, float("nan")]),
    "labels of another kind": lambda w: w["classes"].update(dtype="<i8"),
    "labels too large": lambda w: w["classes"].update(dtype="|i1", labels=[1, 1000]),
    "a dtype with fields": lambda w: w["classes"].update(dtype="O"),
    "a dtype that is a list": lambda w: w["classes"].update(dtype=["<i8"]),
    "no labels": lambda w: w["classes"].update(labels=[]),
    "single that is a number": lambda w: w.update(single=1),
    "not single": lambda w: w.update(single=False),
    "steps for two features": lambda w: w.update(steps=4),
    "steps that are words": lambda w: w.update(steps="4"),
    "too many feature names": lambda w: w.update(feature_names=["a", "b", "c"]),
    "feature names that are numbers": lambda w: w.update(feature_names=[1, 2]),
    "no epochs": lambda w: w["fitted"].pop("epochs"),
    "epochs below zero": lambda w: w["fitted"].update(epochs=-1),
    "a loss that is a word": lambda w: w["fitted"].update(loss="small"),
    "unknown words": lambda w: w.update(code="import os"),
    "no name": lambda w: w.update(name=None),
    "parameters that are a list": lambda w: w.update(parameters=[]),
    "a parameter that is a list": lambda w: w["parameters"].update(alpha=[1]),
    "a parameter that is anything": lambda w: w["parameters"].update(alpha={"object": "os.system"}),
    "a mapping with lists as keys": lambda w: w["parameters"].update(class_weight={"mapping": [[{"list": []}, 1]]}),
    "a mapping without pairs": lambda w: w["parameters"].update(class_weight={"mapping": [[1]]}),
    "steps before that are a mapping": lambda w: w.update(before={}),
    "too many steps before": lambda w: w.update(before=w["before"] * 101),
    "a step without a name": lambda w: w["before"][0].pop("name"),
    "a step of another kind": lambda w: w["before"][0].update(kind="FunctionTransformer"),
    "a step whose kind is a list": lambda w: w["before"][0].update(kind=["SequenceScaler"]),
    "a scale of zero": lambda w: w["before"][0]["step"].update(scale=[0.0, 1.0]),
    "a scale that is infinite": lambda w: w["before"][0]["step"].update(scale=[float("inf"), 1.0]),
    "a center too few": lambda w: w["before"][0]["step"].update(center=[0.0]),
    "a center of words": lambda w: w["before"][0]["step"].update(center=["0", "1"]),
    "a step with more words": lambda w: w["before"][0]["step"].update(more=1),
    "a step's features": lambda w: w["before"][0].update(features=0),
    "a step's steps": lambda w: w["before"][0].update(steps=3),
    "a step that pads with infinity": lambda w: w["before"][0].update(
        kind="SequencePadder", step=pad(value=float("inf"))
    ),
    "a step that pads to nothing": lambda w: w["before"][0].update(kind="SequencePadder", step=pad(steps=0)),
    "a step that pads elsewhere": lambda w: w["before"][0].update(kind="SequencePadder", step=pad(side="around")),
    "a step that pads by half": lambda w: w["before"][0].update(kind="SequencePadder", step={"steps": 3}),
}


def pad(**words: Any) -> dict[str, Any]:
    return {"steps": 3, "value": 0.0, "side": "after", "mask": False, "flatten": False, **words}


@pytest.mark.parametrize("lie", LIES)
def test_files_that_lie_are_refused(lie: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save_pipeline(pipeline().fit(RAGGED[:4], TAGS[:4]), path)
    own(path, LIES[lie])
    for read in (load, load_pipeline):
        with pytest.raises(FileFormatError, match=r"Cannot read .*model\.npz") as caught:
            read(path)
        assert len(str(caught.value)) < 1000


PIPELINE_LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a parameter of nobody": lambda w: w["parameters"].update(shell="sh"),
    "a parameter of no scaler": lambda w: w["before"][0]["parameters"].update(shell="sh"),
    "names twice": lambda w: w["before"][0].update(name="rnnclassifier"),
    "a name with two lines": lambda w: w["before"][0].update(name="a__b"),
}


@pytest.mark.parametrize("lie", PIPELINE_LIES)
def test_pipelines_that_lie_are_refused(lie: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save_pipeline(pipeline().fit(RAGGED[:4], TAGS[:4]), path)
    own(path, PIPELINE_LIES[lie])
    with pytest.raises(FileFormatError, match=r"Cannot read .*model\.npz"):
        load_pipeline(path)


def test_a_regressor_with_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    RNNRegressor(**SMALL).fit(RAGGED, Y).save(path)
    own(path, lambda w: w.update(classes={"dtype": "str", "labels": ["a", "b"]}))
    for read in (load, RNNRegressor.load):
        with pytest.raises(FileFormatError, match="that of its RNNRegressor"):
            read(path)
    own(path, lambda w: w.update(classes=None, parameters={"shell": "sh"}))
    with pytest.raises(FileFormatError, match="those of RNNRegressor"):
        RNNRegressor.load(path)


def test_golden_files_become_estimators_again() -> None:
    golden = Path(__file__).parent / "golden"
    model = load_pipeline(golden / "tagger_in_pipeline.npz")
    x = np.sin(np.arange(24.0)).reshape(2, 4, 3)
    bare = load(golden / "tagger_in_pipeline.npz")
    same(model.predict_proba(x), bare.predict_proba(x))
    assert [name for name, _ in model.steps] == ["scale", "pad", "tagger"]
    assert model["tagger"].class_weight == {"x": 2.0, 3: 0.5}
    assert model["scale"].method == "robust"
    regressor = RNNRegressor.load(golden / "regressor_alone.npz")
    assert (regressor.hidden_layer_sizes, regressor.n_features_in_, regressor.n_iter_) == ((4,), 4, 3)
    assert regressor.feature_names_in_.tolist() == ["a", "b", "c", "d"]
