"""Parameters as the products of training want them, so that nothing is packed before an update and unpacked after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.layers import TensorShape
from rnn_from_scratch.optimizers import OptimizerState
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.specification import NetworkSpecification

__all__ = ["TrainingParameters", "TurnedParameters"]


class TrainingParameters(Parameters):
    """The parameters of a network once more, in a layout of their own, for as long as they are trained."""

    @contextmanager
    def in_place_of(self, original: Parameters, state: OptimizerState) -> Iterator[OptimizerState]:
        """Train here for a while: takes over the numbers of the original, and hands them back whatever happens.

        What an optimiser remembers of every parameter is laid out anew, too: it is what the ``with`` block gets.
        """
        own_state = {name: _moved(values, original, self) for name, values in state.items()}
        self.vector[:] = _moved(original.vector, original, self)
        self.version += 1
        try:
            yield own_state
        finally:
            original.vector[:] = _moved(self.vector, self, original)
            original.version += 1
            for name, values in own_state.items():
                state[name][:] = _moved(values, self, original)


class TurnedParameters(TrainingParameters):
    """Those of Elman layers turned round, W_h before W_x.

    So W_hᵀ, W_xᵀ and b_h lie one below the other and are the matrix W_T (H + D + 1, H) that every step multiplies
    [h_{t-1}, x_t, 1] with, and its gradient is one product too. Each tensor is still one stretch of the vector: whatever works
    on a flat vector and `slices` works on this one.

    Attributes
    ----------
    turned : dict of str to int
        The places whose tensors are turned round, and H.

    Examples
    --------
    >>> from rnn_from_scratch.layers import Elman
    >>> specification = NetworkSpecification(1, [Elman(2)], 1)
    >>> turned = TurnedParameters(specification, np.dtype(np.float64))
    >>> with turned.edit() as p:
    ...     p["layer0.W_h"][:], p["layer0.W_x"][:], p["layer0.b_h"][:] = [[1, 2], [3, 4]], [[5], [6]], [7, 8]
    >>> turned.side_by_side("layer0", turned.vector)
    array([[1., 3.],
           [2., 4.],
           [5., 6.],
           [7., 8.]])
    """

    def __init__(self, specification: NetworkSpecification, dtype: np.dtype[np.floating]) -> None:
        self.turned = {d.name: d.layer.hidden_size for d in specification.directions if d.layer.cell == "elman"}
        super().__init__(specification, dtype)

    def _laid_out(self, tensors: tuple[TensorShape, ...]) -> tuple[TensorShape, ...]:
        found = list(tensors)
        for n, tensor in enumerate(tensors):
            if tensor.symbol == "W_x" and self._is_turned(tensor):
                found[n : n + 2] = reversed(found[n : n + 2])  # W_h follows W_x
        return tuple(found)

    def _is_turned(self, tensor: TensorShape) -> bool:
        return tensor.name.rpartition(".")[0] in self.turned

    def named(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Views by name, in the shapes of the specification."""
        found = {}
        for tensor in self.tensors:
            values = vector[self.slices[tensor.name]]
            turned = self._is_turned(tensor)
            found[tensor.name] = values.reshape(tensor.shape[::-1]).T if turned else values.reshape(tensor.shape)
        return found

    def side_by_side(self, place: str, vector: FloatArray) -> FloatArray:
        """W_hᵀ, W_xᵀ and b_h of a turned layer in any vector laid out like this one, as one matrix (H + D + 1, H)."""
        first, last = self.slices[f"{place}.W_h"].start, self.slices[f"{place}.b_h"].stop
        return vector[first:last].reshape(-1, self.turned[place])


def _moved(vector: FloatArray, old: Parameters, new: Parameters) -> FloatArray:
    """Numbers that belong to the parameters, from one layout to another; a count of updates stays as it is."""
    if vector.size != old.vector.size:
        return vector
    moved, named = np.zeros(new.vector.size, vector.dtype), old.named(vector)  # a layout may have zeros of its own
    for name, values in new.named(moved).items():
        values[...] = named[name]
    return moved
