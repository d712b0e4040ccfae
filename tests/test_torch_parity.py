"""Both engines against PyTorch, live: outputs, every gradient, and ten updates. `python` on this file prints a table.

Skipped where PyTorch is missing, unless ``RNN_FROM_SCRATCH_REQUIRE_TORCH=1`` makes that an error.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch_reference
from torch_reference import (
    LEARNING_RATE,
    TOLERANCE,
    UPDATES,
    EngineRun,
    Figures,
    Problem,
    Twin,
    assert_close,
    clip_each,
    clip_whole,
    difference,
    differences,
    from_json,
    network_of,
    poisoned,
    random_problem,
    torch_figures,
    torch_trained,
)

from rnn_from_scratch import Elman, History, Network, NetworkSpecification, RNNScratch, TensorNorm
from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.specification import ACTIVATIONS
from rnn_from_scratch.textbook import readout

torch = torch_reference.torch
if torch is None and os.environ.get("RNN_FROM_SCRATCH_REQUIRE_TORCH") == "1":
    raise ImportError("RNN_FROM_SCRATCH_REQUIRE_TORCH=1, but PyTorch cannot be imported")
if torch is None:
    pytest.skip("live parity needs PyTorch (pip install torch)", allow_module_level=True)

ENGINES = ("numpy", "native")
STORED = Path(__file__).parent / "references" / "elman_torch.json"


# ------------------------------------------------------------------------------------------------------- the cases


@dataclass(frozen=True)
class Case:
    """One member of the battery; `str` is its name in pytest."""

    activation: str  # of every layer; "mixed" is one of each
    output: str  # output activation and loss
    dtype: str
    layers: int
    readout: str
    lengths: str
    T: int
    N: int

    def __str__(self) -> str:
        words = (self.activation, self.layers, self.readout, self.output, self.dtype, self.lengths)
        return "-".join(map(str, words)) + f"-N{self.N}-T{self.T}"


HIDDEN = {1: (19,), 2: (18, 7), 3: (17, 5, 9)}  # past one vector register of every instruction set, and odd
OUTPUTS = {"linear-mse": 2, "sigmoid-mse": 1, "sigmoid-ce": 3, "softmax-mse": 3, "softmax-ce": 5}  # and O
READOUTS = ("every", "last")
LENGTHS = ("fixed", "ragged")
STEPS = (1, 2, 9)
BATCHES = (5, 1, 21)
MIXED = ("tanh", "sigmoid", "relu")


def _cases() -> list[Case]:
    """Activation × output × dtype in full; the rest is dealt out at random, so that every pair of values meets."""
    rest = [hand for hand in product(HIDDEN, READOUTS, LENGTHS, STEPS, BATCHES) if hand[2:4] != ("ragged", 1)]
    dealt = np.random.default_rng(145).permutation(len(rest))
    full = product(ACTIVATIONS, OUTPUTS, TOLERANCE)
    cases = [Case(*words, *rest[deal]) for words, deal in zip(full, dealt, strict=False)]
    return cases + [Case("mixed", "softmax-ce", dtype, 3, "every", "ragged", 9, 5) for dtype in TOLERANCE]


CASES = _cases()


def _lengths(case: Case, generator: np.random.Generator) -> list[int]:
    """All T, or from 1 to T in no order; the longest of several sequences has all T steps."""
    lengths = np.full(case.N, case.T)
    if case.lengths == "ragged":
        lengths = generator.integers(1, case.T + 1, size=case.N)
        lengths[0] = 1
        lengths[-1] = case.T if case.N > 1 else case.T - 1
    return lengths.tolist()


@cache
def problem_of(case: Case) -> Problem:
    """The case's network and batch; the same at every call."""
    seed = CASES.index(case)
    output_activation, loss = case.output.split("-")
    words = MIXED if case.activation == "mixed" else (case.activation,) * case.layers
    layers = [Elman(H, activation) for H, activation in zip(HIDDEN[case.layers], words, strict=True)]
    specification = NetworkSpecification(3, layers, OUTPUTS[case.output], case.readout, output_activation, loss)
    lengths = _lengths(case, np.random.default_rng(1000 + seed))
    return random_problem(specification, lengths, case.T, case.dtype, seed)


@cache
def torch_single(case: Case) -> Figures:
    """PyTorch's figures for one pass."""
    return torch_figures(problem_of(case))


@cache
def torch_fitted(case: Case, optimizer: str) -> Figures:
    """PyTorch's ten updates with every row counting 1, and the outputs after them."""
    problem = problem_of(case).with_equal_weights()
    figures, twin = torch_trained(problem, optimizer)
    return {**figures, f"outputs after {optimizer}": twin.from_zero(np.arange(len(problem))).outputs.detach().numpy()}


