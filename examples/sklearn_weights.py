"""Next month's change of CO2, from the changes of three years: weights say which months count, and how much.

Run it: ``python examples/sklearn_weights.py [--quick]``

The monthly CO2 of Mauna Loa comes with the library. Months that were never measured are interpolated, and know their future:
as targets they weigh nothing. In a second variant a month weighs half of what a month ten years later weighs, since the
increase is not what it was. The last five years are the test: no setting was chosen by its score, but it has been looked at
before. Beside the network stands ridge regression with the same weights, on the same 36 changes and on a summary of them.
"""

import sys

import numpy as np

from rnn_from_scratch.datasets import load_co2

MISSING = 'This needs scikit-learn. Try: pip install "rnn-from-scratch[sklearn]"'
WINDOW, TEST, HALF_LIFE = 36, 60, 120  # months


def make_data():
    """X (N, 36), y (N,), and whether each target is a change between two months that were measured (N,)."""
    data = load_co2()
    change = np.diff(data.ppm)
    X = np.lib.stride_tricks.sliding_window_view(change[:-1], WINDOW)
    measured = ~(data.interpolated[WINDOW:-1] | data.interpolated[WINDOW + 1 :])
    return X, change[WINDOW:], measured


def summaries(X):
    """(N, 6): mean and deviation, the last change, and those of the same and the next month of the years before."""
    return np.stack([X.mean(axis=1), X.std(axis=1), X[:, -1], X[:, -12], X[:, -24], X[:, -13]], axis=1)


def rmse(predictions, y):
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((predictions - y) ** 2)))


def main(quick=False):
    """Print the table and return the errors in ppm, {model: {weights: one for each seed}}."""
    try:
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from rnn_from_scratch.estimators import RNNRegressor, SequenceScaler
    except ImportError:
        print(MISSING)
        return {}
    X, y, measured = make_data()
    age = np.arange(len(y))[::-1]
    weights = {"measured": 1.0 * measured, "measured, recent": measured * 0.5 ** (age / HALF_LIFE)}
    train, test = slice(0, len(y) - TEST), slice(len(y) - TEST, None)
    assert measured[test].all()
    figures = {"as a year ago": {name: [rmse(X[test, -12], y[test])] for name in weights}}
    for name, rows in (("ridge, 36 changes", X), ("ridge, summary", summaries(X))):
        ridge = make_pipeline(StandardScaler(), Ridge())
        figures[name] = {
            word: [rmse(ridge.fit(rows[train], y[train], ridge__sample_weight=w[train]).predict(rows[test]), y[test])]
            for word, w in weights.items()
        }
    figures["GRU, defaults"] = {word: [] for word in weights}
    words = {"hidden_layer_sizes": 8, "learning_rate_init": 0.01, "max_iter": 40} if quick else {}
    for word, w in weights.items():
        for seed in range(1 if quick else 5):
            model = make_pipeline(SequenceScaler(), RNNRegressor(random_state=seed, **words))
            model.fit(X[train], y[train], rnnregressor__sample_weight=w[train])
            figures["GRU, defaults"][word].append(rmse(model.predict(X[test]), y[test]))
    print(f"CO2: RMSE of {TEST} months in ppm{'':6}{'  '.join(f'{word:>17}' for word in weights)}")
    for name, errors in figures.items():
        cells = (f"{np.mean(e):.3f}" + (f" ± {np.std(e, ddof=1):.3f}" if len(e) > 1 else "") for e in errors.values())
        print(f"{name:30}{'  '.join(f'{cell:>17}' for cell in cells)}")
    return figures


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
