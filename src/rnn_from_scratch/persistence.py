"""`load`: whatever model a file holds."""

from __future__ import annotations

import os
from typing import Any

from rnn_from_scratch.file_format import as_path
from rnn_from_scratch.model_files import read_model
from rnn_from_scratch.network import Network
from rnn_from_scratch.prediction.files import KINDS, predictor_of
from rnn_from_scratch.prediction.predictor import Predictor
from rnn_from_scratch.scratch import RNNScratch

__all__ = ["load"]


def load(
    path: str | os.PathLike[str], *, random_state: Any = None, engine: str = "auto"
) -> Network | RNNScratch | Predictor:
    """Read any model that this or an earlier version of the library wrote.

    The file is not trusted: nothing in it is evaluated or unpickled, and it is checked as a whole before an object is made.

    Parameters
    ----------
    path : str or os.PathLike
    random_state : None, int, SeedSequence, BitGenerator or Generator, default=None
        Seeds whatever training the model further draws: a file does not continue the random numbers of the saved model.
    engine : {'auto', 'numpy', 'native'}, default='auto'

    Returns
    -------
    Network, RNNScratch or Predictor
        With the same parameters, bit for bit. A file of an estimator or a pipeline, whose own `load` and `load_pipeline` give
        it back, becomes a `Predictor` here, with or without scikit-learn: it predicts the same with NumPy alone.

    Raises
    ------
    FileFormatError
        If the file is damaged, holds no model, or was written by a newer version.
    OSError
        If the system cannot read it.

    Examples
    --------
    >>> from rnn_from_scratch import GRU, Network, load
    >>> Network(3, [GRU(8)], 1, random_state=0).save("network.npz")
    >>> load("network.npz")
    Network(3, [GRU(8)], 1)
    """
    model = read_model(as_path(path, "load"))
    if model.kind == "Network":
        return Network.of_model(model, random_state, engine)
    if model.kind in KINDS:
        return predictor_of(model, random_state, engine)
    return RNNScratch.of_model(model, random_state, engine)
