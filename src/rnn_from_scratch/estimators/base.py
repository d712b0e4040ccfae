"""What both estimators are: checks of what comes, the network behind, and what is known after training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from rnn_from_scratch.alphabet import IndexArray
from rnn_from_scratch.estimators.convergence import Convergence, Progress
from rnn_from_scratch.estimators.parts import Part, Targets, parts_of, seeds_of
from rnn_from_scratch.estimators.settings import Settings, settings_of
from rnn_from_scratch.file_format import FileFormatError, as_path, naming
from rnn_from_scratch.model_files import FLOATS, Model, read_model
from rnn_from_scratch.network import Network
from rnn_from_scratch.prediction.files import SavedEstimator, read_estimator, write_estimator
from rnn_from_scratch.prediction.forms import Sequences, as_sequences, is_ragged, rows_of
from rnn_from_scratch.prediction.predictor import Predictor
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.validation import all_finite, numeric_array, shown

__all__ = ["SequenceEstimator"]

EstimatorType = TypeVar("EstimatorType", bound="SequenceEstimator")

OUT_ACTIVATIONS = {"linear": "identity", "sigmoid": "logistic", "softmax": "softmax"}
"""Our words, and scikit-learn's."""


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn says nothing of its types
    """The part that `RNNRegressor` and `RNNClassifier` have in common; see there for the parameters."""

    readout: str
    random_state: Any
    n_features_in_: int
    _predictor: Predictor
    _progress: Progress

    # --- Learning ---

    def _fit(
        self: EstimatorType,
        X: Any,
        y: Any,
        sample_weight: Any,
        lengths: Any,
        classes: Any = None,
        incremental: bool = False,
    ) -> EstimatorType:
        """Train a new network, or go on with the one that is there."""
        with self._unchanged_by_errors():
            settings = settings_of(self, self._loss_word())
            goes_on = self.__sklearn_is_fitted__() and (incremental or settings.warm_start)
            if incremental and settings.early_stopping:
                raise ValueError(f"early_stopping of {settings.owner} must be False for partial_fit. Got True.")
            if y is None:
                raise ValueError(f"{settings.owner} requires y to be passed, but the target y is None.")
            if not goes_on:
                self._forget()
            sequences = self._training_sequences(X, lengths, goes_on)
            owner = f"{settings.owner}.{'partial_fit' if incremental else 'fit'}"
            targets = self._targets(y, sequences, classes, goes_on, incremental, owner)
            weights = self._weights(sample_weight, sequences, settings)
            seed, split_seed = seeds_of(self.random_state, settings.owner)
            parts = parts_of(sequences, targets, weights, settings, split_seed, owner)
            network = self._network(sequences, targets, settings, seed, goes_on, owner)
            steps = sequences.X.shape[1] if sequences.univariate else None
            predictor = Predictor(network, classes=targets.classes, single=targets.single, steps=steps)
            progress = self._progress.copy() if goes_on else Progress()
            progress.rate_scale = progress.rate_scale if incremental else 1.0
            self._train(predictor, settings, targets, parts, progress, incremental)
        return self

    def _train(
        self,
        predictor: Predictor,
        settings: Settings,
        targets: Targets,
        parts: tuple[Part, Part | None],
        progress: Progress,
        incremental: bool,
    ) -> None:
        """Run the training, and write down what came of it."""
        part, held_out = parts
        N, network, seen = len(part.lengths), predictor.network, vars(self).get("t_", 0)
        optimizer = vars(self).get("_optimizer") if incremental else None
        optimizer = settings.optimizer() if optimizer is None else optimizer
        best: dict[str, npt.NDArray[Any]] = {}
        watch = Convergence(
            progress,
            settings.tol,
            settings.n_iter_no_change,
            settings.scale,
            settings.rate if settings.learning_rate == "adaptive" else None,
            None if held_out is None else lambda: self._score_of(predictor, held_out),
            lambda: best.update({name: values.copy() for name, values in network.parameters.items()}),
        )
        epochs, batch = 1 if incremental else settings.max_iter, settings.batch(N)
        before = len(progress.loss_curve)
        try:
            network.fit(
                part.X,
                part.y,
                epochs,
                batch,
                optimizer=optimizer,
                learning_rate=settings.rate,
                schedule=settings.schedule(progress, N, seen),
                clip=settings.clip,
                shuffle=settings.shuffle,
                tbptt_steps=settings.tbptt_steps,
                callbacks=watch,
                verbose=settings.verbose,
                lengths=part.given_lengths,
                sample_weight=part.weights,
                class_weight=targets.class_weights,
                l2=settings.penalty(*part.load(targets), batch),
            )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        else:
            if not (watch.converged or incremental):
                warnings.warn(
                    f"{settings.owner} has made all max_iter={epochs} iterations, and was still getting better.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        if best:
            with network.edit_parameters() as p:
                p.replace(best)
        self._optimizer, self._progress, self._predictor, self.network_ = optimizer, progress, predictor, network
        self._describe(targets, len(progress.loss_curve) - before, seen + N * (len(progress.loss_curve) - before))

    def _describe(self, targets: Targets, epochs: int, seen: int) -> None:
        """The attributes of scikit-learn's multi-layer perceptrons."""
        progress, watched = self._progress, bool(self._progress.validation_scores)
        self.n_outputs_ = targets.output_size
        self.n_layers_ = len(self.network_.specification.layers) + 2
        self.out_activation_ = OUT_ACTIVATIONS[targets.output_activation]
        self.n_iter_, self.t_ = epochs, seen
        self.loss_curve_ = progress.loss_curve
        self.loss_ = progress.loss_curve[-1] if progress.loss_curve else np.inf
        self.best_loss_ = None if watched else progress.best_loss
        self.validation_scores_ = progress.validation_scores if watched else None
        self.best_validation_score_ = progress.best_score if watched else None
        if targets.classes is not None:
            self.classes_ = targets.classes

    @contextmanager
    def _unchanged_by_errors(self) -> Iterator[None]:
        """What `fit` finds wrong it finds before anything has changed."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _forget(self) -> None:
        for name in [*vars(self)]:
            if name.endswith("_") or name in ("_optimizer", "_progress", "_predictor"):
                delattr(self, name)

    def _loss_word(self) -> str:
        raise NotImplementedError

    def _targets(
        self, y: Any, sequences: Sequences, classes: Any, goes_on: bool, incremental: bool, owner: str
    ) -> Targets:
        raise NotImplementedError

    def _score_of(self, predictor: Predictor, part: Part) -> float:
        """The score of a validation set."""
        predicted = predictor.predict(part.X, part.given_lengths)
        return self._score_rows(part.truth, predicted, part.weights, part.lengths, part.steps)

    def _score(self, X: Any, y: Any, sample_weight: Any, lengths: Any) -> float:
        predictor = self._fitted()
        sequences = self._sequences(X, lengths)
        return self._score_rows(y, predictor.said(sequences), sample_weight, sequences.lengths, sequences.steps)

    def _score_rows(self, y: Any, predicted: Any, sample_weight: Any, lengths: IndexArray, steps: int) -> float:
        """The measure over all sequences, or over all real steps."""
        if self.readout != "every":
            return self._measure(y, predicted, sample_weight)
        rows, said = rows_of(y, lengths, "y", steps), rows_of(predicted, lengths, "predictions", steps)
        if sample_weight is not None:
            if not is_ragged(sample_weight, 1) and np.ndim(sample_weight) == 1:
                sample_weight = np.repeat(numeric_array(sample_weight, "sample_weight"), lengths)
            else:
                sample_weight = rows_of(sample_weight, lengths, "sample_weight", steps)
        return self._measure(rows, said, sample_weight)

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        raise NotImplementedError

    def _network(
        self, sequences: Sequences, targets: Targets, settings: Settings, seed: Any, goes_on: bool, owner: str
    ) -> Network:
        D = sequences.X[0].shape[1] if isinstance(sequences.X, list) else sequences.X.shape[2]
        specification = NetworkSpecification(
            D,
            settings.layers,
            targets.output_size,
            settings.readout,
            targets.output_activation,
            settings.loss,
            settings.dropout,
        )
        if not goes_on:
            words = {"dtype": settings.dtype, "random_state": seed, "engine": settings.engine}
            words["n_threads"] = settings.n_threads
            return Network.from_specification(specification, **words)
        network: Network = self.network_
        if network.specification != specification:
            there, wanted = shown(network.specification), shown(specification)
            raise ValueError(f"{owner} can only go on with the network that is there, {there}. Got {wanted}.")
        return network

    # --- What comes in ---

    def _training_sequences(self, X: Any, lengths: Any, goes_on: bool) -> Sequences:
        if goes_on:
            return self._sequences(X, lengths)
        sequences = self._own_form(X, lengths)
        if sequences is None:
            X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_all_finite=lengths is None)
            return as_sequences(X, lengths)
        if isinstance(sequences.X, list):
            sequences = Sequences([numeric_array(x, f"X[{n}]") for n, x in enumerate(sequences.X)], False, lengths)
            if sequences.X[0].ndim != 2:
                raise ValueError(f"X[0] must be (T, D). Got {sequences.X[0].shape}.")
        self.n_features_in_ = int(sequences.X[0].shape[-1])
        return sequences

    @staticmethod
    def _own_form(X: Any, lengths: Any) -> Sequences | None:
        """Sequences in forms that scikit-learn does not know, (N, T, D) and lists; None for two dimensions."""
        if not isinstance(X, (np.ndarray, list, tuple)) and getattr(X, "ndim", 0) == 3:
            X = np.asarray(X)
        is_array = isinstance(X, np.ndarray) and X.ndim == 3 and X.dtype.kind in "buif" and X.size
        return as_sequences(X, lengths) if is_array or is_ragged(X) else None

    def _sequences(self, X: Any, lengths: Any) -> Sequences:
        """What has to fit the network that is there; of floats the network finds out by itself whether they are numbers."""
        sequences = self._own_form(X, lengths)
        if sequences is not None:
            if self._predictor.steps is not None:
                raise ValueError(f"X must be (N, T={self.n_features_in_}), as it was in fit. Got {shown(X)}.")
            return sequences
        plain = type(X) is np.ndarray and X.dtype in FLOATS and X.ndim == 2 and "feature_names_in_" not in vars(self)
        if plain and X.shape[1] == self.n_features_in_ and len(X) and (lengths is not None or all_finite(X)):
            return as_sequences(X, lengths)  # without scikit-learn's checks, which take longer than a short prediction
        if self._predictor.steps is None and self.n_features_in_ == 1:
            return as_sequences(X, lengths)
        if self._predictor.steps is None:
            D = self.n_features_in_
            raise ValueError(f"X must be (N, T, D={D}) or a list of (T_i, D={D}), as in fit. Got {np.shape(X)}.")
        return as_sequences(validate_data(self, X, reset=False, ensure_all_finite=lengths is None), lengths)

    @staticmethod
    def _weights(sample_weight: Any, sequences: Sequences, settings: Settings) -> Any:
        """(N,), or with an output for every step perhaps a list of (T_i,)."""
        if sample_weight is None:
            return None
        if settings.readout == "every" and (is_ragged(sample_weight, 1) or np.ndim(sample_weight) == 2):
            lengths = sequences.lengths
            rows = rows_of(sample_weight, lengths, "sample_weight", sequences.steps)
            return np.split(rows, np.cumsum(lengths)[:-1])
        return numeric_array(sample_weight, "sample_weight")

    # --- What comes out ---

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in vars(self)

    def _fitted(self) -> Predictor:
        if "_predictor" not in vars(self):
            check_is_fitted(self)  # says that it is not
        return self._predictor

    def predict(self, X: Any, lengths: Any = None) -> npt.NDArray[Any]:
        """What the network says of sequences.

        Parameters
        ----------
        X : array_like (N, T, D), (N, T), or list of N array_like (T_i, D)
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X.

        Returns
        -------
        ndarray
            What y was: a number, O numbers or a label for each sequence. With ``readout="every"`` for each step, (N, T, …), or,
            where X is a list or has `lengths`, an object array of N arrays (T_i, …).

        Raises
        ------
        sklearn.exceptions.NotFittedError
        TypeError, ValueError
            If an argument is not as described.
        """
        predictor = self._fitted()
        return predictor.said(self._sequences(X, lengths))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # --- Files ---

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to a file: its parameters, classes and network, not the memory of its optimiser.

        The file is replaced as a whole or not at all. `load` of this class reads it, and `rnn_from_scratch.load` makes a
        `Predictor` of it where there is no scikit-learn.

        Parameters
        ----------
        path : str or os.PathLike
            The file, under exactly this name.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        TypeError, ValueError
            If a parameter or a label is something that a file cannot hold: labels are str, bool, int or float there.
        OSError
            If the system cannot write the file; the old one, if any, is still there.
        """
        self._fitted()
        write_estimator(as_path(path, f"{type(self).__name__}.save"), self._kind(), self.network_, self._saved())

    @classmethod
    def load(
        cls: type[EstimatorType], path: str | os.PathLike[str], *, random_state: Any = None, engine: str = "auto"
    ) -> EstimatorType:
        """Read an estimator that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
        random_state : None, int, SeedSequence, BitGenerator or Generator, default=None
            Seeds what training that goes on draws.
        engine : {'auto', 'numpy', 'native'}, default='auto'
            Who computes, until the next `fit`.

        Raises
        ------
        FileFormatError
            If the file is damaged, holds something else, or was written by a newer version.
        OSError
            If the system cannot read it.
        """
        model = read_model(as_path(path, f"{cls.__name__}.load"), cls._kind())
        saved = read_estimator(model)
        with naming(model.path):
            if saved.name is not None:
                raise FileFormatError("it holds a pipeline; load_pipeline reads it.")
            return cls._of_file(model, saved, random_state, engine)

    @classmethod
    def _kind(cls) -> str:
        """The public class, for its subclasses too."""
        return next(base.__name__ for base in cls.__mro__ if SequenceEstimator in base.__bases__)

    def _saved(self) -> SavedEstimator:
        words = dict(self.get_params(deep=False))
        if not isinstance(words["random_state"], (int, np.integer)):
            words["random_state"] = None  # files hold no generators
        words["dtype"] = None if words["dtype"] is None else np.dtype(words["dtype"]).name
        names = vars(self).get("feature_names_in_")
        predictor = self._predictor
        return SavedEstimator(
            words,
            predictor.classes_,
            predictor.single,
            predictor.steps,
            None if names is None else [str(name) for name in names],
            {"epochs": self.n_iter_, "sequences": self.t_, "loss": float(self.loss_)},
        )

    @classmethod
    def _of_file(
        cls: type[EstimatorType], model: Model, saved: SavedEstimator, random_state: Any, engine: str
    ) -> EstimatorType:
        unknown = sorted(set(saved.parameters) - set(cls._get_param_names()))
        if unknown:
            raise FileFormatError(f"its parameters must be those of {cls.__name__}. Got {shown(unknown)}.")
        estimator = cls(**saved.parameters)
        network = Network.of_model(model, random_state, engine)
        specification, loss = network.specification, saved.fitted["loss"]
        estimator.network_ = network
        estimator._predictor = Predictor(network, classes=saved.classes, single=saved.single, steps=saved.steps)
        estimator._progress = Progress([loss], best_loss=loss)
        estimator.n_features_in_ = specification.input_size if saved.steps is None else saved.steps
        if saved.feature_names is not None:
            estimator.feature_names_in_ = np.array(saved.feature_names, dtype=object)
        targets = Targets(
            None, None, specification.output_size, specification.output_activation, saved.single, saved.classes
        )
        estimator._describe(targets, saved.fitted["epochs"], saved.fitted["sequences"])
        return estimator
