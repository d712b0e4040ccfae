"""The CO2 demo: honest baselines, no value from the future, a network that beats them, a table and a picture."""

from __future__ import annotations

import dataclasses
import importlib
import struct
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from rnn_from_scratch.datasets import MonthlyCO2, load_co2
from rnn_from_scratch.forecasting import (
    co2_demo,
    co2_model,
    naive,
    seasonal,
    seasonal_with_drift,
    usual_change,
    windows,
)
from rnn_from_scratch.forecasting.co2_model import Configuration, base_and_features, train

DATA = load_co2()
ROOT = Path(__file__).parents[1]
INPUTS = ["change and season", "surprise", "surprise and next usual change"]
# Each with the months until it notices that a value has changed.
BASELINES = [(naive, 1), (seasonal, 12), (seasonal_with_drift, 1), (lambda ppm: usual_change(ppm, 4), 12)]
SMALL = Configuration("surprise and next usual change", 5, 12, hidden_size=4, learning_rate=3e-3, epochs=1)


def changed(ppm: np.ndarray, month: int) -> np.ndarray:
    """The series with another value at one month."""
    other = ppm.copy()
    other[month] += 5.0
    return other


def small_run(folder: Path, data: MonthlyCO2 = DATA, seeds: int = 1) -> tuple[co2_demo.DemoResult, list[str]]:
    """The demo with a network that takes no time to train, and the lines it shows."""
    lines: list[str] = []
    return co2_demo.run(folder, seeds, engine="numpy", configuration=SMALL, data=data, show=lines.append), lines


