r"""The alphabet: every symbol of the library, defined here once and never redefined.

Code, docstrings, documentation, C++ and error messages use the same letters:

=========  ======================================  ==================  ===============================================
symbol     meaning                                 symbol              meaning
=========  ======================================  ==================  ===============================================
``N``      sequences in a batch                    ``W_x`` (G·H, D)    input weights, gates stacked
``T``      time steps                              ``W_h`` (G·H, H)    recurrent weights, gates stacked
``D``      input features                          ``b_h`` (G·H,)      hidden bias
``H``      hidden units                            ``b_hn`` (H,)       bias inside the reset product of a GRU
``O``      outputs                                 ``h_0``, ``c_0``    learned first states (H,)
``G``      gates: Elman 1, GRU 3, LSTM 4           ``W_y`` (O, H)      readout weights
``V``      tokens of a vocabulary                  ``b_y`` (O,)        readout bias
``P``      parameters                              ``W_e`` (V, D)      embedding of tokens
\                                                  ``d_`` + name       gradient of the loss by that name
=========  ======================================  ==================  ===============================================

Gates are stacked in the order r, z, n (GRU) and i, f, g, o (LSTM); `layers` owns that order. The parameters of a network are
named by where they live: ``layer0.W_h``, ``layer0.reverse.W_h``, ``readout.W_y``. The state of a network is a mapping from
names such as ``layer0.h`` and ``layer0.c`` to arrays (N, H).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["BoolArray", "FloatArray", "IndexArray", "State", "Tensors"]

# As `numpy.typing.NDArray` has them, which nobody needs in order to train: it is not imported.
FloatArray = np.ndarray[tuple[Any, ...], np.dtype[np.floating[Any]]]
"""An array of the model's dtype, float32 or float64."""

BoolArray = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]
"""Whether something holds, element by element."""

IndexArray = np.ndarray[tuple[Any, ...], np.dtype[np.int64]]
"""Positions and lengths."""

Tensors = Mapping[str, FloatArray]
"""Arrays by the names of the alphabet: the parameters of a layer, or their gradients."""

State = Mapping[str, FloatArray]
"""The hidden state of a whole network: ``{"layer0.h": (N, H), …}``."""
