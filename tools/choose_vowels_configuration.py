"""Choose a configuration for `examples/japanese_vowels.py` on its training sequences alone.

    python tools/choose_vowels_configuration.py

Five folds, each with sequences of every speaker; a configuration's score is its accuracy on the fold left out, over all
folds and seeds. First every configuration of the grid with one seed, then the best ten with five more seeds: the first
round picks among many, so its winner's score is too good. The highest accuracy of the second round is chosen; among
equals the one that came first. The test sequences are never loaded into a score. Some minutes on one core.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from japanese_vowels import Configuration, accuracy, load_data

FOLDS, FINALISTS, SEEDS = 5, 10, 5
GRID = [
    Configuration(cell, units, bidirectional, readout, input_dropout, epochs=epochs, schedule=schedule)
    for cell, units, bidirectional, readout, input_dropout, (epochs, schedule) in product(
        ("Elman", "GRU", "LSTM"),
        (32, 64),
        (False, True),
        ("last", "mean"),
        (0.0, 0.2),
        ((50, "cosine"), (100, "constant"), (100, "cosine")),
    )
]


def validate(configuration: Configuration, X: list[np.ndarray], y: np.ndarray, seed: int) -> float:
    """Mean accuracy on the fold left out. The sequences are sorted by speaker, so every fifth has all of them."""
    fold = np.arange(len(y)) % FOLDS
    scores = []
    for left_out in range(FOLDS):
        learn, check = np.flatnonzero(fold != left_out), np.flatnonzero(fold == left_out)
        train, test = (([X[n] for n in index], y[index]) for index in (learn, check))
        scores.append(accuracy(configuration, train, test, seed))
    return float(np.mean(scores))


def main() -> None:
    """Both rounds, as they go, and the ten as a Markdown table."""
    (X, y), _ = load_data()
    start = perf_counter()
    first = {}
    for count, configuration in enumerate(GRID, start=1):
        first[configuration] = validate(configuration, X, y, seed=0)
        print(
            f"{count}/{len(GRID)} {perf_counter() - start:.0f} s {first[configuration]:.4f} {configuration}", flush=True
        )
    best = sorted(GRID, key=lambda each: -first[each])[:FINALISTS]
    second = {each: [validate(each, X, y, seed) for seed in range(1, 1 + SEEDS)] for each in best}
    print("\n| cell | units | both directions | readout | input dropout | epochs | schedule | first round | second |")
    print("|---|---|---|---|---|---|---|---|---|")
    for each in sorted(best, key=lambda each: -np.mean(second[each])):
        percent = 100 * np.array(second[each])
        print(
            f"| {each.cell} | {each.units} | {'yes' if each.bidirectional else 'no'} | {each.readout} "
            f"| {each.input_dropout:g} | {each.epochs} | {each.schedule} | {100 * first[each]:.1f} "
            f"| {percent.mean():.2f} ± {percent.std(ddof=1):.2f} |"
        )


if __name__ == "__main__":
    main()
