"""Threads of the native engine: the same numbers, the same bits every time, and no trace of them between calls."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require_native
from properties import given, settings, st
from support import DTYPES, Case, assert_all_close, assert_close, assert_same_bits, cases, make, random_case
from test_engines_agree import RULES, TRAINED, check_agreement, check_trajectory, one_pass

from rnn_from_scratch import GRU, LSTM, Elman, Network, show_config
from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.specification import READOUTS

ROUNDING = 1e-12
pytestmark = pytest.mark.usefixtures("native")


def living_workers() -> int:
    """Threads that the native engine has in this process."""
    count: int = native_engine._module.living_workers()
    return count


def run_python(code: str) -> str:
    """What a new process prints, which must end well."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def data(N: int = 40, T: int = 12, D: int = 3, O: int = 2) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, T, D)), generator.normal(size=(N, T, O))


# --- The same numbers ---


def check_counts(case: Case, counts: tuple[int, ...] = (2, 3)) -> None:
    """Every result of one pass with several threads is that with one, to rounding."""
    alone, run, loss, back = one_pass(case, "native", "float64", 1)
    named = alone.parameters.named
    for n_threads in counts:
        _, other_run, other_loss, other = one_pass(case, "native", "float64", n_threads)
        assert_close(other_run.outputs, run.outputs, ROUNDING, "outputs")
        assert_close(other_run.preactivations, run.preactivations, ROUNDING, "preactivations")
        assert_all_close(other_run.final_state, run.final_state, ROUNDING, "final")
        assert_close(other_loss, loss, ROUNDING, "loss")
        assert_all_close(named(other.gradient), named(back.gradient), ROUNDING, "gradient")
        assert_close(other.d_inputs, back.d_inputs, ROUNDING, "d_inputs")
        assert_all_close(other.d_state, back.d_state, ROUNDING, "d_state")


@pytest.mark.parametrize("vocabulary_size", [None, 6])
@pytest.mark.parametrize("ragged", [False, True])
def test_any_number_of_threads_computes_the_same(
    architecture: str, readout: str, ragged: bool, vocabulary_size: int | None
) -> None:
    check_counts(make(architecture, readout, N=7, ragged=ragged, vocabulary_size=vocabulary_size))


@given(case=cases(), n_threads=st.integers(2, 11))
@settings(max_examples=60)
def test_any_number_of_threads_computes_any_network(case: Case, n_threads: int) -> None:
    require_native()
    check_counts(case, (n_threads,))


@given(case=cases(), dtype=st.sampled_from(DTYPES), n_threads=st.sampled_from([2, 3]))
@settings(max_examples=60)
def test_engines_agree_with_threads(case: Case, dtype: str, n_threads: int) -> None:
    require_native()
    check_agreement(case, dtype, n_threads)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.optimizer.kind}-{rule.clipping.kind}")
@pytest.mark.parametrize("name", TRAINED)
def test_threads_follow_the_trajectory_of_numpy(dtype: str, name: str, rule: Any) -> None:
    """Three sequences to a mini-batch: two threads with two and one."""
    layers, options = TRAINED[name]
    readout = READOUTS[(list(TRAINED).index(name) + RULES.index(rule)) % 3]
    case = random_case(np.random.default_rng(0), layers, readout=readout, N=6, **options)
    check_trajectory(case, dtype, rule, 2)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_large_parameters_are_updated_in_ranges(optimizer: str) -> None:
    """Enough parameters for the sum of the gradients and the update to be shared as well."""
    X, y = data(N=9, T=3, D=65)
    fitted = []
    for n_threads in (1, 2, 3):
        network = Network(65, [GRU(97)], 2, random_state=0, dtype="float64", engine="native", n_threads=n_threads)
        history = network.fit(X, y, 3, batch_size=4, optimizer=optimizer, clip=0.3, l2=1e-3, frozen=["layer0.W_x"])
        fitted.append((history.loss, dict(network.parameters)))
    for loss, parameters in fitted[1:]:
        assert_close(loss, fitted[0][0], 1e-10)
        assert_all_close(parameters, fitted[0][1], 1e-10)


