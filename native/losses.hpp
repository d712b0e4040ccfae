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

template <class Real> void output_row(OutputActivation activation, Index O, const Real* a, Real* y) {
  switch (activation) {
    case OutputActivation::linear:
      for (Index o = 0; o < O; ++o) y[o] = a[o];
      return;
    case OutputActivation::sigmoid:
      for (Index o = 0; o < O; ++o) y[o] = sigmoid_of_number(a[o]);
      return;
    case OutputActivation::softmax:
      const Shift<Real> shift(O, a);
      for (Index o = 0; o < O; ++o) y[o] = std::exp(a[o] - shift.largest) / shift.sum;
  }
}

// ℓ = 1/O Σ (y − t)², and its gradient by a.
template <class Real>
double squared_error_row(OutputActivation activation, Index O, const Real* a, const Real* t, Real* d_a) {
  output_row(activation, O, a, d_a);  // y, turned into the gradient in place
  double loss = 0;
  Real mean_slope = 0;  // softmax: Σ d_y ⊙ y
  for (Index o = 0; o < O; ++o) {
    const Real y = d_a[o], error = y - t[o], d_y = error * (Real(2) / O);
    loss += double(error) * double(error);
    if (activation == OutputActivation::sigmoid) d_a[o] = d_y * y * (1 - y);
    if (activation == OutputActivation::linear) d_a[o] = d_y;
    mean_slope += d_y * y;
  }
  if (activation == OutputActivation::softmax) {
    for (Index o = 0; o < O; ++o) d_a[o] = d_a[o] * ((d_a[o] - t[o]) * (Real(2) / O) - mean_slope);
  }
  return loss / double(O);
}

// ℓ = 1/O Σ (max(a, 0) − t a + log(1 + e^−|a|))
template <class Real> double binary_cross_entropy_row(Index O, const Real* a, const Real* t, Real* d_a) {
  double loss = 0;
  for (Index o = 0; o < O; ++o) {
    const Real rest = std::log1p(std::exp(a[o] < 0 ? a[o] : -a[o]));
    loss += double((a[o] > 0 ? a[o] : 0) - t[o] * a[o] + rest);
    d_a[o] = (sigmoid_of_number(a[o]) - t[o]) / O;
  }
  return loss / double(O);
}

// ℓ = −Σ t log y with log y = a − largest − log Σ e^(a − largest)
template <class Real> double categorical_cross_entropy_row(Index O, const Real* a, const Real* t, Real* d_a) {
  const Shift<Real> shift(O, a);
  const Real log_sum = std::log(shift.sum);
  double loss = 0;
  Real total = 0;
  for (Index o = 0; o < O; ++o) {
    loss -= double(t[o] * (a[o] - shift.largest - log_sum));
    total += t[o];
  }
  for (Index o = 0; o < O; ++o) d_a[o] = std::exp(a[o] - shift.largest) / shift.sum * total - t[o];
  return loss;
}

template <class Real>
double loss_row(Loss loss, OutputActivation activation, Index O, const Real* a, const Real* t, Real* d_a) {
  if (loss == Loss::mse) return squared_error_row(activation, O, a, t, d_a);
  if (activation == OutputActivation::softmax) return categorical_cross_entropy_row(O, a, t, d_a);
  return binary_cross_entropy_row(O, a, t, d_a);
}

}  // namespace
