"""The documented `weights` and `bias`: written to in every way a mapping allows, and never replaced."""

from __future__ import annotations

import numpy as np
import pytest
from support import assert_same_bits

from rnn_from_scratch import RNNScratch


@pytest.fixture
def model(engine: str) -> RNNScratch:
    return RNNScratch(2, 3, 1, 0.1, output_activation="linear", random_state=0, engine=engine)


def test_assigning_a_mapping_writes_every_tensor(model: RNNScratch) -> None:
    views = dict(model.weights)
    new = {name: np.random.default_rng(1).normal(size=W.shape) for name, W in views.items()}
    model.weights = new
    model.bias = {"bh": np.ones((3, 1)), "by": [[2]]}
    for name, W in new.items():
        assert model.weights[name] is views[name]
        assert_same_bits(views[name], W)
    x = np.array([0.5, -1.0])
    expected = new["wy"] @ np.tanh(new["wx"] @ x + 1) + 2
    assert model.predict([x])[0] == pytest.approx(expected[:, None])


def test_update_and_items_reach_the_parameters(model: RNNScratch) -> None:
    model.bias.update(by=[[4.0]])
    model.weights["wy"] *= 0
    assert model.predict([[1.0, 2.0]])[0].tolist() == [[4.0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wx": np.zeros((3, 2))}, "weights must be a mapping of 'wx', 'wh', 'wy'."),
        ([1, 2], "weights must be a mapping of 'wx', 'wh', 'wy'. Got [1, 2]."),
        ({"wx": np.ones((3, 2)), "wh": np.ones((3, 3)), "wy": np.ones((3, 1))}, "weights['wy'] must be (1, 3). Got (3, 1)."),
        ({"wx": np.full((3, 2), np.nan), "wh": np.ones((3, 3)), "wy": np.ones((1, 3))}, "weights['wx'] must be finite."),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_changes_nothing(model: RNNScratch, values: object, message: str) -> None:
    before = {name: W.copy() for name, W in model.weights.items()}
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared below
        model.weights = values  # type: ignore[assignment]
    assert message in str(caught.value)
    for name, W in model.weights.items():
        assert_same_bits(W, before[name], name)


def test_names_are_fixed(model: RNNScratch) -> None:
    with pytest.raises(KeyError, match=r"weights has 'wx', 'wh', 'wy'\. Got 'wz'"):
        model.weights["wz"] = 1
    with pytest.raises(TypeError, match="weights must keep 'wx'"):
        del model.weights["wx"]
    assert len(model.weights) == 3
    assert repr(model.bias).startswith("{'bh': array(")
