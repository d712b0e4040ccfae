"""What all tests share: the engines to run on, and a hostile floating-point environment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from properties import HealthCheck, settings

from rnn_from_scratch.engines import native_engine

# Reproducible draws and no deadlines: machines are shared, and a slow moment is not a defect.
settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


def require_native() -> None:
    """Skip where the native engine was not built; fail where it was required."""
    if native_engine.available():
        return
    reason = f"no native engine: {native_engine.why_unavailable()}"
    if native_engine.required():
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(params=["numpy", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    if request.param == "native":
        require_native()
    return str(request.param)


@pytest.fixture
def native() -> None:
    """For tests of the native engine alone."""
    require_native()


@pytest.fixture(autouse=True)
def floating_point_traps() -> Iterator[None]:
    """An overflow, a division by zero or an invalid operation anywhere in the package is an error."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield
