"""The only place that chooses an engine, and says why when it cannot give the one that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.engines.base import Engine
from rnn_from_scratch.validation import choice, integer

if TYPE_CHECKING:
    from rnn_from_scratch.engines import numpy_engine
else:
    numpy_engine = deferred_module("rnn_from_scratch.engines.numpy_engine")

__all__ = ["ENGINES", "EngineUnavailableError", "engine_status", "select_engine"]

ENGINES = ("auto", "numpy", "native")


class EngineUnavailableError(RuntimeError):
    """The engine that was asked for is not part of this installation."""


def select_engine(engine: object, owner: str, n_threads: object = None) -> Engine[Any]:
    """The engine for a user's word: 'numpy', 'native', or 'auto', which is native where there is one.

    `n_threads` is for the native engine. The NumPy engine computes with as many threads as NumPy does.

    Raises
    ------
    EngineUnavailableError
        If 'native' is asked for and this installation has none.

    Examples
    --------
    >>> select_engine("numpy", "Network").name
    'numpy'
    """
    word = choice(engine, "engine", owner, ENGINES)
    threads = None if n_threads is None else integer(n_threads, "n_threads", owner)
    if word == "numpy" or (word == "auto" and not native_engine.available()):
        return numpy_engine.NumpyEngine()
    if not native_engine.available():
        raise EngineUnavailableError(
            f"engine='native' of {owner} is not part of this installation: {native_engine.why_unavailable()} "
            "Use engine='auto' or engine='numpy', or reinstall with a C++ compiler (GCC or Clang) at hand."
        )
    return native_engine.NativeEngine(threads)


def engine_status() -> dict[str, str]:
    """What `show_config` says about engines: which one 'auto' takes, and what is known of the native one."""
    available = native_engine.available()
    status = {"auto": "native" if available else "numpy"}
    if available:
        threads = native_engine.thread_count(None)
        return {
            **status,
            "native": "available",
            **native_engine.build_info(),
            "threads": f"{threads}, if n_threads is None",
        }
    return {**status, "native": f"unavailable: {native_engine.why_unavailable()}"}
