"""`RNNRegressor`: numbers from sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, column_or_1d

from rnn_from_scratch.estimators.base import SequenceEstimator
from rnn_from_scratch.estimators.parts import Targets
from rnn_from_scratch.prediction.forms import Sequences, rows_of
from rnn_from_scratch.validation import choice, numeric_array

__all__ = ["RNNRegressor"]

REGRESSION_LOSSES = ("squared_error", "absolute_error", "huber")


class RNNRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]  # scikit-learn says nothing of its types
    """Recurrent network that learns numbers from sequences, in scikit-learn's way.

    X is (N, T, D); or (N, T), N univariate sequences, whose T is then ``n_features_in_``; or a list of (T_i, D) arrays. What
    scikit-learn's `MLPRegressor` has too means what it means there.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64,)
        Hidden units of each recurrent layer, from the input upwards.
    cell : {'gru', 'lstm', 'elman'}, default='gru'
    loss : {'squared_error', 'absolute_error', 'huber'}, default='squared_error'
        Half of the mean of squares; the mean of absolute errors; or squared near zero and linear from 1 on.
    bidirectional : bool, default=False
        Whether each layer reads from both ends.
    readout : {'last', 'mean', 'every'}, default='last'
        One target per sequence, learned from the last state or from the mean of all; or one for every step.
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
    network_ : Network
        The trained network; ``network_.parameters`` has its weights by name.
    n_features_in_ : int
        D, or T for X (N, T).
    feature_names_in_ : ndarray of str
        Only for an X (N, T) with names.
    n_outputs_, n_layers_, out_activation_
        Outputs, layers with input and output, and 'identity'.
    n_iter_ : int
        Epochs of the last `fit`.
    t_ : int
        Sequences seen in all epochs.
    loss_, loss_curve_, best_loss_
        The last loss, that of each epoch, and the least; None with `early_stopping`.
    validation_scores_, best_validation_score_
        R² of the validation set after each epoch and the best; None without `early_stopping`.

    Examples
    --------
    >>> from rnn_from_scratch.estimators import RNNRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(length, 2)) for length in rng.integers(5, 12, size=200)]
    >>> y = np.array([x[:, 0].mean() + x[-1, 1] for x in X])
    >>> model = RNNRegressor(16, learning_rate_init=0.02, max_iter=60, random_state=0, tol=0.01).fit(X[:150], y[:150])
    >>> model.score(X[150:], y[150:]) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (64,),
        cell: str = "gru",
        *,
        loss: str = "squared_error",
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
        clip_norm: float | None = 1.0,
        tbptt_steps: int | None = None,
        engine: str = "auto",
        n_threads: int | None = None,
        dtype: Any = None,
    ) -> None:
        self.hidden_layer_sizes, self.cell, self.loss = hidden_layer_sizes, cell, loss
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
        self.clip_norm, self.tbptt_steps = clip_norm, tbptt_steps
        self.engine, self.n_threads, self.dtype = engine, n_threads, dtype

    def fit(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> RNNRegressor:
        """Learn from sequences, anew unless `warm_start`.

        Parameters
        ----------
        X : array_like (N, T, D), (N, T), or list of N array_like (T_i, D)
        y : array_like (N,) or (N, O)
            With ``readout="every"`` (N, T), (N, T, O), or a list of (T_i,) or (T_i, O).
        sample_weight : array_like (N,), with ``readout="every"`` also (N, T) or a list of (T_i,), optional
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X; what stands beyond them is never read.

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

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> RNNRegressor:
        """One epoch more, with an optimiser that goes on where it was. Parameters and errors as in `fit`."""
        return self._fit(X, y, sample_weight, lengths, incremental=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """R² of the predictions, with ``readout="every"`` over all real steps; several outputs count alike.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.
        """
        return self._score(X, y, sample_weight, lengths)

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def _loss_word(self) -> str:
        return choice(self.loss, "loss", type(self).__name__, REGRESSION_LOSSES)

    def _targets(
        self, y: Any, sequences: Sequences, classes: Any, goes_on: bool, incremental: bool, owner: str
    ) -> Targets:
        if self.readout == "every":
            rows = numeric_array(rows_of(y, sequences.lengths, "y", sequences.steps), "y")
            y = np.split(rows, np.cumsum(sequences.lengths)[:-1])
        else:
            y = rows = check_array(y, ensure_2d=False, input_name="y", estimator=self, dtype="numeric")
            if rows.ndim == 2 and rows.shape[1] == 1:
                y = rows = column_or_1d(rows, warn=True)
        return Targets(y, y, 1 if rows.ndim == 1 else rows.shape[1], "linear", rows.ndim == 1)
