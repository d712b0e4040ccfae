"""`SequenceScaler` and `SequencePadder`: what pipelines of sequences begin with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from rnn_from_scratch.prediction.forms import Sequences, as_objects, as_sequences, is_ragged, rows_of
from rnn_from_scratch.prediction.steps import SIDES, Padding, Scaling
from rnn_from_scratch.validation import boolean, choice, integer, number, require_finite, shown

__all__ = ["SequencePadder", "SequenceScaler"]

METHODS = ("standard", "minmax", "robust")


class SequenceTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn says nothing of its types
    """What both transformers do with what comes in."""

    _steps: int | None
    n_features_in_: int

    def _sequences(self, X: Any, lengths: Any, reset: bool = False) -> Sequences:
        if not isinstance(X, (np.ndarray, list, tuple)) and getattr(X, "ndim", 0) == 3:
            X = np.asarray(X)
        if not is_ragged(X) and not (isinstance(X, np.ndarray) and X.ndim == 3 and X.size):
            if not reset and self._steps is None and self.n_features_in_ == 1:
                return as_sequences(X, lengths)
            words = {"dtype": [np.float64, np.float32], "ensure_all_finite": lengths is None}
            if not reset and self._steps is None:
                D = self.n_features_in_
                raise ValueError(f"X must be (N, T, D={D}) or a list of (T_i, D={D}), as in fit. Got {np.shape(X)}.")
            sequences = as_sequences(validate_data(self, X, reset=reset, **words), lengths)
            if reset:
                self._steps = sequences.X.shape[1]
            return sequences
        sequences = as_sequences(X, lengths)
        if isinstance(sequences.X, list):
            sequences = Sequences([np.asarray(x) for x in sequences.X], False, lengths)
        D = sequences.X[0].shape[-1]
        for n, x in enumerate(sequences.X if isinstance(sequences.X, list) else []):
            if x.ndim != 2 or x.shape[1] != D or not len(x):
                raise ValueError(f"X[{n}] must be (T, D={D}), with one step or more. Got {x.shape}.")
        if reset:
            self.__dict__.pop("feature_names_in_", None)
            self._steps, self.n_features_in_ = None, D
        elif self._steps is not None:
            raise ValueError(f"X must be (N, T={self.n_features_in_}), as it was in fit. Got {shown(X)}.")
        elif self.n_features_in_ != D:
            raise ValueError(f"X must have D={self.n_features_in_} features, as in fit. Got {D}.")
        return sequences

    def _in_form(self, found: Any, X: Any) -> Any:
        """A list for a list, an object array for an object array."""
        return as_objects(found) if isinstance(found, list) and isinstance(X, np.ndarray) else found

    def fit_transform(self, X: Any, y: Any = None, lengths: Any = None) -> Any:
        """`fit`, then `transform`."""
        return self.fit(X, y, lengths=lengths).transform(X, lengths=lengths)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _is_plain(scaler: SequenceScaler) -> bool:
    """Whether it deals with (N, T), which tables can hold."""
    return vars(scaler).get("_steps", 0) is not None


class SequenceScaler(OneToOneFeatureMixin, SequenceTransformer):  # type: ignore[misc]  # as above
    """Bring every feature to a common scale, over all real steps of all sequences.

    ::

        x ← (x − center) / scale

    Parameters
    ----------
    method : {'standard', 'minmax', 'robust'}, default='standard'
        Mean 0 and standard deviation 1; the range `feature_range`; or median 0 and a distance of 1 between the percentiles
        `quantile_range`.
    feature_range : (float, float), default=(0, 1)
    quantile_range : (float, float), default=(25, 75)

    Attributes
    ----------
    center_, scale_ : ndarray (D,)
        (1,) for X (N, T), which has one feature. The scale of a feature that is always the same is 1.
    n_features_in_ : int
        D, or T for X (N, T).

    Examples
    --------
    >>> from rnn_from_scratch.estimators import SequenceScaler
    >>> X = [np.array([[1.0], [3.0]]), np.array([[5.0]])]
    >>> scaler = SequenceScaler("minmax").fit(X)
    >>> scaler.transform(X)
    [array([[0. ],
           [0.5]]), array([[1.]])]
    >>> bool((scaler.inverse_transform(scaler.transform(X))[0] == X[0]).all())
    True
    """

    def __init__(
        self, method: str = "standard", *, feature_range: Any = (0.0, 1.0), quantile_range: Any = (25.0, 75.0)
    ) -> None:
        self.method = method
        self.feature_range = feature_range
        self.quantile_range = quantile_range

    def fit(self, X: Any, y: Any = None, lengths: Any = None) -> SequenceScaler:
        """Learn center and scale of every feature.

        Parameters
        ----------
        X : array_like (N, T, D), (N, T), or list of N array_like (T_i, D)
        y : ignored
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X.

        Returns
        -------
        self
        """
        owner = type(self).__name__
        method = choice(self.method, "method", owner, METHODS)
        low, high = _range(self.feature_range, "feature_range", owner)
        first, last = _range(self.quantile_range, "quantile_range", owner)
        if not 0 <= first < last <= 100:
            raise ValueError(f"quantile_range of {owner} must lie in [0, 100]. Got {shown(self.quantile_range)}.")
        sequences = self._sequences(X, lengths, reset=True)
        rows = rows_of(sequences.X, sequences.lengths, "X", sequences.steps).astype(np.float64)  # (M, D)
        require_finite(rows, "X")
        if method == "standard":
            center, scale = rows.mean(axis=0), rows.std(axis=0)
        elif method == "robust":
            lower, center, upper = np.percentile(rows, [first, 50.0, last], axis=0)
            scale = upper - lower
        else:
            least = rows.min(axis=0)
            scale = _nowhere_zero(rows.max(axis=0) - least, rows) / (high - low)
            center = least - low * scale
        self.center_, self.scale_ = center, _nowhere_zero(scale, rows)
        return self

    def transform(self, X: Any, lengths: Any = None) -> Any:
        """The same sequences, scaled, in the form in which they came; float32 stays float32.

        Parameters
        ----------
        X, lengths
            As in `fit`; what stands past the ends may be anything.
        """
        check_is_fitted(self)
        return self._in_form(self._scaling()(self._sequences(X, lengths)), X)

    def inverse_transform(self, X: Any, lengths: Any = None) -> Any:
        """The sequences that were there before they were scaled."""
        check_is_fitted(self)
        return self._in_form(self._scaling().inverse(self._sequences(X, lengths)), X)

    def _scaling(self) -> Scaling:
        return Scaling(self.center_, self.scale_)

    @available_if(_is_plain)  # type: ignore[untyped-decorator]  # as above
    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """The names that came in; only for X (N, T), which alone can go out as a table (`set_output`)."""
        found: npt.NDArray[np.object_] = super().get_feature_names_out(input_features)
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class SequencePadder(SequenceTransformer):
    """Make one array of sequences of different lengths, for estimators that know no others.

    The estimators of this library do not need it: they take lists, and `lengths` for what is padded already.

    Parameters
    ----------
    length : None or int, default=None
        T; None takes that of the longest sequence in `fit`. Of longer sequences the last T steps are kept.
    value : float, default=0.0
        What stands where a sequence has no step; may be NaN.
    side : {'after', 'before'}, default='after'
        Where that is.
    mask : bool, default=False
        Whether a further feature says which steps are real, by 1 and 0.
    flatten : bool, default=False
        Whether the steps stand side by side, (N, T·D), as scikit-learn's own estimators want it.

    Attributes
    ----------
    length_ : int
        T.
    n_features_in_ : int
        D, or T for X (N, T).

    Examples
    --------
    >>> from rnn_from_scratch.estimators import SequencePadder
    >>> SequencePadder(side="before", flatten=True).fit_transform([[[1.0]], [[2.0], [3.0]]])
    array([[0., 1.],
           [2., 3.]])
    """

    def __init__(
        self,
        length: int | None = None,
        *,
        value: float = 0.0,
        side: str = "after",
        mask: bool = False,
        flatten: bool = False,
    ) -> None:
        self.length = length
        self.value = value
        self.side = side
        self.mask = mask
        self.flatten = flatten

    def fit(self, X: Any, y: Any = None, lengths: Any = None) -> SequencePadder:
        """Find the longest sequence.

        Parameters
        ----------
        X : array_like (N, T, D), (N, T), or list of N array_like (T_i, D)
        y : ignored
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X.

        Returns
        -------
        self
        """
        owner = type(self).__name__
        value = self.value
        if not (isinstance(value, float) and np.isnan(value)):
            value = number(value, "value", owner, "a finite number or NaN")
        side = choice(self.side, "side", owner, SIDES)
        mask, flatten = boolean(self.mask, "mask", owner), boolean(self.flatten, "flatten", owner)
        length = None if self.length is None else integer(self.length, "length", owner)
        sequences = self._sequences(X, lengths, reset=True)
        self.length_ = int(sequences.lengths.max()) if length is None else length
        self._padding = Padding(self.length_, float(value), side, mask, flatten)
        return self

    def transform(self, X: Any, lengths: Any = None) -> npt.NDArray[Any]:
        """(N, T, D), with a mask (N, T, D + 1), or flat; float32 stays float32.

        Parameters
        ----------
        X, lengths
            As in `fit`.
        """
        check_is_fitted(self)
        return self._padding(self._sequences(X, lengths))


def _range(given: Any, name: str, owner: str) -> tuple[float, float]:
    if not isinstance(given, (tuple, list, np.ndarray)) or len(given) != 2:
        raise TypeError(f"{name} of {owner} must be a pair of numbers. Got {shown(given)}.")
    low, high = (number(end, name, owner, "a pair of finite numbers") for end in given)
    if not low < high:
        raise ValueError(f"{name} of {owner} must go upwards. Got {shown(given)}.")
    return low, high


def _nowhere_zero(scale: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 for features that are always the same, up to rounding."""
    nothing = 10 * np.finfo(np.float64).eps * np.abs(rows).max(axis=0)
    return np.where(scale <= nothing, 1.0, scale)