@pytest.fixture
def choose(monkeypatch) -> ModuleType:
    """The script that chooses the configuration."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("choose_co2_configuration")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> co2_demo.DemoResult:
    """The demo as it stands, with one seed."""
    return co2_demo.run(tmp_path_factory.mktemp("demo"), seeds=1, show=lambda line: None)


# --- Baselines and windows ---


def test_baselines_reproduce_the_published_figures(demo):
    assert demo.baselines["naive"] == pytest.approx(1.251, abs=5e-4)
    assert demo.baselines["seasonal"] == pytest.approx(1.846, abs=5e-4)
    assert demo.baselines["seasonal with drift"] == pytest.approx(0.420, abs=5e-4)
    assert (len(demo.months), str(demo.months[0]), str(demo.months[-1])) == (60, "1997-01", "2001-12")
    assert demo.interpolated == 0


@pytest.mark.parametrize(("baseline", "delay"), BASELINES)
@pytest.mark.parametrize("month", [40, 200, 514])
def test_baselines_know_the_past_alone(baseline, delay, month):
    before, after = baseline(DATA.ppm), baseline(changed(DATA.ppm, month))
    assert before.shape == (527,)
    np.testing.assert_array_equal(after[: month + delay], before[: month + delay])
    assert after[month + delay] > before[month + delay] + 1


def test_usual_change_is_the_mean_of_the_last_years():
    changes = np.diff(DATA.ppm, prepend=np.nan)
    expected = (changes[300 - 12] + changes[300 - 24] + changes[300 - 36]) / 3
    assert usual_change(DATA.ppm, 3)[300] == pytest.approx(expected, rel=1e-12)
    # The first change is that of month 1, so three years lie behind month 37 and no month before it.
    assert np.flatnonzero(np.isfinite(usual_change(DATA.ppm, 3, fewest=3)))[0] == 37


def test_windows_are_views_in_time_order():
    series = np.arange(20.0).reshape(10, 2)
    view = windows(series, 4)
    assert view.shape == (7, 4, 2)
    assert np.shares_memory(view, series)
    for start in range(7):
        np.testing.assert_array_equal(view[start], series[start : start + 4])


# --- No value from the future ---


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("month", [100, 466, 525])
def test_features_know_the_past_alone(inputs, month):
    configuration = dataclasses.replace(SMALL, inputs=inputs)
    base, features = base_and_features(DATA.ppm, configuration)
    other_base, other_features = base_and_features(changed(DATA.ppm, month), configuration)
    np.testing.assert_array_equal(other_base[: month + 1], base[: month + 1])
    np.testing.assert_array_equal(other_features[:month], features[:month])
    assert other_base[month + 1] == pytest.approx(base[month + 1] + 5, abs=1e-9)
    assert other_features[month, 0] == pytest.approx(features[month, 0] + 5, abs=1e-9)


def test_features_are_what_the_configuration_says():
    """Month 300 by hand: its change, how surprising it was, what is usual for month 301."""
    change = np.diff(DATA.ppm, prepend=np.nan)
    usual = [np.mean([change[month - 12 * year] for year in range(1, 6)]) for month in (300, 301)]
    rows = {}
    for inputs in INPUTS:
        base, features = base_and_features(DATA.ppm, dataclasses.replace(SMALL, inputs=inputs))
        rows[inputs] = features[300]
        expected = 0 if inputs == "change and season" else usual[1]
        assert base[301] - DATA.ppm[300] == pytest.approx(expected, abs=1e-12)
    season = 2 * np.pi * 301 / 12
    np.testing.assert_allclose(rows["change and season"], [change[300], np.sin(season), np.cos(season)], atol=1e-12)
    np.testing.assert_allclose(rows["surprise"], [change[300] - usual[0]], atol=1e-12)
    np.testing.assert_allclose(rows["surprise and next usual change"], [change[300] - usual[0], usual[1]], atol=1e-12)


def test_forecasts_know_the_past_alone():
    forecaster = train(DATA.ppm[:300], DATA.interpolated[:300], SMALL, 0, "numpy")
    before, after = forecaster.forecast(DATA.ppm), forecaster.forecast(changed(DATA.ppm, 400))
    assert before.shape == (527,)
    # Thirty-seven months until a surprise is known, a window of twelve, and the month after it.
    assert np.flatnonzero(np.isfinite(before))[0] == 37 + 12
    # A row of a larger batch may be rounded differently.
    np.testing.assert_allclose(after[49:401], before[49:401], rtol=1e-13)
    assert abs(after[401] - before[401]) > 0.1


def test_held_out_months_do_not_reach_training(tmp_path):
    other = DATA._replace(ppm=DATA.ppm.copy())
    other.ppm[-60:] += np.linspace(5, 50, 60)
    result, _ = small_run(tmp_path, DATA)
    other_result, _ = small_run(tmp_path, other)
    # The first held-out month is forecast from training months alone, the others from the months between as well.
    assert other_result.forecasts[0, 0] == pytest.approx(result.forecasts[0, 0], rel=1e-13)
    assert abs(other_result.forecasts[0, 1] - result.forecasts[0, 1]) > 1


def test_training_pairs_are_scaled_and_measured(monkeypatch):
    """What reaches the network: windows that end the month before their target, no target that was interpolated."""
    seen = SimpleNamespace()

    class Recorder:
        def __init__(self, *arguments, **keywords):
            seen.made = (arguments, keywords)

        def fit(self, X, y, epochs, batch_size, **keywords):
            seen.X, seen.y, seen.epochs = X, y, epochs

    monkeypatch.setattr(co2_model, "Network", Recorder)
    interpolated = np.zeros(466, bool)
    interpolated[[100, 101, 465]] = True
    forecaster = train(DATA.ppm[:466], interpolated, SMALL, 7)
    base, features = base_and_features(DATA.ppm[:466], SMALL)
    targets = np.setdiff1d(np.arange(49, 466), [100, 101, 102, 465])
    scaled = (features - features[37:].mean(axis=0)) / features[37:].std(axis=0)
    correction = DATA.ppm[targets] - base[targets]
    assert seen.X.shape == (len(targets), 12, 2)
    for pair in (0, 50, 51, 52, len(targets) - 1):
        np.testing.assert_allclose(seen.X[pair], scaled[targets[pair] - 12 : targets[pair]], rtol=1e-12)
    np.testing.assert_allclose(seen.y[:, 0], (correction - correction.mean()) / correction.std(), rtol=1e-12)
    assert seen.made[1]["random_state"] == 7
    assert (seen.epochs, forecaster.correction_scale) == (1, correction.std())


# --- The demo ---


def test_network_beats_seasonal_with_drift(demo):
    assert demo.networks[0] < 0.36
    errors = demo.forecasts[0] - DATA.ppm[-60:]
    assert demo.networks[0] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-12)


def test_table_and_lines(tmp_path):
    result, lines = small_run(tmp_path / "new" / "folder", seeds=2)
    a, b = result.networks
    assert a != b
    assert result.mean == pytest.approx((a + b) / 2, rel=1e-12)
    assert result.deviation == pytest.approx(abs(a - b) / np.sqrt(2), rel=1e-12)
    average = result.forecasts.mean(axis=0) - DATA.ppm[-60:]
    assert result.average == pytest.approx(np.sqrt((average**2).mean()), rel=1e-12)
    *rows, correction = lines[0].splitlines()[2:]
    base = naive(DATA.ppm)[-61:-1] + usual_change(DATA.ppm, SMALL.years)[-61:-1] - DATA.ppm[-60:]
    assert result.base == pytest.approx(np.sqrt((base**2).mean()), rel=1e-12)
    assert correction.endswith(f"RMSE {result.base:.3f}: their correction adds {result.mean - result.base:+.3f} to it.")
    table = {name.strip(): value for name, value in (row.rsplit("  ", 1) for row in rows)}
    assert table["baseline: seasonal with drift"] == "0.420"
    assert table["Elman network, seed 1"] == f"{b:.3f}"
    assert table["Elman network, mean ± sd over seeds"] == f"{result.mean:.3f} ± {result.deviation:.3f}"
    assert lines[1].startswith("2 network(s) trained and scored in ")
    assert len(lines) == 3


def test_the_same_seed_gives_the_same_forecast(tmp_path):
    first, second = (small_run(tmp_path)[0] for _ in range(2))
    np.testing.assert_array_equal(first.forecasts, second.forecasts)
    assert first.deviation == 0.0


def test_without_matplotlib_the_table_stays(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result, lines = small_run(tmp_path)
    assert lines[0] == str(result)
    assert lines[2].startswith("No picture: plot_forecast needs matplotlib")
    assert lines[2].endswith('pip install "rnn-from-scratch[plot]"')
    assert list(tmp_path.iterdir()) == []


def test_picture_is_a_png_with_both_forecasts(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="the picture needs the extra `plot`")
    _, lines = small_run(tmp_path)
    path = tmp_path / "co2_forecast.png"
    assert lines[2] == f"Picture: {path}"
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (1200, 720)
    pixels = image.imread(path)[..., :3]
    for colour in ([0x1F, 0x77, 0xB4], [0xFF, 0x7F, 0x0E]):
        drawn = np.abs(pixels - np.array(colour) / 255).max(axis=-1) < 0.01
        assert drawn.sum() > 500


# --- The choice of the configuration ---


def test_configuration_is_the_one_that_validation_chose(choose):
    text = (ROOT / "docs" / "co2_validation.md").read_text(encoding="utf-8")
    assert f"\n    {co2_demo.CONFIGURATION}\n" in text
    assert co2_demo.CONFIGURATION in choose.GRID


def test_validation_never_sees_what_it_scores(choose, monkeypatch):
    """Training ends where a block starts, the last block where the held-out months start."""
    seen: list[tuple[int, int]] = []

    def fake_train(ppm, interpolated, configuration, seed):
        assert len(ppm) == len(interpolated)
        seen.append((len(ppm), seed))
        # A forecast that is wrong by one ppm more with every seed.
        return SimpleNamespace(forecast=lambda longer: np.append(longer + 1.0 + seed, np.nan))

    monkeypatch.setattr(choose, "train", fake_train)
    data = choose.training_months(DATA)
    assert str(data.months[-1]) == "1996-12"
    score = choose.validate(data, SMALL, seeds=2)
    assert seen == [(origin, seed) for origin in (226, 286, 346, 406) for seed in (0, 1)]
    assert score.single == pytest.approx(1.5)
    assert score.deviation == pytest.approx(np.std([1, 2], ddof=1))
    assert score.average == pytest.approx(1.5)
    np.testing.assert_allclose(score.blocks, np.sqrt((1 + 4) / 2))


def test_validation_table_puts_the_best_first(choose):
    data = choose.training_months(DATA)
    better, worse = choose.Score((0.1,) * 4, 0.1, 0.01, 0.09), choose.Score((0.2,) * 4, 0.2, 0.01, 0.19)
    text = choose.report(data, {SMALL: worse, dataclasses.replace(SMALL, epochs=2): better})
    assert f"\n    {dataclasses.replace(SMALL, epochs=2)}\n" in text
    assert text.index("| 0.1000 ± 0.0100 |") < text.index("| 0.2000 ± 0.0100 |")
    # The last of the blocks by hand: 1992 to 1996, seasonal with drift.
    errors = seasonal_with_drift(data.ppm)[406:466] - data.ppm[406:]
    line = next(line for line in text.splitlines() if line.startswith("| seasonal with drift"))
    assert line.endswith(f"{np.sqrt((errors**2).mean()):.3f} |")
