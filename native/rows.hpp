// Walks over the rows of a batch, counting what they cost, so that a long one can be interrupted on the way.
#pragma once

#include "simd.hpp"

namespace {

using rnn::Pulse;
using rnn::Timetable;

// Spends in larger amounts: loops whose rounds are short count in a register.
struct Purse {
  Pulse& pulse;
  Index spent = 0;

  __attribute__((always_inline)) void spend(Index work) {
    spent += work;
    if (__builtin_expect(spent < 1 << 16, 1)) return;
    pulse.spend(spent);
    spent = 0;
  }
};

// Calls visit(row) for some rows, each of which is so many numbers to read. After some of them a run can be interrupted.
template <class Spent, class Visit>
inline __attribute__((always_inline)) void each_row(Spent& pulse, Index first, Index last, Index numbers, const Visit& visit) {
  while (first < last) {
    const Index pause = last - first < 64 ? last : first + 64;
    pulse.spend((pause - first) * numbers);
    for (; first < pause; ++first) visit(first);
  }
}

// The same with visit(t, row) for the rows of every step.
template <class Visit> inline void each_step(const Timetable& when, Index steps, Index numbers, const Visit& visit) {
  Purse purse{when.pulse};
  for (Index t = 0; t < steps; ++t) {
    for (Index row = 0; row < when.active[t]; ++row) {
      visit(t, row);
      purse.spend(numbers);
    }
  }
}

// Calls visit(row, unit) for every vector of units of some rows.
template <class Real, class Visit>
inline void each_unit(const Timetable& when, Index rows, Index H_pad, const Visit& visit) {
  each_row(when.pulse, 0, rows, H_pad, [&](Index row) __attribute__((always_inline)) {
    for (Index unit = 0; unit < H_pad; unit += lanes<Real>) visit(row, unit);
  });
}

}  // namespace
