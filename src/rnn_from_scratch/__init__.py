"""Recurrent neural networks from scratch: exact backpropagation through time, on NumPy alone.

>>> from rnn_from_scratch import RNNScratch
>>> model = RNNScratch(input_features=3, hidden_units=5, num_output=1, learning_rate=0.01, random_state=0)
>>> [y.shape for y in model.predict([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]])]
[(1, 1), (1, 1)]
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from rnn_from_scratch._version import __version__
from rnn_from_scratch.deferred import deferred_names

if TYPE_CHECKING:
    from rnn_from_scratch.clipping import ByValue, GlobalNorm, NoClipping, TensorNorm
    from rnn_from_scratch.configuration import show_config
    from rnn_from_scratch.engines.select import EngineUnavailableError
    from rnn_from_scratch.file_format import FileFormatError
    from rnn_from_scratch.gradient_check import GradientCheck, check_gradients
    from rnn_from_scratch.initializers import ScaledIdentity
    from rnn_from_scratch.layers import GRU, LSTM, Elman
    from rnn_from_scratch.network import Network
    from rnn_from_scratch.optimizers import SGD, Adam, AdamW, RMSprop
    from rnn_from_scratch.persistence import load
    from rnn_from_scratch.prediction.predictor import Predictor
    from rnn_from_scratch.scratch import RNNScratch
    from rnn_from_scratch.specification import NetworkSpecification
    from rnn_from_scratch.stream import Stream
    from rnn_from_scratch.training.history import History
    from rnn_from_scratch.training.loop import NonFiniteError
    from rnn_from_scratch.training.resuming import Checkpoints
    from rnn_from_scratch.training.schedules import CosineDecay, ExponentialDecay, ReduceOnPlateau, StepDecay
    from rnn_from_scratch.training.stopping import EarlyStopping
    from rnn_from_scratch.windows import Windows

__all__ = [
    "GRU",
    "LSTM",
    "SGD",
    "Adam",
    "AdamW",
    "ByValue",
    "Checkpoints",
    "CosineDecay",
    "EarlyStopping",
    "Elman",
    "EngineUnavailableError",
    "ExponentialDecay",
    "FileFormatError",
    "GlobalNorm",
    "GradientCheck",
    "History",
    "Network",
    "NetworkSpecification",
    "NoClipping",
    "NonFiniteError",
    "Predictor",
    "RMSprop",
    "RNNScratch",
    "ReduceOnPlateau",
    "ScaledIdentity",
    "StepDecay",
    "Stream",
    "TensorNorm",
    "Windows",
    "__version__",
    "check_gradients",
    "load",
    "show_config",
]

_OFFERED = {
    "clipping": ("ByValue", "GlobalNorm", "NoClipping", "TensorNorm"),
    "configuration": ("show_config",),
    "engines.select": ("EngineUnavailableError",),
    "file_format": ("FileFormatError",),
    "gradient_check": ("GradientCheck", "check_gradients"),
    "initializers": ("ScaledIdentity",),
    "layers": ("GRU", "LSTM", "Elman"),
    "network": ("Network",),
    "optimizers": ("SGD", "Adam", "AdamW", "RMSprop"),
    "persistence": ("load",),
    "prediction.predictor": ("Predictor",),
    "scratch": ("RNNScratch",),
    "specification": ("NetworkSpecification",),
    "stream": ("Stream",),
    "training.history": ("History",),
    "training.loop": ("NonFiniteError",),
    "training.resuming": ("Checkpoints",),
    "training.schedules": ("CosineDecay", "ExponentialDecay", "ReduceOnPlateau", "StepDecay"),
    "training.stopping": ("EarlyStopping",),
    "windows": ("Windows",),
}
"""What the package offers, by where it is."""

if os.environ.get("RNN_FROM_SCRATCH_REQUIRE_NATIVE"):
    import_module("rnn_from_scratch.engines.native_engine")  # an error now, not later, where it is missing

if not TYPE_CHECKING:  # which would take the function for a promise that there is any name at all
    __getattr__, __dir__ = deferred_names(__name__, _OFFERED)
