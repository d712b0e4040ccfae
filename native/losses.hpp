// Outputs and losses, row by row: from the pre-activations, stable for whatever size they have. See textbook/losses.py.
#pragma once

#include <cmath>

#include "simd.hpp"

namespace {

using rnn::Loss;
using rnn::OutputActivation;

template <class Real> inline Real sigmoid_of_number(Real a) {
  const Real e = std::exp(a < 0 ? a : -a);
  return (a >= 0 ? Real(1) : e) / (1 + e);
}

// Shared by the softmax and its cross-entropy: the largest, and the sum of exponentials after it was taken off.
template <class Real> struct Shift {
  Real largest, sum;

  Shift(Index O, const Real* a) : largest(a[0]), sum(0) {
    for (Index o = 1; o < O; ++o) largest = a[o] > largest ? a[o] : largest;
    for (Index o = 0; o < O; ++o) sum += std::exp(a[o] - largest);
  }
};

// y = g(a) of one row.
template <OutputActivation ACTIVATION, class Real> inline void activate_row(Index O, const Real* a, Real* y) {
  if constexpr (ACTIVATION == OutputActivation::linear) {
    for (Index o = 0; o < O; ++o) y[o] = a[o];
  } else if constexpr (ACTIVATION == OutputActivation::sigmoid) {
    for (Index o = 0; o < O; ++o) y[o] = sigmoid_of_number(a[o]);
  } else {
    const Shift<Real> shift(O, a);
    for (Index o = 0; o < O; ++o) y[o] = std::exp(a[o] - shift.largest) / shift.sum;
  }
}

template <class Real> void output_row(OutputActivation activation, Index O, const Real* a, Real* y) {
  switch (activation) {
    case OutputActivation::linear: return activate_row<OutputActivation::linear>(O, a, y);
    case OutputActivation::sigmoid: return activate_row<OutputActivation::sigmoid>(O, a, y);
    case OutputActivation::softmax: return activate_row<OutputActivation::softmax>(O, a, y);
  }
}

// The losses below give a row's sum over the outputs, and `share` times its gradient by a; the caller averages and weighs.

// Losses of single outputs by their error e = y − t: value and slope.
struct Squared {
  static double value(double e, double) { return e * e; }
  template <class Real> static Real slope(Real e, Real) { return 2 * e; }
};

struct Absolute {
  static double value(double e, double) { return e < 0 ? -e : e; }
  template <class Real> static Real slope(Real e, Real) { return e != e ? e : Real((e > 0) - (e < 0)); }
};

struct Huber {  // ½ e² near zero, straight beyond ±δ
  template <class Real> static Real slope(Real e, Real delta) { return e > delta ? delta : e < -delta ? -delta : e; }
  static double value(double e, double delta) {
    const double near = slope(e, delta);
    return near * (e - 0.5 * near);
  }
};

// Σ of one of these over the outputs of a row.
template <class Error, OutputActivation ACTIVATION> struct OutputError {
  double delta;

  template <class Real> double row(Index O, const Real* a, const Real* t, Real share, Real* d_a) const {
    double loss = 0;
    if constexpr (ACTIVATION != OutputActivation::softmax) {
      for (Index o = 0; o < O; ++o) {
        const Real y = ACTIVATION == OutputActivation::sigmoid ? sigmoid_of_number(a[o]) : a[o], error = y - t[o];
        const Real slope = ACTIVATION == OutputActivation::sigmoid ? y * (1 - y) : Real(1);
        loss += Error::value(double(error), delta);
        d_a[o] = share * Error::slope(error, Real(delta)) * slope;
      }
      return loss;
    }
    activate_row<ACTIVATION>(O, a, d_a);  // y, turned into the gradient in place
    Real along = 0;                       // Σ d_y ⊙ y
    for (Index o = 0; o < O; ++o) {
      const Real error = d_a[o] - t[o];
      loss += Error::value(double(error), delta);
      along += Error::slope(error, Real(delta)) * d_a[o];
    }
    for (Index o = 0; o < O; ++o) d_a[o] *= share * (Error::slope(d_a[o] - t[o], Real(delta)) - along);
    return loss;
  }
};

// Σ (max(a, 0) − t a + log(1 + e^−|a|))
struct BinaryCrossEntropy {
  template <class Real> static double row(Index O, const Real* a, const Real* t, Real share, Real* d_a) {
    double loss = 0;
    for (Index o = 0; o < O; ++o) {
      const Real rest = std::log1p(std::exp(a[o] < 0 ? a[o] : -a[o]));
      loss += double((a[o] > 0 ? a[o] : 0) - t[o] * a[o] + rest);
      d_a[o] = share * (sigmoid_of_number(a[o]) - t[o]);
    }
    return loss;
  }
};

// −Σ t log y with log y = a − largest − log Σ e^(a − largest)
struct CategoricalCrossEntropy {
  template <class Real> static double row(Index O, const Real* a, const Real* t, Real share, Real* d_a) {
    const Shift<Real> shift(O, a);
    const Real log_sum = std::log(shift.sum);
    double loss = 0;
    Real total = 0;
    for (Index o = 0; o < O; ++o) {
      loss -= double(t[o] * (a[o] - shift.largest - log_sum));
      total += t[o];
    }
    for (Index o = 0; o < O; ++o) d_a[o] = share * (std::exp(a[o] - shift.largest) / shift.sum * total - t[o]);
    return loss;
  }
};

template <class Error, class Run> double with_output(OutputActivation activation, double delta, const Run& run) {
  switch (activation) {
    case OutputActivation::sigmoid: return run(OutputError<Error, OutputActivation::sigmoid>{delta});
    case OutputActivation::softmax: return run(OutputError<Error, OutputActivation::softmax>{delta});
    default: return run(OutputError<Error, OutputActivation::linear>{delta});
  }
}

// Calls run(loss) with the loss of a network as a type.
template <class Run> double with_loss(const rnn::NetworkShape& shape, const Run& run) {
  const OutputActivation activation = shape.output_activation;
  switch (shape.loss) {
    case Loss::ce:
      return activation == OutputActivation::softmax ? run(CategoricalCrossEntropy{}) : run(BinaryCrossEntropy{});
    case Loss::mae: return with_output<Absolute>(activation, 0, run);
    case Loss::huber: return with_output<Huber>(activation, shape.huber_delta, run);
    default: return with_output<Squared>(activation, 0, run);
  }
}

}  // namespace
