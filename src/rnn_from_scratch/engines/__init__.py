"""Two engines behind one contract: the textbook in NumPy, and the same mathematics in C++."""

from typing import TYPE_CHECKING

from rnn_from_scratch.deferred import deferred_names

if not TYPE_CHECKING:
    __getattr__, __dir__ = deferred_names(__name__)
