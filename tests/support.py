"""Random networks, batches and states for the tests, and what it means to be close.

Weights, biases and states are random and far from zero: zeros hide missing terms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from properties import st

from rnn_from_scratch.engines.base import Engine, Forward, Plan, Updates
from rnn_from_scratch.engines.select import select_engine
from rnn_from_scratch.layers import ACTIVATIONS, GRU, LSTM, RESETS, Elman, Layer
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import READOUTS, NetworkSpecification
from rnn_from_scratch.textbook.dropout import Dropout

EXACT = 1e-10
SINGLE = 2e-5
DTYPES = ("float64", "float32")
STEPS = (1, 2, 7)
OUTPUTS = (
    ("linear", "mse"),
    ("sigmoid", "mse"),
    ("softmax", "mse"),
    ("sigmoid", "ce"),
    ("softmax", "ce"),
    ("linear", "mae"),
    ("softmax", "mae"),
    ("linear", "huber"),
    ("sigmoid", "huber"),
)
KEY = 0x7EDC_BA98_7654_3210
"""A key of dropout masks with something in every half of the word."""

ARCHITECTURES: dict[str, Sequence[Layer]] = {
    "elman": [Elman(5)],
    "elman both ways": [Elman(5, bidirectional=True)],
    "gru": [GRU(5)],
    "gru both ways": [GRU(5, bidirectional=True)],
    "gru reset before": [GRU(5, "before")],
    "gru reset before both ways": [GRU(5, "before", bidirectional=True)],
    "lstm": [LSTM(5)],
    "lstm both ways": [LSTM(5, bidirectional=True)],
    "wide": [GRU(37)],
    "stack": [Elman(9, "relu"), GRU(4), LSTM(6)],
    "stack with both ways": [
        GRU(7, "before", bidirectional=True),
        LSTM(4, learned_state=True),
        Elman(3, "sigmoid", bidirectional=True),
    ],
}
"""Every cell in every direction, a wide one, and stacks of all of them."""

ONE_WAY = [name for name in ARCHITECTURES if "both ways" not in name]
"""Those that streams and split sequences are possible with."""

DRAWN: set[NetworkSpecification] = set()
"""Every architecture that `cases` has drawn."""


def tolerance(dtype: str) -> float:
    return EXACT if dtype == "float64" else SINGLE


def assert_close(a: Any, b: Any, tolerance: float, what: str = "") -> None:
    """‖a − b‖∞ ≤ tolerance · max(1, ‖b‖∞), and the same shape."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    difference = np.abs(a - b).max(initial=0.0)
    allowed = tolerance * max(1.0, np.abs(b).max(initial=0.0))
    assert difference <= allowed, f"{what}: differs by {difference:.3g}, allowed {allowed:.3g}"


def assert_all_close(a: dict[str, Any], b: dict[str, Any], tolerance: float, what: str = "") -> None:
    """The same names, and every array close."""
    assert a.keys() == b.keys(), what
    for name in b:
        assert_close(a[name], b[name], tolerance, f"{what} {name}")


def assert_same_bits(a: Any, b: Any, what: str = "") -> None:
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), f"{what}: not the same bits"


def interrupted_at(line: int, modules: Sequence[ModuleType], work: Callable[[], Any]) -> bool:
    """Works until so many lines of some modules have begun, then raises as Ctrl-C would; False if there were fewer."""
    files, begun, before = {module.__file__ for module in modules}, 0, sys.gettrace()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal begun
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            begun += 1
            if begun == line:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@dataclass(frozen=True)
class Case:
    """A network and a batch for it, all numbers in float64; `on` puts them on an engine in a precision."""

    specification: NetworkSpecification
    vector: np.ndarray
    x: np.ndarray  # (N, T, D), or (N, T, 1) of int64 for tokens
    lengths: np.ndarray
    state: dict[str, np.ndarray]

    @property
    def N(self) -> int:
        return len(self.x)

    @property
    def T(self) -> int:
        return self.x.shape[1]

    @property
    def takes_tokens(self) -> bool:
        return self.specification.vocabulary_size is not None

    @property
    def every(self) -> bool:
        """Whether there is an output for every step."""
        return self.specification.readout == "every"

    def on(self, engine: str, dtype: str = "float64", n_threads: int | None = None) -> Running:
        return Running(self, select_engine(engine, "test", n_threads), np.dtype(dtype))

    @property
    def output_shape(self) -> tuple[int, ...]:
        outputs = self.specification.output_size
        return (self.N, self.T, outputs) if self.every else (self.N, outputs)

    def real(self) -> np.ndarray:
        """(N, T): True at real steps."""
        return np.arange(self.T) < self.lengths[:, None]

    def with_(self, **fields: Any) -> Case:
        """The same numbers under another specification, one with the same tensors."""
        return replace(self, specification=replace(self.specification, **fields))


