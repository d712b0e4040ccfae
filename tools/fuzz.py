"""Random calls of the compiled module, until so many were made: wrong ones are refused in words, right ones right.

    python tools/fuzz.py --calls 1000000 --seed 7

Networks are those that the engine battery draws, right arguments and damage to arrays those of the fuzz tests; here several
things go wrong at once, at random. Of every call it is asked that it either returns or raises TypeError or ValueError with a
message, that a refused one has changed no parameter, and, of those that are right, that they are not refused and give the same
bits whatever went before. The environment variable RNN_FROM_SCRATCH_ISA chooses the instruction set.

A round is some thousand calls. What it does depends on the seed and its number alone: after a crash or a failure the last line
that was printed says how to repeat it.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from native_calls import DAMAGE, PRECISIONS, REFUSED, Calls, Holder, call
from support import Case, cases

from rnn_from_scratch.engines import native_engine

NETWORKS_PER_ROUND, CALLS_PER_NETWORK = 50, 200

SOUND = {np.dtype(name) for name in ("float32", "float64", "int64", "bool")}
"""What right arrays consist of; what was damaged beyond that is left as it is."""

WILD: list[Any] = [
    *(None, True, -1, 0, 1, 2, 255, 256, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**64)),
    *(0.5, -0.5, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"), 1j, np.float32(2), np.int8(3)),
    *("", "tanh", b"bytes", [], (), {}, [1, 2, 3], (1, 2, 3), object(), np.float64, len, ...),
    *(np.zeros(0), np.zeros(()), np.zeros((2,) * 7), np.zeros((0, 5)), np.zeros(3, "M8[s]"), np.zeros(2, "V4")),
]
"""What stands in the place of an argument."""

Arguments = dict[str, list[Any]]


class Accepted(NamedTuple):
    """What a call gave that was not refused, and whether all its arguments were right."""

    right: bool
    result: Any


class Fuzzer:
    """One network and a batch, and calls of its plan. The generator decides everything."""

    def __init__(self, case: Case, name: str, generator: np.random.Generator, counts: Counter[str]) -> None:
        self.calls = Calls(name, case.specification, case.lengths.tolist(), case.T)
        self.generator, self.counts = generator, counts
        self.vector = self.calls.vector() / np.sqrt(max(case.specification.input_size, case.specification.state_size))
        self.vector = self.vector.astype(self.calls.dtype)
        self.original = self.vector.tobytes()
        self.plan = self.calls.plan(parameters=self.vector, version=Holder.version)
        self.threads = self.pick([*[1] * 8, 2, 3])  # for all calls: another number may give other bits
        self.plan.use_threads(self.threads, False)
        self.tape = call(self.plan.forward, self.calls.forward())
        self.stepper = self.plan.stepper(Holder(), self.calls.N)
        self.predictor = self.plan.predictor(Holder())
        self.expected: dict[str, tuple[bytes, ...]] = {}
        self.entries: dict[str, Callable[[], None]] = {
            name.removeprefix("fuzz_"): getattr(self, name) for name in dir(self) if name.startswith("fuzz_")
        }

    def one_call(self) -> None:
        """Any entry, with arguments that are right or not."""
        entry = self.pick(list(self.entries))
        self.counts[entry] += 1
        self.entries[entry]()

    # --- The entries: what to call, with what, and what it has to give ---

    def fuzz_forward(self) -> None:
        self.compare("forward", self.plan.forward, self.calls.forward(), ["outputs", "preactivations", "final_state"])

    def fuzz_backward(self) -> None:
        arguments: Arguments = {"tape": [self.tape], **self.calls.backward()}
        self.compare("backward", self.plan.backward, arguments, ["gradient", "d_inputs", "d_state"])

    def fuzz_train_updates(self) -> None:
        self.compare("train_updates", self.plan.train_updates, self.calls.train_updates(), ["report", "carried"])
        if self.vector.tobytes() != self.original:
            self.vector[:] = np.frombuffer(self.original, self.vector.dtype)
            self.plan.refresh(Holder.version)

    def fuzz_plan(self) -> None:
        right = self.calls.plan_arguments()
        arguments: Arguments = {key: list(value) if key == "words" else [value] for key, value in right.items()}
        layers = self.layers(right["layers"])
        arguments["layers"] = [layers]
        made = self.try_call(type(self.plan), arguments, layers is right["layers"])
        if made is not None:
            made.result.refresh()

    def fuzz_evaluate(self) -> None:
        x = self.generator.normal(scale=50, size=self.generator.integers(40)).astype(self.calls.dtype)
        arguments: Arguments = {"function": [1], "from": [x], "to": [np.zeros_like(x)]}
        self.try_call(native_engine._module.evaluate, arguments)

    def fuzz_threads(self) -> None:
        arguments: Arguments = {
            "most": [int(self.generator.integers(1, 4))],
            "at_will": [bool(self.generator.integers(2))],
        }
        self.try_call(self.plan.use_threads, arguments)
        self.plan.use_threads(self.threads, False)

    def fuzz_making(self) -> None:
        holder = Holder()
        arguments: Arguments = {"holder": [holder], "streams": [int(self.generator.integers(1, 9))]}
        made = self.try_call(self.plan.stepper, arguments)
        if made is not None and [kept is holder for kept in arguments.get("holder", [])] == [True]:
            made.result(self.calls.rows(3), None)

    def fuzz_step(self) -> None:
        self.stepper.write(np.zeros((self.calls.N, self.calls.state_size), self.calls.dtype))
        out = np.zeros((self.calls.N, self.calls.O), self.calls.dtype)
        self.fast_call("step", self.stepper, [self.calls.rows(self.calls.N), self.pick([None, out])])

    def fuzz_predict(self) -> None:
        count, steps = self.generator.integers(1, 5, 2)
        self.fast_call(f"predict {count} {steps}", self.predictor, [self.calls.rows(count, steps)])

    def fuzz_states(self) -> None:
        method = self.pick([self.stepper.write, self.stepper.read])
        arguments: Arguments = {"state": [self.calls.states(4)]}
        self.try_call(lambda state: method(state), arguments)

    # --- What is asked of each ---

    def compare(self, entry: str, function: Callable[..., Any], arguments: Arguments, results: list[str]) -> None:
        """A call that is right gives the same bits every time."""
        accepted = self.try_call(function, arguments)
        if accepted is None or not accepted.right:
            return
        bits = tuple(array.tobytes() for name in results for array in arguments[name] if isinstance(array, np.ndarray))
        bits += (self.vector.tobytes(),)
        assert self.expected.setdefault(entry, bits) == bits, f"{entry} gives other numbers than before"

    def try_call(self, function: Callable[..., Any], arguments: Arguments, right: bool = True) -> Accepted | None:
        """None if the call was refused, which one that is right must not be."""
        right = not self.spoil(arguments) and right
        try:
            result = call(function, arguments)
        except REFUSED as error:
            assert str(error), "refused without a word"
            assert not right, f"a right call was refused: {error}"
            assert self.vector.tobytes() == self.original, "a refused call has changed parameters"
            self.counts["refused"] += 1
            return None
        return Accepted(right, result)

    def fast_call(self, entry: str, function: Callable[..., Any], arguments: list[Any]) -> None:
        """By position; None instead of an error where an argument is not what it takes."""
        group: Arguments = {"by position": [*arguments]}
        right = not self.spoil(group)
        try:
            y = function(*group.pop("by position", []), **group)
        except REFUSED as error:
            assert str(error)
            assert not right, f"a right call was refused: {error}"
            self.counts["refused"] += 1
            return
        assert y is not None or not right, f"a right {entry} was refused"
        self.counts["refused"] += y is None
        if right:
            assert self.expected.setdefault(entry, (y.tobytes(),)) == (y.tobytes(),), f"{entry} gives other numbers"

    # --- What goes wrong ---

    def spoil(self, arguments: Arguments) -> int:
        """Does so many things to the arguments, in place."""
        count: int = self.pick([0, 1, 1, 1, 2, 3])
        often = [self.damage] * 12 + [self.change_numbers] * 8 + [self.replace] * 4
        for _ in range(count):
            group = self.pick(list(arguments))
            places = arguments[group]
            if places:
                self.pick([*often, self.leave_out, self.double, self.turn])(
                    places, int(self.generator.integers(len(places)))
                )
        if count and self.generator.random() < 0.02:
            arguments.pop(self.pick(list(arguments)))
            if self.generator.random() < 0.5:
                arguments["another"] = [1]
        return count

    def damage(self, places: list[Any], place: int) -> None:
        """One of the ways of the fuzz tests."""
        array = places[place]
        if isinstance(array, np.ndarray) and array.ndim and array.dtype in SOUND:
            places[place] = DAMAGE[self.pick(list(DAMAGE))](array)

    def change_numbers(self, places: list[Any], place: int) -> None:
        """Some numbers of an array, or a single one."""
        value = places[place]
        if isinstance(value, np.ndarray) and value.dtype in SOUND and value.size and value.flags.writeable:
            some = self.generator.integers(value.size, size=self.generator.integers(1, 4))
            kind = value.dtype.kind
            odd = self.pick({"i": ODD_INTEGERS, "f": ODD_FLOATS, "b": [True, False]}[kind])
            value.reshape(-1)[some] = odd  # a copy where that is no view: then nothing changes
        elif isinstance(value, int):
            places[place] = self.pick(ODD_INTEGERS)
        elif isinstance(value, float):
            places[place] = self.pick(ODD_FLOATS)

    def replace(self, places: list[Any], place: int) -> None:
        """Something else altogether."""
        places[place] = self.pick(WILD)

    def leave_out(self, places: list[Any], place: int) -> None:
        """One of a group."""
        places.pop(place)

    def double(self, places: list[Any], place: int) -> None:
        """One too many."""
        places.append(places[place])

    def turn(self, places: list[Any], place: int) -> None:
        """The wrong way round; wrong in a group of one is then that one."""
        places.reverse()
        if len(places) == 1:
            self.replace(places, place)

    def layers(self, layers: list[tuple[Any, ...]]) -> list[Any]:
        """The words of the layers, sometimes with one that is wrong."""
        if self.generator.random() < 0.5:
            return layers
        changed = [list(layer) for layer in layers]
        row = changed[int(self.generator.integers(len(changed)))]
        self.pick([self.change_numbers, self.change_numbers, self.replace])(row, int(self.generator.integers(len(row))))
        if self.generator.random() < 0.2:
            self.pick([changed.reverse, lambda: changed.append(row), changed.pop])()
        return [tuple(layer) for layer in changed]

    def pick(self, choices: list[Any]) -> Any:
        return choices[int(self.generator.integers(len(choices)))]


ODD_INTEGERS = [-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 5, 8, 40, 2**31, 2**32 + 1, 2**40, 2**62, 2**63 - 1]
ODD_FLOATS = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-42, -1e-320, 1e-3, 1.0, 2.0, 1e19, -3e38]


def play(first_seed: int, number: int, counts: Counter[str]) -> None:
    """One round."""

    @seed(first_seed + number)
    @settings(
        max_examples=NETWORKS_PER_ROUND,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(), st.sampled_from(list(PRECISIONS)), st.integers(0, 2**32))
    def networks(case: Case, name: str, own_seed: int) -> None:
        fuzzer = Fuzzer(case, name, np.random.default_rng(own_seed), counts)
        with np.errstate(all="ignore"):  # damage may turn an infinity into an integer
            for _ in range(CALLS_PER_NETWORK):
                fuzzer.one_call()

    networks()


def main() -> None:
    """Rounds until there were enough calls."""
    parser = argparse.ArgumentParser(description="Random calls of the compiled module.")
    parser.add_argument("--calls", type=int, default=10_000, help="at least so many")
    parser.add_argument("--seed", type=int, help="the first round's is this one; by default it is drawn")
    options = parser.parse_args()
    first = int(np.random.default_rng().integers(2**31)) if options.seed is None else options.seed
    faulthandler.enable()
    counts: Counter[str] = Counter()
    begun, number = perf_counter(), 0
    isa = native_engine._module.instruction_set
    while counts.total() - counts["refused"] < options.calls:
        print(
            f"round {number} on {isa}: to repeat it, python tools/fuzz.py --calls 1 --seed {first + number}", flush=True
        )
        play(first, number, counts)
        number += 1
    refused = counts.pop("refused")
    print(", ".join(f"{entry} {count}" for entry, count in sorted(counts.items())))
    minutes = (perf_counter() - begun) / 60
    print(f"{counts.total()} calls on {isa}, {refused} of them refused, seed {first}, {minutes:.1f} minutes: no crash")


if __name__ == "__main__":
    main()
