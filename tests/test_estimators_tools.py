"""scikit-learn's tools on sequences of different lengths: pipelines, searches, calibration, routing, parallel work."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need the extra `sklearn`")

import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, VotingClassifier
from sklearn.experimental import enable_halving_search_cv
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from rnn_from_scratch.estimators import RNNClassifier, RNNRegressor, SequencePadder, SequenceScaler

assert enable_halving_search_cv is not None
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(4, 9, size=60)
RAGGED = [RNG.normal(size=(length, 2)) * [1.0, 50.0] + [0.0, 300.0] for length in LENGTHS]
PADDED = np.full((60, 9, 2), np.nan)
for row, x in zip(PADDED, RAGGED, strict=True):
    row[: len(x)] = x
SUMS = np.array([x[:, 0].sum() for x in RAGGED])
LABELS = np.where(SUMS > 0, "above", "below")
SMALL: dict[str, Any] = {"hidden_layer_sizes": 6, "max_iter": 40, "random_state": 0, "learning_rate_init": 0.03}


@pytest.fixture
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def scaled(**words: Any) -> Pipeline:
    return make_pipeline(SequenceScaler(), RNNClassifier(**{**SMALL, **words}))


def test_pipelines_of_ragged_sequences_learn() -> None:
    model = scaled(max_iter=80).fit(RAGGED, LABELS)
    assert model.score(RAGGED, LABELS) > 0.95
    assert model.predict_proba(RAGGED[:3]).shape == (3, 2)
    assert model[-1].predict(model[0].transform(RAGGED)).tolist() == model.predict(RAGGED).tolist()
    assert pickle.loads(pickle.dumps(model)).predict(RAGGED).tolist() == model.predict(RAGGED).tolist()
    assert model[:-1].get_params()["sequencescaler__method"] == "standard"
    assert "RNNClassifier" in model._repr_html_()


def test_cross_validation() -> None:
    scores = cross_val_score(scaled(), RAGGED, LABELS, cv=3)
    assert scores.shape == (3,)
    assert scores.mean() > 0.75
    by_hand = []
    for train, test in sklearn.model_selection.StratifiedKFold(3).split(np.zeros(60), LABELS):
        model = scaled().fit([RAGGED[n] for n in train], LABELS[train])
        by_hand.append(model.score([RAGGED[n] for n in test], LABELS[test]))
    assert np.array_equal(scores, by_hand)
    words = cross_val_score(scaled(), RAGGED, LABELS, cv=3, scoring="roc_auc")
    assert (words > 0.7).all()
    probabilities = cross_val_predict(scaled(), RAGGED, LABELS, cv=3, method="predict_proba")
    assert probabilities.shape == (60, 2)


def test_cross_validation_of_taggers() -> None:
    tags = [x[:, 0].cumsum() > 0 for x in RAGGED]
    tagger = scaled(readout="every", max_iter=80)
    assert cross_val_score(tagger, RAGGED, tags, cv=3).mean() > 0.8
    found = cross_val_predict(tagger, RAGGED, tags, cv=KFold(3))
    assert [len(said) for said in found] == LENGTHS.tolist()
    right = np.concatenate([said == tag for said, tag in zip(found, tags, strict=True)])
    assert right.mean() > 0.8


def test_grid_search_in_two_processes() -> None:
    grid = {"rnnclassifier__cell": ["elman", "gru"], "sequencescaler__method": ["standard", "robust"]}
    alone = GridSearchCV(scaled(max_iter=10), grid, cv=2).fit(RAGGED, LABELS)
    search = GridSearchCV(scaled(max_iter=10), grid, cv=2, n_jobs=2).fit(RAGGED, LABELS)
    assert search.cv_results_["mean_test_score"].tolist() == alone.cv_results_["mean_test_score"].tolist()
    assert search.best_params_ == alone.best_params_
    assert search.predict(RAGGED).tolist() == alone.predict(RAGGED).tolist()


def test_halving_random_search() -> None:
    space = {"hidden_layer_sizes": [2, 4, 8], "learning_rate_init": [0.003, 0.03]}
    model = RNNRegressor(cell="elman", max_iter=10, random_state=0)
    x = [x / [1.0, 300.0] for x in RAGGED]
    search = HalvingRandomSearchCV(model, space, factor=2, cv=2, random_state=0, min_resources=20).fit(x, SUMS)
    assert search.n_resources_[-1] > search.n_resources_[0] == 20
    assert search.predict(x).shape == (60,)


def test_calibration_voting_and_one_against_the_rest() -> None:
    calibrated = CalibratedClassifierCV(scaled(), cv=2, method="sigmoid").fit(RAGGED, LABELS)
    assert np.allclose(calibrated.predict_proba(RAGGED).sum(axis=1), 1)
    assert calibrated.score(RAGGED, LABELS) > 0.8
    voting = VotingClassifier([("a", scaled(cell="elman")), ("b", scaled())], voting="soft").fit(RAGGED, LABELS)
    assert voting.score(RAGGED, LABELS) > 0.8
    thirds = np.digitize(SUMS, [-1.0, 1.0])
    rest = OneVsRestClassifier(scaled()).fit(RAGGED, thirds)
    assert rest.score(RAGGED, thirds) > 0.6


def test_what_looks_inside_X_takes_two_dimensions() -> None:
    x = np.random.default_rng(1).normal(size=(80, 5))
    y = 3 * x[:, -1] + x[:, 0]
    model = RNNRegressor(**{**SMALL, "max_iter": 150}).fit(x, y)
    found = permutation_importance(model, x, y, n_repeats=3, random_state=0).importances_mean
    assert found.argmax() == 4
    bagging = BaggingRegressor(RNNRegressor(**SMALL), n_estimators=2, random_state=0).fit(x, y)
    assert bagging.score(x, y) > 0.8
    target = TransformedTargetRegressor(RNNRegressor(**SMALL), transformer=StandardScaler())
    ragged = target.fit(RAGGED, 1000 * SUMS)
    assert ragged.predict(RAGGED).shape == (60,)


def test_data_frames_bring_names() -> None:
    pandas = pytest.importorskip("pandas", reason="tables need the extra `pandas`")
    frame = pandas.DataFrame(np.random.default_rng(1).normal(size=(20, 3)), columns=["mon", "tue", "wed"])
    target = pandas.Series(np.arange(20.0))
    model = RNNRegressor(**{**SMALL, "max_iter": 3}).fit(frame, target, sample_weight=target + 1)
    assert model.feature_names_in_.tolist() == ["mon", "tue", "wed"]
    assert np.array_equal(model.predict(frame), model.network_.predict(frame.to_numpy()[:, :, None])[:, 0])
    with pytest.warns(UserWarning, match="valid feature names"):
        model.predict(frame.to_numpy())
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["tue", "mon", "wed"]])
    scaler = SequenceScaler().set_output(transform="pandas")
    out = scaler.fit_transform(frame)
    assert out.columns.tolist() == ["mon", "tue", "wed"]
    pipeline = make_pipeline(SequenceScaler(), RNNRegressor(**{**SMALL, "max_iter": 3}))
    pipeline.set_output(transform="pandas").fit(frame, target)
    assert pipeline[-1].feature_names_in_.tolist() == ["mon", "tue", "wed"]
    assert isinstance(SequenceScaler().set_output(transform="pandas").fit_transform(RAGGED), list)


# --- Lengths through metadata routing ---


def routed(estimator: Any, *methods: str) -> Any:
    for method in methods:
        estimator = getattr(estimator, f"set_{method}_request")(lengths=True)
    return estimator


def test_lengths_are_routed_through_pipelines(routing: None) -> None:
    scaler = routed(SequenceScaler(), "fit", "transform")
    classifier = routed(RNNClassifier(**SMALL), "fit", "predict", "predict_proba", "predict_log_proba", "score")
    model = Pipeline([("scale", scaler), ("rnn", classifier)]).fit(PADDED, LABELS, lengths=LENGTHS)
    listed = scaled().fit(RAGGED, LABELS)
    assert np.allclose(model["scale"].center_, listed[0].center_)
    expected = listed.predict_proba(RAGGED)
    assert np.allclose(model.predict_proba(PADDED, lengths=LENGTHS), expected, rtol=1e-9)
    assert np.allclose(np.exp(model.predict_log_proba(PADDED, lengths=LENGTHS)), expected, rtol=1e-9)
    assert model.predict(PADDED, lengths=LENGTHS).tolist() == listed.predict(RAGGED).tolist()
    assert model.score(PADDED, LABELS, lengths=LENGTHS) == listed.score(RAGGED, LABELS)


def test_lengths_are_routed_through_cross_validation(routing: None) -> None:
    classifier = routed(RNNClassifier(**SMALL), "fit", "score").set_fit_request(sample_weight=True)
    classifier.set_score_request(sample_weight=True)
    weights = np.linspace(0.5, 2.0, 60)
    x = np.array(PADDED) / [1.0, 300.0]
    found = cross_validate(classifier, x, LABELS, cv=3, params={"lengths": LENGTHS, "sample_weight": weights})
    expected = []
    for train, test in sklearn.model_selection.StratifiedKFold(3).split(x, LABELS):
        model = RNNClassifier(**SMALL).fit(x[train], LABELS[train], weights[train], LENGTHS[train])
        expected.append(model.score(x[test], LABELS[test], weights[test], LENGTHS[test]))
    assert found["test_score"].tolist() == expected
    regressor = routed(RNNRegressor(**SMALL), "fit", "score")
    search = GridSearchCV(regressor, {"cell": ["gru", "elman"]}, cv=2).fit(x, SUMS, lengths=LENGTHS)
    assert search.best_score_ > 0


def test_lengths_are_routed_to_partial_fit(routing: None) -> None:
    model = RNNRegressor(**SMALL).set_partial_fit_request(lengths=True).set_predict_request(lengths=True)
    model.partial_fit(PADDED / 300, SUMS, lengths=LENGTHS)
    assert np.isfinite(model.predict(PADDED / 300, lengths=LENGTHS)).all()
    assert model.get_metadata_routing().partial_fit.requests["lengths"] is True


# --- Scaling and padding ---


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_the_scaler_looks_at_all_real_steps(method: str) -> None:
    rows = np.concatenate(RAGGED)
    ragged = SequenceScaler(method).fit(RAGGED)
    padded = SequenceScaler(method).fit(PADDED, lengths=LENGTHS)
    out = np.concatenate(ragged.transform(RAGGED))
    by_hand = {
        "standard": (rows - rows.mean(axis=0)) / rows.std(axis=0),
        "minmax": (rows - rows.min(axis=0)) / np.ptp(rows, axis=0),
        "robust": (rows - np.median(rows, axis=0)) / np.subtract(*np.percentile(rows, [75, 25], axis=0)),
    }[method]
    assert np.allclose(out, by_hand)
    assert np.array_equal(ragged.scale_, padded.scale_)
    whole = padded.transform(PADDED, lengths=LENGTHS)
    assert whole.shape == PADDED.shape
    real = np.arange(9) < LENGTHS[:, None]
    assert np.allclose(whole[real], by_hand)
    assert np.isnan(whole[~real]).all()
    for x, back in zip(RAGGED, ragged.inverse_transform(ragged.transform(RAGGED)), strict=True):
        assert np.allclose(x, back)
    assert np.allclose(padded.inverse_transform(whole)[real], rows)


def test_the_scaler_keeps_forms_and_dtypes() -> None:
    objects = np.empty(60, object)
    for n, x in enumerate(RAGGED):
        objects[n] = x.astype(np.float32)
    out = SequenceScaler().fit_transform(objects)
    assert out.dtype == object
    assert out[0].dtype == np.float32
    assert SequenceScaler().fit_transform(PADDED[:, :4]).shape == (60, 4, 2)
    flat = SequenceScaler("minmax", feature_range=(-1, 3)).fit(PADDED[:, :4, 0])
    assert flat.center_.shape == (1,)
    assert flat.transform(PADDED[:, :4, 0]).min() == -1
    assert flat.transform(PADDED[:, :4, 0]).max() == pytest.approx(3)
    assert np.array_equal(SequenceScaler().fit_transform(np.full((3, 4, 1), 5.0)), np.zeros((3, 4, 1)))
    for wrong in ({"method": "unit"}, {"feature_range": (1, 0)}, {"quantile_range": (-1, 50)}, {"feature_range": 3}):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            SequenceScaler(**wrong).fit(RAGGED)
    with pytest.raises(ValueError, match="D=2"):
        SequenceScaler().fit(RAGGED).transform(PADDED[:, :, :1])
    with pytest.raises(ValueError, match="finite"):
        SequenceScaler().fit(PADDED)


def test_the_padder() -> None:
    after = SequencePadder(value=-1.0, mask=True).fit(RAGGED)
    out = after.transform(RAGGED)
    assert out.shape == (60, LENGTHS.max(), 3)
    real = np.arange(LENGTHS.max()) < LENGTHS[:, None]
    assert np.array_equal(out[real][:, :2], np.concatenate(RAGGED))
    assert (out[~real][:, :2] == -1).all()
    assert np.array_equal(out[:, :, 2], real)
    before = SequencePadder(5, side="before").fit(RAGGED).transform(PADDED, lengths=LENGTHS)
    assert before.shape == (60, 5, 2)
    for x, row in zip(RAGGED, before, strict=True):
        kept = x[-5:]  # of longer ones the end
        assert np.array_equal(row[5 - len(kept) :], kept)
        assert (row[: 5 - len(kept)] == 0).all()
    shorter = after.transform([x[:2].astype(np.float32) for x in RAGGED])
    assert shorter.dtype == np.float32
    assert shorter.shape == out.shape
    flat = make_pipeline(SequenceScaler(), SequencePadder(flatten=True), LogisticRegression()).fit(RAGGED, LABELS)
    assert flat[:-1].transform(RAGGED).shape == (60, 2 * LENGTHS.max())
    assert flat.score(RAGGED, LABELS) > 0.8
    for wrong in ({"length": 0}, {"value": np.inf}, {"side": "left"}, {"mask": 1}, {"flatten": None}):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            SequencePadder(**wrong).fit(RAGGED)
