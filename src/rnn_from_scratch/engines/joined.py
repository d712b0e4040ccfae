"""Training of one Elman layer that is read at every step: its parameters and those of its readout as one matrix."""

from __future__ import annotations

import math

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, State
from rnn_from_scratch.engines.base import Backward, Forward, Plan, UpdateRule, Updates
from rnn_from_scratch.engines.turned import TrainingParameters
from rnn_from_scratch.layers import Elman
from rnn_from_scratch.sequences import Batch
from rnn_from_scratch.specification import NetworkSpecification
from rnn_from_scratch.textbook import elman_and_readout, readout
from rnn_from_scratch.textbook.products import MOST_NUMBERS, MOST_WORK, Workspace

__all__ = ["JoinedParameters", "JoinedPlan"]

LANES = 8
"""Rows of the matrix are a multiple of so many numbers apart: processors read whole vectors, and read them best from there."""
LEAST_EPSILON = 1e-30
"""Of an optimiser: a smaller one may vanish where it is added, and what is zero would be divided by zero."""
FEW_NUMBERS = 1 << 12
"""So many numbers may be zero for nothing; of larger networks, half of them."""


class JoinedParameters(TrainingParameters):
    """The parameters of one Elman layer and its readout as the matrix M of `textbook/elman_and_readout.py`.

    There is no stretch of the vector that is one tensor: `slices` and `matrices` are empty, and rules that look at single
    tensors cannot be applied. What stands where M is zero by definition stays zero, if its gradient is.

    Attributes
    ----------
    H, O : int
        Units and outputs.
    columns : int
        Of M: H + O, and some more that are zero.

    Examples
    --------
    >>> joined = JoinedParameters(NetworkSpecification(1, [Elman(2)], 1), np.dtype(np.float64))
    >>> with joined.edit() as p:
    ...     p["layer0.W_h"][:], p["layer0.W_x"][:], p["layer0.b_h"][:] = [[1, 2], [3, 4]], [[5], [6]], [7, 8]
    ...     p["readout.W_y"][:], p["readout.b_y"][:] = [[10, 20]], [30]
    >>> joined.matrix(joined.vector)[:, :3]
    array([[ 1.,  3., 10.],
           [ 2.,  4., 20.],
           [ 5.,  6.,  0.],
           [ 7.,  8., 30.]])
    """

    def __init__(self, specification: NetworkSpecification, dtype: np.dtype[np.floating]) -> None:
        self.H, self.O = specification.layers[0].hidden_size, specification.output_size
        self._rows, self.columns = _shape(specification)
        super().__init__(specification, dtype)

    def _size(self) -> int:
        return self._rows * self.columns

    def _places(self) -> dict[str, slice]:
        return {}

    @property
    def matrices(self) -> tuple[slice, ...]:
        """None."""
        return ()

    def matrix(self, vector: FloatArray) -> FloatArray:
        """M (H + D + 1, H + O and some zeros), or its gradient, in any vector laid out like this one."""
        return vector.reshape(-1, self.columns)

    def named(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Views by name, in the shapes of the specification."""
        M, H, end = self.matrix(vector), self.H, self.H + self.O
        layer = {"layer0.W_x": M[H:-1, :H].T, "layer0.W_h": M[:H, :H].T, "layer0.b_h": M[-1, :H]}
        return layer | {"readout.W_y": M[:H, H:end].T, "readout.b_y": M[-1, H:end]}


class JoinedPlan(Plan):
    """Such a network in training. What a run gives is valid until the next, and only the gradient by parameters is there."""

    parameters: JoinedParameters

    def __init__(self, specification: NetworkSpecification, dtype: np.dtype[np.floating]) -> None:
        super().__init__(specification, JoinedParameters(specification, dtype))
        own, (self._direction,) = self.parameters, specification.directions
        self._M, self._gradient = own.matrix(own.vector), np.zeros_like(own.vector)
        self._d_M, self._room = own.matrix(self._gradient), Workspace()

    @staticmethod
    def fits(specification: NetworkSpecification) -> bool:
        """Whether a network is one Elman layer, read at every step, with nothing beside it and not too many zeros in M."""
        layer = specification.layers[0]
        plain = isinstance(layer, Elman) and not (layer.bidirectional or layer.learned_state or specification.drops)
        alone = len(specification.layers) == 1 and specification.vocabulary_size is None
        if not (plain and alone and specification.readout == "every"):
            return False
        numbers = math.prod(_shape(specification))
        return numbers <= max(FEW_NUMBERS, 2 * sum(math.prod(tensor.shape) for tensor in specification.tensors()))

    @staticmethod
    def can_make(specification: NetworkSpecification, updates: Updates, rule: UpdateRule) -> bool:
        """Whether updates are of few enough whole sequences, and their rule takes the gradient as one and leaves zeros zero."""
        one = not (rule.penalty or rule.frozen or rule.clipping.kind == "tensor_norm" or rule.optimizer.kind == "adamw")
        if not (one and updates.inputs.unpadded and getattr(rule.optimizer, "epsilon", 1.0) >= LEAST_EPSILON):
            return False
        N = int(np.diff(updates.boundaries).max())
        short_steps = N * math.prod(_shape(specification)) <= MOST_WORK
        return short_steps and N * updates.inputs.steps * specification.state_size <= MOST_NUMBERS

    def forward(self, batch: Batch, state: State) -> Forward:
        """As `Engine.forward`."""
        specification, (name,) = self.specification, self._direction.state_names
        x, activation = batch.time_major(shared=True), self._direction.layer.options["activation"]
        O = specification.output_size  # noqa: E741  # the alphabet's letter
        read, h_T, tape = elman_and_readout.forward(self._M, O, x, state[name], activation, self._room)
        a = np.ascontiguousarray(read.swapaxes(0, 1))
        return Forward(readout.OUTPUT_ACTIVATIONS[specification.output_activation](a), a, {name: h_T}, tape)

    def backward(self, tape: elman_and_readout.Tape, d_preactivations: FloatArray) -> Backward:
        """As `Engine.backward`, for a loss that does not look at the final state."""
        elman_and_readout.backward(self._M, tape, d_preactivations.swapaxes(0, 1), self._room, self._d_M)
        return Backward(self._gradient, d_preactivations[:0], {})


def _shape(specification: NetworkSpecification) -> tuple[int, int]:
    """Of M, with as many columns as whole vectors have."""
    H = specification.layers[0].hidden_size
    return H + specification.input_size + 1, -(-(H + specification.output_size) // LANES) * LANES
