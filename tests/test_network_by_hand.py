"""States given and returned, forward and backward by hand, and sampling."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close, assert_same_bits

from rnn_from_scratch import GRU, LSTM, SGD, Elman, Network
from rnn_from_scratch.generation import sample

LENGTHS = np.array([5, 2, 4, 1])
STACKS = {
    "elman": [Elman(4), Elman(3, "sigmoid")],
    "gated": [GRU(4), LSTM(3)],
    "learned": [LSTM(3, learned_state=True), GRU(4, reset="before", learned_state=True)],
    "both ways": [LSTM(3, bidirectional=True, learned_state=True), GRU(4, bidirectional=True)],
}


@pytest.fixture(params=STACKS, ids=str)
def stack(request: pytest.FixtureRequest) -> Any:
    return STACKS[request.param]


def network(engine: str, layers: Any, **options: Any) -> Network:
    """Random numbers in every tensor, biases and learned states too."""
    net = Network(3, layers, 2, **{"engine": engine, **options})
    generator = np.random.default_rng(1)
    with net.edit_parameters() as p:
        for W in p.values():
            W[...] = generator.uniform(0.2, 0.8, W.shape) * generator.choice([-1, 1], W.shape)
    return net


def data(net: Network, N: int = 4, T: int = 5) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    generator = np.random.default_rng(2)
    state = {name: generator.normal(size=(N, H)) for name, H in net.specification.state_shapes.items()}
    return generator.normal(size=(N, T, 3)), state


# --- States ---


@pytest.mark.parametrize("kind", ["elman", "gated", "learned"])
def test_a_sequence_carried_on_is_the_whole(engine: str, kind: str) -> None:
    net = network(engine, STACKS[kind])
    X, state = data(net)
    for given in (None, state):
        whole, final = net.predict(X, state=given, return_states=True)
        first, between = net.predict(X[:, :2], state=given, return_states=True)
        second, end = net.predict(X[:, 2:], state=between, return_states=True)
        assert_close(np.concatenate([first, second], axis=1), whole, EXACT)
        assert list(end) == list(net.specification.state_shapes)
        for name, h in end.items():
            assert_close(h, final[name], EXACT, name)


def test_states_are_zero_learned_or_given(engine: str, stack: Any) -> None:
    net = network(engine, stack)
    X, state = data(net)
    shapes = net.specification.state_shapes
    first = {
        name: np.tile(net.parameters[f"{name}_0"], (4, 1)) if f"{name}_0" in net.parameters else np.zeros((4, H))
        for name, H in shapes.items()
    }
    assert_same_bits(net.predict(X, lengths=LENGTHS), net.predict(X, lengths=LENGTHS, state=first))
    given, final = net.predict(X, lengths=LENGTHS, state=state, return_states=True)
    assert np.abs(given - net.predict(X, lengths=LENGTHS)).max() > 1e-3
    for n, length in enumerate(LENGTHS):
        alone = {name: h[n : n + 1] for name, h in state.items()}
        outputs, end = net.predict(X[n : n + 1, :length], state=alone, return_states=True)
        assert_close(outputs[0], given[n, :length], EXACT)
        for name in shapes:
            assert_close(end[name][0], final[name][n], EXACT, name)


def test_states_keep_the_dtype_and_are_not_kept(engine: str) -> None:
    net = network(engine, [GRU(4)], dtype="float32")
    X, state = data(net)
    before = copy.deepcopy(state)
    outputs, final = net.predict(X, state=state, return_states=True)
    assert outputs.dtype == final["layer0.h"].dtype == np.float32
    final["layer0.h"][:] = 9
    assert_same_bits(state["layer0.h"], before["layer0.h"])
    assert_same_bits(net.predict(X, state={"layer0.h": state["layer0.h"].tolist()}), outputs)


def with_first(values: Any) -> Any:
    return lambda state: {**state, "layer0.h": values}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {}, "state must have the names ['layer0.h', 'layer1.h', 'layer1.c']. Got []."),
        (lambda state: {**state, "layer1.x": 0}, "Got ['layer0.h', 'layer1.h', 'layer1.c', 'layer1.x']."),
        (lambda state: {"layer0.h": state["layer0.h"]}, "'layer1.h', 'layer1.c']. Got ['layer0.h']."),
        (lambda state: state["layer0.h"], "state must be a mapping from names such as 'layer0.h' to arrays (N, H). Got array("),
        (with_first(np.zeros((4, 3))), "state['layer0.h'] must be (N=4, H=4). Got (4, 3)."),
        (with_first(np.zeros((3, 4))), "state['layer0.h'] must be (N=4, H=4). Got (3, 4)."),
        (with_first(np.full((4, 4), np.nan)), "state['layer0.h'] must be finite. Got nan at index (0, 0)."),
        (with_first([["text"] * 4] * 4), "state['layer0.h'] must be an array of real numbers. Got dtype <U4."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["predict", "forward"])
def test_wrong_states_are_refused(method: str, change: Any, message: str) -> None:
    net = network("numpy", STACKS["gated"])
    X, state = data(net)
    with pytest.raises((TypeError, ValueError)) as caught:
        getattr(net, method)(X, state=change(state))
    assert message in str(caught.value)


def test_return_states_is_true_or_false() -> None:
    net = network("numpy", [GRU(4)])
    with pytest.raises(TypeError, match=r"return_states of Network\.predict must be True or False\. Got 1\."):
        net.predict(data(net)[0], return_states=1)  # type: ignore[call-overload]


# --- By hand ---


@pytest.mark.parametrize("readout", ["every", "last", "mean"])
def test_forward_is_predict(engine: str, stack: Any, readout: str) -> None:
    net = network(engine, stack, readout=readout, output_activation="sigmoid")
    X, state = data(net)
    for given in (None, state):
        run = net.forward(X, lengths=LENGTHS, state=given)
        outputs, final = net.predict(X, lengths=LENGTHS, state=given, return_states=True)
        assert_close(run.outputs, outputs, EXACT)
        real = np.arange(5) < LENGTHS[:, None] if readout == "every" else slice(None)
        assert_close((1 / (1 + np.exp(-run.preactivations)))[real], outputs[real], EXACT)
        for name, h in final.items():
            assert_close(run.final_state[name], h, EXACT, name)


@pytest.mark.parametrize("readout", ["every", "last", "mean"])
@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
def test_backward_by_hand_is_loss_and_gradient(engine: str, stack: Any, readout: str, activation: str) -> None:
    net = network(engine, stack, readout=readout, output_activation=activation)
    X, _ = data(net)
    run = net.forward(X, lengths=LENGTHS)
    y = np.random.default_rng(3).normal(size=run.outputs.shape)
    loss, gradient = net.loss_and_gradient(X, y, lengths=LENGTHS)
    real = (np.arange(5) < LENGTHS[:, None])[:, :, None] if readout == "every" else np.ones((4, 1), bool)
    count = real.sum() * 2
    d = np.where(real, 2 * (run.outputs - y) / count, np.nan)  # what stands in the padding is nobody's business
    assert loss == pytest.approx(float((((run.outputs - y) ** 2) * real).sum() / count), abs=EXACT)
    by_outputs = net.backward(run, d)
    for name, expected in gradient.items():
        assert_close(by_outputs.gradient[name], expected, EXACT, name)
    again = net.backward(run, d)
    for name in gradient:
        assert_same_bits(again.gradient[name], by_outputs.gradient[name], name)


@pytest.mark.parametrize("readout", ["every", "last", "mean"])
@pytest.mark.parametrize("given", [True, False], ids=["state", "no state"])
def test_every_gradient_by_hand_is_the_slope(engine: str, stack: Any, readout: str, given: bool) -> None:
    net = network(engine, stack, readout=readout, output_activation="sigmoid")
    X, state = data(net)
    first = state if given else None
    generator = np.random.default_rng(4)
    run = net.forward(X, lengths=LENGTHS, state=first)
    real = (np.arange(5) < LENGTHS[:, None])[:, :, None] if readout == "every" else True
    A = generator.normal(size=run.outputs.shape) * real
    B = {name: generator.normal(size=h.shape) for name, h in run.final_state.items()}

    def value(X: np.ndarray, state: Any) -> float:
        outputs, final = net.predict(X, lengths=LENGTHS, state=state, return_states=True)
        return float((A * outputs).sum() + sum((B[name] * h).sum() for name, h in final.items()))

    def slope(at: np.ndarray, d: np.ndarray, evaluate: Any, what: str) -> None:
        V = generator.normal(size=at.shape)
        by_difference = (evaluate(at + 1e-5 * V) - evaluate(at - 1e-5 * V)) / 2e-5
        assert float((d * V).sum()) == pytest.approx(by_difference, rel=1e-6, abs=1e-8), what

    result = net.backward(run, A, d_state=B)
    slope(X, result.d_inputs, lambda x: value(x, first), "X")
    assert not result.d_inputs[np.arange(5) >= LENGTHS[:, None]].any()
    if given:
        for name in state:
            slope(state[name], result.d_state[name], lambda h, name=name: value(X, {**state, name: h}), name)
    for name, d in result.gradient.items():
        if given and name.endswith("_0"):
            assert not d.any(), name
            continue

        def with_tensor(W: np.ndarray, name: str = name) -> float:
            before = net.parameters[name].copy()
            with net.edit_parameters() as p:
                p[name][...] = W
            found = value(X, first)
            with net.edit_parameters() as p:
                p[name][...] = before
            return found

        slope(net.parameters[name].copy(), d, with_tensor, name)


def test_runs_live_side_by_side(engine: str) -> None:
    """Chunks of one step, chained by their states, are the whole sequence: each tape is kept until its turn comes."""
    net = network(engine, STACKS["gated"])
    X, state = data(net)
    generator = np.random.default_rng(5)
    d_outputs = generator.normal(size=(4, 5, 2))
    whole = net.backward(net.forward(X, state=state), d_outputs)
    runs, before = [], state
    for t in range(5):
        runs.append(net.forward(X[:, t : t + 1], state=before))
        before = runs[-1].final_state
    total = {name: np.zeros_like(d) for name, d in whole.gradient.items()}
    d_state: dict[str, np.ndarray] = {}
    for t in reversed(range(5)):
        part = net.backward(runs[t], d_outputs[:, t : t + 1], d_state=d_state)
        d_state = part.d_state
        assert_close(part.d_inputs[:, 0], whole.d_inputs[:, t], EXACT)
        for name in total:
            total[name] += part.gradient[name]
    for name in total:
        assert_close(total[name], whole.gradient[name], EXACT, name)
    for name in d_state:
        assert_close(d_state[name], whole.d_state[name], EXACT, name)


def test_dropout_by_hand_is_what_its_key_says(engine: str) -> None:
    net = network(engine, [GRU(8, recurrent_dropout=0.3), Elman(8, input_dropout=0.3)], dropout=0.3)
    X, _ = data(net)
    first, again, other = (net.forward(X, dropout_key=key) for key in (5, 5, 6))
    assert_same_bits(first.outputs, again.outputs)
    assert np.abs(first.outputs - other.outputs).max() > 1e-3
    assert_same_bits(net.forward(X).outputs, net.predict(X))
    V = np.random.default_rng(6).normal(size=X.shape)
    ends = [net.forward(X + sign * 1e-5 * V, dropout_key=5).outputs.sum() for sign in (1, -1)]
    d_inputs = net.backward(first, np.ones_like(first.outputs)).d_inputs
    assert float((d_inputs * V).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
def test_nobody_writes_into_what_the_way_back_needs(engine: str, activation: str) -> None:
    """``error = run.outputs; error -= y`` would otherwise change the slope of the output activation, without a word."""
    net = network(engine, STACKS["gated"], output_activation=activation)
    run = net.forward(data(net)[0])
    for values in (run.outputs, run.preactivations):
        before = values.copy()
        with pytest.raises(ValueError, match="read-only"):
            values -= 1.0
        assert_same_bits(values, before)


def test_backward_takes_pre_activations(engine: str) -> None:
    net = network(engine, STACKS["gated"], output_activation="sigmoid")
    run = net.forward(data(net)[0])
    by_outputs = net.backward(run, np.ones_like(run.outputs))
    by_preactivations = net.backward(run, d_preactivations=run.outputs * (1 - run.outputs))
    for name, d in by_outputs.gradient.items():
        assert_close(by_preactivations.gradient[name], d, EXACT, name)


def test_wrong_calls_of_backward_are_refused() -> None:
    net = network("numpy", STACKS["gated"])
    X, _ = data(net)
    run = net.forward(X)
    ones = np.ones((4, 5, 2))
    other = network("numpy", STACKS["gated"]).forward(X)
    calls: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((run,), {}, "one of the two, must be given. Got neither."),
        ((run, ones), dict(d_preactivations=ones), "one of the two, must be given. Got both."),
        ((run, ones[:, 0]), {}, "d_outputs of Network.backward must be (4, 5, 2). Got (4, 2)."),
        ((run,), dict(d_preactivations=ones[0]), "d_preactivations of Network.backward must be (4, 5, 2). Got (5, 2)."),
        ((run, ones * np.nan), {}, "d_outputs of Network.backward must be finite. Got nan at index (0, 0, 0)."),
        (
            (run, ones),
            dict(d_state={"layer9.h": 0}),
            "d_state of Network.backward must have no names but ['layer0.h', ",
        ),
        ((run, ones), dict(d_state={"layer0.h": np.ones((4, 5))}), "['layer0.h'] must be (N=4, H=4). Got (4, 5)."),
        ((run.outputs, ones), {}, "run of Network.backward must be what Network.forward returned. Got array("),
        ((other, ones), {}, "run of Network.backward must come from the forward of the same network."),
        ((net.with_readout("last").forward(X), ones), {}, "must come from the forward of the same network."),
    ]
    for arguments, options, message in calls:
        with pytest.raises((TypeError, ValueError)) as caught:
            net.backward(*arguments, **options)
        assert message in str(caught.value)
    for key in (-1, 2**64, 1.5, True):
        with pytest.raises((TypeError, ValueError), match=r"dropout_key of Network\.forward must be an int"):
            net.forward(X, dropout_key=key)  # type: ignore[arg-type]
    with net.edit_parameters() as p:
        p["readout.b_y"] += 1
    with pytest.raises(ValueError, match="must be newer than the parameters"):
        net.backward(run, ones)


def test_training_by_hand_is_fit(engine: str) -> None:
    net, by_hand = (network(engine, STACKS["learned"]) for _ in range(2))
    X, _ = data(net)
    y = np.random.default_rng(7).normal(size=(4, 5, 2))
    net.fit(X, y, 5, optimizer=SGD(), learning_rate=0.1)
    for _ in range(5):
        run = by_hand.forward(X)
        gradient = by_hand.backward(run, 2 * (run.outputs - y) / y.size).gradient
        with by_hand.edit_parameters() as p:
            for name in p:
                p[name] -= 0.1 * gradient[name]
    for name, W in net.parameters.items():
        assert_close(by_hand.parameters[name], W, EXACT, name)


# --- Generation ---


def speaker(engine: str, layers: Any = None, **options: Any) -> Network:
    words: dict[str, Any] = dict(
        output_activation="softmax", loss="ce", vocabulary_size=5, random_state=0, engine=engine
    )
    net = Network(3, layers or [GRU(6), LSTM(4)], 5, **{**words, **options})
    with net.edit_parameters() as p:
        for W in p.values():
            W *= 2
    return net


@pytest.mark.parametrize("readout", ["every", "last"])
def test_generation_is_predicting_ever_longer_sequences(engine: str, readout: str) -> None:
    net = speaker(engine, readout=readout)
    prompts = [[1, 2, 4], [0], [3, 3]]
    followed = net.generate(prompts, 6, temperature=0.7, rng=3)
    assert followed.shape == (3, 6)
    assert followed.dtype == np.int64
    generator = np.random.default_rng(3)
    last = net.with_readout("last")
    for step in range(6):
        so_far = [np.append(prompt, row[:step]).astype(int) for prompt, row in zip(prompts, followed, strict=True)]
        p = last.predict(so_far) ** (1 / 0.7)
        ends = (p / p.sum(axis=1, keepdims=True)).cumsum(axis=1)
        expected = (ends <= generator.random(3)[:, None]).sum(axis=1)
        assert followed[:, step].tolist() == expected.tolist()
    greedy = net.generate(prompts, 6, temperature=0)
    for step in range(6):
        so_far = [np.append(prompt, row[:step]).astype(int) for prompt, row in zip(prompts, greedy, strict=True)]
        assert greedy[:, step].tolist() == last.predict(so_far).argmax(axis=1).tolist()


def test_prompts_come_alone_or_together(engine: str) -> None:
    net = speaker(engine)
    alone = net.generate([1, 2], 4, 0)
    assert alone.shape == (4,)
    forms: list[Any] = [np.array([1, 2], np.uint8), (1, 2), np.array([[1, 2]]), [[1, 2]], [np.array([1, 2])]]
    for prompt in forms:
        assert net.generate(prompt, 4, 0).ravel().tolist() == alone.tolist()
    both = net.generate(np.array([[1, 2], [3, 0]]), 4, 0)
    assert both[0].tolist() == alone.tolist()
    assert both[1].tolist() == net.generate([3, 0], 4, 0).tolist()


def test_drawing_follows_the_seed_and_changes_nothing(engine: str) -> None:
    net = speaker(engine, layers=[GRU(6, learned_state=True)], dropout=0.5)
    before = {name: W.copy() for name, W in net.parameters.items()}
    first = net.generate([1], 50, rng=1)
    assert first.tolist() == net.generate([1], 50, rng=np.random.default_rng(1)).tolist()
    assert first.tolist() != net.generate([1], 50, rng=2).tolist()
    assert net.generate([1], 50).tolist() != net.generate([1], 50).tolist()
    for name, W in net.parameters.items():
        assert_same_bits(W, before[name], name)
    twin = pickle.loads(pickle.dumps(net))
    assert twin.generate([1], 50, rng=1).tolist() == first.tolist()


def test_temperature_reaches_tokens_whose_probability_is_zero(engine: str) -> None:
    net = speaker(engine, layers=[Elman(2)])
    with net.edit_parameters() as p:
        p["readout.W_y"][:] = 0
        p["readout.b_y"][:] = [0, -5000, -5000, -5000, -5000]
    assert set(net.generate([0], 200, temperature=1.0, rng=0)) == {0}
    assert set(net.generate([0], 200, temperature=5000.0, rng=0)) == {0, 1, 2, 3, 4}
    assert set(net.generate([0], 20, temperature=1e-300, rng=0)) == {0}


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_samples_have_the_probabilities_of_the_softmax(temperature: float) -> None:
    a = np.array([1.0, -0.5, 0.0, 2.0])
    draws = sample(np.tile(a, (200_000, 1)), temperature, np.random.default_rng(0))
    p = np.exp(a / temperature)
    assert np.abs(np.bincount(draws, minlength=4) / 200_000 - p / p.sum()).max() < 0.004


def test_a_draw_next_to_one_never_takes_an_impossible_token() -> None:
    class Always:
        def random(self, size: int) -> np.ndarray:
            return np.full(size, np.nextafter(1, 0))

    a = np.log(np.array([[0.1, 0.2, 0.7, 1e-300]])) * np.array([1, 1, 1, 1e9])
    assert sample(a, 1.0, Always()).tolist() == [2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(vocabulary_size=None), "a network that generates must have a vocabulary_size. Got None."),
        (dict(vocabulary_size=4), "a network that generates must have an output for every token, V=4. Got 5."),
        (dict(output_activation="sigmoid"), "must have the output_activation 'softmax'. Got 'sigmoid'."),
        (dict(readout="mean"), "must have the readout 'every' or 'last'. Got 'mean'."),
        (dict(layers=[GRU(2, bidirectional=True)]), "must have no bidirectional layer, which would have to read the future."),
    ],
)  # fmt: skip
def test_networks_that_cannot_generate_say_so(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        speaker("numpy", **options).generate([1], 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 5], 3), "prompt[0] must hold tokens in [0, V=5). Got 5 at step 1."),
        (([], 3), "prompt[0] must have at least one step. Got (0,)."),
        (([1.0], 3), "prompt[0] must be an array of ints, since tokens are ints. Got dtype float64."),
        ((3, 3), "prompt must be (N, T) of tokens. Got ()."),
        (([1], 0), "steps of Network.generate must be an int >= 1. Got 0."),
        (([1], 2, -1), "temperature of Network.generate must be a finite number >= 0. Got -1."),
        (([1], 2, np.inf), "temperature of Network.generate must be a finite number >= 0. Got inf."),
        (([1], 2, 1.0, "dice"), "rng of Network.generate must be None, an int >= 0, a SeedSequence, a BitGenerator or"),
    ],
)
def test_wrong_calls_of_generate_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        speaker("numpy").generate(*arguments)
    assert message in str(caught.value)
