"""The series that come with the package, and the script that made them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rnn_from_scratch.datasets import load_co2


@pytest.fixture
def make_co2(monkeypatch) -> ModuleType:
    """The script that made the series."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    return importlib.import_module("make_co2")


def test_co2_is_every_month_of_the_record():
    data = load_co2()
    np.testing.assert_array_equal(data.months, np.arange("1958-03", "2002-01", dtype="datetime64[M]"))
    assert data.months.dtype == np.dtype("datetime64[M]")
    assert data.ppm.dtype == np.float64
    assert data.ppm.shape == data.interpolated.shape == data.months.shape == (526,)


def test_co2_months_are_means_of_the_weekly_values():
    """Means by hand of the published weekly values of a first, a short and a last month."""
    by_month = dict(zip(load_co2().months.astype(str), load_co2().ppm, strict=True))
    assert by_month["1958-03"] == 316.1
    assert by_month["1958-04"] == pytest.approx((317.3 + 317.6 + 317.5 + 316.4) / 4, abs=5e-5)
    assert by_month["2001-12"] == pytest.approx((370.3 + 370.8 + 371.2 + 371.3 + 371.5) / 5, abs=5e-5)


def test_co2_gaps_are_straight_lines_and_marked():
    months, ppm, interpolated = load_co2()
    gaps = np.flatnonzero(interpolated)
    assert months[gaps].astype(str).tolist() == ["1958-06", "1958-10", "1964-02", "1964-03", "1964-04"]
    # A straight line has no curvature; numbers with four decimals may bend by 2e-4.
    np.testing.assert_allclose(ppm[gaps - 1] - 2 * ppm[gaps] + ppm[gaps + 1], 0, atol=2.1e-4)


def test_co2_is_loaded_anew():
    load_co2().ppm[:] = 0
    assert load_co2().ppm.min() > 300


def test_monthly_means_of_a_gap_over_the_new_year(make_co2):
    days = np.array(["1999-11-06", "1999-11-13", "1999-12-04", "2000-02-05", "2000-02-12"], dtype="datetime64[D]")
    months, means, weeks = make_co2.monthly_means(days, np.array([1.0, 2.0, np.nan, 4.0, np.nan]))
    assert months.astype(str).tolist() == ["1999-11", "1999-12", "2000-01", "2000-02"]
    np.testing.assert_allclose(means, [1.5, 1.5 + 2.5 / 3, 1.5 + 5 / 3, 4.0], rtol=1e-15)
    assert weeks.tolist() == [2, 0, 0, 1]


def test_monthly_means_do_not_extrapolate(make_co2):
    days = np.array(["2000-01-01", "2000-02-05"], dtype="datetime64[D]")
    with pytest.raises(ValueError, match="nothing is extrapolated"):
        make_co2.monthly_means(days, np.array([1.0, np.nan]))
