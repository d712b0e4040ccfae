"""`RNNClassifier`: labels of sequences, or of their steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.estimators.base import SequenceEstimator
from rnn_from_scratch.estimators.parts import Targets
from rnn_from_scratch.prediction.forms import Sequences, rows_of
from rnn_from_scratch.prediction.labels import find_classes, numbers_of
from rnn_from_scratch.validation import choice, number, shown

__all__ = ["RNNClassifier"]


class RNNClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]  # scikit-learn says nothing of its types
    """Recurrent network that learns the labels of sequences, or with ``readout="every"`` of their steps.

    X is (N, T, D); or (N, T), N univariate sequences, whose T is then ``n_features_in_``; or a list of (T_i, D) arrays. Labels
    are of any hashable kind. What scikit-learn's `MLPClassifier` has too means what it means there.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64,)
        Hidden units of each recurrent layer, from the input upwards.
    cell : {'gru', 'lstm', 'elman'}, default='gru'
    bidirectional : bool, default=False
        Whether each layer reads from both ends.
    readout : {'last', 'mean', 'every'}, default='last'
        One label per sequence, learned from the last state or from the mean of all; or one for every step.
    activation : {'tanh', 'relu', 'logistic', 'identity'}, default='tanh'
        Of Elman's cell; the others have their own.
    dropout : float, default=0.0
        Probability with which training drops what goes from one recurrent layer to the next.
    solver : {'adam', 'adamw', 'rmsprop', 'sgd'}, default='adam'
    alpha : float, default=0.0001
        The penalty ½ α Σ ‖W‖² over weight matrices, divided by the sequences of a mini-batch (their weight); for 'adamw' the
        weight decay instead.
    batch_size : int or 'auto', default='auto'
        Sequences per update; 'auto' takes 32, or all if there are fewer.
    learning_rate : word or Schedule, default='constant'
        How the rate goes on: 'constant', 'invscaling', 'adaptive', 'cosine', 'step', 'exponential', 'plateau', or a schedule
        of this library; for every solver.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
        The exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs, at most.
    shuffle : bool, default=True
    random_state : None, int, RandomState or Generator, default=None
        Seeds the first weights, the order of sequences, dropout and the validation set.
    tol : float, default=0.0001
        Training stops when the loss, or with `early_stopping` the validation score, has not become better by this for more
        than `n_iter_no_change` epochs.
    verbose : bool, default=False
        Show a bar or ten lines of progress.
    warm_start : bool, default=False
        Whether `fit` goes on from the present weights.
    momentum : float, default=0.9
        For 'sgd'; in [0, 1).
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        Hold out `validation_fraction` of the sequences, look at their score after every epoch, and keep the best weights.
    validation_fraction : float, default=0.1
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of Adam.
    n_iter_no_change : int, default=10
    class_weight : None, 'balanced' or dict, default=None
        Multiplies the weights of a class's samples: by label, 1 for those that it does not name; 'balanced' gives all classes
        that occur the same total weight. With ``readout="every"`` samples are steps.
    clip_norm : None or float, default=1.0
        The largest norm of the gradient.
    tbptt_steps : None or int, default=None
        Truncated backpropagation: an update after every so many steps.
    engine : {'auto', 'numpy', 'native'}, default='auto'
    n_threads : None or int, default=None
        Threads that the native engine computes with; None: as many as are worth it. See `Network`.
    dtype : {None, 'float32', 'float64'}, default=None
        None takes that of X in the first `fit`: float32 stays, everything else becomes float64.

    Attributes
    ----------
    classes_ : ndarray (K,)
        The labels, sorted.
    network_ : Network
        The trained network; ``network_.parameters`` has its weights by name.
    n_features_in_ : int
        D, or T for X (N, T).
    feature_names_in_ : ndarray of str
        Only for an X (N, T) with names.
    n_outputs_, n_layers_, out_activation_
        Outputs (1 for two classes), layers with input and output, and 'softmax' ('logistic' for two).
    n_iter_ : int
        Epochs of the last `fit`.
    t_ : int
        Sequences seen in all epochs.
    loss_, loss_curve_, best_loss_
        The last loss, that of each epoch, and the least; None with `early_stopping`.
    validation_scores_, best_validation_score_
        Accuracy on the validation set after each epoch, and the best; None without `early_stopping`.

    Examples
    --------
    >>> from rnn_from_scratch.estimators import RNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(length, 1)).cumsum(axis=0) for length in rng.integers(5, 12, size=200)]
    >>> y = ["up" if x[-1] > x[0] else "down" for x in X]
    >>> model = RNNClassifier(8, learning_rate_init=0.02, max_iter=60, random_state=0, tol=0.01).fit(X[:150], y[:150])
    >>> model.predict([[[0.0], [0.7], [2.0]]]), model.score(X[150:], y[150:]) > 0.9
    (array(['up'], dtype='<U4'), True)

    A label for every step, whether the sum so far is positive:

    >>> tags = [x[:, 0] > 0 for x in X]
    >>> tagger = RNNClassifier(8, readout="every", learning_rate_init=0.02, max_iter=60, tol=0.01, random_state=0)
    >>> tagger.fit(X[:150], tags[:150]).score(X[150:], tags[150:]) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (64,),
        cell: str = "gru",
        *,
        bidirectional: bool = False,
        readout: str = "last",
        activation: str = "tanh",
        dropout: float = 0.0,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        class_weight: Any = None,
        clip_norm: float | None = 1.0,
        tbptt_steps: int | None = None,
        engine: str = "auto",
        n_threads: int | None = None,
        dtype: Any = None,
    ) -> None:
        self.hidden_layer_sizes, self.cell = hidden_layer_sizes, cell
        self.bidirectional, self.readout = bidirectional, readout
        self.activation, self.dropout = activation, dropout
        self.solver, self.alpha, self.batch_size = solver, alpha, batch_size
        self.learning_rate, self.learning_rate_init, self.power_t = learning_rate, learning_rate_init, power_t
        self.max_iter, self.shuffle, self.random_state = max_iter, shuffle, random_state
        self.tol, self.verbose, self.warm_start = tol, verbose, warm_start
        self.momentum, self.nesterovs_momentum = momentum, nesterovs_momentum
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.clip_norm, self.tbptt_steps = clip_norm, tbptt_steps
        self.engine, self.n_threads, self.dtype = engine, n_threads, dtype

    def fit(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> RNNClassifier:
        """Learn from sequences, anew unless `warm_start`.

        Parameters
        ----------
        X : array_like (N, T, D), (N, T), or list of N array_like (T_i, D)
        y : array_like (N,)
            Labels; with ``readout="every"`` (N, T), or a list of (T_i,). Labels that are tuples or lists of things go into an
            array of the dtype object, where NumPy cannot take them for rows.
        sample_weight : array_like (N,), with ``readout="every"`` also (N, T) or a list of (T_i,), optional
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X; what stands beyond them is never read, in y neither.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is not as described; nothing has changed then.
        NonFiniteError
            If a loss or gradient is not finite.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If `max_iter` epochs did not bring training to its end. After Ctrl-C a warning says so, and the weights are those
            at that moment.
        """
        return self._fit(X, y, sample_weight, lengths)

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, lengths: Any = None
    ) -> RNNClassifier:
        """One epoch more, with an optimiser that goes on where it was.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.
        classes : array_like (K,), optional
            All labels that will ever come; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            Also for a label that is none of the classes.
        """
        return self._fit(X, y, sample_weight, lengths, classes, incremental=True)

    def predict_proba(self, X: Any, lengths: Any = None) -> npt.NDArray[Any]:
        """The probability of each class, in the order of `classes_`; parameters and errors as for `predict`.

        Returns
        -------
        ndarray (N, K)
            With ``readout="every"`` (N, T, K), or an object array of N arrays (T_i, K).
        """
        return self._fitted().probabilities(self._sequences(X, lengths))

    def predict_log_proba(self, X: Any, lengths: Any = None) -> npt.NDArray[Any]:
        """The logarithms of what `predict_proba` gives."""
        return self._fitted().probabilities(self._sequences(X, lengths), logarithms=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """The share of right labels, with ``readout="every"`` of all real steps.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.
        """
        return self._score(X, y, sample_weight, lengths)

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        truth = _labels(y, "y")
        if truth.dtype == object or predicted.dtype == object or truth.shape != predicted.shape:
            if len(truth) != len(predicted):
                raise ValueError(f"y must be (N={len(predicted)},). Got {truth.shape}.")
            right = [one == other for one, other in zip(truth.tolist(), predicted.tolist(), strict=True)]
            return float(np.average(right, weights=sample_weight))
        return float(accuracy_score(truth, predicted, sample_weight=sample_weight))

    def _loss_word(self) -> str:
        return "log_loss"

    def _targets(
        self, y: Any, sequences: Sequences, classes: Any, goes_on: bool, incremental: bool, owner: str
    ) -> Targets:
        every = self.readout == "every"
        rows = _labels(rows_of(y, sequences.lengths, "y", sequences.steps) if every else y, "y")
        known = self._classes(rows, classes, goes_on, incremental, owner)
        numbers = numbers_of(rows, known, owner)
        weights = _class_weights(self.class_weight, known, numbers, type(self).__name__)
        several = len(known) > 2
        target: Any = numbers if several else numbers.astype(np.float64)
        truth: Any = rows
        if every:
            firsts = np.cumsum(sequences.lengths)[:-1]
            target, truth = np.split(target, firsts), np.split(rows, firsts)
        outputs, activation = (len(known), "softmax") if several else (1, "sigmoid")
        return Targets(target, truth, outputs, activation, True, known, numbers, weights)

    classes_: npt.NDArray[Any]

    def _classes(
        self, rows: npt.NDArray[Any], classes: Any, goes_on: bool, incremental: bool, owner: str
    ) -> npt.NDArray[Any]:
        """The classes that there are, or that there have been so far."""
        given = None if classes is None else find_classes(_labels(classes, "classes"), "classes")
        if goes_on:
            known: npt.NDArray[Any] = self.classes_
            words, found = shown(known.tolist()), find_classes(rows)
            if given is not None and given.tolist() != known.tolist():
                raise ValueError(
                    f"classes of {owner} must be those of the first call, {words}. Got {shown(given.tolist())}."
                )
            if not incremental and found.tolist() != known.tolist():
                allowed = f"have the classes of the fit before, {words}, since warm_start=True"
                raise ValueError(f"y of {owner} must {allowed}. Got {shown(found.tolist())}.")
            return known
        if incremental and given is None:
            raise ValueError(f"classes must be passed on the first call to partial_fit of {type(self).__name__}.")
        return find_classes(rows) if given is None else given


def _labels(y: Any, name: str) -> npt.NDArray[Any]:
    """(M,): labels of any kind; scikit-learn says what is wrong with those that cannot be."""
    array: npt.NDArray[Any] = y if isinstance(y, np.ndarray) else np.asarray(y)
    if array.dtype == object and array.ndim == 1 and not all(isinstance(label, str) for label in array.tolist()):
        return array
    array = check_array(y, ensure_2d=False, dtype=None, input_name=name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = column_or_1d(array, warn=True)
    if array.ndim != 1:
        raise ValueError(
            f"{name} must be one label for each sequence, or with readout='every' for each step. Got {array.shape}."
        )
    check_classification_targets(array)
    return array


def _class_weights(
    class_weight: Any, classes: npt.NDArray[Any], numbers: IndexArray, owner: str
) -> npt.NDArray[np.float64] | None:
    """The weight of each class."""
    if class_weight is None:
        return None
    K = max(2, len(classes))  # a single one has another beside it that never comes
    if isinstance(class_weight, str):
        choice(class_weight, "class_weight", owner, ["balanced"])
        counts = np.bincount(numbers, minlength=K)
        fair: npt.NDArray[np.float64] = len(numbers) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return np.asarray(np.where(counts > 0, fair, 1.0), np.float64)
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight of {owner} must be None, 'balanced' or a dict by label. Got {shown(class_weight)}."
        )
    weights = np.ones(K)
    place = {label: n for n, label in enumerate(classes.tolist())}
    for label, weight in class_weight.items():
        if label not in place:
            raise ValueError(
                f"class_weight of {owner} must have labels of y, {shown(classes.tolist())}. Got {shown(label)}."
            )
        weights[place[label]] = number(weight, f"class_weight[{shown(label)}]", owner, "a finite number >= 0")
    if (weights < 0).any():
        raise ValueError(f"class_weight of {owner} must hold numbers >= 0. Got {shown(class_weight)}.")
    return weights
