"""`Predictor`: a trained estimator without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rnn_from_scratch.network import Network
from rnn_from_scratch.prediction.forms import Sequences, as_sequences, cut
from rnn_from_scratch.prediction.steps import Padding, Step
from rnn_from_scratch.validation import shown

__all__ = ["Predictor"]


class Predictor:
    """A trained `RNNRegressor`, `RNNClassifier`, or pipeline of one, that predicts with NumPy alone.

    `load` makes it of a file that an estimator or `save_pipeline` wrote; scikit-learn need not be installed. It predicts bit
    for bit what the estimator predicts, in the same forms; it does not learn.

    Attributes
    ----------
    network : Network
        What computes.
    classes_ : ndarray (K,) or None
        The labels, for a classifier.
    single : bool
        Whether it says one number or label without an axis of outputs.
    steps : int or None
        T, if it was trained on (N, T).

    Examples
    --------
    >>> from rnn_from_scratch import GRU, Network, Predictor
    >>> network = Network(2, [GRU(4)], 1, readout="last", random_state=0)
    >>> Predictor(network, single=True).predict([np.ones((3, 2)), np.ones((5, 2))]).shape
    (2,)
    """

    def __init__(
        self,
        network: Network,
        *,
        classes: npt.NDArray[Any] | None = None,
        single: bool = False,
        steps: int | None = None,
        before: Sequence[Step] = (),
    ) -> None:
        self.network = network
        self.classes_ = classes
        self.single, self.steps, self._before = single, steps, tuple(before)
        self._every = network.specification.readout == "every"

    def __repr__(self) -> str:
        kind = "regressor" if self.classes_ is None else f"classifier of {len(self.classes_)} classes"
        return f"Predictor({kind}, {self.network!r})"

    def predict(self, X: Any, lengths: Any = None) -> npt.NDArray[Any]:
        """What the estimator says.

        Parameters
        ----------
        X : array_like (N, T, D), (N, T), or list of N array_like (T_i, D)
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X.

        Returns
        -------
        ndarray
            A number, O numbers or a label for each sequence; with ``readout="every"`` for each step (N, T, …), or, where X
            is a list or has `lengths`, an object array of N arrays (T_i, …).

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        return self.said(self._sequences(X, lengths))

    def predict_proba(self, X: Any, lengths: Any = None) -> npt.NDArray[Any]:
        """The probability of each class, in the order of `classes_`; for classifiers.

        Parameters, errors
            As for `predict`.

        Returns
        -------
        ndarray (N, K)
            With ``readout="every"`` (N, T, K), or an object array of N arrays (T_i, K).
        """
        return self.probabilities(self._sequences(X, lengths))

    def predict_log_proba(self, X: Any, lengths: Any = None) -> npt.NDArray[Any]:
        """The logarithms of what `predict_proba` gives."""
        return self.probabilities(self._sequences(X, lengths), logarithms=True)

    def said(self, sequences: Sequences) -> npt.NDArray[Any]:
        """Numbers or labels for sequences that have been looked at."""
        outputs = self.network.predict(sequences.X, lengths=sequences.given_lengths)
        if self.classes_ is None:
            found: npt.NDArray[Any] = outputs[..., 0] if self.single else outputs
        elif outputs.shape[-1] == 1:
            last = len(self.classes_) - 1  # a single class is always right
            found = self.classes_[np.minimum(outputs[..., 0] > 0.5, last).astype(np.int64)]
        else:
            found = self.classes_[outputs.argmax(axis=-1)]
        return self._in_form(found, sequences)

    def probabilities(self, sequences: Sequences, logarithms: bool = False) -> npt.NDArray[Any]:
        """Probabilities of the classes, or their logarithms, for sequences that have been looked at."""
        if self.classes_ is None:
            raise AttributeError("predict_proba is a method of classifiers; this predicts numbers.")
        outputs = self.network.predict(sequences.X, lengths=sequences.given_lengths)
        if len(self.classes_) == 1:
            outputs = np.ones_like(outputs)
        elif outputs.shape[-1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=-1)
        if logarithms:
            with np.errstate(divide="ignore"):
                outputs = np.log(outputs)
        return self._in_form(outputs, sequences)

    def _sequences(self, X: Any, lengths: Any) -> Sequences:
        sequences = as_sequences(X, lengths)
        for step in self._before:
            sequences = as_sequences(step(sequences), None if isinstance(step, Padding) else sequences.given_lengths)
        if self.steps is not None and (not sequences.univariate or sequences.X.shape[1] != self.steps):
            came = sequences.X.shape[:2] if sequences.univariate else shown(sequences.X)
            raise ValueError(f"X must be (N, T={self.steps}), as it was when this was trained. Got {came}.")
        return sequences

    def _in_form(self, values: npt.NDArray[Any], sequences: Sequences) -> npt.NDArray[Any]:
        if self._every and sequences.ragged:
            return cut(values, sequences.lengths)
        return values
