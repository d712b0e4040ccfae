"""The public face against PyTorch, live: `Network.fit`, `predict` and `loss_and_gradient`, clipping, and `RNNScratch`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from torch_cases import CASES, Case, every_optimizer, problem_of, some_cases, torch, torch_fitted
from torch_problem import (
    LEARNING_RATE,
    TOLERANCE,
    UPDATES,
    Figures,
    Problem,
    assert_close,
    difference,
    differences,
    network_of,
    poisoned,
    random_problem,
)
from torch_reference import Twin, clip_each, clip_whole, torch_trained

from rnn_from_scratch import History, Network, RNNScratch, TensorNorm
from rnn_from_scratch.layers import ACTIVATIONS, Elman
from rnn_from_scratch.specification import NetworkSpecification

OF_FEATURES = [case for case in CASES if case.inputs == "features" and case.readout != "mean"]


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


@pytest.mark.parametrize("case", OF_FEATURES[::2], ids=str)
@every_optimizer
def test_ten_updates_by_fit(case, optimizer, engine):
    """Losses, norms of the gradient, final parameters and predictions."""
    figures = fitted_figures(problem_of(case), optimizer, engine)
    assert_close(figures, torch_fitted(case, optimizer), TOLERANCE[case.dtype])


@pytest.mark.parametrize("case", some_cases(lengths="ragged", T=6, readout="every", inputs="features"), ids=str)
def test_lists_of_sequences(case, engine):
    problem = problem_of(case).with_equal_weights()
    X, y = (
        [sequence[:length] for sequence, length in zip(sequences, problem.lengths, strict=True)]
        for sequences in (problem.inputs, problem.targets)
    )
    network = network_of(problem, engine)
    loss, gradient = network.loss_and_gradient(X, y)

    twin, everyone = Twin(problem), np.arange(len(problem))
    run = twin.from_start(everyone)
    expected = twin.loss(run, everyone)
    expected.backward()
    assert_close(gradient, twin.gradients(), TOLERANCE[case.dtype])
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


@pytest.mark.parametrize("case", [case for case in OF_FEATURES if case.lengths == "ragged" and case.T == 6], ids=str)
@every_optimizer
def test_mini_batches(case, optimizer, engine):
    """Two sequences an update, the last update fewer."""
    problem = problem_of(case)
    network = network_of(problem, engine)
    how = {"optimizer": optimizer, "learning_rate": LEARNING_RATE[optimizer], "shuffle": False}
    history = network.fit(**as_user(problem), epochs=EPOCHS, batch_size=2, **how)
    losses, parameters = torch_mini_batches(case, optimizer)
    assert difference(history.loss, losses) <= TOLERANCE[case.dtype]
    assert_close(dict(network.parameters), parameters, TOLERANCE[case.dtype])


clipped_cases = pytest.mark.parametrize(
    "case", [case for case in OF_FEATURES if case.dtype == "float64" and case.T == 6 and case.N > 1][:6], ids=str
)
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
    limit = float(np.median([p.grad.norm() for p in first.parameters]))
    exact, _ = torch_trained(problem, optimizer, clip=clip_each(limit))
    assert_clipping_matters(exact, free)
    return Clipped(limit, exact, {})


def assert_clipping_matters(clipped: Figures, free: Figures) -> None:
    """The clipped run is not the free run: otherwise agreeing with it would say nothing."""
    assert max(differences(free, clipped).values()) > 1e-4


@clipped_cases
@both_precisions
@every_optimizer
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
@every_optimizer
def test_clipping_each_tensor(case, dtype, optimizer, engine):
    expected = torch_clipped_each(case, dtype, optimizer)
    run = fitted(problem_of(case).cast(dtype), optimizer, engine, clip=TensorNorm(expected.limit))
    assert_close(run.figures, expected.exact, TOLERANCE[dtype])


# ------------------------------------------------------------------------------------------------------ RNNScratch

SCRATCH_NAMES = {"wx": "layer0.W_x", "wh": "layer0.W_h", "wy": "readout.W_y", "bh": "layer0.b_h", "by": "readout.b_y"}


SCRATCH_OUTPUTS = ("linear-mse", "sigmoid-mse", "sigmoid-ce", "softmax-mse", "softmax-ce")


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
@pytest.mark.parametrize("output", SCRATCH_OUTPUTS)
def test_rnn_scratch_fit(activation, output, engine):
    """Ten epochs over one sequence, every tensor's gradient clipped to 5."""
    problem = scratch_problem(activation, output, "every", N=1)
    model = scratch_model(problem, 0.02, engine)
    before = np.stack(model.predict(problem.inputs[0]))
    history = model.fit(problem.inputs[0], problem.targets[0], 10, verbose=False, return_history=True)

    everyone, limit = np.arange(1), 5.0
    untrained = Twin(problem).from_start(everyone).outputs.detach().numpy()
    expected, twin = torch_trained(problem, "sgd", learning_rate=0.02, clip=clip_each(limit))
    assert before.shape == (7, 2, 1)
    assert difference(before[None, :, :, 0], untrained) <= 1e-10
    assert difference(history, expected["losses by sgd"]) <= 1e-10
    assert_close(scratch_parameters(model), twin.values(), 1e-10)
    after = np.stack(model.predict(problem.inputs[0]))[None, :, :, 0]
    assert difference(after, twin.from_start(everyone).outputs.detach().numpy()) <= 1e-10
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
    assert difference(outputs, twin.from_start(np.arange(2)).outputs.detach().numpy()) <= 1e-10
    assert expected["gradient norms by sgd"].max() > 5
