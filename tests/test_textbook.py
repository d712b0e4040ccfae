"""The mathematics by itself: slopes, tails, and losses against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from properties import given, st
from support import EXACT, OUTPUTS, assert_close

from rnn_from_scratch.textbook import elman, losses, readout
from rnn_from_scratch.textbook.activations import ACTIVATIONS, sigmoid, softmax

HUGE = np.array([-1e4, -88.0, -30.0, -1.0, 0.0, 1.0, 30.0, 88.0, 1e4], dtype=np.float32)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_slope_is_the_slope(name: str) -> None:
    a = np.linspace(-3, 3, 40)  # no zero among them: relu has a kink there
    f, slope = ACTIVATIONS[name]
    assert_close(slope(f(a)), (f(a + 1e-6) - f(a - 1e-6)) / 2e-6, 1e-8)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_keep_float32_and_are_stable(name: str) -> None:
    f, slope = ACTIVATIONS[name]
    h = f(HUGE)
    assert h.dtype == slope(h).dtype == np.float32
    assert np.isfinite(h).all()
    assert np.isfinite(slope(h)).all()


def test_sigmoid_has_digits_in_both_tails() -> None:
    a = np.linspace(-700, 30, 5000)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-a.astype(np.longdouble)))
    assert (np.abs(sigmoid(a) / exact - 1) < 1e-15).all()


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=9))
def test_softmax_is_a_distribution_and_ignores_a_shift(a: list[float]) -> None:
    values = softmax(np.array([a]))
    assert_close(values.sum(axis=1), np.ones(1), EXACT)
    assert (values >= 0).all()
    assert_close(softmax(np.array([a]) + 7.0), values, EXACT)


def definition(loss: str, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    if loss == "mse":
        return ((y - t) ** 2).mean(axis=1)
    if output == "softmax":
        return -(t * np.log(y)).sum(axis=1)
    return -(t * np.log(y) + (1 - t) * np.log(1 - y)).mean(axis=1)


@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_loss_is_its_definition_and_gradient_its_slope(output: str, loss: str) -> None:
    generator = np.random.default_rng(0)
    a, t, w = generator.normal(size=(7, 4)), generator.uniform(0.1, 0.9, (7, 4)), generator.uniform(0.1, 3, 7)
    y = readout.OUTPUT_ACTIVATIONS[output](a)
    value, d_a = losses.loss_and_gradient(loss, output, a, t, w)
    assert_close(value, (w * definition(loss, output, y, t)).sum() / w.sum(), EXACT)
    V = generator.normal(size=a.shape)
    ends = [losses.loss_and_gradient(loss, output, a + step * V, t, w)[0] for step in (1e-6, -1e-6)]
    assert_close((d_a * V).sum(), (ends[0] - ends[1]) / 2e-6, 1e-8)


@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
@pytest.mark.parametrize("wrong", [False, True])
def test_losses_are_stable_for_huge_preactivations(output: str, loss: str, wrong: bool) -> None:
    a = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=np.float32)
    t = np.array([[1, 0], [0, 1]], dtype=np.float32)
    if wrong:
        t = t[::-1]
    value, d_a = losses.loss_and_gradient(loss, output, a, t, np.ones(2, np.float32))
    assert np.isfinite(value)
    assert np.isfinite(d_a).all()
    assert d_a.dtype == np.float32
    if loss == "ce":
        assert value == pytest.approx({"sigmoid": 1e4, "softmax": 2e4}[output] if wrong else 0.0)
        assert (np.abs(d_a).max() > 0.2) == wrong


@pytest.mark.parametrize("output", list(readout.OUTPUT_ACTIVATIONS))
def test_gradient_by_outputs_becomes_the_gradient_by_preactivations(output: str) -> None:
    generator = np.random.default_rng(0)
    a, d_y, V = generator.normal(size=(3, 5, 4)), generator.normal(size=(3, 5, 4)), generator.normal(size=(3, 5, 4))
    g = readout.OUTPUT_ACTIVATIONS[output]
    d_a = readout.d_preactivations(output, g(a), d_y)
    slope = ((g(a + 1e-6 * V) - g(a - 1e-6 * V)) * d_y).sum() / 2e-6
    assert_close((d_a * V).sum(), slope, 1e-8)


def test_forward_is_step_after_step() -> None:
    generator = np.random.default_rng(0)
    p = {"W_x": generator.normal(size=(4, 3)), "W_h": generator.normal(size=(4, 4)), "b_h": generator.normal(size=4)}
    x, h = generator.normal(size=(5, 2, 3)), generator.normal(size=(2, 4))
    states, last, _ = elman.forward(p, x, h, [2] * 5, "tanh")
    for t in range(5):
        h = elman.step(p, x[t], h, "tanh")
        assert_close(states[t], h, EXACT)
    assert_close(last, h, EXACT)
