"""Schedules: the rate of every update, against formulas written down a second time, and in training."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import numpy as np
import pytest
from loop_problem import by_hand, network, parameters, problem, squared_error
from support import EXACT, assert_all_close, assert_same_bits

from rnn_from_scratch import CosineDecay, ExponentialDecay, History, ReduceOnPlateau, StepDecay
from rnn_from_scratch.training.schedules import ConstantRate

EPOCHS, RATE = 7, 0.3


def cosine(position: float, warmup: float, floor: float) -> float:
    if position < warmup:
        return RATE * position / warmup
    through = (position - warmup) / (EPOCHS - warmup)
    return RATE * (floor + (1 - floor) * (1 + cos(pi * through)) / 2)


FORMULAS: dict[str, tuple[Any, Any]] = {
    "constant": (ConstantRate(), lambda e, u, U: RATE),
    "step": (StepDecay(every=2, factor=0.5), lambda e, u, U: RATE * 0.5 ** (e // 2)),
    "exponential": (ExponentialDecay(0.8), lambda e, u, U: RATE * 0.8**e),
    "cosine": (CosineDecay(), lambda e, u, U: cosine(e + u / U, 0, 0)),
    "cosine with warm-up": (CosineDecay(1.5, 0.1), lambda e, u, U: cosine(e + u / U, 1.5, 0.1)),
    "cosine that only rises": (CosineDecay(EPOCHS), lambda e, u, U: RATE * (e + u / U) / EPOCHS),
    "cosine that ends while it rises": (CosineDecay(10.0), lambda e, u, U: RATE * (e + u / U) / 10),
}


@pytest.mark.parametrize("name", list(FORMULAS))
@pytest.mark.parametrize("watched", [False, True], ids=["together", "one by one"])
def test_every_update_has_its_rate(engine: str, name: str, watched: bool) -> None:
    schedule, formula = FORMULAS[name]
    X, y = problem()
    trained, other = network(engine), network(engine)
    callbacks = [lambda epoch, history: None] if watched else []  # somebody who looks at every epoch
    words: dict[str, Any] = {"optimizer": "sgd", "learning_rate": RATE, "shuffle": False, "callbacks": callbacks}
    history = trained.fit(X, y, EPOCHS, batch_size=4, schedule=schedule, **words)
    by_hand(other, X, y, EPOCHS, 4, formula)
    assert_all_close(parameters(trained), parameters(other), EXACT)
    assert history.learning_rate == pytest.approx([formula(e, 2, 3) for e in range(EPOCHS)], rel=1e-12)


def test_words_mean_the_schedules_as_they_come() -> None:
    X, y = problem()
    words = {"constant": ConstantRate(), "step": StepDecay(), "exponential": ExponentialDecay()}
    words |= {"cosine": CosineDecay(), "plateau": ReduceOnPlateau()}
    for word, schedule in words.items():
        a, b = network(), network()
        first = a.fit(X, y, 21, optimizer="sgd", learning_rate=RATE, schedule=word)
        second = b.fit(X, y, 21, optimizer="sgd", learning_rate=RATE, schedule=schedule)
        assert first.learning_rate == second.learning_rate
        assert_same_bits(a.predict(X), b.predict(X), word)
        assert (len(set(first.learning_rate)) > 1) == (word in ("step", "exponential", "cosine")), word


def plateau(losses: list[float], schedule: ReduceOnPlateau, rate: float) -> list[float]:
    """The rate of every epoch after the first, said in another way: from the last improvement or cut, count."""
    rates, best, waited = [], np.inf, 0
    for loss in losses:
        if loss < best - schedule.threshold * abs(best) if np.isfinite(best) else loss < np.inf:
            best, waited = loss, 0
        else:
            waited += 1
            if waited > schedule.patience:
                rate, waited = rate * schedule.factor, 0
        rates.append(max(rate, schedule.minimum))
    return rates


@pytest.mark.parametrize("held_out", [False, True], ids=["training loss", "validation loss"])
def test_plateau_looks_at_the_validation_loss_if_there_is_one(engine: str, held_out: bool) -> None:
    X, y = problem()
    other_X, other_y = problem(seed=5)
    schedule = ReduceOnPlateau(0.5, patience=1, threshold=0.02 if held_out else 0.3, minimum=0.15)
    net = network(engine)
    losses: list[float] = []
    validation = (other_X, -other_y) if held_out else None  # gets worse from the beginning

    def remember(epoch: int, history: History) -> None:
        y_hat = net.predict(other_X)
        losses.append(squared_error(y_hat.reshape(-1, 2), -other_y.reshape(-1, 2)) if held_out else history.loss[-1])

    words: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.4, "validation": validation}
    history = net.fit(X, y, 20, batch_size=5, schedule=schedule, callbacks=remember, **words)
    expected = [0.4, *plateau(losses, schedule, 0.4)[:-1]]
    assert history.learning_rate == pytest.approx(expected, rel=1e-12)
    assert set(expected) == {0.4, 0.2, 0.15}


def test_plateau_waits_for_finite_losses() -> None:
    schedule = ReduceOnPlateau(0.5, patience=2)
    state, seen = schedule.init(), []
    for loss in (float("nan"), 3.0, float("nan"), 2.0, 2.0, float("inf"), float("nan"), 1.0):
        state = schedule.observe(state, loss)
        seen.append((state["best"], float(schedule.rates(1.0, np.zeros(1), 9, state)[0])))
    bests = [best for best, _ in seen]
    assert bests == [None, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0, 1.0]
    assert [rate for _, rate in seen] == [1.0] * 6 + [0.5, 0.5]


def test_plateau_of_losses_below_zero_and_at_zero() -> None:
    schedule = ReduceOnPlateau(0.5, patience=0, threshold=0.1)
    state = schedule.init()
    scales = []
    for loss in (0.0, 0.0, -1.0, -1.05, -1.2):
        state = schedule.observe(state, loss)
        scales.append(state["scale"])
    assert scales == [1.0, 0.5, 0.5, 0.25, 0.25]


def test_minimum_above_the_learning_rate_does_not_raise_it() -> None:
    schedule = ReduceOnPlateau(minimum=0.5)
    assert schedule.rates(0.1, np.zeros(2), 9, schedule.init()).tolist() == [0.1, 0.1]


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (StepDecay, {"every": 0}, "every of StepDecay must be an int >= 1. Got 0."),
    (StepDecay, {"factor": 0}, "factor of StepDecay must be a finite number > 0. Got 0."),
    (ExponentialDecay, {"factor": -1.0}, "factor of ExponentialDecay must be a finite number > 0. Got -1.0."),
    (CosineDecay, {"warmup": -1}, "warmup of CosineDecay must be a finite number >= 0. Got -1."),
    (CosineDecay, {"floor": 1.5}, r"floor of CosineDecay must be a number in \[0, 1\]. Got 1.5."),
    (ReduceOnPlateau, {"patience": -1}, "patience of ReduceOnPlateau must be an int >= 0. Got -1."),
    (
        ReduceOnPlateau,
        {"threshold": float("nan")},
        "threshold of ReduceOnPlateau must be a finite number >= 0. Got nan.",
    ),
]


@pytest.mark.parametrize(("kind", "words", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_refused_schedules(kind: Any, words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**words)


def test_schedule_of_another_kind_is_refused() -> None:
    X, y = problem()
    net = network()
    before = parameters(net)
    with pytest.raises(ValueError, match=r"schedule of Network.fit must be one of 'constant', 'step'.* Got 'linear'"):
        net.fit(X, y, 2, schedule="linear")
    with pytest.raises(TypeError, match=r"schedule of Network.fit must be one of"):
        net.fit(X, y, 2, schedule=0.5)
    assert_all_close(parameters(net), before, 0)
    assert net.history is None
