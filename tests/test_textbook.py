"""The mathematics by itself: slopes, tails, and losses against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from properties import given, st
from support import EXACT, OUTPUTS, assert_close

from rnn_from_scratch.textbook import elman, embedding, gru, losses, lstm, penalty, readout
from rnn_from_scratch.textbook.activations import ACTIVATIONS, linear, sigmoid, softmax

HUGE = np.array([-1e4, -88.0, -30.0, -1.0, 0.0, 1.0, 30.0, 88.0, 1e4], dtype=np.float32)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_slope_is_the_slope(name: str) -> None:
    a = np.linspace(-3, 3, 40)  # no zero among them: relu has a kink there
    f, slope = ACTIVATIONS[name]
    assert_close(slope(f(a, None)), (f(a + 1e-6, None) - f(a - 1e-6, None)) / 2e-6, 1e-8)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_keep_float32_and_are_stable(name: str) -> None:
    f, slope = ACTIVATIONS[name]
    h = f(HUGE, None)
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


@pytest.mark.parametrize("name", list(ACTIVATIONS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_write_where_they_are_told(name: str, dtype: Any) -> None:
    """Into another array, and in place on some columns of a wider one: cells do both with their gates."""
    f = ACTIVATIONS[name].value
    generator = np.random.default_rng(0)
    for columns in range(1, 10):
        for width in range(1, columns + 1):
            wide = generator.normal(size=(17, columns)).astype(dtype)
            before, part = wide.copy(), wide[:, columns - width :]
            expected = f(part.copy(), None)
            room = np.empty_like(part)
            assert f(part, room) is room
            assert np.array_equal(room, expected)
            assert np.array_equal(wide, before)
            assert f(part, part) is part
            assert np.array_equal(part, expected), (columns, width)
            assert np.array_equal(wide[:, : columns - width], before[:, : columns - width])


def test_linear_is_what_it_was_given() -> None:
    a = np.array([1.0, -2.0])
    assert linear(a) is a
    assert linear(a, a) is a


DELTA = 0.3


def definition(loss: str, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    e = np.abs(y - t)
    if loss == "mse":
        return (e**2).mean(axis=1)
    if loss == "mae":
        return e.mean(axis=1)
    if loss == "huber":
        return np.where(e <= DELTA, 0.5 * e**2, DELTA * (e - 0.5 * DELTA)).mean(axis=1)
    if output == "softmax":
        return -(t * np.log(y)).sum(axis=1)
    return -(t * np.log(y) + (1 - t) * np.log(1 - y)).mean(axis=1)


@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_loss_is_its_definition_and_gradient_its_slope(output: str, loss: str) -> None:
    generator = np.random.default_rng(0)
    a, t, w = generator.normal(size=(7, 4)), generator.uniform(0.1, 0.9, (7, 4)), generator.uniform(0.1, 3, 7)
    y = readout.OUTPUT_ACTIVATIONS[output](a)
    value, d_a = losses.loss_and_gradient(loss, output, a, t, w, DELTA)
    assert_close(value, (w * definition(loss, output, y, t)).sum() / w.sum(), EXACT)
    V = generator.normal(size=a.shape)
    ends = [losses.loss_and_gradient(loss, output, a + step * V, t, w, DELTA)[0] for step in (1e-6, -1e-6)]
    assert_close((d_a * V).sum(), (ends[0] - ends[1]) / 2e-6, 1e-8)


def test_kinks_have_the_slopes_that_are_written_down() -> None:
    """|e| has slope 0 at 0; Huber's error meets its straight parts with the slope ±δ and the same value."""
    one = np.ones(1)
    assert losses.loss_and_gradient("mae", "linear", np.array([[2.0]]), np.array([[2.0]]), one)[1] == 0
    for e in (-0.5, 0.5):
        value, d_a = losses.loss_and_gradient("huber", "linear", np.array([[e]]), np.zeros((1, 1)), one, 0.5)
        assert (value, float(d_a[0, 0])) == (0.125, e)
        beyond, d_beyond = losses.loss_and_gradient("huber", "linear", np.array([[8 * e]]), np.zeros((1, 1)), one, 0.5)
        assert (beyond, float(d_beyond[0, 0])) == (0.5 * (4 - 0.25), e)


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_huber_with_a_wide_delta_is_half_the_square(delta: float, error: float) -> None:
    a, t, w = np.array([[error]]), np.zeros((1, 1)), np.ones(1)
    wide, _ = losses.loss_and_gradient("huber", "linear", a, t, w, 1e3)
    assert_close(wide, 0.5 * losses.loss_and_gradient("mse", "linear", a, t, w)[0], EXACT)
    narrow, slope = losses.loss_and_gradient("huber", "linear", a, t, w, delta)
    assert narrow <= wide * (1 + 1e-12)
    assert abs(slope[0, 0]) <= delta


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
    if loss == "mae":
        expected = {"linear": 1e4, "softmax": float(wrong)}[output]
        assert value == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("output", list(readout.OUTPUT_ACTIVATIONS))
def test_gradient_by_outputs_becomes_the_gradient_by_preactivations(output: str) -> None:
    generator = np.random.default_rng(0)
    a, d_y, V = generator.normal(size=(3, 5, 4)), generator.normal(size=(3, 5, 4)), generator.normal(size=(3, 5, 4))
    g = readout.OUTPUT_ACTIVATIONS[output]
    d_a = readout.d_preactivations(output, g(a), d_y)
    slope = ((g(a + 1e-6 * V) - g(a - 1e-6 * V)) * d_y).sum() / 2e-6
    assert_close((d_a * V).sum(), slope, 1e-8)


