"""Optimisers and clipping rules: by hand, against PyTorch, and engine against engine over fifty updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import require_native
from support import assert_close, random_case

from rnn_from_scratch import GRU, LSTM, Elman
from rnn_from_scratch.clipping import ByValue, Clipping, GlobalNorm, NoClipping, TensorNorm
from rnn_from_scratch.engines.base import Carried, UpdateRule, Updates, first_state
from rnn_from_scratch.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from rnn_from_scratch.textbook.dropout import Dropout

try:
    import torch
except ImportError:
    torch = None

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.8),
    "nesterov": SGD(momentum=0.8, nesterov=True),
    "rmsprop": RMSprop(alpha=0.9),
    "adam": Adam(beta1=0.8, beta2=0.95, epsilon=1e-6),
    "adamw": AdamW(weight_decay=0.3),
}
CLIPPINGS: dict[str, Clipping] = {
    "none": NoClipping(),
    "global norm": GlobalNorm(0.3),
    "tensor norm": TensorNorm(0.2),
    "value": ByValue(0.05),
}
RATES = np.linspace(0.02, 0.001, 50)


def trajectory(
    engine: str, optimizer: Optimizer, clipping: Clipping, dtype: str = "float64", carried: bool = False
) -> dict[str, np.ndarray]:
    """Fifty updates of a wide network: losses, norms, which were clipped, parameters, and the carried state."""
    layers = [LSTM(5, learned_state=True, recurrent_dropout=0.2), GRU(4, input_dropout=0.1), Elman(3)]
    case = random_case(np.random.default_rng(3), layers, N=6, T=5)
    running = case.on(engine, dtype)
    generator = np.random.default_rng(5)
    targets = running.targets(generator.normal(size=(6, 5, 2)), generator.uniform(0.5, 2, (6, 5)))
    order = np.concatenate([generator.permutation(6) for _ in range(25)])
    boundaries = np.arange(51) * 3
    states = None
    if carried:
        width = sum(case.specification.state_shapes.values())
        state = np.zeros((4, width), dtype)
        states = Carried(np.array([0, 1, 2, 3, 1, 0]), np.array([0, 0, 5, 0, 5, 10]), state)
    updates = Updates(running.batch(), targets, order, boundaries, RATES, 17, np.arange(50) // 2, states)
    rule = UpdateRule(optimizer, clipping, 0.01, ("layer1.W_h",))
    remembered = optimizer.init(running.parameters.vector.size, running.dtype)
    report = running.engine.train_updates(running.plan, updates, rule, remembered)
    assert report.applied == 50
    return {
        "losses": report.losses,
        "norms": report.gradient_norms,
        "clipped": report.clipped.astype(float),
        "parameters": running.parameters.vector.copy(),
        "state": np.zeros(0) if states is None else states.state,
        **{name: values.astype(float) for name, values in remembered.items()},
    }


@pytest.mark.parametrize("carried", [False, True], ids=["whole", "carried"])
@pytest.mark.parametrize("clipping", list(CLIPPINGS))
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_engines_follow_one_trajectory(optimizer: str, clipping: str, carried: bool) -> None:
    require_native()
    a, b = (
        trajectory(engine, OPTIMIZERS[optimizer], CLIPPINGS[clipping], carried=carried)
        for engine in ("native", "numpy")
    )
    for name in b:
        assert_close(a[name], b[name], 1e-9, name)
    assert b["losses"][-1] != b["losses"][0]
    if clipping != "none":
        assert b["clipped"].any()


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_single_precision_stays_close(optimizer: str) -> None:
    require_native()
    single, double = (
        trajectory("native", OPTIMIZERS[optimizer], CLIPPINGS["none"], dtype) for dtype in ("float32", "float64")
    )
    assert_close(single["parameters"], double["parameters"], 2e-3, optimizer)
    assert single["parameters"].dtype == np.float32


def torch_twin(optimizer: Optimizer, parameter: Any, learning_rate: float) -> Any:
    if isinstance(optimizer, SGD):
        return torch.optim.SGD([parameter], lr=learning_rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov)
    if isinstance(optimizer, RMSprop):
        return torch.optim.RMSprop([parameter], lr=learning_rate, alpha=optimizer.alpha, eps=optimizer.epsilon)
    words = {"lr": learning_rate, "betas": (optimizer.beta1, optimizer.beta2), "eps": optimizer.epsilon}
    if isinstance(optimizer, AdamW):
        return torch.optim.AdamW([parameter], weight_decay=optimizer.weight_decay, **words)
    return torch.optim.Adam([parameter], **words)


@pytest.mark.skipif(torch is None, reason="needs torch==2.13.0")
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_optimizer_is_that_of_pytorch(name: str) -> None:
    optimizer, generator = OPTIMIZERS[name], np.random.default_rng(0)
    ours = generator.normal(size=9)
    theirs = torch.nn.Parameter(torch.from_numpy(ours.copy()))
    twin, state = torch_twin(optimizer, theirs, 0.05), optimizer.init(9, ours.dtype)
    for _ in range(20):
        gradient = generator.normal(size=9)
        theirs.grad = torch.from_numpy(gradient.copy())
        optimizer.update(ours, gradient, state, 0.05, [slice(0, 9)])  # which may use the gradient up
        twin.step()
    assert_close(ours, theirs.detach().numpy(), 1e-12)


def test_nothing_to_learn_from_only_moves_the_state_on(engine: str) -> None:
    case = random_case(np.random.default_rng(0), [GRU(4)], N=2, T=3, ragged=False)
    running = case.on(engine)
    before = running.parameters.vector.copy()
    targets = running.targets(np.ones((2, 3, 2)), np.zeros((2, 3)))
    state = np.zeros((2, 4))
    carried = Carried(np.array([1, 0]), np.array([0, 0]), state)
    updates = Updates(
        running.batch(), targets, np.array([0, 1]), np.array([0, 2]), np.ones(1), 0, np.zeros(1, int), carried
    )
    adam = Adam()
    remembered = adam.init(before.size, before.dtype)
    report = running.engine.train_updates(running.plan, updates, UpdateRule(adam, NoClipping()), remembered)
    assert report.applied == 1
    assert report.losses[0] == report.gradient_norms[0] == remembered["updates"][0] == 0
    assert (running.parameters.vector == before).all()
    zeros = {"layer0.h": np.zeros((2, 4))}
    assert_close(state[[1, 0]], running.forward(state=zeros).final_state["layer0.h"], 1e-12)


def test_carried_parts_are_the_whole_forward(engine: str) -> None:
    """Parts of long sequences, with dropout: their last state is that of the whole, run at once with the same masks."""
    layers = [LSTM(5, recurrent_dropout=0.3, learned_state=True), GRU(4, input_dropout=0.2)]
    case = random_case(np.random.default_rng(1), layers, N=2, T=9, ragged=False, dropout=0.4)
    running = case.on(engine)
    whole = running.batch()
    starts = np.array([0, 3, 6, 9, 12, 15])
    parts = type(whole)(whole.array, starts, np.full(6, 3), 3)
    targets = running.targets(np.ones((2, 9, 2)), np.zeros((2, 9)))
    part_targets = type(targets)(targets.array, starts, np.full(6, 3), 3, targets.weights)
    state = np.zeros((2, sum(case.specification.state_shapes.values())))
    carried = Carried(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 3, 6, 0, 3, 6]), state)
    order = np.array([0, 3, 1, 4, 2, 5])
    updates = Updates(parts, part_targets, order, np.array([0, 2, 4, 6]), np.ones(3), 7, np.full(3, 2), carried)
    running.engine.train_updates(running.plan, updates, UpdateRule(SGD(), NoClipping()), {})
    from_first = first_state(running.plan, 2)
    dropout = Dropout(7, 2, np.array([0, 1]))
    expected = running.engine.forward(running.plan, whole, from_first, keep_tape=False, dropout=dropout).final_state
    for name, values in carried.views(case.specification).items():
        assert_close(values, expected[name], 1e-12, name)