@pytest.mark.parametrize(
    "how", [{"tbptt_steps": 5}, {"stateful": True, "batch_size": 40}, {"tbptt_steps": 4, "batch_size": 7}], ids=str
)
@pytest.mark.parametrize("layers", [[LSTM(6, learned_state=True)], [GRU(5, recurrent_dropout=0.3), Elman(4)]], ids=repr)
def test_carried_states_do_not_depend_on_threads(layers: Any, how: dict[str, Any]) -> None:
    X, y = data()
    losses = []
    for n_threads in (1, 2, 3):
        network = Network(3, layers, 2, random_state=0, dropout=0.2, engine="native", n_threads=n_threads)
        losses.append(network.fit(X, y, 3, **{"batch_size": 16, **how}).loss)
    assert_close(losses[1], losses[0], 1e-10)
    assert_close(losses[2], losses[0], 1e-10)


@pytest.mark.parametrize("N", [1, 2, 5])
def test_more_threads_than_sequences(N: int) -> None:
    check_counts(make("stack with both ways", N=N), (4, 9, 256))
    network = Network(3, [GRU(4)], 2, random_state=0, engine="native", n_threads=10_000)
    X, _ = data(N)
    assert_close(network.predict(X), Network(3, [GRU(4)], 2, random_state=0, engine="native").predict(X), ROUNDING)


# --- The same bits ---


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_same_number_of_threads_gives_the_same_bits(dtype: str, n_threads: int) -> None:
    X, y = data()
    lengths = np.random.default_rng(1).integers(1, 13, len(X))
    runs = []
    for _ in range(5):
        network = Network(
            3,
            [GRU(17, bidirectional=True), LSTM(9, recurrent_dropout=0.3)],
            2,
            dropout=0.4,
            random_state=0,
            dtype=dtype,
            engine="native",
            n_threads=n_threads,
        )
        history = network.fit(X, y, 3, batch_size=7, optimizer="adam", clip=0.5, lengths=lengths)
        loss, gradient = network.loss_and_gradient(X, y)
        runs.append((history.loss, network.predict(X), loss, np.concatenate([d.ravel() for d in gradient.values()])))
    for run in runs[1:]:
        assert run[0] == runs[0][0]
        assert_same_bits(run[1], runs[0][1])
        assert run[2] == runs[0][2]
        assert_same_bits(run[3], runs[0][3])


def test_several_python_threads_may_use_networks_at_once() -> None:
    X, _ = data(N=64, T=30)
    shared = Network(3, [LSTM(33)], 2, random_state=0, engine="native", n_threads=3)
    own = [Network(3, [GRU(20)], 2, random_state=i, engine="native", n_threads=2) for i in range(4)]
    expected = [network.predict(X) for network in (shared, *own)]

    def use(i: int) -> None:
        for _ in range(20):
            assert_same_bits(shared.predict(X), expected[0])
            assert_same_bits(own[i].predict(X), expected[1 + i])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert living_workers() <= max(255, (os.cpu_count() or 1) - 1)


# --- How many ---


def test_small_work_is_not_shared() -> None:
    code = """
import numpy as np
from rnn_from_scratch import GRU, Network
from rnn_from_scratch.engines import native_engine
network = Network(3, [GRU(8)], 2, random_state=0, engine="native", dtype="float64")
network.predict(np.ones((1, 2, 3)))
kernels, living = network._plan.kernels, native_engine._module.living_workers
kernels.use_threads(2, True)
for N, T in ((8, 20), (1, 2000)):
    network.predict(np.ones((N, T, 3)))
print(living(), end=" ")
network.predict(np.ones((200, 200, 3)))
print(living(), end=" ")
kernels.use_threads(2, False)
network.predict(np.ones((2, 1, 3)), return_states=True)  # without, it would be done before anybody is asked
print(living())
"""
    assert run_python(code) == "0 1 1"
    assert run_python(code.replace("(200, 200, 3)", "(2, 2, 3)")) == "0 0 1"


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "two", [2]])
def test_what_is_no_number_of_threads_is_refused(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"n_threads of Network must be an int >= 1\. Got"):
        Network(3, [GRU(4)], 2, n_threads=wrong)
    with pytest.raises((TypeError, ValueError), match=r"n_threads of Network must be an int >= 1\. Got"):
        Network(3, [GRU(4)], 2, n_threads=wrong, engine="numpy")


