"""The networks that are held against PyTorch, live: every cell with every output in every precision, and PyTorch's figures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch_reference
from torch_problem import LEARNING_RATE, TOLERANCE, Figures, Problem, random_problem
from torch_reference import torch_figures, torch_trained

from rnn_from_scratch.layers import GRU, LSTM, Elman, Layer
from rnn_from_scratch.specification import NetworkSpecification

torch = torch_reference.torch
if torch is None and os.environ.get("RNN_FROM_SCRATCH_REQUIRE_TORCH") == "1":
    raise ImportError("RNN_FROM_SCRATCH_REQUIRE_TORCH=1, but PyTorch cannot be imported")
if torch is None:
    pytest.skip("live parity needs PyTorch (pip install torch)", allow_module_level=True)


@dataclass(frozen=True)
class Case:
    """One member of the battery; `str` is its name in pytest."""

    cell: str  # of every layer; "mixed" is three different ones
    output: str  # output activation and loss
    dtype: str
    layers: str
    direction: str
    readout: str
    lengths: str
    inputs: str
    start: str
    T: int
    N: int

    def __str__(self) -> str:
        words = (self.cell, self.layers, self.direction, self.readout, self.output, self.dtype, self.lengths)
        return "-".join((*words, self.inputs, self.start)) + f"-N{self.N}-T{self.T}"


CELLS: dict[str, tuple[type[Layer], tuple[str, ...]]] = {
    "tanh": (Elman, ("tanh",)),
    "relu": (Elman, ("relu",)),
    "sigmoid": (Elman, ("sigmoid",)),
    "linear": (Elman, ("linear",)),
    "gru": (GRU, ("after",)),
    "gru-before": (GRU, ("before",)),
    "lstm": (LSTM, ()),
}
MIXED = ("gru", "lstm", "tanh")
# Past one vector register of every instruction set, and odd; "same" is one module of PyTorch with three layers
HIDDEN = {"one": (19,), "two": (18, 7), "three": (17, 5, 9), "same": (6, 6, 6)}
OUTPUTS = {
    "linear-mse": 2,
    "sigmoid-mse": 1,
    "sigmoid-ce": 3,
    "softmax-mse": 3,
    "softmax-ce": 5,
    "linear-mae": 3,
    "linear-huber": 2,
    "softmax-huber": 3,
}  # and O
FACTORS = {
    "layers": tuple(HIDDEN),
    "direction": ("forwards", "both"),
    "readout": ("every", "last", "mean"),
    "lengths": ("fixed", "ragged"),
    "inputs": ("features", "tokens"),
    "start": ("zero", "learned"),
    "T": (1, 2, 6),
    "N": (5, 1, 13),
}
FULL = {"cell": tuple(CELLS), "output": tuple(OUTPUTS), "dtype": tuple(TOLERANCE)}
IMPOSSIBLE = {("ragged", 1)}
"""One step cannot be cut short."""


def _cases() -> list[Case]:
    """Cell × output × dtype in full; the rest is dealt out at random, so that every pair of values meets."""
    rest = [dict(zip(FACTORS, hand, strict=True)) for hand in product(*FACTORS.values())]
    rest = [hand for hand in rest if (hand["lengths"], hand["T"]) not in IMPOSSIBLE]
    dealt = np.random.default_rng(SEED).permutation(len(rest))
    cases = [Case(*words, **rest[deal]) for words, deal in zip(product(*FULL.values()), dealt, strict=False)]
    common = {"direction": "both", "lengths": "ragged", "inputs": "features", "start": "zero", "T": 6, "N": 5}
    return cases + [
        Case("mixed", "softmax-ce", dtype, "three", readout=readout, **common)
        for dtype, readout in product(TOLERANCE, FACTORS["readout"])
    ]


SEED = 3  # one with which every pair of values meets
CASES = _cases()


def _lengths(case: Case, generator: np.random.Generator) -> list[int]:
    """All T, or from 1 to T in no order; the longest of several sequences has all T steps."""
    lengths = np.full(case.N, case.T)
    if case.lengths == "ragged":
        lengths = generator.integers(1, case.T + 1, size=case.N)
        lengths[0] = 1
        lengths[-1] = case.T if case.N > 1 else case.T - 1
    return lengths.tolist()


def _layers(case: Case) -> list[Layer]:
    sizes = HIDDEN[case.layers]
    words = MIXED if case.cell == "mixed" else (case.cell,) * len(sizes)
    how = {"bidirectional": case.direction == "both", "learned_state": case.start == "learned"}
    return [CELLS[word][0](H, *CELLS[word][1], **how) for H, word in zip(sizes, words, strict=True)]


@cache
def problem_of(case: Case) -> Problem:
    """The case's network and batch; the same at every call."""
    seed = CASES.index(case)
    output_activation, loss = case.output.split("-")
    specification = NetworkSpecification(
        3,
        _layers(case),
        OUTPUTS[case.output],
        case.readout,
        output_activation,
        loss,
        vocabulary_size=7 if case.inputs == "tokens" else None,
    )
    lengths = _lengths(case, np.random.default_rng(1000 + seed))
    return random_problem(specification, lengths, case.T, case.dtype, seed)


@cache
def torch_single(case: Case) -> Figures:
    """PyTorch's figures for one pass."""
    return torch_figures(problem_of(case))


@cache
def torch_weighted(case: Case, optimizer: str) -> Figures:
    """PyTorch's ten updates with the problem's weights."""
    return torch_trained(problem_of(case), optimizer)[0]


@cache
def torch_fitted(case: Case, optimizer: str) -> Figures:
    """PyTorch's ten updates with every row counting 1, and the outputs after them."""
    problem = problem_of(case).with_equal_weights()
    figures, twin = torch_trained(problem, optimizer)
    outputs = twin.from_start(np.arange(len(problem))).outputs.detach().numpy()
    return {**figures, f"outputs after {optimizer}": outputs}


every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_optimizer = pytest.mark.parametrize("optimizer", LEARNING_RATE)


def some_cases(**wanted: object) -> list[Case]:
    """The cases with the given values."""
    return [case for case in CASES if all(getattr(case, name) == value for name, value in wanted.items())]
