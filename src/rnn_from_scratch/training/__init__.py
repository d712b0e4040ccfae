"""Training: one loop, and what it records."""

from typing import TYPE_CHECKING

from rnn_from_scratch.deferred import deferred_names

if not TYPE_CHECKING:
    __getattr__, __dir__ = deferred_names(__name__)
