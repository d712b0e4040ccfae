"""Choose the configuration of the CO2 demo on its training months, and write the table `docs/co2_validation.md`.

    python tools/choose_co2_configuration.py

Rolling origin: the 240 months before the held-out ones are four blocks of 60. For each block networks are trained on
all the months before it, with ten seeds, and forecast it month by month. The configuration whose single network has
the lowest RMSE (mean square over the blocks, mean over the seeds) is chosen. The held-out months are cut off before
anything else happens; the demo scores them. With the native engine this takes some minutes on one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from rnn_from_scratch.datasets import MonthlyCO2, load_co2
from rnn_from_scratch.forecasting.co2_demo import TEST_MONTHS, baselines
from rnn_from_scratch.forecasting.co2_model import Configuration, train

TARGET = Path(__file__).parents[1] / "docs" / "co2_validation.md"
BLOCKS, BLOCK_MONTHS, SEEDS = 4, 60, 10
SHOWN = 15

# A usual change plays no part in "change and season", so its years are not varied there.
INPUTS = [
    ("change and season", 10),
    *product(["surprise", "surprise and next usual change"], [10, 20]),
]
GRID = [
    Configuration(inputs, years, window, hidden_size, learning_rate, epochs)  # type: ignore[arg-type]
    for (inputs, years), window, hidden_size, learning_rate, epochs in product(
        INPUTS, [12, 24], [4, 8, 16], [1e-3, 3e-3, 1e-2], [10, 20, 40, 80]
    )
]


@dataclass(frozen=True)
class Score:
    """RMSE in ppm of a way to forecast: by block, of a single network (mean, sd over seeds), of the mean forecast."""

    blocks: tuple[float, ...]
    single: float
    deviation: float
    average: float


def training_months(data: MonthlyCO2) -> MonthlyCO2:
    """The record without its held-out months."""
    return MonthlyCO2(
        data.months[:-TEST_MONTHS],
        data.ppm[:-TEST_MONTHS],
        data.interpolated[:-TEST_MONTHS],
    )


def origins(months: int) -> list[int]:
    """Where the validation blocks start."""
    return [months - BLOCK_MONTHS * block for block in range(BLOCKS, 0, -1)]


def score_errors(errors: Any) -> Score:
    """Score errors (seeds, blocks, months) in ppm."""
    single = np.sqrt((errors**2).mean(axis=(1, 2)))
    return Score(
        blocks=tuple(np.sqrt((errors**2).mean(axis=(0, 2))).tolist()),
        single=float(single.mean()),
        deviation=float(single.std(ddof=1)) if len(single) > 1 else 0.0,
        average=float(np.sqrt((errors.mean(axis=0) ** 2).mean())),
    )


def validate(data: MonthlyCO2, configuration: Configuration, seeds: int = SEEDS) -> Score:
    """Score a configuration at every origin, with every seed."""
    errors = np.empty((seeds, BLOCKS, BLOCK_MONTHS))
    for (block, origin), seed in product(enumerate(origins(len(data.ppm))), range(seeds)):
        forecaster = train(data.ppm[:origin], data.interpolated[:origin], configuration, seed)
        end = origin + BLOCK_MONTHS
        errors[seed, block] = forecaster.forecast(data.ppm[:end])[origin:end] - data.ppm[origin:end]
    return score_errors(errors)


def validate_baselines(data: MonthlyCO2, years: int) -> dict[str, Score]:
    """Score the baselines on the same blocks."""
    start = origins(len(data.ppm))[0]
    return {
        name: score_errors((forecast[start:-1] - data.ppm[start:]).reshape(1, BLOCKS, BLOCK_MONTHS))
        for name, forecast in baselines(data.ppm, years).items()
    }


def report(data: MonthlyCO2, scores: dict[Configuration, Score]) -> str:
    """The table as Markdown."""
    ranked = sorted(scores, key=lambda configuration: scores[configuration].single)
    chosen = ranked[0]
    starts = origins(len(data.ppm))
    spans = [f"{data.months[start]} to {data.months[start + BLOCK_MONTHS - 1]}" for start in starts]
    limit = scores[chosen].single + scores[chosen].deviation
    close = sum(score.single <= limit for score in scores.values()) - 1
    reference = validate_baselines(data, chosen.years)
    for years in sorted({configuration.years for configuration in scores}):
        reference |= validate_baselines(data, years)
    head = [
        "# How the configuration of the CO2 demo was chosen",
        "",
        "Written by `tools/choose_co2_configuration.py`; not edited by hand. The held-out months of the demo",
        f"(after {data.months[-1]}) played no part.",
        "",
        f"Rolling origin, blocks of {BLOCK_MONTHS} months: {', '.join(spans)}.",
        f"For each block, {SEEDS} networks are trained on all the months before it and forecast it one month ahead.",
        "RMSE in ppm: *single*, a network by itself, mean ± standard deviation over the seeds; *average*, the mean",
        "forecast of all seeds; then the single network block by block.",
        "",
        f"Chosen, lowest *single* of {len(scores)} configurations:",
        "",
        f"    {chosen}",
        "",
        f"Of the others {close} lie within one standard deviation over the seeds of it.",
        "",
        "## Baselines on the same blocks",
        "",
        "| baseline | RMSE | block by block |",
        "|---|---|---|",
        *(f"| {name} | {score.single:.4f} | {block_by_block(score)} |" for name, score in reference.items()),
        "",
    ]
    columns = "| inputs | years | window | hidden | learning rate | epochs | single | average | block by block |"
    rule = "|---|---|---|---|---|---|---|---|---|"
    best = [f"## The best {SHOWN}", "", columns, rule, *(row(each, scores[each]) for each in ranked[:SHOWN]), ""]
    levels = ["## The best of each choice", "", "Years play no part where the inputs are change and season.", ""]
    levels += ["| choice | best single | median single |", "|---|---|---|"]
    for field in ("inputs", "years", "window", "hidden_size", "learning_rate", "epochs"):
        for level in sorted({getattr(each, field) for each in scores}):
            singles = [score.single for each, score in scores.items() if getattr(each, field) == level]
            levels.append(f"| {field}: {level} | {min(singles):.4f} | {np.median(singles):.4f} |")
    return "\n".join([*head, *best, *levels]) + "\n"


def row(configuration: Configuration, score: Score) -> str:
    """One configuration as a row of the table."""
    each = configuration
    return (
        f"| {each.inputs} | {each.years} | {each.window} | {each.hidden_size} | {each.learning_rate:g} | {each.epochs} "
        f"| {score.single:.4f} ± {score.deviation:.4f} | {score.average:.4f} | {block_by_block(score)} |"
    )


def block_by_block(score: Score) -> str:
    """RMSE per block, in a few characters."""
    return " ".join(f"{value:.3f}" for value in score.blocks)


def main() -> None:
    """Validate the grid and write the table."""
    data = training_months(load_co2())
    start = perf_counter()
    scores = {}
    for count, configuration in enumerate(GRID, start=1):
        scores[configuration] = validate(data, configuration)
        seconds = perf_counter() - start
        print(f"{count}/{len(GRID)} {seconds:.0f} s {row(configuration, scores[configuration])}", flush=True)
    TARGET.write_text(report(data, scores), encoding="utf-8", newline="\n")
    print(f"Wrote {TARGET.name}.")


if __name__ == "__main__":
    main()
