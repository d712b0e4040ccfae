"""Both engines against stored figures of PyTorch, which need no PyTorch: outputs, every gradient, ten losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_problem import LEARNING_RATE, TOLERANCE, UPDATES, EngineRun, Figures, as_arrays, assert_close, from_json

from rnn_from_scratch.layers import ACTIVATIONS, LAYERS, RESETS
from rnn_from_scratch.specification import LOSSES, OUTPUT_ACTIVATIONS, READOUTS

FILES = sorted((Path(__file__).parent / "references").glob("*_torch.json"))
STORED = {where.stem: json.loads(where.read_text(encoding="utf-8")) for where in FILES}
CASES = {f"{stem}: {case['name']}": case for stem, stored in STORED.items() for case in stored["cases"]}


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


@pytest.mark.parametrize("where", FILES, ids=lambda path: path.stem)
def test_the_files_say_how_they_were_made(where):
    stored = STORED[where.stem]
    assert stored["made_with"].keys() == {"torch", "numpy", "python"}
    assert stored["learning_rates"] == LEARNING_RATE
    assert stored["updates"] == UPDATES
    assert where.stat().st_size < 250_000


def test_the_stored_networks_leave_no_word_out():
    assert {stem: len(stored["cases"]) for stem, stored in STORED.items()} == {"elman_torch": 11, "cells_torch": 14}
    words = [case["specification"] for case in CASES.values()]
    layers = [layer for word in words for layer in word["layers"]]
    assert {layer["cell"] for layer in layers} == set(LAYERS)
    assert {layer["activation"] for layer in layers if layer["cell"] == "elman"} == set(ACTIVATIONS)
    assert {layer["reset"] for layer in layers if layer["cell"] == "gru"} == set(RESETS)
    assert {word["output_activation"] for word in words} == set(OUTPUT_ACTIVATIONS)
    assert {word["loss"] for word in words} == set(LOSSES)
    assert {word["readout"] for word in words} == set(READOUTS)
    assert {len(word["layers"]) for word in words} == {1, 2, 3}
    assert {word["vocabulary_size"] is None for word in words} == {True, False}
    for cell in LAYERS:
        own = [layer for layer in layers if layer["cell"] == cell]
        assert {layer["bidirectional"] for layer in own} == {True, False}
    assert any(layer["learned_state"] for layer in layers)


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_has_a_stored_gradient_and_none_is_zero(name):
    problem = from_json(CASES[name])
    figures = as_arrays(CASES[name]["figures"])
    for tensor in (*problem.parameters, *problem.state, "inputs"):
        # a state that is given takes the place of a learned one, which then has no gradient
        used = tensor.removesuffix("_0") not in problem.state or tensor in problem.state
        assert (np.abs(figures[f"d {tensor}"]).max() > 1e-4) == used, tensor
    for optimizer in LEARNING_RATE:
        assert len(figures[f"losses by {optimizer}"]) == UPDATES