every_case = pytest.mark.parametrize("case", CASES, ids=str)


def some_cases(**wanted: object) -> list[Case]:
    """The cases with the given values."""
    return [case for case in CASES if all(getattr(case, name) == value for name, value in wanted.items())]


def test_the_cases_contain_every_pair_of_values():
    assert len(set(CASES)) == len(CASES) == 42
    factors = (ACTIVATIONS, OUTPUTS, TOLERANCE, HIDDEN, READOUTS, LENGTHS, STEPS, BATCHES)
    names = [field.name for field in fields(Case)]
    for (a, all_a), (b, all_b) in combinations(zip(names, factors, strict=True), 2):
        present = {(getattr(case, a), getattr(case, b)) for case in CASES if case.activation != "mixed"}
        impossible = {("ragged", 1)} if (a, b) == ("lengths", "T") else set()  # one step cannot be cut short
        assert present == set(product(all_a, all_b)) - impossible


@every_case
def test_no_number_of_a_problem_is_zero_that_could_hide_a_term(case):
    problem = problem_of(case)
    assert all(np.count_nonzero(values) == values.size for values in problem.parameters.values())
    assert all(np.count_nonzero(values) == values.size for values in (*problem.state.values(), problem.weights))
    assert problem.inputs[problem.real_steps()].all()


# ---------------------------------------------------------------------------------------------- the engine contract


def engine_single(problem: Problem, engine: str) -> Figures:
    """An engine's figures for one pass."""
    return EngineRun(problem, engine).figures()


@every_case
def test_one_pass(case, engine):
    """Outputs, final states, loss, and its gradient by every tensor, the inputs and the initial state."""
    figures = engine_single(problem_of(case), engine)
    assert_close(figures, torch_single(case), TOLERANCE[case.dtype])
    assert {str(values.dtype) for name, values in figures.items() if name != "loss"} == {case.dtype}


@cache
def torch_weighted(case: Case, optimizer: str) -> Figures:
    """PyTorch's ten updates with the problem's weights."""
    return torch_trained(problem_of(case), optimizer)[0]


@pytest.mark.parametrize("case", some_cases(lengths="ragged", T=9), ids=str)
@pytest.mark.parametrize("optimizer", LEARNING_RATE)
def test_ten_weighted_updates_in_one_call(case, optimizer, engine):
    figures = EngineRun(problem_of(case), engine).trained(optimizer)
    assert_close(figures, torch_weighted(case, optimizer), TOLERANCE[case.dtype])


@pytest.mark.parametrize("case", some_cases(lengths="fixed", readout="every"), ids=str)
def test_a_stream_of_single_steps(case, engine):
    expected = torch_single(case)
    figures = EngineRun(problem_of(case), engine).stream()
    assert_close(figures, {name: expected[name] for name in figures}, TOLERANCE[case.dtype])


