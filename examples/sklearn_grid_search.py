"""Which network? A grid search over sequences of different lengths, in as many processes as you like.

Run it: ``python examples/sklearn_grid_search.py [--quick]``

The recordings are those of ``japanese_vowels.py``. The search sees the training sequences alone; beside it stands the same
search for a logistic regression on summaries of the sequences.
"""

import sys
import warnings

import sklearn_vowels

GRID = {
    "rnnclassifier__cell": ["elman", "gru", "lstm"],
    "rnnclassifier__bidirectional": [False, True],
    "sequencescaler__method": ["standard", "robust"],
}
QUICK = {"rnnclassifier__cell": ["elman", "gru"]}


def searches(grid, n_jobs):
    """The two searches, not yet made."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedKFold(5, shuffle=True, random_state=0)  # the recordings are sorted by speaker
    network = sklearn_vowels.network(0, learning_rate_init=0.003, max_iter=60)
    rows = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return (
        GridSearchCV(network, grid, cv=folds, n_jobs=n_jobs),
        GridSearchCV(rows, {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}, cv=folds),
    )


def main(quick=False, n_jobs=2):
    """Print what was chosen and return {search: (parameters, accuracy in the folds, on the test sequences)}."""
    try:
        (X, y), (X_test, y_test) = sklearn_vowels.load_data()
        network, rows = searches(QUICK if quick else GRID, n_jobs)
    except ImportError:
        print(sklearn_vowels.MISSING)
        return {}
    figures = {}
    table = sklearn_vowels.summaries(X), sklearn_vowels.summaries(X_test)
    for name, search, train, test in (("network", network, X, X_test), ("summary", rows, *table)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a training of 60 epochs has not come to its end
            search.fit(train, y)
        figures[name] = (search.best_params_, search.best_score_, search.score(test, y_test))
        chosen = ", ".join(f"{key.split('__')[1]}={value}" for key, value in search.best_params_.items())
        print(
            f"{name}: {100 * search.best_score_:.1f} % in the folds, {100 * figures[name][2]:.1f} % on the test: {chosen}"
        )
    return figures


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
