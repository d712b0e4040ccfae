"""Writes `elman_torch.json` and `cells_torch.json`: what PyTorch says about a few networks, for machines without it.

Run in an environment with PyTorch and the library; the numbers in the files are float64, to the last digit::

    python tests/references/make_torch_references.py
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from torch_problem import LEARNING_RATE, UPDATES, Figures, Problem, as_json, random_problem
from torch_reference import torch_figures, torch_trained

from rnn_from_scratch.layers import GRU, LSTM, Elman
from rnn_from_scratch.specification import NetworkSpecification

HERE = Path(__file__).parent

FIXED, RAGGED, ONE = ([4, 4, 4], 4), ([2, 4, 1], 4), ([1, 1, 1], 1)
BOTH = {"bidirectional": True}

# Layers, outputs, readout, output activation, loss, tokens of the vocabulary; lengths and T. Problems are drawn with the
# place in the list as the seed: new ones go to the end.
ELMAN = {
    "tanh": (([Elman(5)], 2, "every", "linear", "mse", None), FIXED),
    "tanh ragged last": (([Elman(5)], 2, "last", "sigmoid", "mse", None), RAGGED),
    "relu": (([Elman(5, "relu")], 3, "every", "softmax", "ce", None), RAGGED),
    "relu last": (([Elman(5, "relu")], 1, "last", "linear", "mse", None), FIXED),
    "sigmoid": (([Elman(5, "sigmoid")], 2, "every", "sigmoid", "ce", None), RAGGED),
    "sigmoid last": (([Elman(5, "sigmoid")], 3, "last", "softmax", "mse", None), FIXED),
    "linear": (([Elman(5, "linear")], 1, "every", "sigmoid", "ce", None), FIXED),
    "linear last": (([Elman(5, "linear")], 3, "last", "softmax", "ce", None), RAGGED),
    "two layers": (([Elman(5), Elman(3)], 2, "every", "linear", "mse", None), RAGGED),
    "three layers": (([Elman(5), Elman(4, "sigmoid"), Elman(3, "relu")], 3, "last", "softmax", "ce", None), RAGGED),
    "one step": (([Elman(5), Elman(3)], 2, "last", "linear", "mse", None), ONE),
}
CELLS = {
    "gru": (([GRU(4)], 2, "every", "linear", "mse", None), RAGGED),
    "gru both ways last": (([GRU(3, **BOTH)], 2, "last", "sigmoid", "ce", None), RAGGED),
    "gru reset before": (([GRU(4, "before")], 1, "every", "linear", "mae", None), FIXED),
    "gru reset before both ways mean": (([GRU(3, "before", **BOTH)], 3, "mean", "softmax", "ce", None), RAGGED),
    "lstm": (([LSTM(4)], 2, "every", "linear", "huber", None), RAGGED),
    "lstm both ways last": (([LSTM(3, **BOTH)], 2, "last", "linear", "mse", None), RAGGED),
    "lstm mean": (([LSTM(4)], 3, "mean", "softmax", "ce", None), FIXED),
    "elman both ways mean": (([Elman(4, **BOTH)], 2, "mean", "sigmoid", "mse", None), RAGGED),
    "gru tokens": (([GRU(4)], 5, "every", "softmax", "ce", 5), RAGGED),
    "lstm tokens both ways": (([LSTM(3, **BOTH)], 2, "last", "softmax", "ce", 6), RAGGED),
    "gru two layers": (([GRU(3), GRU(3)], 2, "every", "linear", "huber", None), RAGGED),
    "lstm two layers both ways": (([LSTM(3, **BOTH), LSTM(3, **BOTH)], 1, "mean", "linear", "mae", None), RAGGED),
    "mixed learned": (
        ([GRU(3, learned_state=True, **BOTH), LSTM(2, learned_state=True)], 2, "every", "linear", "mse", None),
        RAGGED,
    ),
    "one step": (([LSTM(3), GRU(3, **BOTH)], 2, "last", "linear", "mse", None), ONE),
}
FILES = {"elman_torch.json": ELMAN, "cells_torch.json": CELLS}


def problem_of(networks: dict[str, Any], name: str) -> Problem:
    """The network of that name and its batch."""
    (layers, outputs, readout, output_activation, loss, vocabulary_size), (lengths, steps) = networks[name]
    specification = NetworkSpecification(
        2, layers, outputs, readout, output_activation, loss, vocabulary_size=vocabulary_size
    )
    return random_problem(specification, lengths, steps, "float64", seed=list(networks).index(name))


def figures_of(problem: Problem) -> Figures:
    """One pass, and the losses of ten updates with each optimiser."""
    figures = torch_figures(problem)
    for optimizer in LEARNING_RATE:
        losses = f"losses by {optimizer}"
        figures[losses] = torch_trained(problem, optimizer)[0][losses]
    return figures


def written(value: Any, indent: str = "") -> str:
    """JSON with one line for each array."""
    if not isinstance(value, dict) and not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return json.dumps(value)
    inner = indent + " "
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + written(item, inner) for item in value) + f"\n{indent}]"
    items = (f"{inner}{json.dumps(key)}: {written(item, inner)}" for key, item in value.items())
    return "{\n" + ",\n".join(items) + f"\n{indent}}}"


def main() -> None:
    """Write the files beside this script."""
    made_with = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    for file, networks in FILES.items():
        cases = []
        for name in networks:
            problem = problem_of(networks, name)
            figures = {figure: values.tolist() for figure, values in figures_of(problem).items()}
            cases.append({"name": name, **as_json(problem), "figures": figures})
        everything = {"made_with": made_with, "learning_rates": LEARNING_RATE, "updates": UPDATES, "cases": cases}
        where = HERE / file
        where.write_text(written(everything) + "\n", encoding="utf-8")
        print(f"{file}: {len(cases)} networks, {where.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
