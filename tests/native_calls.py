"""Calls of the compiled module: the right arguments of every entry, made anew each time, and how arrays go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnn_from_scratch import NetworkSpecification
from rnn_from_scratch.engines import native_engine
from rnn_from_scratch.parameters import Parameters

PRECISIONS = {"Plan32": np.float32, "Plan64": np.float64}
"""The kinds of plan, and what they compute in."""

REFUSED = (TypeError, ValueError)
"""What a wrong call may raise."""


def misaligned(array: np.ndarray) -> np.ndarray:
    room = np.zeros(array.nbytes + 1, np.uint8)
    moved = room[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def strided(array: np.ndarray) -> np.ndarray:
    room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    room[..., ::2] = array
    return room[..., ::2]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


# Each turns a right array into a wrong or at least unusual one.
DAMAGE: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda a: a,
    "misaligned": misaligned,
    "strided": strided,
    "reversed": lambda a: a[::-1],
    "fortran": np.asfortranarray,
    "read-only": read_only,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "longer": lambda a: np.concatenate([a, a]),
    "shorter": lambda a: a[:-1],
    "empty": lambda a: a[:0],
    "wider": lambda a: np.repeat(a, 2, axis=-1),
    "flat": lambda a: a.ravel(),
    "deeper": lambda a: a[None],
    "scalar": lambda a: np.zeros((), a.dtype),
    "int8": lambda a: a.astype(np.int8),
    "other float": lambda a: a.astype(np.float32 if a.dtype == np.float64 else np.float64),
    "complex": lambda a: a.astype(complex),
    "object": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
    "list": lambda a: a.tolist(),
    "None": lambda a: None,
    "number": lambda a: 3,
    "huge": lambda a: np.full_like(a, 2**62) if a.dtype == np.int64 else np.full_like(a, np.inf),
    "negative": lambda a: ~a if a.dtype == bool else -a - 1,
    "zero": np.zeros_like,
    "NaN": lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a,
}


class Holder:
    """What has the version of the parameters."""

    version = 0


def call(function: Callable[..., Any], arguments: dict[str, list[Any]]) -> Any:
    """Groups of several are tuples, single ones are themselves."""
    return function(**{key: value[0] if len(value) == 1 else tuple(value) for key, value in arguments.items()})


class Calls:
    """A network in one precision and a batch for it: sequences of these lengths in rows of T steps."""

    def __init__(self, name: str, specification: NetworkSpecification, lengths: Sequence[int], T: int) -> None:
        self.name, self.specification, self.T = name, specification, T
        self.dtype = np.dtype(PRECISIONS[name])
        self.lengths = np.array(lengths, np.int64)
        self.N, self.O = len(self.lengths), specification.output_size
        self.state_size = sum(specification.state_shapes.values())
        self.real = np.arange(T) < self.lengths[:, None]  # kernels write real steps only; the engine hands them zeros
        self.every = specification.readout == "every"

    def vector(self) -> np.ndarray:
        size = Parameters(self.specification, self.dtype).vector.size
        return np.linspace(-1, 1, size).astype(self.dtype)

    def plan_arguments(self) -> dict[str, Any]:
        return native_engine.compiled_arguments(self.specification, self.vector())

    def plan(self, **changes: Any) -> Any:
        return getattr(native_engine._module, self.name)(**{**self.plan_arguments(), **changes})

    def rows(self, *shape: int, seed: int = 3) -> np.ndarray:
        """Features or tokens."""
        generator = np.random.default_rng(seed)
        if self.specification.vocabulary_size is not None:
            return generator.integers(0, self.specification.vocabulary_size, shape)
        return generator.normal(size=(*shape, self.specification.input_size)).astype(self.dtype)

    def inputs(self, seed: int) -> list[Any]:
        """Rows of features, tokens, starts, lengths; of features and tokens one is empty."""
        rows = self.rows(self.N * self.T, seed=seed)
        positions = [np.arange(self.N) * self.T, self.lengths.copy()]
        if self.specification.vocabulary_size is not None:
            return [np.empty((0, self.specification.input_size), self.dtype), rows, *positions]
        return [rows, np.empty(0, np.int64), *positions]

    def outputs(self) -> np.ndarray:
        return np.zeros((self.N, self.T, self.O) if self.every else (self.N, self.O), self.dtype)

    def states(self, seed: int | None = None) -> np.ndarray:
        shape = (self.N, self.state_size)
        return (np.zeros(shape) if seed is None else np.random.default_rng(seed).normal(size=shape)).astype(self.dtype)

    def forward(self) -> dict[str, list[Any]]:
        # A network that drops nothing may be given no masks; the names of sequences are any numbers.
        places = np.arange(self.N if self.specification.drops else 0)
        return {
            "inputs": self.inputs(0),
            "steps": [self.T],
            "dropout": [7, 2, 5 - 2 * places, places],
            "state": [self.states(1)],
            "outputs": [self.outputs()],
            "preactivations": [self.outputs()],
            "final_state": [self.states()],
            "keep_tape": [True],
        }

    def backward(self) -> dict[str, list[Any]]:
        """All but the tape."""
        d_a = np.random.default_rng(1).normal(size=self.outputs().shape).astype(self.dtype)
        return {
            "steps": [self.T],
            "d_preactivations": [d_a],
            "d_final_state": [self.states(2)],
            "gradient": [np.zeros_like(self.vector())],
            "d_inputs": [np.zeros((self.N, self.T, self.specification.input_size), self.dtype)],
            "d_state": [self.states()],
        }

    def train_updates(self) -> dict[str, list[Any]]:
        """Two updates, of two sequences and of three, by AdamW."""
        P, rows = self.vector().size, self.N * self.T
        targets = np.abs(np.random.default_rng(2).normal(size=(rows, self.O))).astype(self.dtype)
        order = np.array([2, 0, 1, 3, 3]) % self.N
        owners = np.array([0, 1, 1, 0]).repeat(-(-self.N // 4))[: self.N]
        return {
            "inputs": self.inputs(2),
            "targets": [targets, np.arange(self.N) * self.T, np.ones(rows, self.dtype)],
            "updates": [order, np.array([0, 2, 5]), np.full(2, 0.1), np.array([4, 5])],
            "dropout_key": [11],
            "carried": [owners, np.arange(self.N) // 2 * 3, np.zeros((2, self.state_size), self.dtype)],
            "optimizer": [
                *(3, 0.9, 0.999, 1e-8, 0.01, False),
                *(np.zeros(P, self.dtype), np.zeros(P, self.dtype), np.zeros(1, np.int64)),
            ],
            "regularization": [0.01, np.arange(len(self.specification.tensors())) == 1],
            "clipping": [1, 5.0],
            "report": [np.zeros(2), np.zeros(2), np.zeros(2, bool)],
        }