@pytest.mark.parametrize("wrong", [0, -1, 257])
def test_kernels_refuse_impossible_numbers(wrong: int) -> None:
    network = Network(3, [GRU(4)], 2, engine="native")
    network.predict(data(1)[0])
    with pytest.raises(ValueError, match="threads must be a possible number"):
        network._plan.kernels.use_threads(wrong, False)  # type: ignore[union-attr]


def test_a_network_keeps_its_number_and_a_file_does_not(tmp_path: Path) -> None:
    network = Network(3, [GRU(4)], 2, random_state=0, engine="native", n_threads=3)
    assert network._engine.facts()["threads"] == "3"
    assert pickle.loads(pickle.dumps(network))._engine.facts()["threads"] == "3"
    assert network.with_readout("last")._engine.facts()["threads"] == "3"
    network.save(tmp_path / "network.npz")
    automatic = str(native_engine.thread_count(None))
    assert Network.load(tmp_path / "network.npz", engine="native")._engine.facts()["threads"] == automatic
    loaded = Network.load(tmp_path / "network.npz", engine="native", n_threads=2)
    assert loaded._engine.facts()["threads"] == "2"
    again = Network.from_specification(network.specification, engine="native", n_threads=5)
    assert again._engine.facts()["threads"] == "5"


def test_a_run_that_goes_on_with_other_threads_cannot_promise_the_same_bits(tmp_path: Path) -> None:
    X, y = data()
    networks = [Network(3, [GRU(4)], 2, random_state=0, engine="native", n_threads=n) for n in (2, 2, 3)]
    for network, epochs in zip(networks[:2], (2, 4), strict=True):
        network.fit(X, y, epochs, batch_size=8, checkpoint=tmp_path / "run.npz", resume=epochs > 2)
    with pytest.warns(UserWarning, match="cannot promise the same bits: threads was '2' and is '3'"):
        networks[2].fit(X, y, 6, batch_size=8, checkpoint=tmp_path / "run.npz", resume=True)


def test_show_config_names_the_threads(capsys: pytest.CaptureFixture[str]) -> None:
    show_config()
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["threads"].strip() == f"{native_engine.thread_count(None)}, if n_threads is None"


# --- Between calls ---


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not count for each thread")
def test_threads_sleep_between_calls() -> None:
    """Nobody wakes them up: the system does not give them a processor, which it counts."""
    code = """
import time
from pathlib import Path
import numpy as np
from rnn_from_scratch import LSTM, Network

def switches():
    tasks = Path("/proc/self/task").iterdir()
    return {task.name: [line for line in (task / "status").read_text().splitlines() if "switches" in line] for task in tasks}

others = set(switches())
network = Network(3, [LSTM(33)], 2, random_state=0, engine="native", n_threads=3)
for _ in range(3):
    network.fit(np.ones((64, 30, 3)), np.ones((64, 30, 2)), 2, batch_size=32)
    network.predict(np.ones((64, 30, 3)))
    time.sleep(0.2)
    before = switches()
    time.sleep(0.3)
    after = switches()
    workers = [task for task in after if task not in others]
    print(len(workers), all(after[task] == before[task] for task in workers), end=" ")
"""
    assert run_python(code) == "2 True 2 True 2 True"


FORK = """
import os, sys, warnings
import numpy as np
from rnn_from_scratch import GRU, Network
from rnn_from_scratch.engines import native_engine
living = native_engine._module.living_workers
X = np.random.default_rng(0).normal(size=(40, 20, 3))
network = Network(3, [GRU(20)], 2, random_state=0, engine="native", n_threads=3)
expected = network.predict(X)
assert living() == 2
for generation in range(3):  # children of children
    sys.stdout.flush()
    child = os.fork()
    if child:
        assert (network.predict(X) == expected).all()
        status = os.waitpid(child, 0)[1]
        assert os.waitstatus_to_exitcode(status) == 0
        if generation:
            os._exit(0)
        break
    assert living() == 0
    assert (network.predict(X) == expected).all()
    assert living() == 2
    network.fit(X, np.ones((40, 20, 2)), 2, batch_size=16)
    network.predict(X[:5])
    expected = network.predict(X)
else:
    os._exit(0)
network.fit(X, np.ones((40, 20, 2)), 2, batch_size=16)
print("well")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_after_use_is_safe() -> None:
    assert run_python(FORK) == "well"


LONG_PREDICTION_IN_A_CHILD = """
import multiprocessing
import numpy as np
from rnn_from_scratch import GRU, Network
from rnn_from_scratch.engines import native_engine, processors
processors.usable_processors = lambda: 2  # of the parent; a worker has one all the same
X = np.random.default_rng(0).normal(size=(200, 100, 3))
network = Network(3, [GRU(20)], 2, random_state=0, engine="native", dtype="float64")
expected = network.predict(X)
living = native_engine._module.living_workers
assert living() == 1

def share(name):
    outputs = network.predict(X)  # the child's first call, and one that needs no conversion
    return living(), outputs

with multiprocessing.get_context("fork").Pool(1) as pool:
    for workers, outputs in pool.map(share, range(2)):
        assert workers == 0
        assert abs(outputs - expected).max() < 1e-12
assert (network.predict(X) == expected).all()
print("well")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_predicts_with_its_own_number_of_threads() -> None:
    assert run_python(LONG_PREDICTION_IN_A_CHILD) == "well"


WORKER = """
import multiprocessing, sys
import numpy as np
from rnn_from_scratch import GRU, Network
from rnn_from_scratch.engines import native_engine
X = np.random.default_rng(0).normal(size=(200, 100, 3))

def share(network):
    result = network.predict(X).sum()
    return native_engine.thread_count(None), native_engine._module.living_workers(), result

if __name__ == "__main__":
    network = Network(3, [GRU(20)], 2, random_state=0, engine="native")
    expected = network.predict(X).sum()
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        for threads, living, result in pool.map(share, [network] * 4):
            assert (threads, living) == (1, 0)
            assert abs(result - expected) < 1e-9
    print("well")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_compute_with_one_thread(tmp_path: Path, method: str) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), method]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "well", done.stderr


def test_threads_end_with_the_interpreter() -> None:
    code = """
import atexit
import numpy as np
from rnn_from_scratch import GRU, Network
from rnn_from_scratch.engines import native_engine
living = native_engine._module.living_workers
X = np.random.default_rng(0).normal(size=(40, 20, 3))
network = Network(3, [GRU(20)], 2, random_state=0, engine="native", n_threads=3)
expected = network.predict(X)
print(living(), end=" ")

@atexit.register
def last():
    print(living(), end=" ")
    network.fit(X, np.ones((40, 20, 2)), 1, batch_size=8)
    print(living())
"""
    assert run_python(code) == "2 2 2"  # what was registered last comes first: the threads are still there
    ended = code.replace("@atexit", "native_engine._module.end_threads()\n@atexit")
    assert run_python(ended) == "2 0 0"  # and work goes on without them where they have ended


def test_memory_does_not_grow() -> None:
    code = """
import gc
import numpy as np
from rnn_from_scratch import GRU, Network
from rnn_from_scratch.benchmark.standalone import peak_bytes
generator = np.random.default_rng(0)
X, y = generator.normal(size=(40, 30, 3)), generator.normal(size=(40, 30, 2))

def use(times):
    network = Network(3, [GRU(16)], 2, random_state=0, engine="native", n_threads=2)
    for _ in range(10 * times):
        network.predict(X[: generator.integers(1, 40), : generator.integers(1, 30)])
    for _ in range(times):
        N, T, H = generator.integers(2, 40), generator.integers(1, 30), int(generator.integers(1, 40))
        other = Network(3, [GRU(H)], 2, random_state=0, engine="native", n_threads=3)
        other.fit(X[:N, :T], y[:N, :T], 1, batch_size=int(generator.integers(1, 40)))
    gc.collect()
    return peak_bytes()

first = use(100)
print(use(200) - first)
"""
    assert int(run_python(code)) < 8e6
