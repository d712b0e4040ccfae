"""Random networks, batches and states for the tests, and what it means to be close.

Weights, biases and states are random and far from zero: zeros hide missing terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from properties import st

from rnn_from_scratch.engines.base import Engine, Forward, Plan
from rnn_from_scratch.engines.select import select_engine
from rnn_from_scratch.parameters import Parameters
from rnn_from_scratch.sequences import Batch, Targets
from rnn_from_scratch.specification import ACTIVATIONS, Elman, NetworkSpecification

EXACT = 1e-10
SINGLE = 2e-5
OUTPUTS = (("linear", "mse"), ("sigmoid", "mse"), ("softmax", "mse"), ("sigmoid", "ce"), ("softmax", "ce"))


def assert_close(a: Any, b: Any, tolerance: float, what: str = "") -> None:
    """‖a − b‖∞ ≤ tolerance · max(1, ‖b‖∞), and the same shape."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    difference = np.abs(a - b).max(initial=0.0)
    allowed = tolerance * max(1.0, np.abs(b).max(initial=0.0))
    assert difference <= allowed, f"{what}: differs by {difference:.3g}, allowed {allowed:.3g}"


def assert_same_bits(a: Any, b: Any, what: str = "") -> None:
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), f"{what}: not the same bits"


@dataclass(frozen=True)
class Case:
    """A network and a batch for it, all numbers in float64; `on` puts them on an engine in a precision."""

    specification: NetworkSpecification
    vector: np.ndarray
    x: np.ndarray  # (N, T, D)
    lengths: np.ndarray
    state: dict[str, np.ndarray]

    @property
    def N(self) -> int:
        return len(self.x)

    @property
    def T(self) -> int:
        return self.x.shape[1]

    def on(self, engine: str, dtype: str = "float64") -> Running:
        return Running(self, select_engine(engine, "test"), np.dtype(dtype))

    @property
    def output_shape(self) -> tuple[int, ...]:
        outputs = self.specification.output_size
        return (self.N, self.T, outputs) if self.specification.readout == "every" else (self.N, outputs)

    def real(self) -> np.ndarray:
        """(N, T): True at real steps."""
        return np.arange(self.T) < self.lengths[:, None]


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
        rows = np.ascontiguousarray(x, self.dtype).reshape(N * T, D)
        return Batch(rows, np.arange(N, dtype=np.int64) * T, lengths, T)

    def state(self, state: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        return {name: np.array(h, self.dtype) for name, h in (state or self.case.state).items()}

    def forward(self, batch: Batch | None = None, state: Any = None, keep_tape: bool = True) -> Forward:
        state = self.state() if state is None else state
        return self.engine.forward(self.plan, batch or self.batch(), state, keep_tape=keep_tape)

    def targets(self, y: np.ndarray, weights: np.ndarray) -> Targets:
        """y (N, T or 1, O), weights (N, T or 1)."""
        N, T, O = y.shape  # noqa: E741
        lengths = self.case.lengths if self.case.specification.readout == "every" else np.ones(N, np.int64)
        rows = np.ascontiguousarray(y, self.dtype).reshape(N * T, O)
        return Targets(rows, np.arange(N, dtype=np.int64) * T, lengths, T, weights.astype(self.dtype).ravel())


def random_case(
    generator: np.random.Generator,
    layers: list[Elman],
    *,
    D: int = 3,
    O: int = 2,  # noqa: E741
    N: int = 4,
    T: int = 6,
    readout: str = "every",
    output: tuple[str, str] = ("linear", "mse"),
    ragged: bool = True,
) -> Case:
    specification = NetworkSpecification(D, tuple(layers), O, readout, *output)
    size = Parameters(specification, np.dtype(np.float64)).vector.size
    widest = max(D, *(layer.hidden_size for layer in layers))
    # Around the size at which signals neither die nor explode, and no entry near zero
    vector = generator.uniform(0.5, 1.5, size) * generator.choice([-1.0, 1.0], size) / np.sqrt(widest)
    lengths = generator.integers(1, T + 1, N) if ragged else np.full(N, T)
    state = {name: generator.normal(size=(N, H)) + 0.3 for name, H in specification.state_shapes.items()}
    return Case(specification, vector, generator.normal(size=(N, T, D)), lengths.astype(np.int64), state)


@st.composite
def cases(draw: st.DrawFn, activations: tuple[str, ...] = ACTIVATIONS) -> Case:
    """Networks of one to three layers, and ragged batches for them."""
    sizes = st.sampled_from([1, 3, 7, 8, 16, 17, 33])
    layer = st.builds(Elman, sizes, st.sampled_from(activations))
    layers = draw(st.lists(layer, min_size=1, max_size=3))
    output = draw(st.sampled_from(OUTPUTS))
    outputs = draw(st.integers(2 if output[0] == "softmax" else 1, 9))
    return random_case(
        np.random.default_rng(draw(st.integers(0, 2**32))),
        layers,
        D=draw(st.integers(1, 40)),
        O=outputs,
        N=draw(st.integers(1, 9)),
        T=draw(st.sampled_from([1, 2, 3, 11])),
        readout=draw(st.sampled_from(["every", "last"])),
        output=output,
        ragged=draw(st.booleans()),
    )
