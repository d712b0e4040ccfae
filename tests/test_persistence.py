"""Models that last: the same parameters come back bit for bit, and files of version 1 say what they have always said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_helpers import members_of, random_network, rewrite, vector_of
from golden.make_golden import CHECKPOINT, ESTIMATORS, HERE, NETWORKS, SCRATCH, inputs, made_network, univariate
from properties import given, settings
from support import ARCHITECTURES, Case, assert_close, assert_same_bits, cases, tolerance

import rnn_from_scratch
from rnn_from_scratch import GRU, Elman, FileFormatError, Network, Predictor, RNNScratch, load
from rnn_from_scratch.generator_state import generator_words
from rnn_from_scratch.training.checkpoint import Checkpoint

EXPECTED = json.loads((HERE / "expected.json").read_text())
X = np.sin(np.arange(24.0)).reshape(2, 4, 3)


def trained_scratch(last: bool = False) -> RNNScratch:
    model = RNNScratch(3, 4, 2, 0.05, "ce", "relu", "softmax", random_state=0, engine="numpy")
    if last:
        model.train([X[0], X[1, :2]], [[1, 0], [0, 1]], epochs=2, learning_rate=0.1, verbose=False)
    else:
        model.fit(X[0], np.eye(2)[[0, 1, 1, 0]], epochs=2, learning_rate=0.1, verbose=False)
    return model


# --- Networks ---


@pytest.mark.parametrize("engine_saving", ["numpy", "auto"])
def test_every_architecture_comes_back(
    architecture: str, engine_saving: str, engine: str, dtype: str, tmp_path: Path
) -> None:
    case = random_network(architecture, readout="mean", output=("softmax", "ce"))
    saved = Network.from_specification(case.specification, dtype=dtype, random_state=1, engine=engine_saving)
    saved.save(tmp_path / "model.npz")
    for found in (
        Network.load(tmp_path / "model.npz", engine=engine),
        load(str(tmp_path / "model.npz"), engine=engine),
    ):
        assert type(found) is Network
        assert found.engine == engine
        assert found.dtype == np.dtype(dtype)
        assert found.specification == saved.specification
        assert_same_bits(vector_of(found), vector_of(saved))
        assert_close(found.predict(X), saved.predict(X), tolerance(dtype))


@settings(max_examples=15)
@given(case=cases())
def test_any_network_comes_back(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("models") / "model.npz"
    network = Network.from_specification(case.specification, dtype="float32", random_state=2, engine="numpy")
    network.save(path)
    found = Network.load(path, engine="numpy")
    assert found.specification == case.specification
    assert_same_bits(vector_of(found), vector_of(network))


def test_a_loaded_network_learns_on_like_the_saved_one(tmp_path: Path, engine: str) -> None:
    saved = Network(3, [GRU(4)], 1, readout="last", dropout=0.0, random_state=3, engine=engine)
    y = X[:, 0, :1]
    saved.fit(X, y, epochs=2, learning_rate=0.01)
    saved.save(tmp_path / "model.npz")
    found = Network.load(tmp_path / "model.npz", random_state=4, engine=engine)
    histories = [network.fit(X, y, epochs=3, shuffle=False, learning_rate=0.01) for network in (saved, found)]
    assert histories[0].loss == histories[1].loss
    assert_same_bits(vector_of(found), vector_of(saved))


def test_random_numbers_are_not_continued_but_seeded(tmp_path: Path) -> None:
    saved = random_network()
    saved.save(tmp_path / "model.npz")
    first, second, third = (Network.load(tmp_path / "model.npz", random_state=seed) for seed in (5, 5, 6))
    states = [generator_words(network._generator) for network in (first, second, third)]
    assert states[0] == states[1] == generator_words(np.random.default_rng(5))
    assert states[0] != states[2]


def test_saving_changes_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    network = random_network()
    before, generator = vector_of(network), generator_words(network._generator)
    network.save(tmp_path / "first.npz")
    network.save(tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    assert_same_bits(vector_of(network), before)
    assert generator_words(network._generator) == generator
    Network.load(tmp_path / "first.npz").save(tmp_path / "third.npz")
    assert (tmp_path / "third.npz").read_bytes() == (tmp_path / "first.npz").read_bytes()


def test_numpy_alone_can_take_a_model_apart(tmp_path: Path) -> None:
    """As docs/files.md describes it."""
    network = random_network("lstm both learned" if "lstm both learned" in ARCHITECTURES else "lstm")
    network.save(tmp_path / "model.npz")
    vector, words = (
        np.load(tmp_path / "model.npz")["parameters"],
        json.loads(members_of(tmp_path / "model.npz")["words.json"]),
    )
    position = 0
    for name, shape in words["tensors"]:
        size = int(np.prod(shape))
        np.testing.assert_array_equal(vector[position : position + size].reshape(shape), network.parameters[name])
        position += size
    assert position == vector.size


def test_a_network_without_dtype_is_saved_in_float64(tmp_path: Path) -> None:
    network = Network(3, [Elman(2)], 1, random_state=0)
    network.save(tmp_path / "model.npz")
    assert network.dtype == np.float64
    assert_same_bits(vector_of(Network.load(tmp_path / "model.npz")), vector_of(network))


def test_a_callable_loss_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    network = Network(3, [Elman(2)], 1, loss=lambda y, t: (0.0, y - t), random_state=0)
    (tmp_path / "model.npz").write_bytes(b"old")
    with pytest.raises(ValueError, match="loss of Network must be a word to be written down"):
        network.save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == b"old"
    assert network.dtype is None


@pytest.mark.parametrize("path", [3, None, b"model.npz", ["model.npz"]])
def test_paths_are_str_or_pathlike(path: Any) -> None:
    for call in (random_network().save, Network.load, RNNScratch.load, trained_scratch().save, load):
        with pytest.raises(TypeError, match=r"must be a str or os.PathLike"):
            call(path)


def test_missing_files_stay_errors_of_the_system(tmp_path: Path) -> None:
    for call in (Network.load, RNNScratch.load, load):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "missing.npz")
        with pytest.raises(IsADirectoryError):
            call(tmp_path)


def test_a_name_that_ends_like_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        random_network().save(f"{tmp_path}/models/")
    assert caught.value.filename == f"{tmp_path}/models/"
    assert list(tmp_path.iterdir()) == []


def test_too_many_layers_are_refused_in_both_directions(tmp_path: Path) -> None:
    network = Network(1, [Elman(1)] * 1001, 1, random_state=0)
    with pytest.raises(ValueError, match="at most 1000 to be saved"):
        network.save(tmp_path / "model.npz")
    random_network().save(tmp_path / "model.npz")
    rewrite(tmp_path / "model.npz", lambda words, _: words["specification"].update(layers=[{}] * 1001))
    with pytest.raises(FileFormatError, match="at most 1000 layers"):
        load(tmp_path / "model.npz")


# --- RNNScratch ---


@pytest.mark.parametrize("last", [False, True])
def test_scratch_comes_back_whole(last: bool, engine: str, tmp_path: Path) -> None:
    saved = trained_scratch(last)
    saved.save(tmp_path / "model.npz")
    for found in (RNNScratch.load(tmp_path / "model.npz", engine=engine), load(tmp_path / "model.npz", engine=engine)):
        assert type(found) is RNNScratch
        for name in ("input_features", "hidden_units", "num_output", "learning_rate", "loss", "activation"):
            assert getattr(found, name) == getattr(saved, name), name
        assert found.output_activation == "softmax"
        assert found.learning_rate == 0.1
        assert type(found.predict(X[0])) is (np.ndarray if last else list)
        assert_close(found.predict(X[0]), saved.predict(X[0]), 1e-12)
        for name in saved.weights:
            assert_same_bits(found.weights[name], saved.weights[name])
        found.weights["wx"][0, 0] += 1.0  # live: the next prediction sees it
        assert np.abs(np.ravel(found.predict(X[0])) - np.ravel(saved.predict(X[0]))).max() > 1e-6


def test_scratch_learns_on_like_the_saved_one(tmp_path: Path) -> None:
    saved, labels = trained_scratch(), np.eye(2)[[1, 1, 0, 0]]
    saved.save(tmp_path / "model.npz")
    found = RNNScratch.load(tmp_path / "model.npz", engine="numpy")
    losses = [model.fit(X[1], labels, 3, verbose=False, return_history=True) for model in (saved, found)]
    assert losses[0] == losses[1]


def test_scratch_with_a_broken_weight_is_not_saved(tmp_path: Path) -> None:
    model = trained_scratch()
    model.weights["wh"][1, 2] = np.nan
    with pytest.raises(ValueError, match=r"weights\['wh'\] must be finite"):
        model.save(tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words, _: words["own_words"].update(learning_rate=-1), "learning_rate of RNNScratch"),
        (lambda words, _: words["own_words"].update(predicts_last_step="yes"), "predicts_last_step of RNNScratch"),
        (lambda words, _: words["own_words"].pop("learning_rate"), "its own words"),
        (lambda words, _: words.update(own_words=[]), "'own_words' must be a mapping"),
        (lambda words, _: words["specification"].update(readout="last"), "one plain Elman layer"),
        (
            lambda words, _: words["specification"].update(loss="mae", output_activation="linear"),
            "one plain Elman layer",
        ),
        (lambda words, arrays: arrays.update(parameters=arrays["parameters"].astype(np.float32)), "in float64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_scratch_file_must_be_one(change: Any, message: str, tmp_path: Path) -> None:
    trained_scratch().save(tmp_path / "model.npz")
    rewrite(tmp_path / "model.npz", change)
    with pytest.raises(FileFormatError, match=message) as caught:
        RNNScratch.load(tmp_path / "model.npz")
    assert "model.npz" in str(caught.value)


# --- What a file says it is ---


def test_a_file_of_another_kind_says_what_it_is(tmp_path: Path) -> None:
    random_network().save(tmp_path / "network.npz")
    trained_scratch().save(tmp_path / "scratch.npz")
    with pytest.raises(FileFormatError, match=r"network.npz.*kind Network, not RNNScratch; Network.load reads it"):
        RNNScratch.load(tmp_path / "network.npz")
    with pytest.raises(FileFormatError, match=r"scratch.npz.*kind RNNScratch, not Network; RNNScratch.load reads it"):
        Network.load(tmp_path / "scratch.npz")
    with pytest.raises(
        FileFormatError, match=r"its format must be 'rnn-from-scratch model'. Got 'rnn-from-scratch checkpoint'"
    ):
        load(HERE / f"{CHECKPOINT}.npz")


def test_a_newer_version_says_so(tmp_path: Path) -> None:
    random_network().save(tmp_path / "model.npz")
    rewrite(tmp_path / "model.npz", lambda words, _: words.update(version=2, written_by="rnn-from-scratch 9.9"))
    with pytest.raises(FileFormatError, match=r"version 2, written by 'rnn-from-scratch 9.9'.*Install a newer one"):
        load(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words, _: words.update(format="something"), "its format must be 'rnn-from-scratch model'"),
        (lambda words, _: words.pop("format"), "its format must be 'rnn-from-scratch model'"),
        (lambda words, _: words.update(version="1"), "version must be an int"),
        (lambda words, _: words.update(version=True), "version must be an int"),
        (lambda words, _: words.update(version=0), "version must be an int"),
        (lambda words, _: words.update(more=1), "its words must be"),
        (lambda words, _: words.pop("tensors"), "its words must be"),
        (lambda words, _: words.update(kind="Pickle"), "must hold one of"),
        (lambda words, _: words.update(kind=["Network"]), "must hold one of"),
        (lambda words, _: words["tensors"].reverse(), "tensors must be those"),
        (lambda words, _: words.update(specification=7), "specification of Network must be a mapping"),
        (lambda words, _: words["specification"].update(loss=None), "loss of Network"),
        (lambda words, _: words["specification"].update(dropout=float("nan")), "dropout of Network"),
        (lambda words, _: words["specification"].update(huber_delta=-(10**99)), "huber_delta of Network"),
        (lambda words, _: words["specification"]["layers"][0].update(hidden_size=10**90), "tensors must be those"),
        (lambda words, _: words["specification"]["layers"][0].update(cell="lambda: 0"), "cell of a layer"),
        (lambda _, arrays: arrays.update(more=np.zeros(1)), "its arrays must be"),
        (lambda _, arrays: arrays.clear(), "its arrays must be"),
        (lambda _, arrays: arrays.update(parameters=arrays["parameters"][1:]), "its parameters must be"),
        (lambda _, arrays: arrays.update(parameters=arrays["parameters"][None]), "its parameters must be"),
        (lambda _, arrays: arrays.update(parameters=arrays["parameters"].astype(np.int64)), "its parameters must be"),
        (lambda _, arrays: arrays["parameters"].__setitem__(3, np.nan), "must be finite"),
        (lambda _, arrays: arrays["parameters"].__setitem__(3, -np.inf), "must be finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_file_must_be_right_in_every_word(change: Any, message: str, tmp_path: Path) -> None:
    random_network().save(tmp_path / "model.npz")
    rewrite(tmp_path / "model.npz", change)
    with pytest.raises(FileFormatError, match=message) as caught:
        Network.load(tmp_path / "model.npz")
    assert "model.npz" in str(caught.value)


# --- Golden files: format version 1 ---


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_golden_networks_say_what_they_always_said(name: str, engine: str) -> None:
    network = load(HERE / f"{name}.npz", engine=engine)
    made = made_network(name)
    assert isinstance(network, Network)
    assert network.specification == made.specification
    assert network.dtype == made.dtype
    outputs = network.predict(inputs("tokens" in name))
    close = 1e-12 if network.dtype == np.float64 else 2e-6
    assert_close(outputs.ravel(), np.array(EXPECTED[name]), close, name)


@pytest.mark.parametrize("name", sorted(SCRATCH))
def test_golden_scratch_models_say_what_they_always_said(name: str, engine: str) -> None:
    model = load(HERE / f"{name}.npz", engine=engine)
    assert isinstance(model, RNNScratch)
    assert model.learning_rate == 0.05
    assert_close(np.ravel(model.predict(inputs(False)[0])), np.array(EXPECTED[name]), 1e-12, name)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_golden_estimators_say_what_they_always_said(name: str, engine: str) -> None:
    model = load(HERE / f"{name}.npz", engine=engine)
    assert isinstance(model, Predictor)
    if model.classes_ is None:
        assert model.steps == 4
        outputs = model.predict(univariate())
    else:
        assert model.classes_.tolist() == ["x", 3, 2.5]
        outputs = model.predict_proba(inputs(False))
        assert outputs.shape == (2, 5, 3)
        best = model.classes_[outputs.argmax(axis=-1)]
        assert model.predict(inputs(False)).tolist() == best.tolist()
    assert_close(outputs.ravel(), np.array(EXPECTED[name]), 1e-12, name)


def test_the_golden_checkpoint_holds_what_it_always_held() -> None:
    network = load(HERE / "gru_after_learned.npz")
    assert isinstance(network, Network)
    vector = vector_of(network)
    found = Checkpoint.read(str(HERE / f"{CHECKPOINT}.npz"), network.specification)
    assert_same_bits(found.parameters, vector)
    assert_same_bits(found.optimizer_state["m"], vector / 3)
    assert_same_bits(found.optimizer_state["v"], vector**2)
    assert found.optimizer_state["updates"].tolist() == [12]
    assert found.generator_state == generator_words(np.random.default_rng(7))
    assert found.history == {"loss": [0.1, 1 / 3, float("inf")], "clipped": [0, 2, 12]}
    assert found.ran_on == {"engine": "numpy", "threads": 1}
    assert found.words == {"epoch": 3, "best": 0.1}
    assert_same_bits(found.arrays["best_parameters"], vector[::-1].copy())
    assert_same_bits(found.arrays["layer0.h"], np.float32([[0.1, 0.2]]))


def test_there_is_a_golden_file_for_every_kind_of_thing() -> None:
    files = {path.stem for path in HERE.glob("*.npz")}
    assert files == {*NETWORKS, *SCRATCH, *ESTIMATORS, CHECKPOINT}
    assert set(EXPECTED) == files - {CHECKPOINT}
    assert rnn_from_scratch.load is load
