"""What each tier runs: ``quick``, ``default`` and ``full``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from rnn_from_scratch.benchmark.problems import GATES, Problem, inference, mini_batches, recent_past, unequal
from rnn_from_scratch.benchmark.race import Pace

__all__ = ["TIERS", "Row", "Table", "Tier"]

CELLS = tuple(GATES)


@dataclass(frozen=True)
class Row:
    """One race.

    Attributes
    ----------
    workload : str
        'A' to 'D', for the report's sections.
    title : str
    make : callable () -> Problem
    all_threads : bool
        Whether every library may use all cores instead of one.
    """

    workload: str
    title: str
    make: Callable[[], Problem]
    all_threads: bool = False


@dataclass(frozen=True)
class Table:
    """One block of the documented table; the first of a tier is the table itself, the others are its appendix."""

    H: int
    epochs: int
    dtype: str = "float32"
    summed: bool = False


@dataclass(frozen=True)
class Tier:
    """A whole run.

    Attributes
    ----------
    tables : tuple of Table
    rows : tuple of Row
    pace : Pace
    peers : tuple of str
        Names in `registry.PEERS`; empty for all.
    program_rounds, quality_epochs : int
    scaling : str
        'none', 'some' or 'all'.
    overheads : bool
    thorough : bool
        Whether peers enter every way of writing the same.
    """

    tables: tuple[Table, ...]
    rows: tuple[Row, ...]
    pace: Pace
    peers: tuple[str, ...] = ()
    program_rounds: int = 3
    quality_epochs: int = 0
    scaling: str = "none"
    overheads: bool = False
    thorough: bool = False

    def problem(self, row: Row) -> Problem:
        """The problem of a row, as wide as this tier wants it; with all threads peers enter what usually wins."""
        return replace(row.make(), thorough=self.thorough and not row.all_threads)


def workload_a(sizes: Iterable[int]) -> Iterable[Row]:
    for H in sizes:
        yield Row("A", f"train Elman per sequence, H={H}", partial(recent_past, H))
    for H in sizes:
        yield Row("A", f"predict one sequence, H={H}", partial(_predict_one, H))


def _predict_one(H: int) -> Problem:
    return replace(recent_past(H, N=1), task="sequence")


def workload_b(sizes: Iterable[int], cells: Iterable[str] = CELLS, *, all_threads: bool = False) -> Iterable[Row]:
    for cell in cells:
        for H in sizes:
            yield Row("B", f"train {_name(cell)}, B=32, H={H}", partial(mini_batches, cell, H), all_threads)


def streaming(sizes: Iterable[int]) -> Iterable[Row]:
    for cell in CELLS:
        for H in sizes:
            yield Row("C, one step", f"step {_name(cell)}, H={H}", partial(inference, "step", cell, H))


def whole_sequences(sizes: Iterable[int], lengths: Iterable[int]) -> Iterable[Row]:
    for cell in CELLS:
        for H in sizes:
            for T in lengths:
                title = f"one sequence {_name(cell)}, T={T}, H={H}"
                yield Row("C, one sequence", title, partial(inference, "sequence", cell, H, T=T))


def batches(sizes: Iterable[int], cells: Iterable[str] = CELLS, *, all_threads: bool = False) -> Iterable[Row]:
    for cell in cells:
        for H in sizes:
            make = partial(inference, "sequence", cell, H, N=256, T=50)
            yield Row("C, a batch", f"256 sequences {_name(cell)}, T=50, H={H}", make, all_threads)


def lengths() -> Iterable[Row]:
    """The last one is to compare with: what as many steps cost when all sequences have one length."""
    yield Row("D", "train LSTM H=64, lengths 5…100", partial(unequal, "lstm", 64))
    yield Row("D", "train LSTM H=64, lengths 5…100, sorted", partial(unequal, "lstm", 64, sort=True))
    yield Row("D", "train LSTM H=64, the same steps at one length", partial(unequal, "lstm", 64, equal=True))


def _name(cell: str) -> str:
    return {"elman": "Elman", "gru": "GRU", "lstm": "LSTM"}[cell]


QUICK = Tier(
    tables=(Table(32, 100), Table(32, 100, summed=True)),
    rows=(*workload_a((10, 32)), *streaming((16, 64))),
    pace=Pace(5, 0.03),
    peers=("PyTorch", "JAX"),
    program_rounds=1,
)

DEFAULT = Tier(
    tables=(
        Table(32, 1000),
        Table(32, 100, summed=True),
        *(Table(H, 20) for H in (10, 64, 128)),
        Table(32, 20, "float64"),
    ),
    rows=(
        *workload_a((10, 32, 128)),
        *workload_b((64,)),
        *streaming((16, 64, 256)),
        *whole_sequences((64,), (100,)),
        *batches((64,)),
        *islice(lengths(), 1),
        *batches((64,), ("lstm",), all_threads=True),
    ),
    pace=Pace(5, 0.05),
    program_rounds=2,
    quality_epochs=120,
    scaling="some",
)

FULL = Tier(
    tables=(
        Table(32, 1000),
        Table(32, 100, summed=True),
        *(Table(H, 100) for H in (10, 64, 128)),
        Table(32, 100, "float64"),
    ),
    rows=(
        *workload_a((10, 32, 64, 128)),
        *workload_b((32, 64, 128, 256)),
        *streaming((16, 64, 256)),
        *whole_sequences((16, 64, 256), (20, 100)),
        *batches((16, 64, 256)),
        *lengths(),
        *workload_b((32, 64, 128, 256), all_threads=True),
        *batches((16, 64, 256), all_threads=True),
    ),
    pace=Pace(9, 0.06, patience=15),
    program_rounds=3,
    quality_epochs=300,
    scaling="all",
    overheads=True,
    thorough=True,
)

TIERS = {"quick": QUICK, "default": DEFAULT, "full": FULL}
