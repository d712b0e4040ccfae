"""Both engines against PyTorch, live: outputs, every gradient, and ten updates. `python` on this file prints tables.

Skipped where PyTorch is missing, unless ``RNN_FROM_SCRATCH_REQUIRE_TORCH=1`` makes that an error.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from torch_cases import (
    CASES,
    CELLS,
    FACTORS,
    FULL,
    IMPOSSIBLE,
    every_case,
    every_optimizer,
    problem_of,
    some_cases,
    torch,
    torch_single,
    torch_weighted,
)
from torch_problem import LEARNING_RATE, TOLERANCE, EngineRun, Figures, Problem, assert_close, differences, from_json
from torch_reference import Twin, torch_figures, torch_trained

from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.textbook import readout

ENGINES = ("numpy", "native")
STORED = sorted((Path(__file__).parent / "references").glob("*_torch.json"))


def test_the_cases_contain_every_pair_of_values():
    assert len(set(CASES)) == len(CASES) == 118
    factors = {**FULL, **FACTORS}
    for (a, all_a), (b, all_b) in combinations(factors.items(), 2):
        present = {(getattr(case, a), getattr(case, b)) for case in CASES if case.cell != "mixed"}
        impossible = IMPOSSIBLE if (a, b) == ("lengths", "T") else set()
        assert present == set(product(all_a, all_b)) - impossible, (a, b)


@every_case
def test_no_number_of_a_problem_is_zero_that_could_hide_a_term(case):
    problem = problem_of(case)
    assert all(np.count_nonzero(values) == values.size for values in problem.parameters.values())
    assert all(np.count_nonzero(values) == values.size for values in (*problem.state.values(), problem.weights))
    assert problem.takes_tokens or problem.inputs[problem.real_steps()].all()


def engine_single(problem: Problem, engine: str) -> Figures:
    """An engine's figures for one pass."""
    return EngineRun(problem, engine).figures()


@every_case
def test_one_pass(case, engine):
    """Outputs, final states, loss, and its gradient by every tensor, the inputs and the initial states."""
    figures = engine_single(problem_of(case), engine)
    assert_close(figures, torch_single(case), TOLERANCE[case.dtype])
    assert {str(values.dtype) for name, values in figures.items() if name != "loss"} == {case.dtype}


@every_case
@every_optimizer
def test_ten_weighted_updates_in_one_call(case, optimizer, engine):
    """Losses, norms of the gradient, final parameters, from zero or learned states."""
    figures = EngineRun(problem_of(case), engine).trained(optimizer)
    assert_close(figures, torch_weighted(case, optimizer), TOLERANCE[case.dtype])


