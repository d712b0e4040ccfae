"""A process for each library, driven through a pipe.

In one process the contestants would share an allocator, a garbage collector and each other's thread pools, and the
environment variables that hold one library to a number of threads must be set before the first import of any. With one
thread all processes stand on the same core, and only one of them works at a time.

A library is a module with these functions; it is imported in its own process only::

    LIBRARY: str                                       its name
    prepare(threads) -> None                           before anything else
    versions() -> dict[str, str]
    contestants(problem) -> dict[str, maker or str]    a maker gives a contestant, a str says why there is none

A contestant of training has ``reset()``, ``train(epochs) -> (losses, largest gradient norms)``, ``weights()`` and
``predict(X, lengths) -> outputs``; one of inference has ``run(times)`` and ``outputs()``.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Library", "Seconds", "Server", "choose_core", "thread_variables"]

Array = npt.NDArray[Any]

STARTING = 180.0
"""Seconds that a library may take to be imported."""


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables that give every library so many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")  # the last one is XLA's
    variables = dict.fromkeys(names, str(threads))
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return variables | {"JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "2"}


def choose_core() -> int | None:
    """The last core that this process may use; None where the operating system does not tell."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@dataclass(frozen=True)
class Seconds:
    """How long something took: by the clock on the wall, and by the processor's own count."""

    wall: float
    cpu: float


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        """How long it has been."""
        return Seconds(time.perf_counter() - self._wall, time.process_time() - self._cpu)


