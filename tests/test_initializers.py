"""First values: what each word draws, block by block, and who gets what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close, assert_same_bits

from rnn_from_scratch import GRU, LSTM, Elman, Network, ScaledIdentity

# Gate blocks far from square, so that the fan of a block and that of the stack differ
LAYERS: list[Any] = [LSTM(90, learned_state=True), GRU(60, bidirectional=True)]
GATES = {"layer0": 4, "layer1": 3, "layer1.reverse": 3, "readout": 1}


def network(initializer: Any = "xavier_uniform", **options: Any) -> Network:
    return Network(150, LAYERS, 70, **{"initializer": initializer, "random_state": 0, **options})


def blocks(net: Network) -> list[tuple[str, np.ndarray]]:
    """Every gate of every weight matrix but the embedding."""
    found = []
    for name, W in net.parameters.items():
        place, symbol = name.rsplit(".", 1)
        if symbol in ("W_x", "W_h", "W_y"):
            found += [(name, block) for block in np.split(W, GATES[place])]
    assert len(found) == 2 * (4 + 3 + 3) + 1
    return found


@pytest.mark.parametrize("word", ["xavier_uniform", "xavier_normal", "he"])
def test_variance_is_that_of_the_block(word: str) -> None:
    for name, block in blocks(network(word)):
        fan_out, fan_in = block.shape
        expected = 2 / fan_in if word == "he" else 2 / (fan_in + fan_out)
        assert block.var() == pytest.approx(expected, rel=0.1), name
        assert abs(block.mean()) < 0.1 * np.sqrt(expected), name
        kurtosis = ((block - block.mean()) ** 4).mean() / block.var() ** 2  # 1.8 for uniform, 3 for normal numbers
        assert kurtosis == pytest.approx(1.8 if word == "xavier_uniform" else 3, rel=0.15), name
        if word == "xavier_uniform":
            assert np.abs(block).max() <= np.sqrt(6 / (fan_in + fan_out))


def test_orthogonal_blocks_are_orthogonal_and_all_different() -> None:
    found = blocks(network("orthogonal"))
    for name, block in found:
        short = block if block.shape[0] <= block.shape[1] else block.T
        assert_close(short @ short.T, np.eye(len(short)), EXACT, name)
    assert len({block.tobytes() for _, block in found}) == len(found)


def test_orthogonal_matrices_favour_none() -> None:
    """Uniformly drawn: the mean of every entry is zero. QR without the correction of signs has a diagonal that is not."""
    drawn = [Network(2, [Elman(2)], 1, initializer="orthogonal", random_state=seed) for seed in range(400)]
    mean = np.mean([net.parameters["layer0.W_h"] for net in drawn], axis=0)
    assert np.abs(mean).max() < 4 * np.sqrt(0.5 / 400)


@pytest.mark.parametrize(("initializer", "scale"), [("scaled_identity", 1.0), (ScaledIdentity(0.01), 0.01)])
def test_a_scaled_identity_is_for_recurrent_weights(initializer: Any, scale: float) -> None:
    net, default = network(initializer), network()
    limit = {name: np.abs(W).max() for name, W in default.parameters.items()}
    for name, block in blocks(net):
        if name.endswith("W_h"):
            assert_same_bits(block, scale * np.eye(len(block)), name)
        else:
            assert 0.5 * limit[name] < np.abs(block).max() < 2 * limit[name]
            assert abs(block).min() > 0


def test_embeddings_are_standard_normal_unless_named() -> None:
    for initializer in ("xavier_uniform", "he", "orthogonal", "scaled_identity", {"W_h": "he"}):
        W_e = network(initializer, vocabulary_size=200).parameters["embedding.W_e"]
        assert W_e.std() == pytest.approx(1, rel=0.02)
        assert abs(W_e.mean()) < 0.02
    W_e = network({"W_e": "orthogonal"}, vocabulary_size=200).parameters["embedding.W_e"]
    assert_close(W_e.T @ W_e, np.eye(150), EXACT)


def test_a_full_name_beats_a_symbol_and_the_rest_keeps_its_default() -> None:
    mine = np.random.default_rng(1).normal(size=(180, 60))
    net = network({"layer1.reverse.W_h": mine, "W_h": "orthogonal", "readout.W_y": "he"})
    assert_same_bits(net.parameters["layer1.reverse.W_h"], mine)
    for name, gates in (("layer0.W_h", 4), ("layer1.W_h", 3)):
        for block in np.split(net.parameters[name], gates):
            assert_close(block @ block.T, np.eye(len(block)), EXACT)
    assert net.parameters["readout.W_y"].var() == pytest.approx(2 / 120, rel=0.1)
    for name in ("layer0.W_x", "layer1.W_x", "layer1.reverse.W_x"):
        assert np.abs(net.parameters[name]).max() <= np.sqrt(6 / 150)


def test_vectors_are_what_layers_say_or_arrays() -> None:
    net = network()
    for name, W in net.parameters.items():
        if W.ndim == 1 and name != "layer0.b_h":
            assert not W.any(), name
    assert_same_bits(net.parameters["layer0.b_h"], np.repeat([0.0, 1, 0, 0], 90))
    values = {"b_hn": np.linspace(-1, 1, 60), "layer0.c_0": np.linspace(1, 2, 90), "readout.b_y": np.arange(70)}
    given = network(values)
    assert_same_bits(given.parameters["layer1.b_hn"], values["b_hn"])
    assert_same_bits(given.parameters["layer1.reverse.b_hn"], values["b_hn"])
    assert_same_bits(given.parameters["layer0.c_0"], values["layer0.c_0"])
    assert_same_bits(given.parameters["readout.b_y"], np.arange(70.0))
    assert not given.parameters["layer0.h_0"].any()
    for name in ("layer0.W_x", "readout.W_y"):  # what is given draws nothing
        assert_same_bits(given.parameters[name], net.parameters[name], name)


def test_given_arrays_are_copied_and_rounded() -> None:
    mine = np.full((2, 3), 0.1)
    net = Network(3, [Elman(2)], 1, initializer={"W_x": mine})
    mine[:] = 7
    assert_same_bits(net.parameters["layer0.W_x"], np.full((2, 3), 0.1))
    single = Network(3, [Elman(2)], 1, initializer={"W_x": np.full((2, 3), 0.1)}, dtype="float32")
    assert_same_bits(single.parameters["layer0.W_x"], np.full((2, 3), 0.1, np.float32))


@pytest.mark.parametrize("word", ["xavier_uniform", "xavier_normal", "he", "orthogonal", "scaled_identity"])
def test_one_seed_one_start_in_both_precisions(word: str) -> None:
    double, again = (network(word, dtype="float64", vocabulary_size=5) for _ in range(2))
    single, other = network(word, dtype="float32", vocabulary_size=5), network(word, random_state=1, vocabulary_size=5)
    for name, W in double.parameters.items():
        assert_same_bits(again.parameters[name], W, name)
        assert_same_bits(single.parameters[name], W.astype(np.float32), name)
    assert not np.array_equal(other.parameters["layer0.W_x"], double.parameters["layer0.W_x"])


SQUARE = np.eye(2)


@pytest.mark.parametrize(
    ("initializer", "message"),
    [
        (3, "initializer of Network must be a word, a ScaledIdentity or a mapping from tensors to words or arrays. Got 3."),
        (None, "initializer of Network must be a word, a ScaledIdentity or a mapping from tensors to words or arrays. Got"),
        ("glorot", "initializer of Network must be one of 'xavier_uniform', 'xavier_normal', 'he', 'orthogonal', 'scaled_"),
        ({"W_h": "glorot"}, "initializer['W_h'] of Network must be one of 'xavier_uniform', "),
        ({"W_q": SQUARE}, "initializer of Network must name tensors of the network, ['W_h', 'W_x', 'W_y', 'b_h', "),
        ({"layer1.W_h": SQUARE}, "must name tensors of the network"),
        ({"W_e": "he"}, "must name tensors of the network"),
        ({"h_0": [0, 0]}, "must name tensors of the network"),
        ({3: SQUARE}, "must name tensors of the network"),
        ({"W_h": np.eye(3)}, "initializer['W_h'] of Network must be (2, 2) for layer0.W_h. Got (3, 3)."),
        ({"readout.b_y": 0.5}, "initializer['readout.b_y'] of Network must be (1,) for readout.b_y. Got ()."),
        ({"W_h": SQUARE * np.nan}, "initializer['W_h'] of Network must be finite. Got nan at index (0, 0)."),
        ({"W_h": [["a", "b"]] * 2}, "initializer['W_h'] of Network must be an array of real numbers. Got dtype <U1."),
        ({"b_h": "he"}, "initializer['b_h'] of Network must be an array (2,) for layer0.b_h. Got 'he'."),
        ({"b_h": ScaledIdentity()}, "initializer['b_h'] of Network must be an array (2,) for layer0.b_h. Got ScaledIdentity("),
        ({"W_x": "scaled_identity"}, "must not be a scaled identity for layer0.W_x: its blocks (2, 3) are not square."),
        ({"W_h": SQUARE, "layer0.W_x": ScaledIdentity(2)}, "must not be a scaled identity for layer0.W_x"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_initializers_are_refused(initializer: Any, message: str) -> None:
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    with pytest.raises((TypeError, ValueError)) as caught, np.errstate(invalid="ignore"):
        Network(3, [Elman(2)], 1, initializer=initializer, random_state=generator, dtype="float64")
    assert message in str(caught.value)
    assert generator.bit_generator.state == before


def test_numbers_too_large_for_float32_are_refused_when_it_is_known() -> None:
    net = Network(3, [Elman(2)], 1, initializer={"W_h": SQUARE * 1e300})
    with pytest.raises(
        ValueError, match=r"initializer of Network must fit float32\. Got a larger number for layer0\.W_h"
    ):
        net.predict(np.zeros((1, 2, 3), np.float32))
    assert net.dtype is None
    assert net.predict(np.zeros((1, 2, 3))).dtype == np.float64


@pytest.mark.parametrize("scale", ["1", None, np.inf, np.nan, True])
def test_scales_must_be_finite(scale: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"scale of ScaledIdentity must be a finite number\. Got "):
        ScaledIdentity(scale)