@pytest.mark.parametrize("case", some_cases(direction="forwards", lengths="fixed", readout="every"), ids=str)
def test_a_stream_of_single_steps(case, engine):
    expected = torch_single(case)
    figures = EngineRun(problem_of(case), engine).stream()
    assert_close(figures, {name: expected[name] for name in figures}, TOLERANCE[case.dtype])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("output", ["linear-mse", "sigmoid-mse", "softmax-mse"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_gradient_given_by_the_outputs(cell, output, dtype, engine):
    """`d_preactivations` in front of backward, for whoever differentiates something else than a loss."""
    problem = problem_of(some_cases(cell=cell, output=output, dtype=dtype)[0])
    d_outputs = np.random.default_rng(3).normal(size=problem.targets.shape).astype(dtype)
    d_outputs[~problem.real_rows()] = 0

    run = EngineRun(problem, engine)
    forward = run.engine.forward(run.plan, run.data()[0], problem.state, keep_tape=True)
    d_a = readout.d_preactivations(problem.specification.output_activation, forward.outputs, d_outputs)
    nothing = {name: np.zeros_like(h) for name, h in problem.state.items()}
    back = run.engine.backward(run.plan, forward.tape, d_a, nothing)

    twin = Twin(problem)
    x = torch.tensor(problem.inputs, requires_grad=not problem.takes_tokens)
    state = {name: torch.tensor(h) for name, h in problem.state.items()}
    theirs = twin.run(x, state, torch.tensor(problem.lengths))
    theirs.outputs.backward(torch.tensor(d_outputs))
    expected = {"x": theirs.features.grad.numpy(), **twin.gradients()}
    assert_close({"x": back.d_inputs, **run.parameters.named(back.gradient)}, expected, TOLERANCE[dtype])


def test_a_gru_with_merged_biases_would_take_other_steps():
    """Why the library keeps b_hn: with b_n and b_hn as one parameter, or r's and z's biases as two, Adam walks elsewhere."""
    case = some_cases(cell="gru", dtype="float64", inputs="features")[0]
    problem = problem_of(case)
    twin, everyone = Twin(problem), np.arange(len(problem))
    double = [p for layer in twin.layers for p in layer.module.parameters()]
    for p in double:
        p._backward_hooks = None  # both biases of r and z learn, as in PyTorch's own GRU
    adam = torch.optim.Adam(twin.parameters, lr=LEARNING_RATE["adam"])
    for _ in range(10):
        adam.zero_grad()
        twin.loss(twin.from_start(everyone), everyone).backward()
        adam.step()
    ours = EngineRun(problem, "numpy").trained("adam")["layer0.b_h after adam"]
    learned = twin.tensors["layer0.b_hn"].tensor.detach().numpy()
    sums = twin.values()["layer0.b_h"] + np.append(learned[: 2 * len(ours) // 3], np.zeros(len(ours) // 3))
    assert np.abs(sums - ours).max() > 0.01
    figures, _ = torch_trained(problem, "adam")
    assert_close({"b_h": ours}, {"b_h": figures["layer0.b_h after adam"]}, TOLERANCE["float64"])


# ------------------------------------------------------------------------------------------- the stored references


@pytest.mark.parametrize("where", STORED, ids=lambda path: path.stem)
def test_the_stored_references_are_what_pytorch_still_says(where):
    for case in json.loads(where.read_text(encoding="utf-8"))["cases"]:
        problem = from_json(case)
        figures = torch_figures(problem)
        for optimizer in LEARNING_RATE:
            name = f"losses by {optimizer}"
            figures[name] = torch_trained(problem, optimizer)[0][name]
        assert_close(figures, {name: np.array(values) for name, values in case["figures"].items()}, 1e-12)


# -------------------------------------------------------------------------------------------------------- the table

OF_CELLS = {
    "Elman": ("tanh", "relu", "sigmoid", "linear"),
    "GRU": ("gru",),
    "GRU before": ("gru-before",),
    "LSTM": ("lstm",),
}


def kind_of(figure: str) -> str:
    """The row of the table that a figure belongs to: layers and directions are not told apart."""
    plain = re.sub(r"layer\d+\.(reverse\.)?|readout\.|embedding\.", "", figure)
    return re.sub(r"^d ([hc])$", r"d initial \1", plain)


def largest_differences(cells: tuple[str, ...], engine: str, dtype: str) -> dict[str, float]:
    """The largest difference of each kind of figure over all cases of some cells."""
    largest: dict[str, float] = defaultdict(float)
    for case in (case for cell in cells for case in some_cases(cell=cell, dtype=dtype)):
        found = differences(engine_single(problem_of(case), engine), torch_single(case))
        for optimizer in LEARNING_RATE:
            run = EngineRun(replace(problem_of(case)), engine)
            found |= differences(run.trained(optimizer), torch_weighted(case, optimizer))
        for figure, size in found.items():
            largest[kind_of(figure)] = max(largest[kind_of(figure)], size)
    return largest


def parity_table(engine: str, dtype: str) -> str:
    """Markdown: a row for each kind of figure, a column for each cell."""
    columns = {name: largest_differences(cells, engine, dtype) for name, cells in OF_CELLS.items()}
    rows = list(dict.fromkeys(figure for column in columns.values() for figure in column))
    lines = [f"| {engine}, {dtype} | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for figure in rows:
        sizes = [f"{column[figure]:.1e}" if figure in column else "" for column in columns.values()]
        lines.append(f"| {figure} | " + " | ".join(sizes) + " |")
    worst = [f"**{max(column.values()):.1e}**" for column in columns.values()]
    return "\n".join([*lines, "| **largest** | " + " | ".join(worst) + " |"])


def main() -> None:
    """Print the parity tables."""
    print(f"{len(CASES)} networks against PyTorch {torch.__version__}: largest ‖a − b‖∞ / max(1, ‖b‖∞)")
    for engine in ENGINES:
        if engine == "native" and not native_engine.available():
            print("\nno native engine")
            continue
        for dtype in TOLERANCE:
            print(f"\n{parity_table(engine, dtype)}")


if __name__ == "__main__":
    main()
