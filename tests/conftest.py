"""What all tests share: the engines to run on, the axes of the battery, and a hostile floating-point environment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from properties import HealthCheck, settings
from support import ARCHITECTURES, DRAWN, DTYPES, ONE_WAY

from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.specification import READOUTS

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


@pytest.fixture(params=["numpy", "native"], scope="module")  # one for all examples that hypothesis draws
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    if request.param == "native":
        require_native()
    return str(request.param)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as in a terminal; a job in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def native() -> None:
    """For tests of the native engine alone."""
    require_native()


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    """Each precision in turn."""
    return str(request.param)


@pytest.fixture(params=READOUTS)
def readout(request: pytest.FixtureRequest) -> str:
    """Each readout in turn."""
    return str(request.param)


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Every cell in every direction, and stacks of them."""
    return str(request.param)


@pytest.fixture(params=ONE_WAY)
def one_way(request: pytest.FixtureRequest) -> str:
    """The architectures that only read forwards."""
    return str(request.param)


@pytest.fixture(autouse=True)
def floating_point_traps() -> Iterator[None]:
    """An overflow, a division by zero or an invalid operation anywhere in the package is an error."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many networks hypothesis has made up."""
    if DRAWN:
        terminalreporter.write_line(f"{len(DRAWN)} different architectures drawn")
