"""Who is speaking? Nine speakers say the Japanese vowels /ae/; every utterance is a sequence of 7 to 29 steps.

Run it: ``python examples/japanese_vowels.py [--quick]``

The recordings (Kudo, Toyama and Shimbo, 1999) come inside the package aeon: ``pip install "rnn-from-scratch[examples]"``.
Without it the example says so and ends.
"""

import sys
from dataclasses import dataclass

import numpy as np

from rnn_from_scratch import GRU, LSTM, Elman, Network

CELLS = {"Elman": Elman, "GRU": GRU, "LSTM": LSTM}
MISSING = 'The recordings come with the package aeon. Try: pip install "rnn-from-scratch[examples]"'

# Accuracies in % of others. PyTorch 2.13: the plain configurations below, five seeds, by tools/tasks_in_torch.py.
# Published: H. Ismail Fawaz et al., "Deep learning for time series classification: a review", Data Mining and Knowledge
# Discovery, 2019; means of ten runs, in the results of its repository.
PYTORCH = {"Elman": 96.6, "GRU": 96.4, "LSTM": 95.2}
PUBLISHED = {"ResNet": 99.2, "FCN": 99.3, "Time-CNN": 95.6}


@dataclass(frozen=True)
class Configuration:
    """A network and its training."""

    cell: str
    units: int = 64
    bidirectional: bool = False
    readout: str = "last"
    input_dropout: float = 0.0
    learning_rate: float = 3e-3
    epochs: int = 100
    schedule: str = "constant"


PLAIN = [Configuration(cell) for cell in CELLS]
# Chosen on the training sequences alone, by tools/choose_vowels_configuration.py; its table is in docs/tasks.md.
CHOSEN = Configuration("GRU", bidirectional=True, epochs=50, schedule="cosine")


def load_data():
    """Training and test sequences, each a list of arrays (T_i, 12) and the speakers' numbers (N,), from 0."""
    from aeon.datasets import load_classification  # only this example needs it

    sets = []
    for split in ("train", "test"):
        series, names = load_classification("JapaneseVowels", split=split)
        sets.append(([x.T.astype(np.float32) for x in series], names.astype(int) - 1))
    return sets


def accuracy(configuration, train, test, seed):
    """The share of the test sequences whose speaker a network recognises that has learned from the others."""
    (X_train, y_train), (X_test, y_test) = train, test
    steps = np.concatenate(X_train)  # the scales come from the training sequences
    center, scale = steps.mean(axis=0), steps.std(axis=0)
    X_train, X_test = ([(x - center) / scale for x in X] for X in (X_train, X_test))

    layer = CELLS[configuration.cell](
        configuration.units,
        bidirectional=configuration.bidirectional,
        input_dropout=configuration.input_dropout,
    )
    network = Network(
        12,
        [layer],
        9,
        readout=configuration.readout,
        output_activation="softmax",
        loss="ce",
        random_state=seed,
    )
    network.fit(
        X_train,  # lists of different lengths need no padding
        y_train,
        configuration.epochs,
        batch_size=32,
        learning_rate=configuration.learning_rate,
        schedule=configuration.schedule,
        clip=1.0,
    )
    return float((network.predict(X_test).argmax(axis=1) == y_test).mean())


def main(quick=False):
    """Print the table and return the accuracies, {configuration: one for each seed}."""
    try:
        train, test = load_data()
    except ImportError:
        print(MISSING)
        return {}
    seeds = range(1 if quick else 5)
    print(
        f"JapaneseVowels: {len(train[0])} training, {len(test[0])} test sequences; accuracy in %, {len(seeds)} seed(s)"
    )
    print(f"{'':32}{'mean ± sd':>13}  others")
    figures = {}
    for configuration in [*PLAIN, CHOSEN]:
        chosen = configuration is CHOSEN
        figures[configuration] = [accuracy(configuration, train, test, seed) for seed in seeds]
        percent = 100 * np.array(figures[configuration])
        deviation = percent.std(ddof=1) if len(percent) > 1 else 0.0
        name = f"{configuration.cell}, {'chosen by validation' if chosen else 'plain'}"
        others = PUBLISHED if chosen else {"PyTorch": PYTORCH[configuration.cell]}
        beside = ", ".join(f"{other} {value}" for other, value in others.items())
        print(f"{name:32}{percent.mean():6.1f} ± {deviation:.1f}  {beside}", flush=True)
    return figures


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
