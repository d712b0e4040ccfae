"""Which sequences every update sees, whatever the lengths, the sizes and the steps: each step exactly once in every epoch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from properties import given, st
from support import EXACT, assert_close, assert_same_bits

from rnn_from_scratch.layers import GRU, LSTM
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.training.epochs import Drawn, Epochs, Parts, cut
from rnn_from_scratch.training.schedules import ConstantRate, CosineDecay

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=15)
READOUT = st.sampled_from(["every", "last"])


def data(lengths: list[int], readout: str, seed: int = 0) -> tuple[Batch, Targets, NetworkSpecification]:
    """Ragged sequences one after the other with random weights, some of them zero."""
    real = np.array(lengths, np.int64)
    rows, generator = int(real.sum()), np.random.default_rng(seed)
    starts = np.cumsum(real) - real
    inputs = Batch(np.arange(rows, dtype=float)[:, None], starts, real, max(lengths))
    count = rows if readout == "every" else len(real)
    weights = generator.uniform(0.1, 1, count) * (generator.random(count) < 0.8)
    weights[0] = 1
    t = np.zeros((count, 1))
    if readout == "every":
        targets = Targets(t, starts, real, inputs.steps, weights)
    else:
        targets = Targets(t, np.arange(count), np.ones(count, np.int64), 1, weights)
    return inputs, targets, NetworkSpecification(1, [LSTM(2), GRU(3)], 1, readout)


def epochs(inputs: Batch, targets: Targets, parts: Parts | None, size: int, shuffle: bool, seed: int = 0) -> Epochs:
    return Epochs(inputs, targets, parts, size, 9, 0.5, CosineDecay(), shuffle, np.random.default_rng(seed), 0)


def updates(drawn: Drawn) -> list[np.ndarray]:
    """The sequences, or parts, of each update."""
    order, boundaries = drawn.updates.order, drawn.updates.boundaries
    return [order[a:b] for a, b in pairwise(boundaries)]


@given(
    lengths=SIZES, steps=st.one_of(st.none(), st.integers(1, 13)), readout=READOUT, rows=st.sampled_from([None, 1, 3])
)
def test_parts_are_the_sequences(lengths: list[int], steps: int | None, readout: str, rows: int | None) -> None:
    if rows is not None:
        lengths = lengths * rows  # divisible
    inputs, targets, specification = data(lengths, readout)
    parts = cut(inputs, targets, specification, steps, rows)
    longest = max(lengths) if steps is None else steps
    assert parts.carried.state.shape == (len(lengths) if rows is None else rows, 7)  # h and c of the LSTM, h of the GRU
    seen_by_row = np.zeros(len(parts.carried.state), np.int64)
    for n, length in enumerate(lengths):
        mine = np.arange(parts.first[n], parts.first[n] + parts.number[n])
        read = [
            parts.inputs.array[parts.inputs.starts[c] : parts.inputs.starts[c] + parts.inputs.lengths[c]] for c in mine
        ]
        assert_same_bits(np.concatenate(read), inputs.array[inputs.starts[n] : inputs.starts[n] + length])
        assert all(len(part) == longest for part in read[:-1])
        assert 1 <= len(read[-1]) <= longest
        row = n if rows is None else n % rows
        assert (parts.carried.owners[mine] == row).all()
        for c in mine:
            assert parts.carried.first_steps[c] == seen_by_row[row]
            seen_by_row[row] += parts.inputs.lengths[c]
        weights = [parts.targets.weights[parts.targets.select(np.array([c])).rows()] for c in mine]
        if readout == "every":
            assert_same_bits(np.concatenate(weights), targets.weights[targets.select(np.array([n])).rows()])
        else:  # what there is to learn is learned from the last part
            assert [float(w.sum()) for w in weights] == [0.0] * (len(mine) - 1) + [float(targets.weights[n])]
    assert parts.number.sum() == len(parts.inputs) == len(parts.targets)
    assert parts.first[-1] + parts.number[-1] == len(parts.inputs)


@given(lengths=SIZES, size=st.integers(1, 17), shuffle=st.booleans(), count=st.integers(1, 4), readout=READOUT)
def test_every_sequence_once_in_every_epoch(
    lengths: list[int], size: int, shuffle: bool, count: int, readout: str
) -> None:
    inputs, targets, _ = data(lengths, readout)
    N = len(lengths)
    drawer = epochs(inputs, targets, None, size, shuffle)
    drawer.next(1, {})  # not the first epochs
    drawn = drawer.next(count, {})
    assert list(drawn.per_epoch) == [-(-N // size)] * count
    found = updates(drawn)
    for epoch in range(count):
        mine = found[sum(drawn.per_epoch[:epoch]) :][: drawn.per_epoch[epoch]]
        assert [len(chosen) for chosen in mine[:-1]] == [size] * (len(mine) - 1)
        assert sorted(np.concatenate(mine).tolist()) == list(range(N))
        assert shuffle or np.concatenate(mine).tolist() == list(range(N))
    assert drawn.updates.epochs.tolist() == np.repeat(np.arange(1, count + 1), drawn.per_epoch).tolist()
    check_shares(drawer, drawn, targets)


@given(
    lengths=SIZES,
    size=st.integers(1, 17),
    steps=st.integers(1, 13),
    shuffle=st.booleans(),
    readout=READOUT,
)
def test_every_part_once_and_in_its_turn(
    lengths: list[int], size: int, steps: int, shuffle: bool, readout: str
) -> None:
    inputs, targets, specification = data(lengths, readout)
    parts = cut(inputs, targets, specification, steps, None)
    drawer = epochs(inputs, targets, parts, size, shuffle)
    owners, first_steps = parts.carried.owners, parts.carried.first_steps
    for _ in range(2):
        drawn = drawer.next(1, {})
        found = updates(drawn)
        assert sorted(np.concatenate(found).tolist()) == list(range(len(parts.inputs)))
        places: dict[int, int] = {}
        batches: list[set[int]] = []
        for chosen in found:
            begin = {int(step) for step in first_steps[chosen]}
            assert len(begin) == 1  # all of an update are as far
            assert len(set(owners[chosen].tolist())) == len(chosen) <= size
            for c in chosen:
                assert places.get(int(owners[c]), 0) == first_steps[c]
                places[int(owners[c])] = int(first_steps[c] + parts.inputs.lengths[c])
            if begin == {0}:
                batches.append(set(owners[chosen].tolist()))
            assert set(owners[chosen].tolist()) <= batches[-1]  # one mini-batch is finished before the next begins
            assert {n for n in batches[-1] if lengths[n] > min(begin)} == set(owners[chosen].tolist())
        assert places == dict(enumerate(lengths))
        assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
        assert shuffle or sorted(map(min, batches)) == [min(batch) for batch in batches]
        check_shares(drawer, drawn, parts.targets)


def check_shares(drawer: Epochs, drawn: Drawn, targets: Targets) -> None:
    """The share of an update in the loss of its epoch is the weight of its rows."""
    shares = drawer.shares(drawn.updates)
    expected = [targets.weights[targets.select(chosen).rows()].sum() for chosen in updates(drawn)]
    assert_close(shares * drawer.total, np.array(expected), EXACT, "shares")
    ends = np.cumsum(drawn.per_epoch)[:-1]
    for part in np.split(shares, ends):
        assert abs(part.sum() - 1) < EXACT


@given(lengths=SIZES, size=st.integers(1, 6), count=st.integers(1, 4), good=st.integers(0, 4), seed=st.integers(0, 99))
def test_going_back_to_an_epoch_draws_the_same_again(
    lengths: list[int], size: int, count: int, good: int, seed: int
) -> None:
    good = min(good, count)
    inputs, targets, _ = data(lengths, "every")
    drawer, straight = (epochs(inputs, targets, None, size, True, seed) for _ in range(2))
    drawer.next(count, {})
    drawer.return_to(good)
    for _ in range(good):
        straight.next(1, {})
    assert drawer.next(1, {}).updates.order.tolist() == straight.next(1, {}).updates.order.tolist()


@given(lengths=SIZES, size=st.integers(1, 6), together=st.integers(1, 5))
def test_epochs_drawn_together_are_those_drawn_one_by_one(lengths: list[int], size: int, together: int) -> None:
    inputs, targets, _ = data(lengths, "every")
    a, b = (epochs(inputs, targets, None, size, True) for _ in range(2))
    whole, single = a.next(together, {}), [b.next(1, {}) for _ in range(together)]
    assert [u.tolist() for u in updates(whole)] == [u.tolist() for drawn in single for u in updates(drawn)]
    assert_same_bits(whole.updates.learning_rates, np.concatenate([d.updates.learning_rates for d in single]))


@given(lengths=SIZES, steps=st.integers(1, 5), shared=st.floats(0.25, 2))
def test_one_weight_for_all_rows_is_a_weight_for_each(lengths: list[int], steps: int, shared: float) -> None:
    inputs, targets, specification = data(lengths, "every")
    fields: dict[str, Any] = {"array": targets.array, "starts": targets.starts, "lengths": targets.lengths}
    one = Targets(**fields, steps=targets.steps, weights=np.broadcast_to(np.float64(shared), targets.weights.shape))
    each = Targets(**fields, steps=targets.steps, weights=np.full(targets.weights.shape, shared))
    assert one.shared
    assert not each.shared
    assert one.even == each.even
    for tbptt in (None, steps):
        found = []
        for kind in (one, each):
            parts = None if tbptt is None else cut(inputs, kind, specification, tbptt, None)
            assert parts is None or parts.targets.shared == kind.shared
            drawer = Epochs(inputs, kind, parts, 3, 1, 0.1, ConstantRate(), False, np.random.default_rng(0), 0)
            found.append(drawer.shares(drawer.next(1, {}).updates))
        assert_close(found[0], found[1], EXACT, "shares")
