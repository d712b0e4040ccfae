"""Sampling: a network that predicts the next token, fed with its own answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray
from rnn_from_scratch.engines.base import Engine, first_state
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, as_tokens
from rnn_from_scratch.specification import NetworkSpecification

__all__ = ["as_prompts", "generate", "require_generative", "sample"]

OWNER = "Network.generate"


def require_generative(specification: NetworkSpecification) -> None:
    """Refuse networks whose outputs are not the probabilities of the next token, or that would have to know the future."""
    vocabulary, outputs = specification.vocabulary_size, specification.output_size
    wrong = None
    if vocabulary is None:
        wrong = "have a vocabulary_size. Got None."
    elif outputs != vocabulary:
        wrong = f"have an output for every token, V={vocabulary}. Got {outputs}."
    elif specification.output_activation != "softmax":
        wrong = f"have the output_activation 'softmax'. Got {specification.output_activation!r}."
    elif specification.readout == "mean":
        wrong = "have the readout 'every' or 'last'. Got 'mean'."
    elif specification.bidirectional:
        wrong = "have no bidirectional layer, which would have to read the future."
    if wrong:
        raise ValueError(f"a network that generates must {wrong}")


def generate(
    engine: Engine[Any],
    specification: NetworkSpecification,
    parameters: Parameters,
    inputs: Batch,
    steps: int,
    temperature: float,
    generator: np.random.Generator,
) -> IndexArray:
    """(N, steps): the tokens that follow the prompts."""
    # The same network with its pre-activations as outputs: their logarithms need not be taken back from probabilities,
    # the smallest of which are zero.
    words = replace(specification, readout="last", output_activation="linear", loss="mse")
    plan = engine.plan(words, parameters)
    run = engine.forward(plan, inputs, first_state(plan, len(inputs)), keep_tape=False)
    a, state = run.preactivations, run.final_state
    tokens = np.empty((len(inputs), steps), dtype=np.int64)
    for step in range(steps):
        tokens[:, step] = sample(a, temperature, generator)
        if step + 1 < steps:
            a, state = engine.step(plan, tokens[:, step : step + 1], state)  # type: ignore[arg-type]  # tokens are ints
    return tokens


def as_prompts(specification: NetworkSpecification, prompt: Any) -> tuple[Batch, bool]:
    """Prompts in one form, and whether it was one alone.

    >>> from rnn_from_scratch.layers import GRU
    >>> words = NetworkSpecification(2, [GRU(4)], 5, "every", "softmax", "ce", vocabulary_size=5)
    >>> as_prompts(words, [4, 1])[1], as_prompts(words, [[4, 1], [0]])[1]
    (True, False)
    """
    require_generative(specification)
    if isinstance(prompt, np.ndarray):
        alone = prompt.ndim == 1 and prompt.dtype != object
    else:
        alone = isinstance(prompt, (list, tuple)) and all(np.ndim(item) == 0 for item in prompt)
    V = specification.vocabulary_size or 0  # never None here
    return as_tokens([prompt] if alone else prompt, V, name="prompt"), alone


def sample(a: FloatArray, temperature: float, generator: np.random.Generator) -> IndexArray:
    """One class per row of the pre-activations a (N, O), with the probabilities softmax(a / temperature).

    At temperature 0 the most probable one, the first of equals; nothing is drawn then.

    >>> sample(np.array([[0.0, 3.0], [1e4, 0.0]]), 0.0, np.random.default_rng(0))
    array([1, 0])
    >>> draws = sample(np.tile([0.0, 1e4, 1e4], (1000, 1)), 1e3, np.random.default_rng(0))
    >>> (np.bincount(draws, minlength=3) / 1000).round(1)
    array([0. , 0.5, 0.5])
    """
    if temperature == 0:
        return np.asarray(a.argmax(axis=1), np.int64)
    wide = a.astype(np.float64)
    with np.errstate(over="ignore"):  # far below the largest, and divided by very little: −∞, whose probability is 0
        e = np.exp((wide - wide.max(axis=1, keepdims=True)) / temperature)
    ends = e.cumsum(axis=1)
    drawn = generator.random(len(a)) * ends[:, -1]
    last = e.shape[1] - 1 - (e[:, ::-1] > 0).argmax(axis=1)
    chosen: IndexArray = np.minimum((ends <= drawn[:, None]).sum(axis=1), last)  # a draw may be rounded up to the whole
    return chosen
