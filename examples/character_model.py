"""A network that reads Python's own documentation character by character, guesses the next one, and then writes.

Run it: ``python examples/character_model.py [--quick]``; the full run takes some minutes.

The text is that of ``help("topics")``, which every Python has in `pydoc_data.topics`; its last tenth is held out. How well
the guesses are is told in bits per character: what a perfect compressor would need that believes them.
"""

import sys
from pydoc_data.topics import topics

import numpy as np

from rnn_from_scratch import GRU, Network

ROWS = 32  # streams that are read side by side
PIECE = 250  # steps of a stream in one mini-batch
TBPTT_STEPS = 50  # steps between two updates, and as far as a gradient flows back


def load_text(share=1.0):
    """Tokens (S,) of the text, or of its first part, and the characters that they stand for."""
    text = "".join(topics[name] for name in sorted(topics))
    text = text[: int(share * len(text))]
    characters = sorted(set(text))
    token = {character: number for number, character in enumerate(characters)}
    return np.array([token[character] for character in text]), characters


def as_streams(tokens):
    """Inputs and targets (N, T) for stateful training: row i of a mini-batch goes on where row i of the last one ended."""
    pieces = (len(tokens) - 1) // (ROWS * PIECE)
    used = ROWS * pieces * PIECE
    # (rows, pieces, T) -> (pieces, rows, T): mini-batch p holds the p-th piece of every stream.
    X, y = (part.reshape(ROWS, pieces, PIECE).swapaxes(0, 1) for part in (tokens[:used], tokens[1 : used + 1]))
    return X.reshape(-1, PIECE), y.reshape(-1, PIECE)


def ngram_probabilities(tokens, V, order, strength):
    """(V^(order - 1), V): probabilities of the next character after each context of the order - 1 characters before.

    Counts, to which the next shorter context adds `strength` characters in its own proportions (MacKay and Peto, "A
    hierarchical Dirichlet language model", 1995); the shortest of all says 1/V.
    """
    p = np.full((1, V), 1 / V)
    for n in range(1, order + 1):
        counts = np.bincount(ngrams(tokens, V, n), minlength=V**n).reshape(-1, V)
        shorter = p if n == 1 else np.tile(p, (V, 1))
        p = (counts + strength * shorter) / (counts.sum(axis=1, keepdims=True) + strength)
    return p


def ngrams(tokens, V, n):
    """The number of each run of n characters, in base V."""
    return sum(tokens[i : len(tokens) - n + 1 + i] * V ** (n - 1 - i) for i in range(n))


def ngram_bits(train, test, V, order):
    """Bits per character; the strength of smoothing is the best for the last tenth of the training part."""

    def bits(learned, scored, strength):
        return -np.log2(ngram_probabilities(learned, V, order, strength).ravel()[ngrams(scored, V, order)]).mean()

    cut = len(train) * 9 // 10
    strength = min((0.1, 0.3, 1, 3, 10, 30), key=lambda s: bits(train[:cut], train[cut:], s))
    return float(bits(train, test, strength))


def main(quick=False):
    """Print the table and a sample, and return bits per character and the sample."""
    tokens, characters = load_text(0.2 if quick else 1.0)
    V, cut = len(characters), len(tokens) * 9 // 10
    train, test = tokens[:cut], tokens[cut:]
    H, epochs = (64, 4) if quick else (256, 12)
    print(
        f"Documentation of Python {sys.version.split()[0]}: {len(train)} characters to learn, {len(test)} held out, V = {V}"
    )

    network = Network(
        32,
        [GRU(H)],
        V,
        vocabulary_size=V,
        output_activation="softmax",
        loss="ce",
        dtype="float32",  # labels become rows of V numbers: this halves them
        random_state=0,
    )
    X, y = as_streams(train)
    history = network.fit(
        X,
        y,
        epochs,
        batch_size=ROWS,
        learning_rate=5e-3 if quick else 3e-3,
        schedule="cosine",
        clip=1.0,
        tbptt_steps=TBPTT_STEPS,
        stateful=True,
        verbose=True,
    )
    probabilities = network.predict(test[None, :-1])[0]  # (T, V), from one end of the held-out part to the other

    figures = {
        name: ngram_bits(train, test, V, order) for order, name in enumerate(("unigram", "bigram", "trigram"), start=1)
    }
    figures["GRU"] = float(-np.log2(probabilities[np.arange(len(test) - 1), test[1:]]).mean())
    print("Bits per character of the held-out part")
    for name, value in figures.items():
        print(f"  {name:10}{value:.3f}")
    print(
        f"  while training, in the last epoch: {history.loss[-1] / np.log(2):.3f}; all equally likely: {np.log2(V):.3f}"
    )

    prompt = [characters.index(character) for character in "The "]
    written = network.generate(prompt, steps=400, temperature=0.7, rng=0)
    sample = "".join(characters[token] for token in written)
    print(f"A sample, after 'The ':\n{sample}")
    return {**figures, "sample": sample}


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