@pytest.mark.parametrize("output", ["linear-mse", "sigmoid-mse", "softmax-mse"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_gradient_given_by_the_outputs(output, dtype, engine):
    """`d_preactivations` in front of backward, for whoever differentiates something else than a loss."""
    problem = problem_of(some_cases(output=output, dtype=dtype)[0])
    d_outputs = np.random.default_rng(3).normal(size=problem.targets.shape).astype(dtype)
    d_outputs[~problem.real_rows()] = 0

    run = EngineRun(problem, engine)
    forward = run.engine.forward(run.plan, run.data()[0], problem.state, keep_tape=True)
    d_a = readout.d_preactivations(problem.specification.output_activation, forward.outputs, d_outputs)
    nothing = {name: np.zeros_like(h) for name, h in problem.state.items()}
    back = run.engine.backward(run.plan, forward.tape, d_a, nothing)

    twin = Twin(problem)
    x, lengths = torch.tensor(problem.inputs, requires_grad=True), torch.tensor(problem.lengths)
    outputs = twin.run(x, {name: torch.tensor(h) for name, h in problem.state.items()}, lengths).outputs
    outputs.backward(torch.tensor(d_outputs))
    expected = {"x": x.grad.numpy(), **{name: p.grad.numpy() for name, p in twin.parameters.items()}}
    assert_close({"x": back.d_inputs, **run.parameters.named(back.gradient)}, expected, TOLERANCE[dtype])


# ------------------------------------------------------------------------------------------------- the public face


def as_user(problem: Problem) -> dict[str, np.ndarray]:
    """What a user hands to `fit`: X, y and lengths, NaN in the padding."""
    return {
        "X": poisoned(problem.inputs, problem.real_steps()),
        "y": poisoned(problem.targets, problem.real_rows()),
        "lengths": problem.lengths,
    }


class Fitted(NamedTuple):
    """A finished training run, and its figures."""

    figures: Figures
    network: Network
    history: History


def fitted(problem: Problem, optimizer: str, engine: str, clip: float | TensorNorm | None = None) -> Fitted:
    """Ten updates with the whole batch by `Network.fit`."""
    network = network_of(problem, engine)
    history = network.fit(
        **as_user(problem),
        epochs=UPDATES,
        batch_size=len(problem),
        optimizer=optimizer,
        learning_rate=LEARNING_RATE[optimizer],
        clip=clip,
        shuffle=False,
    )
    figures = {
        f"losses by {optimizer}": np.array(history.loss),
        f"gradient norms by {optimizer}": np.array(history.gradient_norm_max),
        **{f"{name} after {optimizer}": values for name, values in network.parameters.items()},
    }
    return Fitted(figures, network, history)


def fitted_figures(problem: Problem, optimizer: str, engine: str) -> Figures:
    """Ten updates, and what `predict` says after them."""
    figures, network, _ = fitted(problem, optimizer, engine)
    X, lengths = poisoned(problem.inputs, problem.real_steps()), problem.lengths
    return {**figures, f"outputs after {optimizer}": network.predict(X, lengths=lengths)}


@every_case
@pytest.mark.parametrize("optimizer", LEARNING_RATE)
def test_ten_updates_by_fit(case, optimizer, engine):
    """Losses, norms of the gradient, final parameters and predictions."""
    figures = fitted_figures(problem_of(case), optimizer, engine)
    assert_close(figures, torch_fitted(case, optimizer), TOLERANCE[case.dtype])


@pytest.mark.parametrize("case", some_cases(lengths="ragged", T=9, readout="every", N=5), ids=str)
def test_lists_of_sequences(case, engine):
    problem = problem_of(case).with_equal_weights()
    X, y = (
        [sequence[:length] for sequence, length in zip(sequences, problem.lengths, strict=True)]
        for sequences in (problem.inputs, problem.targets)
    )
    network = network_of(problem, engine)
    loss, gradient = network.loss_and_gradient(X, y)

    twin, everyone = Twin(problem), np.arange(len(problem))
    run = twin.from_zero(everyone)
    expected = twin.loss(run, everyone)
    expected.backward()
    references = {name: p.grad.numpy() for name, p in twin.parameters.items()}
    assert_close(gradient, references, TOLERANCE[case.dtype])
    assert difference(loss, expected.item()) <= TOLERANCE[case.dtype]
    assert difference(network.predict(X), run.outputs.detach().numpy()) <= TOLERANCE[case.dtype]


EPOCHS = 3


@cache
def torch_mini_batches(case: Case, optimizer: str) -> tuple[np.ndarray, Figures]:
    """PyTorch's loss of each epoch over batches of two, the mean over all rows, and its parameters at the end."""
    problem = problem_of(case).with_equal_weights()
    everyone = np.arange(len(problem))
    batches = [everyone[start : start + 2] for start in range(0, len(problem), 2)]
    figures, twin = torch_trained(problem, optimizer, batches=batches * EPOCHS)
    rows = np.array([np.count_nonzero(problem.real_rows()[chosen]) for chosen in batches])
    return figures[f"losses by {optimizer}"].reshape(EPOCHS, -1) @ rows / rows.sum(), twin.values()


@pytest.mark.parametrize("case", some_cases(lengths="ragged", T=9), ids=str)
@pytest.mark.parametrize("optimizer", LEARNING_RATE)
def test_mini_batches(case, optimizer, engine):
    """Two sequences an update, the last update fewer."""
    problem = problem_of(case)
    network = network_of(problem, engine)
    how = {"optimizer": optimizer, "learning_rate": LEARNING_RATE[optimizer], "shuffle": False}
    history = network.fit(**as_user(problem), epochs=EPOCHS, batch_size=2, **how)
    losses, parameters = torch_mini_batches(case, optimizer)
    assert difference(history.loss, losses) <= TOLERANCE[case.dtype]
    assert_close(dict(network.parameters), parameters, TOLERANCE[case.dtype])


clipped_cases = pytest.mark.parametrize("case", some_cases(dtype="float64", T=9, N=5)[:3], ids=str)
both_precisions = pytest.mark.parametrize("dtype", TOLERANCE)


class Clipped(NamedTuple):
    """PyTorch's ten updates, clipped to a limit."""

    limit: float
    exact: Figures
    by_clip_grad_norm: Figures


@cache
def torch_clipped_whole(case: Case, dtype: str, optimizer: str) -> Clipped:
    """The whole gradient, to a limit among the norms of the run: some updates are clipped."""
    problem = problem_of(case).with_equal_weights().cast(dtype)
    free, _ = torch_trained(problem, optimizer)
    limit = 0.9 * float(free[f"gradient norms by {optimizer}"].max())
    exact, _ = torch_trained(problem, optimizer, clip=clip_whole(limit))
    assert_clipping_matters(exact, free)
    theirs, _ = torch_trained(problem, optimizer, clip=lambda p: torch.nn.utils.clip_grad_norm_(p, limit))
    return Clipped(limit, exact, theirs)


@cache
def torch_clipped_each(case: Case, dtype: str, optimizer: str) -> Clipped:
    """Each tensor, to the median of their norms: some are clipped and others are not."""
    problem = problem_of(case).with_equal_weights().cast(dtype)
    free, _ = torch_trained(problem, optimizer)
    _, first = torch_trained(problem, "sgd", batches=[np.arange(len(problem))])
    limit = float(np.median([p.grad.norm() for p in first.parameters.values()]))
    exact, _ = torch_trained(problem, optimizer, clip=clip_each(limit))
    assert_clipping_matters(exact, free)
    return Clipped(limit, exact, {})


def assert_clipping_matters(clipped: Figures, free: Figures) -> None:
    """The clipped run is not the free run: otherwise agreeing with it would say nothing."""
    assert max(differences(free, clipped).values()) > 1e-4


@clipped_cases
@both_precisions
@pytest.mark.parametrize("optimizer", LEARNING_RATE)
def test_clipping_the_whole_gradient(case, dtype, optimizer, engine):
    expected = torch_clipped_whole(case, dtype, optimizer)
    run = fitted(problem_of(case).cast(dtype), optimizer, engine, clip=expected.limit)
    assert_close(run.figures, expected.exact, TOLERANCE[dtype])
    assert run.history.clipped == [
        int(size > expected.limit) for size in expected.exact[f"gradient norms by {optimizer}"]
    ]
    # PyTorch divides by ‖g‖ + 1e-6: what it clips comes out shorter by 1e-6 / ‖g‖ of its length.
    assert_close(run.figures, expected.by_clip_grad_norm, TOLERANCE[dtype] + UPDATES * 1e-6 / expected.limit)


@clipped_cases
@both_precisions
@pytest.mark.parametrize("optimizer", LEARNING_RATE)
def test_clipping_each_tensor(case, dtype, optimizer, engine):
    expected = torch_clipped_each(case, dtype, optimizer)
    run = fitted(problem_of(case).cast(dtype), optimizer, engine, clip=TensorNorm(expected.limit))
    assert_close(run.figures, expected.exact, TOLERANCE[dtype])


# ------------------------------------------------------------------------------------------------------ RNNScratch

SCRATCH_NAMES = {"wx": "layer0.W_x", "wh": "layer0.W_h", "wy": "readout.W_y", "bh": "layer0.b_h", "by": "readout.b_y"}


def scratch_problem(activation: str, output: str, readout_: str, N: int) -> Problem:
    """Sequences of 7 steps; targets of squared errors so far away that some tensors are clipped and others are not."""
    output_activation, loss = output.split("-")
    specification = NetworkSpecification(3, [Elman(6, activation)], 2, readout_, output_activation, loss)
    problem = random_problem(specification, [7] * N, 7, "float64", seed=len(activation) + 10 * len(output))
    targets = problem.targets * (30 if output == "linear-mse" else 1)
    return replace(problem, targets=targets).with_equal_weights()


def scratch_model(problem: Problem, learning_rate: float, engine: str) -> RNNScratch:
    """The documented class, with the problem's numbers written into its live tensors."""
    words = problem.specification
    model = RNNScratch(
        words.input_size,
        words.layers[0].hidden_size,
        words.output_size,
        learning_rate,
        loss=words.loss,
        activation=words.layers[0].activation,
        output_activation=words.output_activation,
        engine=engine,
    )
    for short, name in SCRATCH_NAMES.items():
        tensor = model.weights[short] if short.startswith("w") else model.bias[short]
        tensor[...] = problem.parameters[name].reshape(tensor.shape)
    return model


def scratch_parameters(model: RNNScratch) -> Figures:
    """Its tensors by the library's names, biases as vectors."""
    tensors = {**model.weights, **{short: column[:, 0] for short, column in model.bias.items()}}
    return {name: tensors[short] for short, name in SCRATCH_NAMES.items()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_rnn_scratch_fit(activation, output, engine):
    """Ten epochs over one sequence, every tensor's gradient clipped to 5."""
    problem = scratch_problem(activation, output, "every", N=1)
    model = scratch_model(problem, 0.02, engine)
    before = np.stack(model.predict(problem.inputs[0]))
    history = model.fit(problem.inputs[0], problem.targets[0], 10, verbose=False, return_history=True)

    everyone, limit = np.arange(1), 5.0
    untrained = Twin(problem).from_zero(everyone).outputs.detach().numpy()
    expected, twin = torch_trained(problem, "sgd", learning_rate=0.02, clip=clip_each(limit))
    assert before.shape == (7, 2, 1)
    assert difference(before[None, :, :, 0], untrained) <= 1e-10
    assert difference(history, expected["losses by sgd"]) <= 1e-10
    assert_close(scratch_parameters(model), twin.values(), 1e-10)
    after = np.stack(model.predict(problem.inputs[0]))[None, :, :, 0]
    assert difference(after, twin.from_zero(everyone).outputs.detach().numpy()) <= 1e-10
    is_clipped = bool(expected["gradient norms by sgd"].max() > limit)
    assert is_clipped == (output == "linear-mse")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rnn_scratch_train(activation, engine):
    """Many sequences to one label vector each: an update per sequence, five epochs of two."""
    problem = scratch_problem(activation, "linear-mse", "last", N=2)
    model = scratch_model(problem, 0.02, engine)
    history = model.train(list(problem.inputs), list(problem.targets), 5, verbose=False, return_history=True)

    batches = [np.array([n]) for n in range(2)] * 5
    expected, twin = torch_trained(problem, "sgd", learning_rate=0.02, batches=batches, clip=clip_each(5.0))
    assert difference(history, expected["losses by sgd"].reshape(5, 2).mean(axis=1)) <= 1e-10
    assert_close(scratch_parameters(model), twin.values(), 1e-10)
    outputs = np.stack([model.predict(x)[:, 0] for x in problem.inputs])
    assert difference(outputs, twin.from_zero(np.arange(2)).outputs.detach().numpy()) <= 1e-10
    assert expected["gradient norms by sgd"].max() > 5


# ------------------------------------------------------------------------------------------- the stored references


def test_the_stored_references_are_what_pytorch_still_says():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    for case in stored["cases"]:
        problem = from_json(case)
        figures = torch_figures(problem)
        for optimizer in LEARNING_RATE:
            name = f"losses by {optimizer}"
            figures[name] = torch_trained(problem, optimizer)[0][name]
        assert_close(figures, {name: np.array(values) for name, values in case["figures"].items()}, 1e-12)


# -------------------------------------------------------------------------------------------------------- the table


def kind_of(figure: str) -> str:
    """The row of the table that a figure belongs to: layers are not told apart."""
    return re.sub(r"layer\d+\.|readout\.", "", figure).replace("d h", "d initial h")


def largest_differences(engine: str, dtype: str) -> dict[str, float]:
    """The largest difference of each kind of figure over all cases."""
    largest: dict[str, float] = defaultdict(float)
    for case in some_cases(dtype=dtype):
        found = differences(engine_single(problem_of(case), engine), torch_single(case))
        for optimizer in LEARNING_RATE:
            found |= differences(fitted_figures(problem_of(case), optimizer, engine), torch_fitted(case, optimizer))
        for figure, size in found.items():
            largest[kind_of(figure)] = max(largest[kind_of(figure)], size)
    return largest


def parity_table() -> str:
    """Markdown: a row for each kind of figure, a column for each engine and precision."""
    columns = [(engine, dtype) for engine in ENGINES for dtype in ("float32", "float64")]
    found = [
        largest_differences(engine, dtype) if engine == "numpy" or native_engine.available() else {}
        for engine, dtype in columns
    ]
    lines = [
        "| largest difference | " + " | ".join(f"{engine} {dtype}" for engine, dtype in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for figure in found[0]:
        sizes = [f"{column[figure]:.1e}" if column else "no engine" for column in found]
        lines.append(f"| {figure} | " + " | ".join(sizes) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the parity table."""
    print(f"{len(CASES)} networks against PyTorch {torch.__version__}: ‖a − b‖∞ / max(1, ‖b‖∞)\n")
    print(parity_table())


if __name__ == "__main__":
    main()
