"""Hypothesis for the tests. Where it is not installed, stand-ins with the same names, which skip the tests that need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:

    class _Anything:
        """Takes every attribute, call and ``|``, so that strategies can be written down."""

        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self, *arguments: Any, **named: Any) -> Any:
            return self

        def __or__(self, other: Any) -> Any:
            return self

    class settings:  # type: ignore[no-redef]  # hypothesis's name
        """Takes the options and leaves the test as it is."""

        register_profile = load_profile = staticmethod(lambda *arguments, **named: None)

        def __init__(self, *arguments: Any, **named: Any) -> None:
            pass

        def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
            return test

    def given(*arguments: Any, **named: Any) -> Any:  # type: ignore[misc]
        """Skip the test with the reason."""
        return pytest.mark.skip(reason="needs hypothesis: pip install 'rnn-from-scratch[test]'")

    st: Any = _Anything()  # type: ignore[no-redef]
    HealthCheck: Any = _Anything()  # type: ignore[no-redef]

__all__ = ["HealthCheck", "given", "settings", "st"]
