"""The compiled module: which instruction set it takes, and that it leaves the rest of the process alone."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from support import EXACT, assert_close, random_case

import rnn_from_scratch
from rnn_from_scratch import Elman, EngineUnavailableError, Network
from rnn_from_scratch.configuration import configuration
from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.engines.select import select_engine

BATTERY = """
import numpy as np, rnn_from_scratch
from rnn_from_scratch import Elman, Network
from rnn_from_scratch.configuration import configuration
rng = np.random.default_rng(0)
X, y = rng.normal(size=(6, 9, 5)), rng.random(size=(6, 9, 3))
for dtype in ("float64", "float32"):
    results = []
    for engine in ("numpy", "native"):
        network = Network(5, [Elman(19), Elman(8, "sigmoid")], 3, output_activation="softmax", loss="ce",
                          dtype=dtype, engine=engine, random_state=1)
        network.fit(X, y, 5, batch_size=4, clip=0.5)
        results.append(network.predict(X))
    assert abs(results[0] - results[1]).max() < (1e-10 if dtype == "float64" else 2e-5), dtype
print(configuration()["instruction set"])
"""


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RNN_FROM_SCRATCH_")}
    return subprocess.run(
        [sys.executable, "-c", code], env={**inherited, **environment}, capture_output=True, text=True, check=False
    )


def supported() -> list[str]:
    """The compiled instruction sets up to the one this processor takes."""
    compiled = native_engine.build_info()["compiled for"].split(", ")
    return compiled[: compiled.index(native_engine.build_info()["instruction set"]) + 1]


def test_every_supported_instruction_set_gives_the_same_network(native: None) -> None:
    for name in supported():
        done = run_python(BATTERY, RNN_FROM_SCRATCH_ISA=name)
        assert done.stdout.strip() == name, done.stderr


def test_instruction_set_can_be_lowered_but_not_raised(native: None) -> None:
    best = run_python(BATTERY).stdout.strip()
    highest = native_engine.build_info()["compiled for"].split(", ")[-1]
    assert run_python(BATTERY, RNN_FROM_SCRATCH_ISA=highest).stdout.strip() == best


def test_unknown_instruction_set_is_a_clear_error(native: None) -> None:
    code = "from rnn_from_scratch import Network, Elman; Network(1, [Elman(1)], 1, engine='native')"
    done = run_python(code, RNN_FROM_SCRATCH_ISA="v9")
    assert done.returncode != 0
    assert "RNN_FROM_SCRATCH_ISA must be one of" in done.stderr
    assert "Got 'v9'" in done.stderr


def test_unknown_instruction_set_leaves_the_numpy_engine() -> None:
    code = "from rnn_from_scratch import Network, Elman; print(Network(1, [Elman(1)], 1, engine='numpy').engine)"
    assert run_python(code, RNN_FROM_SCRATCH_ISA="v9").stdout.strip() == "numpy"


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_engine, "_module", None)
    monkeypatch.setattr(native_engine, "_failure", "it was installed without the compiled module.")


def test_without_native_auto_is_numpy(without_native: None) -> None:
    assert Network(2, [Elman(3)], 1).engine == "numpy"
    facts = configuration()
    assert facts["engine 'auto'"] == "numpy"
    assert facts["engine 'native'"] == "unavailable: it was installed without the compiled module."


def test_without_native_asking_for_it_says_why(without_native: None) -> None:
    with pytest.raises(
        EngineUnavailableError, match="engine='native' of Network is not part of this installation: it was"
    ):
        Network(2, [Elman(3)], 1, engine="native")


def test_required_native_that_is_missing_stops_the_import() -> None:
    hidden = "import sys; sys.modules['rnn_from_scratch.engines._native'] = None; import rnn_from_scratch"
    done = run_python(hidden, RNN_FROM_SCRATCH_REQUIRE_NATIVE="1")
    assert "RNN_FROM_SCRATCH_REQUIRE_NATIVE is set, and there is no native engine" in done.stderr
    for off in ("0", "", "false"):
        assert run_python(hidden, RNN_FROM_SCRATCH_REQUIRE_NATIVE=off).returncode == 0


def test_show_config_names_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    rnn_from_scratch.show_config()
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["rnn-from-scratch"].strip() == rnn_from_scratch.__version__
    assert lines["NumPy"].strip() == np.__version__
    assert lines["engine 'auto'"].strip() == select_engine("auto", "test").name


def test_subnormals_are_zero_inside_the_kernels_and_live_everywhere_else(native: None) -> None:
    """Imports, runs, training, gradients, streams, refused calls and Python's code in the midst of a run change no mode."""
    code = """
import signal
import numpy as np
from rnn_from_scratch import Elman, Network
def check():
    assert np.float32(1e-40) * np.float32(0.5) > 0 and np.float64(1e-310) / 2 > 0
    assert (np.full(64, 1e-40, np.float32) + np.float32(0) > 0).all()
check()
for dtype, small in (("float32", 1e-40), ("float64", 1e-310)):
    X = np.full((2, 3, 1), small, dtype)
    linear = Network(1, [Elman(1, activation="linear")], 1, engine="native", dtype=dtype)
    with linear.edit_parameters() as p:
        for name, value in p.items():
            value[...] = 1 if name.endswith(("W_x", "W_y")) else 0
    stream = linear.stream()
    for call in (lambda: linear.predict(X), lambda: linear.predict(X, lengths=[3, 3]),
                 lambda: linear.predict(np.tile(X, (90, 90, 1))), lambda: stream.step(X[0, 0])):
        assert not call().any()
        check()
    assert linear.predict(X + 1).all()
    linear.loss_and_gradient(X, X)
    check()
    try:
        linear.predict(X * np.nan)
    except ValueError:
        check()
    heard = []
    def handler(*_):
        check()
        heard.append(1)
        if len(heard) == 3:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, handler)
    large = Network(3, [Elman(256)], 1, engine="native", dtype=dtype)
    X = np.ones((64, 700, 3), dtype)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        large.fit(X, X[:, :, :1], 30, batch_size=64)
    except KeyboardInterrupt:
        check()
    assert len(heard) == 3
    linear.fit(X[:, :3, :1] * np.dtype(dtype).type(small), X[:, :3, :1], 3)
    check()
print("untouched")
"""
    done = run_python(code)
    assert done.stdout.strip() == "untouched", done.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_vector_functions_are_accurate(native: None, dtype: str, activation: str) -> None:
    """exp, tanh and σ through one step of a network with W_x = W_y = 1 over the whole range."""
    generator = np.random.default_rng(0)
    exponents = generator.uniform(-30, 4.7, 20_000)
    a = np.concatenate([np.exp(exponents), -np.exp(exponents), [0.0, -0.0, 9.0, 10.0, 20.0, 88.0, -88.0, 1e4, -1e4]])
    a = a.astype(dtype)
    network = Network(1, [Elman(1, activation=activation)], 1, dtype=dtype, engine="native")
    with network.edit_parameters() as p:
        for name, value in p.items():
            value[...] = 1 if name.endswith(("W_x", "W_y")) else 0
    values = network.predict(a[:, None, None])[:, 0, 0].astype(np.longdouble)
    wide = a.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        exact = np.tanh(wide) if activation == "tanh" else 1 / (1 + np.exp(-wide))
    units = np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)
    absolute = 2e-7 if dtype == "float32" else 4e-16
    errors = np.abs(values - exact)
    assert (np.minimum(errors / (4 * units), errors / absolute) <= 1).all()
    if activation == "tanh":  # relative precision near zero too
        small = np.abs(wide) < 0.1
        assert (errors[small] <= 4 * units[small]).all()


def test_engine_objects_survive_a_thread_pool(native: None) -> None:
    case = random_case(np.random.default_rng(0), [Elman(33)], N=8, T=20)
    running = case.on("native")
    expected = running.forward(keep_tape=False).outputs
    with ThreadPoolExecutor(4) as pool:
        outputs: list[Any] = list(pool.map(lambda _: running.forward(keep_tape=False).outputs, range(40)))
    for y in outputs:
        assert_close(y, expected, EXACT)
