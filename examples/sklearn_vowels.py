"""Who is speaking? With scikit-learn's words: a pipeline that takes sequences of different lengths as they are.

Run it: ``python examples/sklearn_vowels.py [--quick]``

The recordings, and how they come: see ``japanese_vowels.py``. Beside the networks, untuned as they are, stands what
scikit-learn makes of a summary of each sequence; its logistic regression is better.
"""

import sys

import numpy as np

MISSING = 'This needs scikit-learn and the package aeon. Try: pip install "rnn-from-scratch[sklearn,examples]"'


def load_data():
    """Training and test sequences, each a list of arrays (T_i, 12) and the speakers (N,), as words."""
    from aeon.datasets import load_classification  # only the examples need it

    sets = []
    for split in ("train", "test"):
        series, speakers = load_classification("JapaneseVowels", split=split)
        sets.append(([x.T for x in series], speakers))
    return sets


def network(seed, **words):
    """Everything that a user has to write."""
    from sklearn.pipeline import make_pipeline

    from rnn_from_scratch.estimators import RNNClassifier, SequenceScaler

    return make_pipeline(SequenceScaler(), RNNClassifier(random_state=seed, **words))


def summaries(X):
    """(N, 73): mean, deviation, extremes, first and last step of every feature, and the length."""
    parts = [(x.mean(axis=0), x.std(axis=0), x.min(axis=0), x.max(axis=0), x[0], x[-1], [len(x)]) for x in X]
    return np.array([np.concatenate(part) for part in parts])


def baselines():
    """What scikit-learn offers for rows of numbers."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return {
        "summary, logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        "summary, support vectors": make_pipeline(StandardScaler(), SVC()),
        "summary, random forest": RandomForestClassifier(500, random_state=0),
    }


def main(quick=False):
    """Print the table and return the accuracies, {model: one for each seed}."""
    try:
        (X, y), (X_test, y_test) = load_data()
        found = baselines()
    except ImportError:
        print(MISSING)
        return {}
    figures = {name: [model.fit(summaries(X), y).score(summaries(X_test), y_test)] for name, model in found.items()}
    variants = {"GRU, defaults": {}, "GRU, both directions": {"bidirectional": True}, "LSTM": {"cell": "lstm"}}
    for name, words in variants.items():
        seeds = range(1 if quick else 5)
        figures[name] = [network(seed, **words).fit(X, y).score(X_test, y_test) for seed in seeds]
    print(f"JapaneseVowels: {len(X)} training, {len(X_test)} test sequences; accuracy in %")
    for name, scores in figures.items():
        percent = 100 * np.array(scores)
        deviation = f" ± {percent.std(ddof=1):.1f}" if len(percent) > 1 else ""
        print(f"{name:30}{percent.mean():6.1f}{deviation}")
    return figures


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
