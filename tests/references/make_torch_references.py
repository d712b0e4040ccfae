"""Writes `elman_torch.json`: what PyTorch says about a few Elman networks, for machines that do not have it.

Run in an environment with PyTorch and the library; the numbers in the file are float64, to the last digit::

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

from torch_reference import (
    LEARNING_RATE,
    UPDATES,
    Figures,
    Problem,
    as_json,
    random_problem,
    torch_figures,
    torch_trained,
)

from rnn_from_scratch import Elman, NetworkSpecification

WHERE = Path(__file__).with_name("elman_torch.json")

FIXED, RAGGED = ([4, 4, 4], 4), ([2, 4, 1], 4)
NETWORKS = {
    "tanh": (([5], ["tanh"], 2, "every", "linear", "mse"), FIXED),
    "tanh ragged last": (([5], ["tanh"], 2, "last", "sigmoid", "mse"), RAGGED),
    "relu": (([5], ["relu"], 3, "every", "softmax", "ce"), RAGGED),
    "relu last": (([5], ["relu"], 1, "last", "linear", "mse"), FIXED),
    "sigmoid": (([5], ["sigmoid"], 2, "every", "sigmoid", "ce"), RAGGED),
    "sigmoid last": (([5], ["sigmoid"], 3, "last", "softmax", "mse"), FIXED),
    "linear": (([5], ["linear"], 1, "every", "sigmoid", "ce"), FIXED),
    "linear last": (([5], ["linear"], 3, "last", "softmax", "ce"), RAGGED),
    "two layers": (([5, 3], ["tanh", "tanh"], 2, "every", "linear", "mse"), RAGGED),
    "three layers": (([5, 4, 3], ["tanh", "sigmoid", "relu"], 3, "last", "softmax", "ce"), RAGGED),
    "one step": (([5, 3], ["tanh", "tanh"], 2, "last", "linear", "mse"), ([1, 1, 1], 1)),
}


def problem_of(name: str) -> Problem:
    """The network of that name and its batch."""
    (sizes, activations, outputs, readout, output_activation, loss), (lengths, steps) = NETWORKS[name]
    layers = [Elman(H, activation) for H, activation in zip(sizes, activations, strict=True)]
    specification = NetworkSpecification(2, layers, outputs, readout, output_activation, loss)
    return random_problem(specification, lengths, steps, "float64", seed=list(NETWORKS).index(name))


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
    """Write the file beside this script."""
    cases = []
    for name in NETWORKS:
        problem = problem_of(name)
        figures = {figure: values.tolist() for figure, values in figures_of(problem).items()}
        cases.append({"name": name, **as_json(problem), "figures": figures})
    made_with = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    everything = {"made_with": made_with, "learning_rates": LEARNING_RATE, "updates": UPDATES, "cases": cases}
    WHERE.write_text(written(everything) + "\n", encoding="utf-8")
    print(f"{WHERE.name}: {len(cases)} networks, {WHERE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
