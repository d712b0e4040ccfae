"""What the native engine keeps of a run, and where: predictions in groups, and room for the gradients of wide layers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from support import assert_all_close, assert_close, tolerance

from rnn_from_scratch import GRU, LSTM, Elman, Network

pytestmark = pytest.mark.usefixtures("native")
O = 2  # noqa: E741  # the alphabet's letter
ROUNDING = 1e-12

IN_GROUPS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "elman": ([Elman(80)], {"readout": "every"}),
    "lstm": ([LSTM(40, learned_state=True)], {"readout": "last"}),
    "gru": ([GRU(30, reset="before"), GRU(30)], {"readout": "mean"}),
    "both ways": ([LSTM(24, bidirectional=True)], {"readout": "every"}),
    "tokens": ([GRU(70)], {"readout": "last", "vocabulary_size": 7}),
}


@pytest.mark.parametrize("alike", [True, False], ids=["of one length", "of many lengths"])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", IN_GROUPS)
def test_predictions_in_groups(name: str, n_threads: int, alike: bool) -> None:
    """`forward` keeps what every sequence leaves, and so cannot run them in groups."""
    layers, words = IN_GROUPS[name]
    network = Network(3, layers, O, dtype="float64", random_state=3, engine="native", n_threads=n_threads, **words)
    rng = np.random.default_rng(2)
    with network.edit_parameters() as p:
        for values in p.values():
            values[...] = rng.normal(size=values.shape) * 0.2
    N = 300
    lengths = np.full(N, 115) if alike else rng.integers(80, 160, size=N)
    X = [rng.integers(7, size=T) if "vocabulary_size" in words else rng.normal(size=(T, 3)) for T in lengths]
    whole = network.forward(X)
    outputs, states = network.predict(X, return_states=True)
    assert_close(outputs, whole.outputs, ROUNDING, "outputs")
    for state, values in whole.final_state.items():
        assert_close(states[state], values, ROUNDING, state)
    if alike:  # without another look, from an array
        assert_close(network.predict(np.array(X)), whole.outputs, ROUNDING, "outputs at once")


def test_memory_does_not_grow_with_the_sequences_of_a_prediction() -> None:
    code = """
import numpy as np
from rnn_from_scratch import LSTM, Network
from rnn_from_scratch.benchmark.standalone import peak_bytes
network = Network(4, [LSTM(64)], 1, readout="last", random_state=0, engine="native", n_threads=1)
X = np.ones((600, 100, 4), np.float32)
network.predict(X[:200])
before = peak_bytes()
network.predict(X)
print(peak_bytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 6e6  # the states of 400 more sequences alone are 400 · 100 · 2 · 64 numbers, 20 MB


@pytest.mark.parametrize(
    "layers",
    [[LSTM(256), LSTM(264)], [GRU(260), GRU(256)], [LSTM(128, bidirectional=True), LSTM(132)]],
    ids=["lstm", "gru", "both ways"],
)
def test_wide_layers_of_nearly_one_size_have_room(layers: list[Any], dtype: str) -> None:
    """More rows than one part of the gradient of the weights; rows that fill pages, and layers just not as wide."""
    network = Network(3, layers, O, dtype=dtype, random_state=3, engine="native", n_threads=1)
    other = Network(3, layers, O, dtype=dtype, random_state=3, engine="numpy")
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(70, 2, 3)), rng.normal(size=(70, 2, O))
    loss, gradient = network.loss_and_gradient(X, y)
    expected_loss, expected = other.loss_and_gradient(X, y)
    assert_close(loss, expected_loss, tolerance(dtype), "loss")
    assert_all_close(gradient, expected, tolerance(dtype), "gradient")
