"""exp, tanh and the sigmoid of the kernels against decimal arithmetic: four units in the last place, everywhere."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from rnn_from_scratch.engines import native_engine

pytestmark = pytest.mark.usefixtures("native")

FUNCTIONS = ("exp", "tanh", "sigmoid")


def exact_exp(x: Decimal) -> Decimal:
    return x.exp()


def exact_tanh(x: Decimal) -> Decimal:
    if abs(x) < Decimal("1e-15"):
        return x - x**3 / 3
    e = (2 * -abs(x)).exp()
    return ((1 - e) / (1 + e)).copy_sign(x)


def exact_sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


EXACT: dict[str, Callable[[Decimal], Decimal]] = {"exp": exact_exp, "tanh": exact_tanh, "sigmoid": exact_sigmoid}


def evaluate(function: str, x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, 7)
    native_engine._module.evaluate(FUNCTIONS.index(function), x, y)
    return y


def arguments(function: str, dtype: str) -> np.ndarray:
    """The whole range: every size of number, where the formulas change, and where the results become zero or one."""
    generator = np.random.default_rng(0)
    least, most = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    end = 104.5 if dtype == "float32" else 746.0
    sizes = np.exp2(generator.uniform(-150 if dtype == "float32" else -1074, 12, 3000))
    steps = (
        np.arange(1, int(end / np.log(2)) * 4 + 6) * np.log(2) / 4
    )  # where eˣ and e²ˣ are powers of two, and half-way
    edges = np.array(
        [9, 10, 11, 19, 20, 21, 86.9, 87, 87.4, 103.9, 104, 707.9, 708, 709, 745.1, 745.2, 1e4, most, least]
    )
    dense = generator.uniform(0, end, 4000)
    around = np.concatenate([sizes, steps, edges, dense]).astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        around = np.concatenate(
            [around, np.nextafter(around, dtype_of(0, dtype)), np.nextafter(around, dtype_of(most, dtype))]
        )
    both = np.concatenate([around, -around, [0.0, -0.0]]).astype(dtype)
    return both[both <= 0] if function == "exp" else both


def dtype_of(value: float, dtype: str) -> Any:
    return np.dtype(dtype).type(value)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_four_units_in_the_last_place_everywhere(function: str, dtype: str) -> None:
    x = arguments(function, dtype)
    y = evaluate(function, x)
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        bottom = Decimal(-2000)  # e^bottom is nothing, and quickly computed
        exact = [EXACT[function](min(max(Decimal(float(value)), bottom), -bottom)) for value in x]
        nearest = np.array([float(value) for value in exact]).astype(dtype)
        units = np.spacing(np.abs(nearest))
        errors = [abs(Decimal(float(a)) - b) for a, b in zip(y, exact, strict=True)]
        wrong = [i for i, error in enumerate(errors) if error > 4 * Decimal(float(units[i]))]
        largest = max(error / Decimal(float(unit)) for error, unit in zip(errors, units, strict=True))
    assert wrong == [], [(x[i], y[i], nearest[i]) for i in wrong[:5]]
    assert largest > 0.4  # otherwise nothing was compared
    smallest = 2e-7 if dtype == "float32" else 4e-16
    assert max(errors) <= Decimal(smallest)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_no_number_and_what_is_infinite(function: str, dtype: str) -> None:
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0] * 5, dtype)  # in every lane
    if function == "exp":
        x[x > 0] = 0
    y = evaluate(function, x)
    assert (np.isnan(y) == np.isnan(x)).all()
    expected = {"exp": (1, 0, 1), "tanh": (1, -1, 0), "sigmoid": (1, 0, 0.5)}[function]
    if function != "exp":
        assert (y[np.isposinf(x)] == expected[0]).all()
    assert (y[np.isneginf(x)] == expected[1]).all()
    assert (y[x == 0] == expected[2]).all()
    if function == "tanh":
        assert (np.signbit(y) == np.signbit(x))[x == 0].all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_lane_and_every_remainder(function: str, dtype: str) -> None:
    x = -np.linspace(0, 5, 40).astype(dtype)
    whole = evaluate(function, x)
    for start in range(17):
        for count in range(20):
            assert (
                evaluate(function, x[start : start + count].copy()).tobytes() == whole[start : start + count].tobytes()
            )


def test_the_lower_tail_of_the_sigmoid_has_digits(dtype: str) -> None:
    x = np.array([-20, -50, -80, -87.2, -95, -103], dtype)
    y = evaluate("sigmoid", x)
    assert (y > 0).all()
    assert (np.diff(y) < 0).all()
    assert np.isclose(np.log(y[:3].astype(np.float64)), x[:3].astype(np.float64), rtol=1e-6).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_functions_by_which_limits_are_measured(dtype: str, size: int) -> None:
    """A chain of 256 tanh, and the sum of 13 chains x + k → x · (…) + x, 256 times each."""
    x = np.random.default_rng(0).uniform(0.1, 0.9, size).astype(dtype)
    tolerance = 256 * np.finfo(dtype).eps
    found, y = (np.empty_like(x) for _ in range(2))
    native_engine._module.evaluate(3, x, found)
    y[:] = x
    for _ in range(256):
        y = np.tanh(y)
    np.testing.assert_allclose(found, y, rtol=tolerance)
    native_engine._module.evaluate(4, x, found)
    sums = x.astype(np.float64) + np.arange(13)[:, None]
    for _ in range(256):
        sums = sums * x + x
    np.testing.assert_allclose(found, sums.sum(axis=0), rtol=tolerance)


def test_wrong_calls_are_refused() -> None:
    x = np.zeros(3)
    for function, to in ((5, x), (-1, x), (0, np.zeros(4)), (0, np.zeros((3, 1)))):
        with pytest.raises(ValueError, match="must be"):
            native_engine._module.evaluate(function, x, to)
    with pytest.raises(TypeError):
        native_engine._module.evaluate(0, x, np.zeros(3, "float32"))
