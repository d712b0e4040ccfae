"""The ground floor: sequences, clipping, optimisers and checks of arguments, each by itself."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from properties import given, st
from support import EXACT, assert_close

from rnn_from_scratch import GRU, NetworkSpecification, validation
from rnn_from_scratch.clipping import GlobalNorm, NoClipping, TensorNorm, as_clipping, norm
from rnn_from_scratch.optimizers import SGD, Adam, AdamW, RMSprop, as_optimizer
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, as_batch, as_targets

FLOAT64 = np.dtype(np.float64)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8), st.integers(0, 3))
def test_ragged_lists_and_padded_arrays_give_the_same_steps(lengths: list[int], spare: int) -> None:
    generator = np.random.default_rng(sum(lengths))
    X = [generator.normal(size=(n, 2)) for n in lengths]
    T = max(lengths) + spare
    padded = np.full((len(X), T, 2), np.nan)
    for x, row in zip(X, padded, strict=True):
        row[: len(x)] = x
    from_list = as_batch(X, 2, FLOAT64)
    from_array = as_batch(padded, 2, FLOAT64, lengths)
    assert from_list.steps == max(lengths)
    assert from_array.steps == T
    for n, x in enumerate(X):
        for batch in (from_list, from_array):
            assert np.array_equal(batch.array[batch.starts[n] : batch.starts[n] + batch.lengths[n]], x)
    x = from_array.time_major()
    assert x.shape == (T, len(X), 2)
    assert np.array_equal(np.nan_to_num(padded).transpose(1, 0, 2), x)
    assert np.array_equal(from_array.array[from_array.rows()], np.concatenate(X))
    assert from_array.real_steps().sum(axis=1).tolist() == lengths


def test_an_array_of_the_right_kind_is_not_copied() -> None:
    X = np.zeros((3, 4, 2))
    assert np.shares_memory(as_batch(X, 2, FLOAT64).array, X)
    assert np.shares_memory(as_targets(X, as_batch(X, 2, FLOAT64), 2, "every", FLOAT64).array, X)
    for other in (X.astype(np.float32), X.transpose(1, 0, 2), X[::-1], np.asfortranarray(X)):
        assert not np.shares_memory(as_batch(other, 2, FLOAT64).array, X)


def test_subsets_know_their_own_longest() -> None:
    batch = Batch(np.zeros((9, 1)), np.array([0, 2, 5]), np.array([2, 3, 4]), 6)
    chosen = batch.select(np.array([1, 0]))
    assert (chosen.steps, chosen.starts.tolist(), chosen.lengths.tolist()) == (3, [2, 0], [3, 2])
    assert len(chosen) == 2
    assert not chosen.unpadded
    assert batch.select(np.array([1])).unpadded


@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=30), st.floats(1e-3, 1e3))
def test_global_norm_keeps_direction_and_bounds_length(values: list[float], limit: float) -> None:
    gradient = np.array(values)
    clipped = gradient.copy()
    changed = GlobalNorm(limit).apply(clipped, [])
    assert changed == (norm(gradient) > limit)
    if not changed:
        assert np.array_equal(clipped, gradient)
        return
    assert norm(clipped) == pytest.approx(limit)
    assert_close(clipped / limit, gradient / norm(gradient), EXACT)


def test_tensor_norm_clips_each_by_itself() -> None:
    gradient = np.array([3.0, 4.0, 0.3, 0.4, 30.0])
    slices = [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert TensorNorm(1.0).apply(gradient, slices)
    assert_close(gradient, np.array([0.6, 0.8, 0.3, 0.4, 1.0]), EXACT)
    assert not TensorNorm(1.0 + 1e-12).apply(gradient, slices)
    assert not NoClipping().apply(gradient * 1e9, slices)


@pytest.mark.parametrize("rule", [GlobalNorm, TensorNorm])
@pytest.mark.parametrize("limit", [0, -1, np.inf, np.nan, "5", None, True])
def test_limits_must_be_positive(rule: Any, limit: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"limit of {rule.__name__} must be a finite number > 0\. Got "):
        rule(limit)


def test_words_for_rules_and_optimizers() -> None:
    assert as_clipping(TensorNorm(2), "f") == TensorNorm(2.0)
    assert as_clipping(np.float32(2), "f") == GlobalNorm(2.0)
    assert as_optimizer("sgd", "f") == SGD()
    assert as_optimizer(Adam(beta1=0.5), "f") == Adam(beta1=0.5)
    with pytest.raises(
        TypeError, match=r"optimizer of f must be one of 'sgd', .*, or an optimiser such as Adam\(\)\. Got <class"
    ):
        as_optimizer(Adam, "f")


@pytest.mark.parametrize("optimizer", [SGD, RMSprop, Adam, AdamW])
def test_a_learning_rate_is_not_taken_for_something_else(optimizer: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        optimizer(0.1)  # elsewhere this is the learning rate; here it was the momentum of SGD


@pytest.mark.parametrize(
    "wrong", [dict(beta1=1.0), dict(beta2=-0.1), dict(epsilon=0), dict(beta1="a"), dict(epsilon=np.nan)]
)  # fmt: skip
def test_adam_refuses_what_it_cannot_use(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(wrong))} of Adam must be a (finite )?number"):
        Adam(**wrong)


def test_adam_is_its_equations() -> None:
    generator = np.random.default_rng(0)
    p, m, v = generator.normal(size=5), np.zeros(5), np.zeros(5)
    mine, adam = p.copy(), Adam(beta1=0.8, beta2=0.95, epsilon=1e-3)
    state = adam.init(5, FLOAT64)
    for t in range(1, 8):
        g = generator.normal(size=5)
        adam.update(mine, g, state, 0.01)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        p = p - 0.01 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
        assert_close(mine, p, EXACT)
    assert state["updates"].tolist() == [7]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_optimizers_keep_the_dtype(dtype: Any) -> None:
    for optimizer in (SGD(), Adam()):
        p = np.ones(3, dtype)
        state = optimizer.init(3, p.dtype)
        optimizer.update(p, np.ones(3, dtype), state, 0.1)
        assert p.dtype == dtype
        assert (p < 1).all()
        assert {a.dtype for name, a in state.items() if name != "updates"} <= {p.dtype}


@pytest.mark.parametrize("value", [1, np.int8(1), np.uint64(2**63), 10**30])
def test_whole_numbers_of_any_kind_are_integers(value: Any) -> None:
    assert validation.integer(value, "n", "f") == int(value)


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None, np.array(1), np.array([1]), 1j])
def test_other_things_are_not_integers(value: Any) -> None:
    with pytest.raises(TypeError, match=re.escape("n of f must be an int >= 1. Got ")):
        validation.integer(value, "n", "f")


def test_generators_are_made_or_passed_on() -> None:
    one = np.random.default_rng(3)
    assert validation.generator(one, "f") is one
    seeds = [3, np.int64(3), np.random.SeedSequence(3), np.random.PCG64(3)]
    draws = {float(validation.generator(seed, "f").random()) for seed in seeds}
    assert draws == {float(np.random.default_rng(3).random())}
    assert validation.generator(None, "f").random() != validation.generator(None, "f").random()
    for wrong in (-1, 1.5, "x", True):
        with pytest.raises((TypeError, ValueError), match="random_state of f must be None, an int >= 0"):
            validation.generator(wrong, "f")


def test_long_values_are_cut_in_messages() -> None:
    assert len(validation.shown("x" * 1000)) == 59
    assert validation.shown("line\nline") == r"'line\nline'"


def test_parameters_come_out_of_pickles_writable_and_aligned() -> None:
    parameters = Parameters(NetworkSpecification(3, [GRU(5)], 2), np.dtype(np.float64))
    parameters.vector[:] = np.random.default_rng(0).normal(size=len(parameters.vector))
    state = parameters.__getstate__()
    locked = parameters.vector.copy()
    locked.flags.writeable = False  # as a memory map that joblib shares among processes
    found = Parameters.__new__(Parameters)
    found.__setstate__({**state, "vector": locked})
    found.vector[0] += 1
    assert found.vector[0] == locked[0] + 1
    assert np.array_equal(found.vector[1:], locked[1:])
    assert found.vector.ctypes.data % 64 == 0
    assert np.array_equal(found.views["readout.b_y"], locked[-2:])
