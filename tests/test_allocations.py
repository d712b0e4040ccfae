"""Allocations are counted, not guessed: a library loaded before all others counts every call of malloc and its relatives.

Python is told to take all of its memory from malloc, so that not even a number can be made unseen.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

static long calls;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
void *malloc(size_t n) { ++calls; return __libc_malloc(n); }
void *calloc(size_t n, size_t size) { ++calls; return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { ++calls; return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { ++calls; return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { ++calls; return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) { ++calls; *p = __libc_memalign(a, n); return *p ? 0 : 12; }
long allocations(void) { return calls; }
"""

STEPS = """
import ctypes, itertools, sys
import numpy as np
from rnn_from_scratch import GRU, LSTM, Elman, Network

allocations = ctypes.CDLL(sys.argv[1]).allocations
allocations.restype = ctypes.c_long


def count(work):
    '''Allocations of a thousand rounds, without those of counting itself.'''
    def rounds(some):
        before = allocations()
        for _ in itertools.repeat(None, some):
            work()
        return allocations() - before

    rounds(10)
    return rounds(2000) - rounds(1000)


class Nothing:
    '''What a call costs the interpreter: Python 3.10 makes an object for a method that is called by keyword.'''

    def step(self, x, out=None):
        return out


nothing = Nothing()
few = 10  # in a thousand rounds: the interpreter takes one now and then


def one_array():
    return count(lambda: np.empty_like(y))


for layers in ([Elman(7)], [GRU(33)], [GRU(5, "before"), LSTM(64, learned_state=True)]):
    for dtype in ("float32", "float64"):
        for streams in (None, 3):
            for V in (None, 11):
                network = Network(4, layers, 2, vocabulary_size=V, dtype=dtype, engine="native", random_state=0)
                stream = network.stream(streams)
                N = () if streams is None else (streams,)
                x = np.ones((*N, 4), dtype) if V is None else np.ones(N, np.int64) if streams else 1
                y = np.empty((*N, 2), dtype)
                assert count(lambda: [y]) >= 1000  # the counter counts
                case = layers, dtype, streams, V
                assert count(lambda: stream.step(x, y)) < count(lambda: nothing.step(x, y)) + few, case
                assert count(lambda: stream.step(x, out=y)) < count(lambda: nothing.step(x, out=y)) + few, case
                assert count(lambda: stream.step(x)) < one_array() + few, case
                if V is None:
                    X = np.ones((2, 9, 4), dtype)
                    y = network.predict(X)
                    assert count(lambda: network.predict(X)) < one_array() + few, case
print("counted")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not shutil.which("cc"), reason="needs glibc and a C compiler")
def test_a_step_allocates_its_outputs_and_nothing_else(native: None, tmp_path: Path) -> None:
    library = tmp_path / "counter.so"
    (tmp_path / "counter.c").write_text(COUNTER)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, tmp_path / "counter.c"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, "-c", STEPS, str(library)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "counted\n", done.stderr
