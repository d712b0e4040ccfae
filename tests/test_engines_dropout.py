"""Dropout: masks depend on where they are used and on nothing else, and are what the equations say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equations import by_hand
from equations import mask as mask_by_numpy
from properties import given, settings, st
from support import KEY, Case, assert_all_close, assert_close, assert_same_bits, cases, make, random_case, tolerance

from rnn_from_scratch.layers import GRU, LSTM, Elman, Layer
from rnn_from_scratch.textbook import dropout as textbook
from rnn_from_scratch.textbook.dropout import BETWEEN_LAYERS, INPUT, RECURRENT, RECURRENT_REVERSE, Dropout, mask, philox

FLOAT64 = np.dtype(np.float64)
EVERY_STEP = np.zeros((1, 1), np.int64)
WORDS = st.integers(0, 2**64 - 1)

DROPPED: dict[str, list[Layer]] = {
    "elman": [Elman(5, input_dropout=0.4, recurrent_dropout=0.3)],
    "gru": [GRU(5, input_dropout=0.4, recurrent_dropout=0.3)],
    "gru reset before": [GRU(5, "before", input_dropout=0.4, recurrent_dropout=0.3)],
    "lstm": [LSTM(5, input_dropout=0.4, recurrent_dropout=0.3)],
    "both ways": [
        LSTM(5, bidirectional=True, recurrent_dropout=0.5),
        GRU(3, bidirectional=True, recurrent_dropout=0.5),
    ],
    "between": [Elman(9), GRU(6), LSTM(5)],
}


@given(key=st.tuples(WORDS, WORDS), counter=st.tuples(WORDS, WORDS, WORDS, WORDS))
def test_philox_is_that_of_numpy(key: Any, counter: Any) -> None:
    joined = sum(word << (64 * place) for place, word in enumerate(counter))
    theirs = np.random.Philox(key=key[0] + (key[1] << 64), counter=(joined - 1) % 2**256).random_raw(4)
    assert [int(word) for word in philox(key, counter)] == theirs.tolist()


@given(
    key=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 2**62),
    sequences=st.lists(st.integers(0, 2**62), min_size=1, max_size=4),
    level=st.integers(0, 2**20),
    kind=st.sampled_from([BETWEEN_LAYERS, INPUT, RECURRENT, RECURRENT_REVERSE]),
    units=st.integers(1, 13),
    probability=st.floats(0, 0.999),
)
def test_masks_are_words_of_philox(
    key: int, epoch: int, sequences: list[int], level: int, kind: int, units: int, probability: float
) -> None:
    dropout = Dropout(key, epoch, np.array(sequences))
    steps = np.arange(3)[:, None]
    found = mask(dropout, level, kind, steps, units, probability, FLOAT64)
    assert found.shape == (3, len(sequences), units)
    for t in range(3):
        for n in range(len(sequences)):
            expected = mask_by_numpy(dropout, n, t, 4 * level + kind, units, probability)
            assert_close(found[t, n], expected, 1e-15)


@given(probability=st.sampled_from([0.1, 0.25, 0.5, 0.9]), seed=st.integers(0, 2**32))
def test_the_mean_of_a_mask_is_one(probability: float, seed: int) -> None:
    M = 200_000
    m = mask(Dropout(seed, 0, np.arange(10)), 1, BETWEEN_LAYERS, np.arange(20)[:, None], 1000, probability, FLOAT64)
    assert sorted(np.unique(m)) == [0, 1 / (1 - probability)]
    deviation = np.sqrt(probability / (1 - probability) / M)  # of the mean
    assert abs(m.mean() - 1) < 6 * deviation


def test_every_part_of_an_address_gives_another_mask() -> None:
    """Key, epoch, sequence, step, layer and kind: changing any of them changes about half of the units."""

    def of(key: int = 5, epoch: int = 1, sequence: int = 2, step: int = 3, level: int = 1, kind: int = 0) -> np.ndarray:
        dropout = Dropout(key, epoch, np.array([sequence]))
        return mask(dropout, level, kind, np.array([[step]]), 400, 0.5, FLOAT64)[0, 0]

    others = [{"key": 6}, {"epoch": 2}, {"sequence": 3}, {"step": 4}, {"level": 2}, {"kind": 1}, {"key": 5 + 2**40}]
    masks = [of(), *(of(**other) for other in others)]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert 0.35 < (a != b).mean() < 0.65
    assert np.array_equal(of(), of())


def test_no_probability_drops_nothing_and_precision_is_kept() -> None:
    dropout = Dropout(1, 0, np.arange(3))
    assert (mask(dropout, 0, INPUT, EVERY_STEP, 50, 0.0, FLOAT64) == 1).all()
    single = mask(dropout, 0, INPUT, EVERY_STEP, 50, 0.3, np.dtype(np.float32))
    assert single.dtype == np.float32
    assert np.array_equal(single > 0, mask(dropout, 0, INPUT, EVERY_STEP, 50, 0.3, FLOAT64) > 0)
    assert textbook.threshold(0.75) == 3 * 2**62


@pytest.mark.parametrize("name", DROPPED)
@pytest.mark.parametrize("between", [0.0, 0.35])
def test_masks_go_where_the_equations_say(engine: str, dtype: str, readout: str, name: str, between: float) -> None:
    case = random_case(np.random.default_rng(0), DROPPED[name], readout=readout, dropout=between)
    running, dropout = case.on(engine, dtype), Dropout(KEY, 3, np.array([7, 0, 2**40, 5]))
    a, final = by_hand(case, dropout)
    run = running.forward(dropout=dropout)
    assert_close(run.preactivations, a, tolerance(dtype))
    assert_all_close(run.final_state, final, tolerance(dtype))


@pytest.mark.parametrize("name", DROPPED)
def test_a_run_without_masks_drops_nothing(engine: str, dtype: str, readout: str, name: str) -> None:
    case = random_case(np.random.default_rng(0), DROPPED[name], readout=readout, dropout=0.4)
    a, _ = by_hand(case)
    running = case.on(engine, dtype)
    assert_close(running.forward().preactivations, a, tolerance(dtype))
    if name not in ("elman", "gru", "gru reset before", "lstm"):  # there is something between the layers
        assert np.abs(running.forward(dropout=running.dropout()).preactivations - a).max() > 0.01


def test_masks_of_a_network_that_drops_nothing_change_nothing(engine: str, dtype: str, architecture: str) -> None:
    running = make(architecture).on(engine, dtype)
    assert running.dropout() is None
    masked = running.forward(dropout=Dropout(KEY, 1, np.arange(4)))
    assert_same_bits(masked.outputs, running.forward().outputs)


def check_chunks(case: Case, engine: str, dtype: str) -> None:
    """Rows alone, in chunks, in another order: each keeps its mask, forward and backward."""
    running = case.on(engine, dtype)
    names, N = np.random.default_rng(1).permutation(100)[: case.N], case.N
    d_a, d_T = running.random_gradients()
    state, whole = running.state(), running.forward(dropout=Dropout(KEY, 1, names))
    back = running.engine.backward(running.plan, whole.tape, d_a, d_T)
    chunks = [np.arange(N)[::-1], *np.array_split(np.arange(N), min(N, 3)), np.array([N - 1])]
    for rows in chunks:
        lengths = case.lengths[rows]
        # T of the chunk is that of its longest
        T = int(lengths.max())
        part = running.forward(
            running.batch(case.x[rows, :T], lengths),
            {name: h[rows] for name, h in state.items()},
            dropout=Dropout(KEY, 1, names[rows]),
        )
        own_d_a = d_a[rows, :T] if case.every else d_a[rows]
        result = running.engine.backward(running.plan, part.tape, own_d_a, {name: d[rows] for name, d in d_T.items()})
        expected = whole.outputs[rows, :T] if case.every else whole.outputs[rows]
        assert_close(part.outputs, expected, tolerance(dtype))
        assert_close(result.d_inputs, back.d_inputs[rows, :T], 10 * tolerance(dtype))
        for name, h in whole.final_state.items():
            assert_close(part.final_state[name], h[rows], tolerance(dtype), name)


@pytest.mark.parametrize("name", DROPPED)
def test_masks_do_not_know_of_chunks(engine: str, dtype: str, readout: str, name: str) -> None:
    check_chunks(random_case(np.random.default_rng(0), DROPPED[name], readout=readout, dropout=0.4, N=7), engine, dtype)


@given(case=cases())
@settings(max_examples=60)
def test_masks_of_any_architecture_do_not_know_of_chunks(engine: str, case: Case) -> None:
    check_chunks(case, engine, "float64")


def counting(layer: Layer, dropout: float = 0.0) -> Case:
    """Linear units that show what they were multiplied with: inputs of one, W_x = 1, W_y = 1."""
    case = random_case(np.random.default_rng(0), [Elman(40, "linear"), layer] if dropout else [layer], D=40, O=40, N=3,
                       T=5, ragged=False, dropout=dropout)  # fmt: skip
    return Case(case.specification, case.vector, np.ones_like(case.x), case.lengths, case.state)


def shown(case: Case, engine: str, first: float, W_h: float = 0.0) -> np.ndarray:
    """(N, T, units): the outputs when matrices are identities, recurrent ones W_h times that, and states `first`."""
    running = case.on(engine)
    with running.parameters.edit() as p:
        for name, values in p.items():
            values[...] = 0 if values.ndim == 1 else np.eye(40) * (W_h if name.endswith("W_h") else 1)
    state = {name: np.full_like(h, first) for name, h in running.state().items()}
    return running.forward(state=state, dropout=running.dropout()).outputs


def test_masks_of_inputs_are_the_same_at_every_step(engine: str) -> None:
    outputs = shown(counting(Elman(40, "linear", input_dropout=0.5)), engine, 0.0)
    assert sorted(np.unique(outputs)) == [0, 2]
    assert (outputs == outputs[:, :1]).all()
    assert 0.25 < (outputs[0, 0] != outputs[1, 0]).mean() < 0.75  # each sequence has its own


def test_masks_of_the_state_are_the_same_at_every_step(engine: str) -> None:
    outputs = shown(counting(Elman(40, "linear", recurrent_dropout=0.5)), engine, 0.0, W_h=0.5)
    # Where the state is kept, it counts 1, 2, 3, … (the mask's 2 times W_h); where it is dropped, it stays 1
    kept = outputs[:, 1] == 2
    assert (outputs == np.where(kept[:, None], np.arange(1, 6)[:, None], 1)).all()
    assert 0.3 < kept.mean() < 0.7


def test_masks_between_layers_are_new_at_every_step(engine: str) -> None:
    outputs = shown(counting(Elman(40, "linear"), dropout=0.5), engine, 0.0)
    assert sorted(np.unique(outputs)) == [0, 2]
    for t in range(1, 5):
        assert 0.3 < (outputs[:, t] != outputs[:, 0]).mean() < 0.7
    assert 0.4 < (outputs > 0).mean() < 0.6
