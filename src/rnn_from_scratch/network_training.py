"""The part of `Network` that learns: training, and the loss with its gradient."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.clipping import Clipping, as_clipping
from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.engines.base import UpdateRule, batch_loss
from rnn_from_scratch.network_base import NetworkBase
from rnn_from_scratch.optimizers import Optimizer, as_optimizer
from rnn_from_scratch.training.constant_rate import ConstantRate
from rnn_from_scratch.training.history import History
from rnn_from_scratch.training.loop import Callback, TrainingPlan, TrainingRun, train
from rnn_from_scratch.training_set import as_callbacks, as_training_set, require_possible, with_validation
from rnn_from_scratch.validation import boolean, integer, non_negative, positive, shown

if TYPE_CHECKING:
    from rnn_from_scratch import metrics as measures
    from rnn_from_scratch.textbook import penalty
    from rnn_from_scratch.training import resuming, schedules, stopping
else:
    measures = deferred_module("rnn_from_scratch.metrics")
    penalty = deferred_module("rnn_from_scratch.textbook.penalty")
    resuming = deferred_module("rnn_from_scratch.training.resuming")
    schedules = deferred_module("rnn_from_scratch.training.schedules")
    stopping = deferred_module("rnn_from_scratch.training.stopping")

__all__ = ["NetworkTraining"]


class NetworkTraining(NetworkBase):
    """The part of `Network` that learns; see there for the parameters."""

    def fit(
        self,
        X: Any,
        y: Any,
        epochs: int,
        batch_size: int = 32,
        *,
        optimizer: str | Optimizer = "adam",
        learning_rate: float = 1e-3,
        schedule: str | schedules.Schedule = "constant",
        clip: float | Clipping | None = None,
        shuffle: bool | None = None,
        tbptt_steps: int | None = None,
        stateful: bool = False,
        validation: Any = None,
        metrics: Any = (),
        early_stopping: int | stopping.EarlyStopping | None = None,
        callbacks: Callback | Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | resuming.Checkpoints | None = None,
        resume: bool = False,
        verbose: bool = False,
        lengths: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        l2: float = 0.0,
        frozen: str | Iterable[str] = (),
    ) -> History:
        """Train, starting from the present parameters.

        Parameters
        ----------
        X : array_like (N, T, D), or list of N array_like (T_i, D)
            Sequences; with a vocabulary (N, T) or (T_i,) of int. Or `Windows` over one long series.
        y : array_like
            With ``readout="every"`` (N, T, O), (N, T) for one output, or a list of (T_i, O); otherwise (N, O), or (N,) for
            one output. With softmax and 'ce' also int labels in [0, O): (N, T), a list of (T_i,), or (N,). With
            ``readout="every"`` also `Windows`.
        epochs : int
            Passes over the data.
        batch_size : int, default=32
            Sequences per update; the last update of an epoch takes those that are left.
        optimizer : {'adam', 'adamw', 'rmsprop', 'sgd'} or Optimizer, default='adam'
            Starts anew at each call; see `rnn_from_scratch.optimizers`.
        learning_rate : float, default=0.001
        schedule : {'constant', 'step', 'exponential', 'cosine', 'plateau'} or Schedule, default='constant'
            How the learning rate goes on; see `rnn_from_scratch.training.schedules`.
        clip : None, float or Clipping, default=None
            A number is the largest allowed norm of the whole gradient; see `rnn_from_scratch.clipping`.
        shuffle : None or bool, default=None
            Whether sequences are visited in a new random order in every epoch; None: unless `stateful`.
        tbptt_steps : None or int, default=None
            Truncated backpropagation through time: an update after every so many steps, from the states that the steps
            before have left, through which no gradient flows. The loss of an update is the mean over its own rows.
        stateful : bool, default=False
            Whether row i of a mini-batch goes on where row i of the one before ended, as the parts of long streams do; every
            epoch begins anew. The number of sequences must be divisible by `batch_size`.
        validation : None, float, (X, y) or mapping, default=None
            Data that are only looked at, after every epoch: the last sequences, as a share of all (windows before them that
            have targets in common with them are left out); or other ones, as a pair, or as a mapping with X and y and
            perhaps lengths and sample_weight.
        metrics : word, callable, or list or mapping of those, default=()
            'accuracy', 'f1', 'mae', 'rmse', 'r2', or any function of outputs and targets, rows (M, O) of real steps; of the
            training set, which costs another run over it, and of the validation set.
        early_stopping : None, int or EarlyStopping, default=None
            Stop after so many epochs in which the validation loss (else the training loss) has not become smaller, and
            restore the parameters of the best epoch.
        callbacks : callable (epoch, history) or list of those, default=()
            Called after every epoch, counted from 1; training stops if one returns True.
        checkpoint : None, str, os.PathLike or Checkpoints, default=None
            Where the run is kept, by default every 60 seconds and at its end; a new file unless `resume`.
        resume : bool, default=False
            Go on from the checkpoint, if the file is there, to the same bits as a run that never stopped: everything but
            `epochs`, `callbacks` and `verbose` must be as it was. A run that had reached its end is only put back.
        verbose : bool, default=False
            Whether progress is shown: a bar where there is a terminal and tqdm, else ten lines.
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X; what stands beyond them is never read.
        sample_weight : array_like (N,), with ``readout="every"`` also (N, T) or a list of (T_i,), optional
            How much each row counts: a mini-batch's loss is Σ w ℓ / Σ w. Sequences without any weight are left out of the
            mini-batches, as if they were not there.
        class_weight : mapping, array_like (O,), or 'balanced', optional
            Multiplies the weight of every row by that of its class (1 for those a mapping does not name), with softmax or
            one sigmoid output; 'balanced' gives all classes that occur the same total weight.
        l2 : float, default=0.0
            λ of the penalty ½ λ Σ ‖W‖² over weight matrices, which is part of the loss and of the gradient that is clipped.
        frozen : str or iterable of str, default=()
            Tensors that are not to change ('layer0.W_h'), or places with all that is in them ('layer0', 'readout').

        Returns
        -------
        History
            Loss, gradient norms and times of every epoch.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or the checkpoint is of another run; nothing has changed then.
        FileExistsError
            If the checkpoint is there and `resume` is False.
        FileFormatError, OSError
            If the checkpoint cannot be read or written.
        NonFiniteError
            If a loss or gradient is not finite; the parameters are those of the last good epoch.
        KeyboardInterrupt
            At Ctrl-C, also in the middle of a long update, which is then not made. The parameters are those after the updates
            before it, and `history` has the epochs that were finished.
        """
        owner = "Network.fit"
        how = TrainingPlan(
            epochs=integer(epochs, "epochs", owner),
            batch_size=integer(batch_size, "batch_size", owner),
            learning_rate=positive(learning_rate, "learning_rate", owner),
            rule=UpdateRule(
                as_optimizer(optimizer, owner),
                as_clipping(clip, owner),
                non_negative(l2, "l2", owner),
                self._frozen(frozen),
            ),
            schedule=self._schedule(schedule, owner),
            shuffle=not stateful if shuffle is None else boolean(shuffle, "shuffle", owner),
            tbptt_steps=None if tbptt_steps is None else integer(tbptt_steps, "tbptt_steps", owner),
            stateful=boolean(stateful, "stateful", owner),
            early_stopping=None if early_stopping is None else stopping.as_early_stopping(early_stopping, owner),
            metrics=self._metrics(metrics, owner),
            callbacks=as_callbacks(callbacks, owner),
            verbose=boolean(verbose, "verbose", owner),
        )
        checkpoints = self._checkpoints(checkpoint, boolean(resume, "resume", owner), owner)
        dtype = self._dtype_for(X)
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        sets = as_training_set(self.specification, dtype, X, y, lengths=lengths, keep_all=how.stateful, **weights)
        data = with_validation(self.specification, dtype, sets, validation, owner)
        require_possible(self.specification, how, len(data.inputs), owner)
        moment = None
        if checkpoints is not None:
            own = (self._engine, self._generator)
            moment = resuming.read_moment(checkpoints, self.specification, dtype, how, data, *own)
        self._history = History()
        run = TrainingRun(self._engine, self._planned(dtype), data, how, self._generator, self._history)
        return train(run, None if checkpoints is None else resuming.keeper_of(run, checkpoints, moment))

    @property
    def history(self) -> History | None:
        """What the last call of `fit` has done, also if it was interrupted; None before the first."""
        return self._history

    def loss_and_gradient(
        self,
        X: Any,
        y: Any,
        *,
        lengths: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        l2: float = 0.0,
    ) -> tuple[float, dict[str, FloatArray]]:
        """The loss over all given sequences, and its exact gradient by every parameter; nothing is dropped.

        Parameters
        ----------
        X, y, lengths, sample_weight, class_weight, l2
            As in `fit`.

        Returns
        -------
        loss : float
        gradient : dict of str to ndarray
            By the names and in the shapes of `parameters`.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.

        Examples
        --------
        >>> from rnn_from_scratch import Elman, Network
        >>> network = Network(1, [Elman(2, activation="linear")], 1, random_state=0)
        >>> with network.edit_parameters() as p:
        ...     p["readout.W_y"][:] = 0
        >>> loss, gradient = network.loss_and_gradient([[[1.0], [2.0]]], [[[3.0], [4.0]]])
        >>> loss, gradient["readout.b_y"]
        (12.5, array([-7.]))
        """
        owner = "Network.loss_and_gradient"
        decay = non_negative(l2, "l2", owner)
        dtype = self._dtype_for(X)
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        inputs, targets = as_training_set(self.specification, dtype, X, y, lengths=lengths, owner=owner, **weights)
        plan = self._planned(dtype)
        loss, gradient = batch_loss(self._engine, plan, inputs, targets)
        if decay:
            loss += penalty.add_penalty(decay, plan.parameters.vector, plan.parameters.matrices, gradient)
        return loss, plan.parameters.named(gradient)

    def _checkpoints(self, checkpoint: Any, resume: bool, owner: str) -> resuming.Checkpoints | None:
        return resuming.as_checkpoints(checkpoint, resume, owner) if resume or checkpoint is not None else None

    def _schedule(self, schedule: str | ConstantRate, owner: str) -> ConstantRate:
        if isinstance(schedule, str) and schedule == "constant":
            return ConstantRate()
        return schedules.as_schedule(schedule, owner)

    def _metrics(self, metrics: Any, owner: str) -> Mapping[str, measures.Metric]:
        if isinstance(metrics, tuple) and not metrics:
            return {}
        return measures.as_metrics(metrics, owner, [entry.name for entry in fields(History)])

    def _frozen(self, frozen: object) -> tuple[str, ...]:
        """The full names of all tensors that the user's words mean."""
        names = [frozen] if isinstance(frozen, str) else frozen
        if not isinstance(names, Iterable):
            raise TypeError(f"frozen of Network.fit must be a list of names such as 'layer0'. Got {shown(frozen)}.")
        known = [tensor.name for tensor in self.specification.tensors()]
        meant: set[str] = set()
        for name in names:
            found = [tensor for tensor in known if tensor == name or tensor.startswith(f"{name}.")]
            if not found:
                raise ValueError(
                    f"frozen of Network.fit must name tensors or their places, {known}. Got {shown(name)}."
                )
            meant.update(found)
        return tuple(name for name in known if name in meant)


NetworkTraining.fit.__qualname__ = "Network.fit"  # what Python's own message calls it when an argument is missing
