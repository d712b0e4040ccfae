"""Specifications on their way to JSON and back, and the table of a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from properties import given, st

from rnn_from_scratch import GRU, LSTM, Elman, Network, NetworkSpecification

WORDS: dict[str, Any] = {
    "input_size": 4,
    "layers": [
        {"cell": "elman", "hidden_size": 3, "activation": "relu"},
        {"cell": "gru", "hidden_size": 5, "reset": "before", "bidirectional": True, "learned_state": True},
        {"cell": "lstm", "hidden_size": 2, "forget_bias": 0.5, "input_dropout": 0.1, "recurrent_dropout": 0.2},
    ],
    "output_size": 3,
    "readout": "mean",
    "output_activation": "softmax",
    "loss": "ce",
    "dropout": 0.25,
    "vocabulary_size": 9,
    "huber_delta": 2.0,
}


def test_json_says_everything() -> None:
    specification = NetworkSpecification.from_json(json.dumps(WORDS))
    assert specification == NetworkSpecification(
        4,
        [
            Elman(3, "relu"),
            GRU(5, reset="before", bidirectional=True, learned_state=True),
            LSTM(2, forget_bias=0.5, input_dropout=0.1, recurrent_dropout=0.2),
        ],
        3,
        "mean",
        "softmax",
        "ce",
        0.25,
        9,
        2.0,
    )
    written = json.loads(specification.to_json())
    assert {**written, "layers": None} == {**WORDS, "layers": None}
    for layer, words in zip(written["layers"], WORDS["layers"], strict=True):
        assert words.items() <= layer.items()


SHARED = dict(
    bidirectional=st.booleans(),
    input_dropout=st.floats(0, 0.9),
    recurrent_dropout=st.floats(0, 0.9),
    learned_state=st.booleans(),
)
LAYERS = st.one_of(
    st.builds(Elman, st.integers(1, 99), st.sampled_from(["tanh", "sigmoid", "relu", "linear"]), **SHARED),
    st.builds(GRU, st.integers(1, 99), st.sampled_from(["after", "before"]), **SHARED),
    st.builds(LSTM, st.integers(1, 99), st.floats(-2, 2), **SHARED),
)


@given(
    st.integers(1, 99),
    st.lists(LAYERS, min_size=1, max_size=4),
    st.integers(2, 99),
    st.sampled_from(["every", "last", "mean"]),
    st.sampled_from([("linear", "mse"), ("sigmoid", "ce"), ("softmax", "ce"), ("linear", "huber"), ("sigmoid", "mae")]),
    st.tuples(st.floats(0, 0.9), st.none() | st.integers(1, 99), st.floats(1e-3, 1e3)),
)
def test_there_and_back(D: int, layers: Any, outputs: int, readout: str, output: Any, numbers: Any) -> None:
    specification = NetworkSpecification(D, layers, outputs, readout, *output, *numbers)
    again = NetworkSpecification.from_json(specification.to_json())
    assert again == specification
    assert again.tensors() == specification.tensors()
    assert repr(Network.from_specification(again, engine="numpy")) == repr(
        Network.from_specification(specification, engine="numpy")
    )


def test_defaults_need_not_be_said() -> None:
    short = '{"input_size": 3, "layers": [{"cell": "lstm", "hidden_size": 4}], "output_size": 1}'
    assert NetworkSpecification.from_json(short) == NetworkSpecification(3, [LSTM(4)], 1)


WRONG: list[tuple[str, Any, str]] = [
    ("input_size", 0, "input_size of Network must be an int >= 1. Got 0."),
    ("input_size", 2.0, "input_size of Network must be an int >= 1. Got 2.0."),
    ("input_size", "3", "input_size of Network must be an int >= 1. Got '3'."),
    ("input_size", None, "input_size of Network must be an int >= 1. Got None."),
    ("output_size", True, "output_size of Network must be an int >= 1. Got True."),
    ("output_size", -1, "output_size of Network must be an int >= 1. Got -1."),
    ("layers", [], "layers of Network must be a list of one or more layers. Got []."),
    ("layers", {"cell": "gru"}, "layers of Network must be a list of one or more layers. Got {"),
    ("layers", "gru", "layers of Network must be a list of one or more layers. Got 'gru'."),
    ("layers", ["gru"], "layers of Network must hold mappings with a 'cell' when read from JSON. Got 'gru'."),
    ("layers", [{"hidden_size": 3}], "cell of a layer must be one of 'elman', 'gru', 'lstm'. Got None."),
    (
        "layers",
        [{"cell": ["gru"], "hidden_size": 3}],
        "cell of a layer must be one of 'elman', 'gru', 'lstm'. Got ['gru'].",
    ),
    (
        "layers",
        [{"cell": "qrnn", "hidden_size": 3}],
        "cell of a layer must be one of 'elman', 'gru', 'lstm'. Got 'qrnn'.",
    ),
    ("layers", [{"cell": "gru"}], "GRU must have the field 'hidden_size'. Got ['cell']."),
    ("layers", [{"cell": "gru", "hidden_size": 3, "activation": "tanh"}], "GRU must have no field 'activation'."),
    (
        "layers",
        [{"cell": "gru", "hidden_size": 3, "reset": "never"}],
        "reset of GRU must be one of 'after', 'before'. Got",
    ),
    (
        "layers",
        [{"cell": "lstm", "hidden_size": 3, "forget_bias": "1"}],
        "forget_bias of LSTM must be a finite number. Got '1'.",
    ),
    ("layers", [{"cell": "elman", "hidden_size": 3, "activation": 1}], "activation of Elman must be one of 'tanh', "),
    (
        "layers",
        [{"cell": "gru", "hidden_size": 3, "bidirectional": 1}],
        "bidirectional of GRU must be True or False. Got 1.",
    ),
    (
        "layers",
        [{"cell": "gru", "hidden_size": 3, "learned_state": None}],
        "learned_state of GRU must be True or False. Got",
    ),
    (
        "layers",
        [{"cell": "gru", "hidden_size": 3, "input_dropout": 1}],
        "input_dropout of GRU must be a number in [0, 1). Got 1.",
    ),
    (
        "layers",
        [{"cell": "gru", "hidden_size": 3, "recurrent_dropout": -1}],
        "recurrent_dropout of GRU must be a number in",
    ),
    ("readout", "first", "readout of Network must be one of 'every', 'last', 'mean'. Got 'first'."),
    ("readout", None, "readout of Network must be one of 'every', 'last', 'mean'. Got None."),
    (
        "output_activation",
        "tanh",
        "output_activation of Network must be one of 'linear', 'sigmoid', 'softmax'. Got 'tanh'.",
    ),
    (
        "output_activation",
        "linear",
        "output_activation of Network must be 'sigmoid' or 'softmax' when the loss is 'ce'.",
    ),
    ("loss", "hinge", "loss of Network must be one of 'mse', 'ce', 'mae', 'huber'. Got 'hinge'."),
    ("loss", None, "loss of Network must be one of 'mse', 'ce', 'mae', 'huber'. Got None."),
    ("dropout", 1.0, "dropout of Network must be a number in [0, 1). Got 1.0."),
    ("dropout", False, "dropout of Network must be a number in [0, 1). Got False."),
    ("vocabulary_size", 0, "vocabulary_size of Network must be an int >= 1. Got 0."),
    ("vocabulary_size", "many", "vocabulary_size of Network must be an int >= 1. Got 'many'."),
    ("huber_delta", 0, "huber_delta of Network must be a finite number > 0. Got 0."),
    ("huber_delta", float("nan"), "huber_delta of Network must be a finite number > 0. Got nan."),
    ("huber_delta", [1], "huber_delta of Network must be a finite number > 0. Got [1]."),
    ("momentum", 0.9, "specification of Network must have no field 'momentum'. Known are ['dropout', 'huber_delta', "),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_every_wrong_field_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        NetworkSpecification.from_json(json.dumps({**WORDS, field: value}))
    assert message in str(caught.value)


def test_every_field_has_its_wrong_value() -> None:
    assert {field for field, _, _ in WRONG} == {*WORDS, "momentum"}


@pytest.mark.parametrize("field", ["input_size", "layers", "output_size"])
def test_missing_fields_are_named(field: str) -> None:
    words = {name: value for name, value in WORDS.items() if name != field}
    with pytest.raises(ValueError, match=rf"specification of Network must have the field '{field}'\. Got \["):
        NetworkSpecification.from_json(json.dumps(words))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "specification of Network must be JSON. Got '' (Expecting value: line 1 column 1 (char 0))."),
        ("{'input_size': 3}", "specification of Network must be JSON. Got "),
        ("[" * 100_000, "specification of Network must be JSON. Got "),
        ('{"input_size": ' + "9" * 5000 + "}", "specification of Network must be JSON. Got "),
        ("[1]", "specification of Network must be a mapping. Got [1]."),
        ('{"input_size": 3, "input_size": 4}', "specification of Network must say 'input_size' once. Got it twice."),
        (b"{}", "specification of Network must be a str of JSON. Got b'{}'."),
        ({}, "specification of Network must be a str of JSON. Got {}."),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_not_a_json_object_is_refused(text: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        NetworkSpecification.from_json(text)
    assert message in str(caught.value)


def test_a_callable_loss_cannot_be_written_down() -> None:
    specification = NetworkSpecification(3, [GRU(4)], 1, loss=lambda outputs, targets: (0.0, outputs))
    with pytest.raises(ValueError, match=r"loss of Network must be a word to be written down\. Got a callable\."):
        specification.to_json()
    with pytest.raises(TypeError, match="loss of Network must be one of"):
        NetworkSpecification.from_dict({**WORDS, "loss": lambda outputs, targets: (0.0, outputs)})


def test_networks_are_made_from_specifications() -> None:
    specification = NetworkSpecification.from_json(json.dumps(WORDS))
    options: dict[str, Any] = dict(dtype="float32", random_state=3, initializer="orthogonal", engine="numpy")
    made = Network.from_specification(specification, **options)
    words = {name: getattr(specification, name) for name in WORDS}
    direct = Network(**words, **options)
    assert made.specification == specification
    assert made.dtype == "float32"
    assert {name: W.tobytes() for name, W in made.parameters.items()} == {
        name: W.tobytes() for name, W in direct.parameters.items()
    }
    with pytest.raises(TypeError, match=r"specification of Network\.from_specification must be a NetworkSpecification"):
        Network.from_specification(WORDS)  # type: ignore[arg-type]


def test_a_network_is_written_as_it_is_made() -> None:
    net = Network.from_specification(NetworkSpecification.from_json(json.dumps(WORDS)))
    assert (
        eval(repr(net), {"Network": Network, "Elman": Elman, "GRU": GRU, "LSTM": LSTM}).specification
        == net.specification
    )
    assert repr(Network(3, [GRU(8)], 1)) == "Network(3, [GRU(8)], 1)"


def test_the_summary_counts_every_tensor() -> None:
    net = Network.from_specification(NetworkSpecification.from_json(json.dumps(WORDS)), engine="numpy")
    text = net.summary()
    assert net.dtype is None
    assert text == str(net)
    assert text.splitlines()[-1] == (
        "readout 'mean', output 'softmax', loss 'ce', dropout 0.25, dtype that of the first data, engine 'numpy'"
    )
    total = 0
    for name, W in net.parameters.items():
        place, symbol = name.rsplit(".", 1)
        below = text[text.index(f"\n{place} ") :]
        line = next(line for line in below.splitlines() if f" {symbol} " in line)
        assert str(W.shape) in line
        assert f" {W.size}" in line, name
        total += W.size
    assert next(line for line in text.splitlines() if " total " in line).split() == ["total", str(total)]
    assert "Elman(3, activation='relu')" in text
    assert "9 tokens, embedded in 4 to 3 outputs" in text
    assert "dtype float64" in str(net)

    def quantile(outputs: Any, targets: Any) -> Any:
        return 0.0, outputs

    assert "loss quantile," in Network(3, [GRU(4)], 1, loss=quantile).summary()
