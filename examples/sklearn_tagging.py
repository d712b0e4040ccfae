"""Dry or wet? A label for every day of Seattle's weather, from temperatures and wind alone.

Run it: ``python examples/sklearn_tagging.py [--quick]``

The years 2012 to 2015 come inside the package vega_datasets: ``pip install "rnn-from-scratch[examples]"``. A sequence is a
month, 28 to 31 days; a network that reads in both directions tags each day. Three years to learn from, the last to test. Size
and penalty of the network were chosen by four folds of the months of those three years. Beside it stand logistic regressions,
of the day alone and of a summary of the week around it: the weather of a day hardly needs more.
"""

import sys
import warnings

import numpy as np

MISSING = 'This needs scikit-learn and vega_datasets. Try: pip install "rnn-from-scratch[sklearn,examples]"'
GRID = {"rnnclassifier__hidden_layer_sizes": [4, 8, 16], "rnnclassifier__alpha": [0.01, 0.1, 0.5]}
CHOSEN = {"hidden_layer_sizes": 4, "alpha": 0.01}


def load_data():
    """X, a list of months (T_i, 3) of highest and lowest temperature and wind, and y, a list of (T_i,) of words."""
    from vega_datasets import local_data  # only this example needs it

    days = local_data.seattle_weather()
    X, y = [], []
    for _, month in days.groupby(days.date.dt.to_period("M")):
        X.append(month[["temp_max", "temp_min", "wind"]].to_numpy(float))
        y.append(np.where(month.precipitation > 0, "wet", "dry"))
    return X, y


def network(seed, **words):
    """A tagger that reads in both directions."""
    from sklearn.pipeline import make_pipeline

    from rnn_from_scratch.estimators import RNNClassifier, SequenceScaler

    words = {"readout": "every", "bidirectional": True, "batch_size": 4, "learning_rate_init": 0.01, **words}
    return make_pipeline(SequenceScaler(), RNNClassifier(max_iter=60, random_state=seed, **words))


def choose(X, y):
    """The search that `CHOSEN` came from."""
    from sklearn.model_selection import GridSearchCV, KFold

    return GridSearchCV(network(0), GRID, cv=KFold(4, shuffle=True, random_state=0)).fit(X, y)


def weeks(x):
    """(T, 15): each day, the days before and after it, and mean and deviation of the week around it."""
    rows = []
    for day in range(len(x)):
        around = x[max(0, day - 3) : day + 4]
        neighbours = x[max(0, day - 1)], x[min(len(x) - 1, day + 1)]
        rows.append(np.concatenate([x[day], *neighbours, around.mean(axis=0), around.std(axis=0)]))
    return np.array(rows)


def main(quick=False):
    """Print the table and return the accuracies, {model: one for each seed}."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        X, y = load_data()
    except ImportError:
        print(MISSING)
        return {}
    (X, X_test), (y, y_test) = (X[:36], X[36:]), (y[:36], y[36:])
    days, days_test = np.concatenate(y), np.concatenate(y_test)
    figures = {"always the commoner": [max((days_test == "wet").mean(), (days_test == "dry").mean())]}
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    for name, rows, test in (
        ("logistic regression, the day", np.concatenate(X), np.concatenate(X_test)),
        ("logistic regression, the week", *(np.concatenate([weeks(x) for x in months]) for months in (X, X_test))),
    ):
        figures[name] = [regression.fit(rows, days).score(test, days_test)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 60 epochs are the end, not the minimum
        seeds = range(1 if quick else 5)
        figures["GRU, both directions"] = [network(n, **CHOSEN).fit(X, y).score(X_test, y_test) for n in seeds]
    print(f"Seattle: {len(days)} days to learn from, {len(days_test)} to test; accuracy in %")
    for name, scores in figures.items():
        percent = 100 * np.array(scores)
        deviation = f" ± {percent.std(ddof=1):.1f}" if len(percent) > 1 else ""
        print(f"{name:30}{percent.mean():6.1f}{deviation}")
    return figures


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
