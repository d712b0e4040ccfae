"""Checkpoints give back what was put in, bit for bit, and refuse to be those of another network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_helpers import random_checkpoint, random_network, rewrite
from properties import given, st
from support import Case, assert_same_bits, cases
from test_archive import json_values

from rnn_from_scratch import GRU, Elman, FileFormatError, NetworkSpecification
from rnn_from_scratch.generator_state import STATES, generator_words, require_generator_words, restore_generator
from rnn_from_scratch.training.checkpoint import Checkpoint, differences

DTYPES = ("float32", "float64", "int64", "uint64")


def arrays_of_any_bits() -> Any:
    """Arrays of whatever bits, NaNs of every kind among them."""

    def build(word: str, shape: list[int], seed: int) -> np.ndarray:
        bits = np.random.default_rng(seed).bytes(int(np.prod(shape)) * np.dtype(word).itemsize)
        return np.frombuffer(bits, word).reshape(shape)

    return st.builds(build, st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 2**32))


def named(values: Any) -> Any:
    return st.dictionaries(st.sampled_from(["m", "v", "updates", "layer0.reverse.h", "best_parameters"]), values)


def assert_same(found: Checkpoint, written: Checkpoint) -> None:
    """Every place of the two holds the same bits, but for which NaN stands in words."""
    assert_same_bits(found.parameters, written.parameters)
    assert found.parameters.dtype == written.parameters.dtype
    for before, after in ((written.optimizer_state, found.optimizer_state), (written.arrays, found.arrays)):
        assert after.keys() == before.keys()
        for name in before:
            assert after[name].dtype == before[name].dtype
            assert after[name].shape == before[name].shape
            assert after[name].flags.writeable
            assert_same_bits(after[name], before[name], name)
    assert found.generator_state == written.generator_state
    assert repr(found.history) == repr(written.history)  # of floats, repr is exact, and NaN equals itself
    assert repr((found.ran_on, found.words)) == repr((written.ran_on, written.words))
    for name, values in written.history.items():
        all_floats = all(isinstance(value, float) for value in values)
        for before, after in zip(values, found.history[name], strict=True):
            assert type(after) is type(before)
            # Lists of anything but numbers alone are JSON, which has one NaN where there are many bit patterns of it
            if isinstance(before, float) and (all_floats or before == before):
                assert_same_bits(after, before, name)


@given(
    case=cases(),
    dtype=st.sampled_from(["float32", "float64"]),
    optimizer_state=named(arrays_of_any_bits()),
    arrays=named(arrays_of_any_bits()),
    history=st.dictionaries(
        st.text(max_size=8),
        st.one_of(
            st.lists(st.floats(), max_size=5),
            st.lists(st.integers(-(2**70), 2**70), max_size=5),
            st.lists(st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3)), max_size=5),
        ),
        max_size=4,
    ),
    words=st.dictionaries(st.text(max_size=5), json_values(), max_size=3),
    seed=st.integers(0, 2**64),
)
def test_whatever_is_put_in_comes_back(
    case: Case,
    dtype: str,
    optimizer_state: Any,
    arrays: Any,
    history: Any,
    words: Any,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = str(tmp_path_factory.mktemp("checkpoints") / "run.npz")
    generator = generator_words(np.random.default_rng(seed))
    vector = case.vector.astype(dtype)
    written = Checkpoint(case.specification, vector, optimizer_state, generator, history, words, words, arrays)
    written.write(path)
    assert_same(Checkpoint.read(path, case.specification, np.dtype(dtype)), written)


def test_the_bits_of_a_history_are_kept(tmp_path: Path) -> None:
    strange = np.frombuffer(np.array([0x7FF8DEADBEEF0001, 0xFFF0000000000001], np.uint64).tobytes()).tolist()
    written = replace(random_checkpoint(), history={"loss": [*strange, -0.0, 5e-324], "clipped": [1, -(2**63)]})
    written.write(str(tmp_path / "run.npz"))
    found = Checkpoint.read(str(tmp_path / "run.npz"), written.specification)
    assert_same_bits(found.history["loss"], written.history["loss"])
    assert found.history["clipped"] == [1, -(2**63)]


def test_lists_of_numbers_and_other_things_keep_nan_as_nan(tmp_path: Path) -> None:
    negative = np.frombuffer(np.array([0xFFF8000000000001], np.uint64).tobytes()).tolist()
    written = replace(random_checkpoint(), history={"validation_loss": [None, *negative, 0.1, -0.0, float("-inf")]})
    written.write(str(tmp_path / "run.npz"))
    found = Checkpoint.read(str(tmp_path / "run.npz"), written.specification).history["validation_loss"]
    assert found[0] is None
    assert np.isnan(found[1])
    assert_same_bits(found[2:], [0.1, -0.0, float("-inf")])


# --- Generators ---


def advanced(name: str, seed: int) -> np.random.Generator:
    """A generator in the middle of things: half of a 64-bit number is still to be used."""
    generator = np.random.Generator(getattr(np.random, name)(seed))
    generator.normal(size=seed + 1)
    generator.integers(2**32, dtype=np.uint32)
    return generator


@pytest.mark.parametrize("name", sorted(STATES))
def test_every_generator_goes_on_where_it_stood(name: str, tmp_path: Path) -> None:
    generator = advanced(name, 3)
    written = replace(random_checkpoint(), generator_state=generator_words(generator))
    written.write(str(tmp_path / "run.npz"))
    found = Checkpoint.read(str(tmp_path / "run.npz"), written.specification)
    other = advanced(name, 8)
    restore_generator(other, found.generator_state)
    for _ in range(3):
        assert_same_bits(
            other.integers(2**32, size=3, dtype=np.uint32), generator.integers(2**32, size=3, dtype=np.uint32)
        )
        assert_same_bits(other.normal(size=400), generator.normal(size=400))
        assert_same_bits(other.permutation(50), generator.permutation(50))


@pytest.mark.parametrize("name", sorted(STATES))
def test_no_state_is_believed(name: str) -> None:
    """NumPy would read memory of others at a position past the end of a buffer."""
    generator = advanced(name, 3)
    before = generator_words(generator)

    def damaged(words: Any) -> Any:
        """Every way to damage one place of nested words."""
        if isinstance(words, dict):
            for part, value in words.items():
                yield from ({**words, part: worse} for worse in damaged(value))
                yield {other: kept for other, kept in words.items() if other != part}
            yield {**words, "more": 0}
        elif isinstance(words, list):
            yield from ([*words[:-1], worse] for worse in damaged(words[-1]))
            yield words[1:]
            yield [*words, 0]
        else:
            yield from (-1, 2**128, None, "PCG65", 0.5, [], {})
            if isinstance(words, int):
                yield True

    wrong = list(damaged(before))
    assert len(wrong) > 15
    for words in wrong:
        with pytest.raises(FileFormatError, match="generator"):
            restore_generator(generator, words)
    assert generator_words(generator) == before
    assert require_generator_words(before)


def test_positions_past_the_end_are_refused() -> None:
    for name, place in (("MT19937", ("state", "pos")), ("Philox", ("buffer_pos",))):
        words = generator_words(advanced(name, 1))
        inner = words
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = 10**6
        with pytest.raises(FileFormatError, match=f"{name}.{'.'.join(place)} is 1000000"):
            require_generator_words(words)


def test_a_generator_of_another_kind_is_not_restored() -> None:
    generator = advanced("SFC64", 1)
    before = generator_words(generator)
    with pytest.raises(ValueError, match=r"must be PCG64, as in the checkpoint. Got SFC64"):
        restore_generator(generator, generator_words(np.random.default_rng(0)))
    assert generator_words(generator) == before


# --- Another network ---


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"layers": [GRU(6)]}, r"layers\[0\].hidden_size was 5 and is 6\."),
        ({"layers": [GRU(5), Elman(2)]}, "layers had 1 entries and has 2"),
        (
            {"layers": [GRU(5, "before")], "dropout": 0.5},
            r"reset was 'after' and is 'before'; dropout was 0.0 and is 0.5",
        ),
        ({"layers": [Elman(5)]}, r"cell was 'gru' and is 'elman'; .*activation was not there and is 'tanh'"),
        ({"loss": "mae"}, "loss was 'mse' and is 'mae'"),
        ({"loss": lambda y, t: (0.0, y)}, "loss was 'mse' and is 'a callable'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_network_is_told_every_difference(now: dict[str, Any], message: str, tmp_path: Path) -> None:
    written = random_checkpoint()
    written.write(str(tmp_path / "run.npz"))
    with pytest.raises(ValueError, match=message) as caught:
        Checkpoint.read(str(tmp_path / "run.npz"), replace(written.specification, **now))
    assert "run.npz" in str(caught.value)
    assert not isinstance(caught.value, FileFormatError)  # nothing is wrong with the file


def test_another_dtype_is_told() -> None:
    written = random_checkpoint()
    written.write("run.npz")
    with pytest.raises(ValueError, match="dtype was 'float64' and is 'float32'"):
        Checkpoint.read("run.npz", written.specification, np.dtype(np.float32))
    assert_same(Checkpoint.read("run.npz", written.specification, np.dtype(np.float64)), written)


@pytest.fixture(autouse=True)
def somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_callable_loss_is_remembered_as_one() -> None:
    specification = NetworkSpecification(3, [GRU(5)], 2, loss=lambda y, t: (0.0, y))
    written = replace(random_checkpoint(), specification=specification)
    written.write("run.npz")
    another = replace(specification, loss=lambda y, t: (1.0, y))
    found = Checkpoint.read("run.npz", another)
    assert found.specification is another
    assert_same(found, written)
    with pytest.raises(ValueError, match="loss was 'a callable' and is 'mse'"):
        Checkpoint.read("run.npz", replace(specification, loss="mse"))


def test_differences_of_what_a_run_ran_on() -> None:
    then = {"engine": "native", "threads": 2, "versions": {"numpy": "2.0"}}
    now = {"engine": "numpy", "threads": 2, "versions": {"numpy": "2.1"}, "machine": "x"}
    assert list(differences(then, now)) == [
        "engine was 'native' and is 'numpy'",
        "versions.numpy was '2.0' and is '2.1'",
        "machine was not there and is 'x'",
    ]
    assert list(differences(then, then)) == []


# --- What cannot be written, and what is not read ---


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"parameters": np.zeros(3)}, ValueError, r"parameters of a checkpoint must be \(\d+,\). Got \(3,\)"),
        ({"parameters": None}, ValueError, "parameters of a checkpoint must be"),
        ({"history": {"loss": (1.0,)}}, TypeError, r"history\['loss'\] of a checkpoint must be a list"),
        ({"optimizer_state": {"m": np.zeros(3, np.complex128)}}, TypeError, "complex128"),
        ({"arrays": {"../x": np.zeros(3)}}, ValueError, "names of arrays"),
        ({"words": {"optimizer": object()}}, TypeError, r"words\['words'\]\['optimizer'\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_written_leaves_the_old_checkpoint(change: Any, error: type[Exception], message: str) -> None:
    written = random_checkpoint()
    written.write("run.npz")
    with pytest.raises(error, match=message):
        replace(written, **change).write("run.npz")
    assert_same(Checkpoint.read("run.npz", written.specification), written)


def test_parameters_that_are_not_finite_are_not_written() -> None:
    written = random_checkpoint()
    vector = written.parameters.copy()
    vector[4] = np.inf
    with pytest.raises(ValueError, match="parameters of a checkpoint must be finite"):
        replace(written, parameters=vector).write("run.npz")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda words, _: words.update(format="rnn-from-scratch model"),
            "its format must be 'rnn-from-scratch checkpoint'",
        ),
        (lambda words, _: words.update(version=2), "Install a newer one"),
        (lambda words, _: words.update(words=[]), "'words' must be a mapping"),
        (lambda words, _: words.update(generator_state={}), "the generator must be one of"),
        (lambda words, _: words.update(history={}), r"history\[0\] is not understood"),
        (lambda words, _: words["history"].append(["loss", []]), "is not understood"),
        (lambda words, _: words["history"].append(["x", {"array": "arrays.flags"}]), "must be .epochs,. of float64"),
        (lambda words, _: words["history"].append(["x", {"array": "../../x"}]), "must have an array"),
        (lambda words, _: words["history"].append(["x", {"array": "history.0", "more": 1}]), "is not understood"),
        (lambda words, _: words["history"].append(["x", {"array": "history.0"}]), "arrays that no checkpoint has"),
        (lambda words, _: words["specification"].update(input_size=4), "its parameters must be"),
        (lambda _, arrays: arrays.update(something=np.zeros(3)), "arrays that no checkpoint has"),
        (lambda _, arrays: arrays.pop("history.0"), "must have an array 'history.0'"),
        (lambda _, arrays: arrays.pop("parameters"), "must have an array 'parameters'"),
        (lambda _, arrays: arrays["parameters"].fill(np.nan), "must be finite"),
        (lambda _, arrays: arrays.update(parameters=np.zeros(0)), "its parameters must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_must_be_right_in_every_word(change: Callable[..., object], message: str) -> None:
    written = random_checkpoint()
    written.write("run.npz")
    rewrite(Path("run.npz"), change)
    with pytest.raises(FileFormatError, match=message) as caught:
        Checkpoint.read("run.npz", written.specification)
    assert "run.npz" in str(caught.value)


def test_a_model_is_not_a_checkpoint() -> None:
    network = random_network()
    network.save("model.npz")
    with pytest.raises(
        FileFormatError, match=r"its format must be 'rnn-from-scratch checkpoint'. Got 'rnn-from-scratch model'"
    ):
        Checkpoint.read("model.npz", network.specification)
