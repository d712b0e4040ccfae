"""Both engines against stored figures of PyTorch, which need no PyTorch: outputs, every gradient, ten losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_reference import LEARNING_RATE, TOLERANCE, UPDATES, EngineRun, Figures, as_arrays, assert_close, from_json

from rnn_from_scratch.specification import ACTIVATIONS, LOSSES, OUTPUT_ACTIVATIONS, READOUTS

WHERE = Path(__file__).parent / "references" / "elman_torch.json"
STORED = json.loads(WHERE.read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in STORED["cases"]}


def figures_of(case: dict[str, Any], dtype: str, engine: str) -> Figures:
    """What an engine says about a stored problem: one pass, and the losses of ten updates with each optimiser."""
    problem = from_json(case).cast(dtype)
    figures = EngineRun(problem, engine).figures()
    for optimizer in LEARNING_RATE:
        losses = f"losses by {optimizer}"
        figures[losses] = EngineRun(problem, engine).trained(optimizer)[losses]
    return figures


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_engines_agree_with_the_stored_figures(name, dtype, engine):
    assert_close(figures_of(CASES[name], dtype, engine), as_arrays(CASES[name]["figures"]), TOLERANCE[dtype])


def test_the_file_says_how_it_was_made():
    assert STORED["made_with"].keys() == {"torch", "numpy", "python"}
    assert STORED["learning_rates"] == LEARNING_RATE
    assert STORED["updates"] == UPDATES
    assert WHERE.stat().st_size < 200_000


def test_the_stored_networks_leave_no_word_out():
    words = [case["specification"] for case in CASES.values()]
    assert {activation for word in words for _, activation in word["layers"]} == set(ACTIVATIONS)
    assert {word["output_activation"] for word in words} == set(OUTPUT_ACTIVATIONS)
    assert {word["loss"] for word in words} == set(LOSSES)
    assert {word["readout"] for word in words} == set(READOUTS)
    assert {len(word["layers"]) for word in words} == {1, 2, 3}
    assert len(CASES) == len(STORED["cases"]) == 11


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_has_a_stored_gradient_and_none_is_zero(name):
    problem = from_json(CASES[name])
    figures = as_arrays(CASES[name]["figures"])
    for tensor in (*problem.parameters, *problem.state, "inputs"):
        assert np.abs(figures[f"d {tensor}"]).max() > 1e-4
    for optimizer in LEARNING_RATE:
        assert len(figures[f"losses by {optimizer}"]) == UPDATES
