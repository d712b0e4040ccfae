"""Truncated backpropagation and stateful training: against a loop over chunks that carries states by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from loop_problem import descend, network, parameters, problem
from support import EXACT, assert_all_close, assert_close, assert_same_bits

from rnn_from_scratch import GRU, LSTM, Elman, Network
from rnn_from_scratch.training import loop

RATE = 0.3
CELLS: dict[str, Any] = {
    "lstm": [LSTM(4)],
    "learned states": [LSTM(3, learned_state=True), GRU(4, learned_state=True)],
    "stack": [Elman(5), GRU(3, "before")],
}
RAGGED = np.array([7, 3, 1, 7, 4, 6, 2, 5, 7, 3])


class ByHand:
    """Plain gradient descent over chunks of at most `steps` steps; states go on, gradients do not."""

    def __init__(self, net: Network, steps: int, size: int, stateful: bool) -> None:
        self.net, self.steps, self.size, self.stateful = net, steps, size, stateful
        self.losses: list[tuple[float, int]] = []
        self.norms: list[float] = []

    def epoch(self, X: np.ndarray, y: np.ndarray, lengths: np.ndarray) -> None:
        shapes = self.net.specification.state_shapes
        kept = {name: np.full((len(X), H), np.nan) for name, H in shapes.items()}
        for first in range(0, len(X), self.size):
            for begin in range(0, int(lengths[first : first + self.size].max()), self.steps):
                alive = np.arange(first, min(first + self.size, len(X)))
                alive = alive[lengths[alive] > begin]
                rows = alive % self.size if self.stateful else alive
                anew = begin == 0 and (first == 0 or not self.stateful)
                state = None if anew else {name: values[rows] for name, values in kept.items()}
                left = np.minimum(self.steps, lengths[alive] - begin)
                after = self.chunk(X[alive], y[alive], begin, left, lengths[alive], state)
                for name, values in after.items():
                    kept[name][rows] = values

    def chunk(
        self, X: np.ndarray, y: np.ndarray, begin: int, left: np.ndarray, lengths: np.ndarray, state: Any
    ) -> dict[str, np.ndarray]:
        where = slice(begin, begin + int(left.max()))
        run = self.net.forward(X[:, where], lengths=left, state=state)
        if y.ndim == 3:
            counts = np.arange(left.max()) < left[:, None]
            error = run.outputs - y[:, where]
        else:
            counts = lengths <= begin + self.steps  # there is something to learn where a sequence ends
            error = run.outputs - y
        if counts.any():
            error = np.where(counts[..., None], error, 0)
            M = int(counts.sum())
            gradient = self.net.backward(run, error / M).gradient  # the mean over M rows and two outputs
            self.losses.append((float((error**2).sum() / (2 * M)), M))
            self.norms.append(float(np.sqrt(sum((d * d).sum() for d in gradient.values()))))
            descend(self.net, gradient, RATE)
        return run.final_state


@pytest.mark.parametrize("stateful", [False, True], ids=["tbptt", "stateful"])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("cells", list(CELLS))
@pytest.mark.parametrize("steps", [1, 3, 4, None])
@pytest.mark.parametrize("readout", ["every", "last"])
def test_training_is_a_loop_over_chunks(
    engine: str, readout: str, steps: int | None, cells: str, lengths: np.ndarray | None, stateful: bool
) -> None:
    X, y = problem(N=10, T=7)
    t = y if readout == "every" else y[:, -1]
    trained, other = (network(engine, CELLS[cells], readout=readout) for _ in range(2))
    words: dict[str, Any] = {"batch_size": 5, "optimizer": "sgd", "learning_rate": RATE, "shuffle": False}
    history = trained.fit(X, t, 2, tbptt_steps=steps, stateful=stateful, lengths=lengths, **words)
    by_hand = ByHand(other, steps or 7, 5, stateful)
    for epoch in range(2):  # states begin anew in each
        by_hand.losses, by_hand.norms = [], []
        by_hand.epoch(X, t, np.full(10, 7) if lengths is None else lengths)
        losses, counts = zip(*by_hand.losses, strict=True)
        assert history.loss[epoch] == pytest.approx(np.average(losses, weights=counts), abs=EXACT)
        assert history.gradient_norm_max[epoch] == pytest.approx(max(by_hand.norms), abs=EXACT)
        assert history.gradient_norm_mean[epoch] == pytest.approx(np.mean(by_hand.norms), abs=EXACT)
    assert_all_close(parameters(trained), parameters(other), EXACT)


def test_row_i_goes_on_where_row_i_ended(engine: str) -> None:
    """Two long streams, cut into five parts each, are what they are as two sequences in truncated training."""
    generator = np.random.default_rng(2)
    X, y = generator.normal(size=(2, 20, 3)), generator.normal(size=(2, 20, 2))
    parts = [array.reshape(2, 5, 4, -1).swapaxes(0, 1).reshape(10, 4, -1) for array in (X, y)]
    streams, whole = network(engine), network(engine)
    words: dict[str, Any] = {"batch_size": 2, "optimizer": "adam", "learning_rate": 0.05}
    a = streams.fit(*parts, 3, stateful=True, **words)
    b = whole.fit(X, y, 3, tbptt_steps=4, shuffle=False, **words)
    assert a.loss == pytest.approx(b.loss, abs=EXACT)
    assert_all_close(parameters(streams), parameters(whole), EXACT)
    forgetful = network(engine)
    forgetful.fit(*parts, 3, shuffle=False, **words)
    assert abs(forgetful.parameters["layer0.W_h"] - whole.parameters["layer0.W_h"]).max() > 1e-6


def test_stateful_and_truncated_together(engine: str) -> None:
    generator = np.random.default_rng(2)
    X, y = generator.normal(size=(2, 24, 3)), generator.normal(size=(2, 24, 2))
    parts = [array.reshape(2, 4, 6, -1).swapaxes(0, 1).reshape(8, 6, -1) for array in (X, y)]
    streams, whole = network(engine), network(engine)
    words: dict[str, Any] = {"batch_size": 2, "optimizer": "adam", "learning_rate": 0.05}
    streams.fit(*parts, 3, stateful=True, tbptt_steps=3, **words)
    whole.fit(X, y, 3, tbptt_steps=3, shuffle=False, **words)
    assert_all_close(parameters(streams), parameters(whole), EXACT)


@pytest.mark.parametrize("readout", ["every", "last"])
def test_truncation_beyond_the_end_is_none(engine: str, readout: str) -> None:
    """The masks of dropout too are those of whole sequences, and so is their order."""
    X, y = problem(T=7)
    t = y if readout == "every" else y[:, -1]
    layers = [LSTM(4, input_dropout=0.2, recurrent_dropout=0.3, learned_state=True), GRU(3)]
    truncated, whole = (network(engine, layers, readout=readout, dropout=0.2) for _ in range(2))
    a = truncated.fit(X, t, 3, batch_size=4, tbptt_steps=7, lengths=RAGGED)
    b = whole.fit(X, t, 3, batch_size=4, lengths=RAGGED)
    assert a.loss == pytest.approx(b.loss, abs=EXACT)
    assert_all_close(parameters(truncated), parameters(whole), EXACT)


def test_weights_in_chunks(engine: str) -> None:
    """A chunk without any weight teaches nothing and moves the states on."""
    X, y = problem(N=4, T=6)
    weights = np.ones((4, 6))
    weights[:, 2:4] = 0
    weights[1, 5] = 0.25
    trained, other = network(engine), network(engine)
    words: dict[str, Any] = {"optimizer": "sgd", "learning_rate": RATE}
    history = trained.fit(X, y, 1, batch_size=4, tbptt_steps=2, sample_weight=weights, shuffle=False, **words)
    state, losses, norms = None, [], []
    for begin in (0, 2, 4):
        where = slice(begin, begin + 2)
        run = other.forward(X[:, where], state=state)
        state, w = run.final_state, weights[:, where]
        if begin != 2:
            error = run.outputs - y[:, where]
            gradient = other.backward(run, w[..., None] * error / w.sum()).gradient
            losses.append((w * (error**2).mean(axis=2)).sum() / w.sum())
            norms.append(np.sqrt(sum((d * d).sum() for d in gradient.values())))
            descend(other, gradient, RATE)
    assert_all_close(parameters(trained), parameters(other), EXACT)
    assert history.loss[0] == pytest.approx(np.average(losses, weights=[8, 7.25]), abs=EXACT)
    assert history.gradient_norm_mean[0] == pytest.approx(np.mean(norms), abs=EXACT)


@pytest.mark.parametrize("words", [{}, {"tbptt_steps": 2}, {"stateful": True, "tbptt_steps": 3}], ids=str)
def test_short_slices_of_large_sets_change_nothing(
    engine: str, words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks go by the numbers of sequences, whichever of them an engine is handed."""
    X, y = problem(N=40)
    ends = []
    for seconds in (10.0, 1e-9):
        monkeypatch.setattr(loop, "SLICE_SECONDS", seconds)
        net = network(engine, [LSTM(4, input_dropout=0.2, recurrent_dropout=0.3), GRU(3)], dropout=0.2)
        history = net.fit(X, y, 2, batch_size=2, **words)
        ends.append((history.loss, net.predict(X)))
    assert ends[0][0] == ends[1][0]
    assert_same_bits(ends[0][1], ends[1][1])


