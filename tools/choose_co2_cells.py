"""Choose the settings of `examples/co2_cells.py` on its training months, by rolling origin as the demo's were.

    python tools/choose_co2_cells.py

Four blocks of 60 months before the held-out ones; for each, networks are trained on all months before it with three seeds
and forecast it month by month. For every cell the settings whose single network has the lowest RMSE are chosen. Inputs and
years are those of the demo. Some minutes on one core.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
from choose_co2_configuration import BLOCK_MONTHS, BLOCKS, block_by_block, origins, score_errors, training_months

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from co2_cells import CELLS, Settings, forecast

from rnn_from_scratch.datasets import load_co2

SEEDS = 3
GRID = [Settings(*words) for words in product(CELLS, (12, 24), (4, 8, 16), (3e-3, 1e-2), ("constant", "cosine"))]


def main() -> None:
    """Score the grid; print the best five of every cell as a Markdown table."""
    data = training_months(load_co2())
    scores = {}
    for settings in GRID:
        errors = np.empty((SEEDS, BLOCKS, BLOCK_MONTHS))
        for (block, origin), seed in product(enumerate(origins(len(data.ppm))), range(SEEDS)):
            end = origin + BLOCK_MONTHS
            found = forecast(data.ppm[:end], data.interpolated[:end], origin, settings, seed)
            errors[seed, block] = found[origin:end] - data.ppm[origin:end]
        scores[settings] = score_errors(errors)
        print(f"{len(scores)}/{len(GRID)} {scores[settings].single:.4f} {settings}", flush=True)
    print("\n| cell | window | hidden | learning rate | schedule | single | average | block by block |")
    print("|---|---|---|---|---|---|---|---|")
    for cell in CELLS:
        ranked = sorted((each for each in GRID if each.cell == cell), key=lambda each: scores[each].single)
        for each in ranked[:5]:
            score = scores[each]
            print(
                f"| {cell} | {each.window} | {each.hidden_size} | {each.learning_rate:g} | {each.schedule} "
                f"| {score.single:.4f} ± {score.deviation:.4f} | {score.average:.4f} | {block_by_block(score)} |"
            )


if __name__ == "__main__":
    main()