CELLS: dict[str, tuple[Any, int, int, dict[str, str]]] = {
    "elman": (elman, 1, 1, {"activation": "sigmoid"}),
    "gru": (gru, 3, 1, {"reset": "after"}),
    "gru reset before": (gru, 3, 1, {"reset": "before"}),
    "lstm": (lstm, 4, 2, {}),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("T", [1, 2, 5])
def test_forward_is_step_after_step(name: str, T: int) -> None:
    """With rows that end at different times: they keep the state of their last step."""
    cell, G, states, options = CELLS[name]
    generator = np.random.default_rng(0)
    p = {symbol: generator.normal(size=shape) for symbol, shape in
         {"W_x": (4 * G, 3), "W_h": (4 * G, 4), "b_h": (4 * G,), "b_hn": (4,)}.items()}  # fmt: skip
    x, state = generator.normal(size=(T, 3, 3)), tuple(generator.normal(size=(3, 4)) for _ in range(states))
    lengths = np.array([T, max(T - 1, 1), 1])
    active = [int((lengths > t).sum()) for t in range(T)]
    h, last, _ = cell.forward(p, x, state, active, None, **options)
    for t in range(T):
        after = cell.step(p, x[t], state, **options)
        state = tuple(np.where((lengths > t)[:, None], new, old) for new, old in zip(after, state, strict=True))
        assert_close(h[t], state[0], EXACT, f"step {t}")
    for found, expected in zip(last, state, strict=True):
        assert_close(found, expected, EXACT)


@pytest.mark.parametrize("name", CELLS)
def test_step_leaves_its_arguments_alone(name: str) -> None:
    cell, G, states, options = CELLS[name]
    generator = np.random.default_rng(0)
    p = {"W_x": generator.normal(size=(4 * G, 3)), "W_h": generator.normal(size=(4 * G, 4)),
         "b_h": generator.normal(size=4 * G), "b_hn": generator.normal(size=4)}  # fmt: skip
    arguments = [generator.normal(size=(2, 3)), *(generator.normal(size=(2, 4)) for _ in range(states))]
    before = [values.copy() for values in (*arguments, *p.values())]
    first = cell.step(p, arguments[0], tuple(arguments[1:]), **options)
    second = cell.step(p, arguments[0], tuple(arguments[1:]), **options)
    for a, b in zip((*arguments, *p.values()), before, strict=True):
        assert np.array_equal(a, b)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_gru_with_an_open_update_gate_keeps_its_state_for_ever() -> None:
    generator = np.random.default_rng(0)
    p = {"W_x": generator.normal(size=(12, 3)), "W_h": generator.normal(size=(12, 4)),
         "b_h": np.repeat([0.0, 1e3, 0.0], 4), "b_hn": generator.normal(size=4)}  # fmt: skip
    h_0 = generator.normal(size=(2, 4))
    h, _, _ = gru.forward(p, generator.normal(size=(50, 2, 3)), (h_0,), [2] * 50, None, "after")
    assert_close(h[-1], h_0, EXACT)


def test_resets_agree_where_the_reset_gate_is_open() -> None:
    """With r = 1 and no b_hn, before and after the product are the same thing."""
    generator = np.random.default_rng(0)
    p = {"W_x": generator.normal(size=(12, 3)), "W_h": generator.normal(size=(12, 4)),
         "b_h": generator.normal(size=12), "b_hn": np.zeros(4)}  # fmt: skip
    p["b_h"][:4] = 1e3
    x, h_0 = generator.normal(size=(6, 2, 3)), (generator.normal(size=(2, 4)),)
    after, before = (gru.forward(p, x, h_0, [2] * 6, None, reset)[0] for reset in ("after", "before"))
    assert_close(after, before, EXACT)
    p["b_h"][:4] = 0
    after, before = (gru.forward(p, x, h_0, [2] * 6, None, reset)[0] for reset in ("after", "before"))
    assert np.abs(after - before).max() > 0.01


@given(st.lists(st.integers(0, 4), max_size=30))
def test_embedding_sums_the_gradients_of_each_token(tokens: list[int]) -> None:
    generator = np.random.default_rng(len(tokens))
    d_x = generator.normal(size=(len(tokens), 3))
    one_hot = np.eye(5)[np.array(tokens, dtype=np.int64)]
    assert_close(embedding.backward(np.zeros((5, 3)), np.array(tokens, dtype=np.int64), d_x), one_hot.T @ d_x, EXACT)


def test_penalty_is_its_definition() -> None:
    generator = np.random.default_rng(0)
    vector, gradient = generator.normal(size=10), generator.normal(size=10)
    before = gradient.copy()
    value = penalty.add_penalty(0.4, vector, [slice(1, 4), slice(6, 8)], gradient)
    chosen = np.isin(np.arange(10), [1, 2, 3, 6, 7])
    assert_close(value, 0.2 * (vector[chosen] ** 2).sum(), EXACT)
    assert_close(gradient - before, np.where(chosen, 0.4 * vector, 0), EXACT)


def test_mean_over_time_and_its_gradient() -> None:
    generator = np.random.default_rng(0)
    h, lengths = generator.normal(size=(5, 3, 2)), np.array([5, 3, 1])
    real = (np.arange(5)[:, None] < lengths)[:, :, None]
    means = readout.mean_over_time(np.where(real, h, 0), lengths.astype(float))
    for n, length in enumerate(lengths):
        assert_close(means[n], h[:length, n].mean(axis=0), EXACT)
    d = generator.normal(size=(3, 2))
    d_h = readout.d_mean_over_time(d, lengths.astype(float), real)
    assert_close((d_h * h).sum(), (d * means).sum(), EXACT)  # the mean is linear: its adjoint
    assert not d_h[~real[:, :, 0]].any()