def test_streams_are_not_shuffled_unless_somebody_asks(engine: str) -> None:
    X, y = problem(N=8)
    default, in_order = network(engine), network(engine)
    default.fit(X, y, 2, batch_size=2, stateful=True)
    in_order.fit(X, y, 2, batch_size=2, stateful=True, shuffle=False)
    for name, W in default.parameters.items():
        assert_close(W, in_order.parameters[name], 0, name)


def test_sequences_without_weight_keep_their_place_in_a_stream(engine: str) -> None:
    X, y = problem(N=6, T=4)
    weights = np.array([1.0, 1, 0, 0, 1, 1])
    trained, other = network(engine), network(engine)
    words: dict[str, Any] = {"optimizer": "sgd", "learning_rate": RATE}
    trained.fit(X, y, 1, batch_size=2, stateful=True, sample_weight=weights, **words)
    state = None
    for first in (0, 2, 4):
        run = other.forward(X[first : first + 2], state=state)
        state = run.final_state
        if first != 2:
            descend(other, other.backward(run, (run.outputs - y[first : first + 2]) / 8).gradient, RATE)
    assert_all_close(parameters(trained), parameters(other), EXACT)


def test_validation_of_streams_begins_anew(engine: str) -> None:
    X, y = problem(N=10)
    net = network(engine)
    history = net.fit(X, y, 2, batch_size=4, stateful=True, validation=0.2)
    expected = ((net.predict(X[8:]) - y[8:]) ** 2).mean()
    assert history.validation_loss[-1] == pytest.approx(expected, abs=EXACT)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"stateful": True, "batch_size": 4}, {}, "batch_size .* must divide .* when stateful=True. Got 4 for 10."),
    ({"stateful": True, "batch_size": 3, "validation": 0.2}, {}, "batch_size .* must divide .*. Got 3 for 8."),
    ({"stateful": True, "shuffle": True, "batch_size": 5}, {}, "shuffle of Network.fit must be None or False when"),
    ({"tbptt_steps": 2}, {"layers": [GRU(4, bidirectional=True)]}, "tbptt_steps .* left out for bidirectional layers"),
    ({"stateful": True}, {"layers": [GRU(4, bidirectional=True)]}, "stateful .* left out for bidirectional layers"),
    ({"tbptt_steps": 2}, {"readout": "mean"}, "tbptt_steps .* must be left out with readout='mean'"),
    ({"stateful": True}, {"readout": "mean"}, "stateful .* must be left out with readout='mean'"),
]


@pytest.mark.parametrize(("words", "options", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_what_is_refused_changes_nothing(words: dict[str, Any], options: dict[str, Any], message: str) -> None:
    X, y = problem()
    net = network(**options)
    before = parameters(net)
    with pytest.raises(ValueError, match=message):
        net.fit(X, y[:, 0] if options.get("readout") == "mean" else y, 2, **words)
    assert_all_close(parameters(net), before, 0)
    assert net.history is None