class Running:
    """A case on an engine."""

    def __init__(self, case: Case, engine: Engine[Any], dtype: np.dtype[Any]) -> None:
        self.case, self.engine, self.dtype = case, engine, dtype
        self.parameters = Parameters(case.specification, dtype)
        self.parameters.vector[:] = case.vector
        self.plan: Plan = engine.plan(case.specification, self.parameters)

    def batch(self, x: np.ndarray | None = None, lengths: np.ndarray | None = None) -> Batch:
        x = self.case.x if x is None else x
        lengths = self.case.lengths if lengths is None else lengths
        N, T, D = x.shape
        kind = np.int64 if self.case.takes_tokens else self.dtype
        rows = np.array(x, kind, order="C").reshape(N * T, D)
        return Batch(rows, np.arange(N, dtype=np.int64) * T, lengths, T)

    def state(self, state: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        return {name: np.array(h, self.dtype) for name, h in (state or self.case.state).items()}

    def forward(
        self, batch: Batch | None = None, state: Any = None, keep_tape: bool = True, dropout: Dropout | None = None
    ) -> Forward:
        state = self.state() if state is None else state
        return self.engine.forward(self.plan, batch or self.batch(), state, keep_tape=keep_tape, dropout=dropout)

    def dropout(self, epoch: int = 2) -> Dropout | None:
        """The masks of the batch, if the network drops anything."""
        return Dropout(KEY, epoch, np.arange(self.case.N)) if self.case.specification.drops else None

    def targets(self, y: np.ndarray, weights: np.ndarray) -> Targets:
        """y (N, T or 1, O), weights (N, T or 1)."""
        N, T, O = y.shape  # noqa: E741
        lengths = self.case.lengths if self.case.every else np.ones(N, np.int64)
        rows = np.ascontiguousarray(y, self.dtype).reshape(N * T, O)
        return Targets(rows, np.arange(N, dtype=np.int64) * T, lengths, T, weights.astype(self.dtype).ravel())

    def random_targets(self, generator: np.random.Generator) -> Targets:
        """Targets that suit every loss, and weights."""
        rows = (self.case.N, self.case.T if self.case.every else 1)
        y = generator.uniform(0.05, 0.95, (*rows, self.case.specification.output_size))
        return self.targets(y, generator.uniform(0.2, 2.0, rows))

    def random_gradients(self, seed: int = 1) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """A gradient by the pre-activations and one by the final state, all real entries random."""
        generator = np.random.default_rng(seed)
        d_a = generator.normal(size=self.case.output_shape)
        if self.case.every:
            d_a[~self.case.real()] = 0
        d_T = {name: generator.normal(size=h.shape) for name, h in self.case.state.items()}
        return d_a.astype(self.dtype), {name: d.astype(self.dtype) for name, d in d_T.items()}

    def updates(self, count: int, learning_rate: float = 0.05) -> Updates:
        """`count` mini-batches of three sequences in random order, four to an epoch."""
        generator = np.random.default_rng(4)
        order = np.concatenate([generator.permutation(self.case.N)[:3] for _ in range(count)])
        boundaries = np.arange(count + 1, dtype=np.int64) * 3
        rates = learning_rate / np.arange(1, count + 1)
        epochs = np.arange(count, dtype=np.int64) // 4
        return Updates(self.batch(), self.random_targets(generator), order, boundaries, rates, KEY, epochs)


def random_case(
    generator: np.random.Generator,
    layers: Sequence[Layer],
    *,
    D: int = 3,
    O: int = 2,  # noqa: E741
    N: int = 4,
    T: int = 6,
    readout: str = "every",
    output: tuple[str, str] = ("linear", "mse"),
    ragged: bool = True,
    dropout: float = 0.0,
    vocabulary_size: int | None = None,
    huber_delta: float = 0.3,
) -> Case:
    specification = NetworkSpecification(D, tuple(layers), O, readout, *output, dropout, vocabulary_size, huber_delta)
    size = Parameters(specification, np.dtype(np.float64)).vector.size
    widest = max(D, *(layer.output_size for layer in layers))
    # Around the size at which signals neither die nor explode, and no entry near zero
    vector = generator.uniform(0.5, 1.5, size) * generator.choice([-1.0, 1.0], size) / np.sqrt(widest)
    lengths = generator.integers(1, T + 1, N) if ragged else np.full(N, T)
    state = {name: generator.normal(size=(N, H)) + 0.3 for name, H in specification.state_shapes.items()}
    x = generator.normal(size=(N, T, D))
    if vocabulary_size is not None:
        x = generator.integers(vocabulary_size, size=(N, T, 1))
    return Case(specification, vector, x, lengths.astype(np.int64), state)


def make(name: str, readout: str = "every", seed: int = 0, **options: Any) -> Case:
    """A random case of one of the architectures."""
    return random_case(np.random.default_rng(seed), ARCHITECTURES[name], readout=readout, **options)


def _layers(activations: Sequence[str], drops: bool) -> Any:
    """Any layer of any kind."""
    sizes = st.sampled_from([1, 3, 7, 16, 17, 33, 65])
    rates = st.sampled_from([0.0, 0.4] if drops else [0.0])
    common = {"bidirectional": st.booleans(), "learned_state": st.booleans()}
    common |= {"input_dropout": rates, "recurrent_dropout": rates}
    return st.one_of(
        st.builds(Elman, sizes, st.sampled_from(activations), **common),
        st.builds(GRU, sizes, st.sampled_from(RESETS), **common),
        st.builds(LSTM, sizes, **common),
    )


@st.composite
def cases(draw: st.DrawFn, activations: Sequence[str] = ACTIVATIONS, drops: bool = True) -> Case:
    """Networks of one to three layers of any kind, and ragged batches of features or tokens for them."""
    layers = draw(st.lists(_layers(activations, drops), min_size=1, max_size=3))
    output = draw(st.sampled_from(OUTPUTS))
    outputs = draw(st.integers(2 if output[0] == "softmax" else 1, 9))
    case = random_case(
        np.random.default_rng(draw(st.integers(0, 2**32))),
        layers,
        D=draw(st.integers(1, 40)),
        O=outputs,
        N=draw(st.integers(1, 9)),
        T=draw(st.sampled_from([1, 2, 3, 11])),
        readout=draw(st.sampled_from(READOUTS)),
        output=output,
        ragged=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.3] if drops else [0.0])),
        vocabulary_size=draw(st.sampled_from([None, None, 1, 13])),
    )
    DRAWN.add(case.specification)
    return case
