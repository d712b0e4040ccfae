"""Which sequences each update sees: orders, mini-batches, and the parts that long sequences are cut into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.engines.base import Carried, Updates
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.training.constant_rate import ConstantRate, ScheduleState

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Drawn", "Epochs", "Parts", "cut"]


class Parts(NamedTuple):
    """Sequences cut into parts of at most some steps; the parts of a sequence follow each other."""

    inputs: Batch
    targets: Targets
    first: IndexArray  # (N,): the first part of each sequence
    number: IndexArray  # (N,): its parts
    carried: Carried


def cut(
    inputs: Batch, targets: Targets, specification: NetworkSpecification, steps: int | None, rows: int | None
) -> Parts:
    """Cut sequences for truncated BPTT, for states that go on from mini-batch to mini-batch, or both.

    Parameters
    ----------
    steps : None or int
        Steps of a part; None leaves sequences whole.
    rows : None or int
        Sequences of a mini-batch, if sequence n goes on where sequence n − rows ended; None: each starts by itself.

    Examples
    --------
    >>> from rnn_from_scratch.layers import GRU
    >>> from rnn_from_scratch.sequences import as_batch, as_targets
    >>> X, words = np.zeros((2, 5, 1)), NetworkSpecification(1, [GRU(2)], 1)
    >>> inputs = as_batch(X, 1, np.dtype(float))
    >>> parts = cut(inputs, as_targets(X, inputs, 1, "every", np.dtype(float)), words, 2, None)
    >>> parts.inputs.starts, parts.inputs.lengths, parts.carried.first_steps
    (array([0, 2, 4, 5, 7, 9]), array([2, 2, 1, 2, 2, 1]), array([0, 2, 4, 0, 2, 4]))
    """
    lengths = inputs.lengths
    N, most = len(inputs), int(lengths.max()) if steps is None else steps
    count = -(-lengths // most)
    first = np.cumsum(count) - count
    owner = np.repeat(np.arange(N), count)  # (C,)
    offset = (np.arange(len(owner)) - first[owner]) * most  # of each part in its sequence
    part_lengths = np.minimum(most, lengths[owner] - offset)
    part_inputs = Batch(inputs.array, inputs.starts[owner] + offset, part_lengths, int(part_lengths.max()))
    before = np.zeros(N, np.int64)  # steps that the row has seen before the sequence
    if rows is not None:
        for n in range(rows, N):
            before[n] = before[n - rows] + lengths[n - rows]
    units = specification.state_size
    row = owner if rows is None else owner % rows
    state = np.zeros((N if rows is None else rows, units), targets.array.dtype)
    carried = Carried(row, before[owner] + offset, state)
    if specification.readout == "every":
        part_targets = Targets(
            targets.array, targets.starts[owner] + offset, part_lengths, part_inputs.steps, targets.weights
        )
        return Parts(part_inputs, part_targets, first, count, carried)
    # There is something to learn where a sequence ends; the other parts get a row without weight.
    ends = np.zeros(len(owner), np.bool_)
    ends[first + count - 1] = True
    nothing = np.zeros((1, targets.array.shape[1]), targets.array.dtype)
    array = np.concatenate([targets.array, nothing])
    starts = np.where(ends, targets.starts[owner], len(targets.array))
    weights = np.append(targets.weights, targets.weights.dtype.type(0))
    ones = np.ones(len(owner), np.int64)
    return Parts(part_inputs, Targets(array, starts, ones, 1, weights), first, count, carried)


class Drawn(NamedTuple):
    """The updates of some epochs, and how many each has."""

    updates: Updates
    per_epoch: Sequence[int]


@dataclass(eq=False, repr=False)
class Epochs:
    """Draws the order of sequences and cuts it into mini-batches, one epoch after the other.

    Parameters
    ----------
    inputs, targets : Batch, Targets
    parts : None or Parts
        The same, cut, where the parts are what updates see.
    batch_size : int
    epochs : int
        Of the whole run, for the schedule.
    learning_rate : float
    schedule : ConstantRate
    shuffle : bool
    generator : numpy.random.Generator
    dropout_key : int
    drawn : int
        Epochs drawn so far.
    """

    inputs: Batch
    targets: Targets
    parts: Parts | None
    batch_size: int
    epochs: int
    learning_rate: float
    schedule: ConstantRate
    shuffle: bool
    generator: np.random.Generator
    dropout_key: int
    drawn: int = 0

    def __post_init__(self) -> None:
        N = len(self.inputs)
        self.boundaries = np.append(np.arange(0, N, self.batch_size, dtype=np.int64), N)
        self.generator_before: Mapping[str, Any] = {}  # of the last epochs drawn, where there is anything to draw
        seen = self.targets if self.parts is None else self.parts.targets
        # (N,) or (C,): the weight of each sequence or part
        if seen.shared:  # the rows of a series may be more than memory holds
            self.weights = seen.lengths * float(seen.weights[0])
        else:
            sums = np.concatenate([[0.0], np.cumsum(seen.weights, dtype=np.float64)])
            self.weights = sums[seen.starts + seen.lengths] - sums[seen.starts]
        self.total = float(self.weights.sum())

    @property
    def updates_per_epoch(self) -> int:
        """Updates of an epoch of whole sequences."""
        return len(self.boundaries) - 1

    def next(self, count: int, state: ScheduleState) -> Drawn:
        """The updates of the next `count` epochs; one, if sequences are cut into parts."""
        N, numbers = len(self.inputs), np.arange(self.drawn, self.drawn + count)
        self.drawn += count
        order = self._order(count)
        if self.parts is None:
            inputs, targets, carried, boundaries = self.inputs, self.targets, None, self.boundaries
            if count > 1:
                firsts = np.arange(count)[:, None] * N + boundaries[:-1]  # (count, updates)
                boundaries = np.append(firsts, count * N)
        else:
            inputs, targets, carried = self.parts.inputs, self.parts.targets, self.parts.carried
            order, boundaries = self._in_parts(order, self.parts)
        each = (len(boundaries) - 1) // count  # all epochs drawn at once have as many updates
        position = (numbers[:, None] + np.arange(each) / each).ravel()
        rates = self.schedule.rates(self.learning_rate, position, self.epochs, state)
        number = numbers.repeat(each)
        return Drawn(
            Updates(inputs, targets, order, boundaries, rates, self.dropout_key, number, carried), [each] * count
        )

    def _order(self, count: int) -> IndexArray:
        """The sequences of so many epochs, in the order in which they are visited."""
        N = len(self.inputs)
        if not self.shuffle:
            once = np.arange(N, dtype=np.int64)
            return once if count == 1 else np.tile(once, count)
        self.generator_before = self.generator.bit_generator.state
        if count == 1:
            return self.generator.permutation(N)
        return np.concatenate([self.generator.permutation(N) for _ in range(count)])

    def _in_parts(self, order: IndexArray, parts: Parts) -> tuple[IndexArray, IndexArray]:
        """The parts of every mini-batch, first parts first, and the boundaries between updates."""
        count = parts.number[order]
        place = np.repeat(np.arange(len(order)), count)  # of a part's sequence in the order
        number = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)  # of a part in its sequence
        batch = place // self.batch_size
        sorted_ = np.lexsort((place, number, batch))
        chosen: IndexArray = parts.first[order[place]] + number
        new = (np.diff(batch[sorted_], prepend=-1) != 0) | (np.diff(number[sorted_], prepend=-1) != 0)
        return chosen[sorted_], np.append(np.flatnonzero(new), len(place)).astype(np.int64)

    def shares(self, updates: Updates) -> npt.NDArray[np.float64]:
        """The share of each update in the loss of its epoch: the weight of its rows, out of all."""
        order, boundaries = updates.order, updates.boundaries  # the order may begin before these updates
        sums: npt.NDArray[np.float64] = np.add.reduceat(self.weights[order[: boundaries[-1]]], boundaries[:-1])
        return sums / self.total

    def return_to(self, good: int) -> None:
        """Put the generator where it was after the first `good` of the last epochs drawn, however many those were."""
        if self.shuffle:
            self.generator.bit_generator.state = self.generator_before
            for _ in range(good):
                self.generator.permutation(len(self.inputs))