class Library:
    """A process in which one library works.

    Parameters
    ----------
    module : str
        Imported in the new process.
    threads : int
        How many it may use; with one, it stays on one core.
    variables : mapping of str to str
        Of its environment, besides those of `thread_variables`.

    Attributes
    ----------
    name : str
    missing : str
        Why it cannot take part; empty if it can.
    versions : dict of str to str
    import_seconds : float
    """

    def __init__(self, module: str, threads: int = 1, variables: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        core = choose_core() if threads == 1 else None
        self._process = context.Process(target=_serve, args=(theirs, module, threads, core), daemon=True)
        with _environment(thread_variables(threads) | dict(variables or {})):
            self._process.start()
        theirs.close()
        self.name = module.rpartition(".")[2]
        self.versions: dict[str, str] = {}
        self.import_seconds = 0.0
        try:
            if not self._pipe.poll(STARTING):
                raise EOFError("it did not start")
            self.missing, self.name, self.versions, self.import_seconds = self._answer()
        except (EOFError, OSError, RuntimeError) as error:
            self.missing = f"its process did not start: {error}"

    def __call__(self, command: str, *arguments: Any) -> Any:
        """Run one of the methods of `Server`, and wait for its answer.

        Raises
        ------
        RuntimeError
            With what the library said, if it failed.
        """
        try:
            self._pipe.send((command, arguments))
            return self._answer()
        except (EOFError, OSError) as error:
            self.missing = f"its process ended: {error}"
            raise RuntimeError(self.missing) from error

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(timeout=5)

    def _answer(self) -> Any:
        answer, error = self._pipe.recv()
        if error:
            raise RuntimeError(error)
        return answer


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Any, name: str, threads: int, core: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that ends this one
    if core is not None:
        os.sched_setaffinity(0, {core})
    watch = Stopwatch()
    try:
        module = importlib.import_module(name)
        module.prepare(threads)
        hello = ("", module.LIBRARY, module.versions(), watch.read().wall)
    except Exception as error:  # an import can fail in any way: a library of another platform, say
        pipe.send(((f"{type(error).__name__}: {error}", name.rpartition(".")[2], {}, 0.0), ""))
        return
    pipe.send((hello, ""))
    server = Server(module)
    while True:
        try:
            command, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send((getattr(server, command)(*arguments), ""))
        except Exception as error:
            pipe.send((None, f"{type(error).__name__}: {error}".splitlines()[0]))


class Server:
    """The commands that a library's process understands."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.makers: dict[str, Callable[[], Any] | str] = {}
        self.entered: dict[str, Any] = {}
        self.amounts: dict[str, int] = {}
        self.problem: Any = None

    def open(self, problem: Any) -> dict[str, str]:
        """Take a problem; {name of a contestant: why it cannot take part, or nothing}."""
        self.problem, self.entered, self.amounts = problem, {}, {}
        self.makers = self.module.contestants(problem)
        return {name: maker if isinstance(maker, str) else "" for name, maker in self.makers.items()}

    def enter(self, name: str) -> float:
        """Make a contestant and let it work for the first time; the seconds that this took, compilation included."""
        maker = self.makers[name]
        if isinstance(maker, str):
            raise RuntimeError(maker)
        watch = Stopwatch()
        self.entered[name] = maker()
        self._go(name, 1)
        return watch.read().wall

    def leave(self, name: str) -> None:
        """Forget a contestant."""
        self.entered.pop(name, None)

    def results(self, name: str, epochs: int) -> dict[str, Array]:
        """What all contestants must agree on."""
        return results(self.entered[name], self.problem, epochs)

    def reference(self, epochs: int) -> dict[str, Array]:
        """The results of this module's reference."""
        return results(self.module.reference(self.problem), self.problem, epochs)

    def look(self, name: str) -> float:
        """Seconds of one epoch or call."""
        return self._go(name, 1).wall

    def measure(self, name: str, at_least: float) -> Seconds:
        """Mean seconds per epoch or call, over as many goes as fill `at_least` seconds.

        It is a mean, because a go that is short enough to fit between two interruptions would never show them in a
        median, and a long one always would. Every go of training begins with the first weights, so that it never comes
        to a region where other things happen.
        """
        amount = self.amounts.get(name, 1)
        wall = cpu = 0.0
        goes = 0
        while not goes or wall < at_least:
            seconds = self._go(name, amount)
            wall, cpu, goes = wall + seconds.wall, cpu + seconds.cpu, goes + 1
            if goes == 1 and name not in self.amounts:
                before, amount = amount, self._settle(name, seconds.wall, at_least)
                if amount != before:
                    wall = cpu = 0.0
                    goes = 0
        return Seconds(wall / (goes * amount), cpu / (goes * amount))

    def train(self, name: str, epochs: int) -> tuple[Seconds, list[float], list[float]]:
        """Train on from the present weights: the time, the loss and the largest gradient norm of every epoch."""
        watch = Stopwatch()
        losses, norms = self.entered[name].train(epochs)
        return watch.read(), [float(loss) for loss in losses], [float(norm) for norm in norms]

    def reset(self, name: str) -> None:
        """Go back to the first weights."""
        self.entered[name].reset()

    def weights(self, name: str) -> dict[str, Array]:
        """The present weights."""
        return {key: np.array(values) for key, values in self.entered[name].weights().items()}

    def predict(self, name: str, X: Array) -> Array:
        """Outputs of other sequences."""
        return np.array(self.entered[name].predict(X))

    def call(self, function: str, *arguments: Any) -> Any:
        """Any other function of the module."""
        return getattr(self.module, function)(*arguments)

    def _go(self, name: str, amount: int) -> Seconds:
        contestant = self.entered[name]
        training = self.problem.task == "train"
        if training:
            contestant.reset()
        work = contestant.train if training else contestant.run
        watch = Stopwatch()
        work(amount)
        return watch.read()

    def _settle(self, name: str, seconds: float, at_least: float) -> int:
        """How much a go has, known from one that has run: a quarter of a turn, and at most fifty epochs."""
        amount = max(1, int(0.25 * at_least / max(seconds, 1e-9)))
        self.amounts[name] = min(amount, 50) if self.problem.task == "train" else amount
        return self.amounts[name]


def results(contestant: Any, problem: Any, epochs: int) -> dict[str, Array]:
    """Losses, weights and outputs after some epochs of training; or outputs."""
    if problem.task != "train":
        return {"outputs": np.array(contestant.outputs(), dtype=np.float64)}
    contestant.reset()
    losses, _ = contestant.train(epochs)
    some = slice(0, 4)
    lengths = None if problem.lengths is None else problem.lengths[some]
    found = {"epoch losses": losses, **contestant.weights(), "outputs": contestant.predict(problem.X[some], lengths)}
    return {what: np.array(array, dtype=np.float64) for what, array in found.items()}
