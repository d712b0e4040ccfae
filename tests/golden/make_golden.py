"""Writes the golden files: models and a checkpoint of format version 1, and what they have to say for ever.

A file that is there is never written again: it stands for all the files that users have. New ones are added with::

    python tests/golden/make_golden.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rnn_from_scratch import GRU, LSTM, Elman, Network, RNNScratch, load
from rnn_from_scratch.generator_state import generator_words
from rnn_from_scratch.prediction.files import SavedEstimator, SavedStep, write_estimator
from rnn_from_scratch.prediction.forms import as_objects
from rnn_from_scratch.prediction.steps import Padding, Scaling
from rnn_from_scratch.training.checkpoint import Checkpoint

HERE = Path(__file__).parent

NETWORKS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "elman_relu_mean": (
        (3, [Elman(4, "relu")], 2),
        {"readout": "mean", "output_activation": "softmax", "loss": "ce", "dtype": "float64"},
    ),
    "gru_after_learned": (
        (3, [GRU(4, learned_state=True)], 1),
        {"dtype": "float64", "loss": "huber", "huber_delta": 0.5},
    ),
    "gru_before_tokens": (
        (3, [GRU(4, reset="before"), Elman(3, "sigmoid")], 5),
        {"readout": "last", "vocabulary_size": 5, "output_activation": "softmax", "loss": "ce", "dtype": "float32"},
    ),
    "lstm_both_ways": (
        (3, [LSTM(3, bidirectional=True, learned_state=True), LSTM(2, forget_bias=0.5, recurrent_dropout=0.1)], 2),
        {"dtype": "float32", "dropout": 0.2, "loss": "mae"},
    ),
}

SCRATCH = {"scratch_fit": False, "scratch_train": True}
"""Whether the model predicts one output per sequence."""

ESTIMATORS = {"regressor_alone": "RNNRegressor", "tagger_in_pipeline": "RNNClassifier"}

CHECKPOINT = "checkpoint"


def inputs(tokens: bool) -> np.ndarray:
    """Two sequences of four steps: plain numbers, so that no generator has to give the same for ever."""
    if tokens:
        return np.array([[0, 4, 2, 1], [3, 3, 0, 2]])
    return np.sin(np.arange(24.0)).reshape(2, 4, 3)


def made_network(name: str) -> Network:
    arguments, words = NETWORKS[name]
    network = Network(*arguments, **words, random_state=7, engine="numpy")
    with network.edit_parameters() as p:
        for values in p.values():
            values += np.random.default_rng(values.size).normal(scale=0.3, size=values.shape)
    return network


def made_scratch(last: bool) -> RNNScratch:
    x = inputs(False)[0]
    model = RNNScratch(3, 4, 2, 0.05, output_activation="linear", activation="relu", random_state=7, engine="numpy")
    if last:
        model.train([x], [[0.5, -0.5]], epochs=3, verbose=False)
    else:
        model.fit(x, x[:, :2], epochs=3, verbose=False)
    return model


def write_made_estimator(name: str, path: Path) -> None:
    """Without scikit-learn: what its faces would have written."""
    tags = ESTIMATORS[name] == "RNNClassifier"
    words = {"readout": "every", "output_activation": "softmax", "loss": "ce"} if tags else {"readout": "last"}
    network = Network(
        4 if tags else 1, [GRU(4)], 3 if tags else 2, **words, dtype="float64", random_state=7, engine="numpy"
    )
    with network.edit_parameters() as p:
        for values in p.values():
            values += np.random.default_rng(values.size).normal(scale=0.3, size=values.shape)
    parameters: dict[str, Any] = {"hidden_layer_sizes": (4,), "alpha": 0.5, "random_state": None}
    fitted = {"epochs": 3, "sequences": 6, "loss": 0.1}
    if not tags:
        saved = SavedEstimator(parameters, None, False, 4, ["a", "b", "c", "d"], fitted)
    else:
        center, scale = np.array([0.5, 0.0, -0.5]), np.array([2.0, 1.0, 0.5])
        parameters |= {"readout": "every", "class_weight": {"x": 2.0, 3: 0.5}}
        saved = SavedEstimator(
            parameters,
            as_objects(["x", 3, 2.5]),
            True,
            None,
            None,
            fitted,
            [
                SavedStep("scale", "SequenceScaler", {"method": "robust"}, Scaling(center, scale), 3, None, None),
                SavedStep(
                    "pad", "SequencePadder", {"mask": True}, Padding(5, 0.0, "before", True, False), 3, None, None
                ),
            ],
            "tagger",
        )
    write_estimator(str(path), ESTIMATORS[name], network, saved)


def made_checkpoint() -> Checkpoint:
    network = made_network("gru_after_learned")
    vector = np.concatenate([values.ravel() for values in network.parameters.values()])
    return Checkpoint(
        network.specification,
        vector,
        {"m": vector / 3, "v": vector**2, "updates": np.array([12])},
        generator_words(np.random.default_rng(7)),
        {"loss": [0.1, 1 / 3, float("inf")], "clipped": [0, 2, 12]},
        {"engine": "numpy", "threads": 1},
        {"epoch": 3, "best": 0.1},
        {"best_parameters": vector[::-1].copy(), "layer0.h": np.float32([[0.1, 0.2]])},
    )


def univariate() -> np.ndarray:
    """Three sequences of four steps of one feature."""
    return np.sin(np.arange(12.0)).reshape(3, 4)


def flat(outputs: Any) -> list[float]:
    return [float(number) for number in np.ravel(outputs)]


def main() -> None:
    expected_file = HERE / "expected.json"
    expected = json.loads(expected_file.read_text()) if expected_file.exists() else {}
    for name in [*NETWORKS, *SCRATCH, *ESTIMATORS, CHECKPOINT]:
        path = HERE / f"{name}.npz"
        if path.exists():
            continue
        if name == CHECKPOINT:
            made_checkpoint().write(str(path))
            continue
        if name in ESTIMATORS:
            write_made_estimator(name, path)
            model = load(path, engine="numpy")
            expected[name] = flat(
                model.predict_proba(inputs(False)) if model.steps is None else model.predict(univariate())
            )
            continue
        model = made_network(name) if name in NETWORKS else made_scratch(SCRATCH[name])
        model.save(path)
        x = inputs("tokens" in name) if name in NETWORKS else inputs(False)[0]
        expected[name] = flat(model.predict(x))
    expected_file.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
