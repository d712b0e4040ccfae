// Clipping and optimisers on the flat vectors. See clipping.py and optimizers.py.
#pragma once

#include <cmath>

#include "simd.hpp"

namespace {

using rnn::ClippingKind;
using rnn::ClippingRule;
using rnn::GradientSize;
using rnn::NetworkShape;
using rnn::OptimizerKind;

template <class Real> double sum_of_squares(const Real* values, Index count) {
  constexpr Index chains = 32;  // side by side, because one sum would wait for itself
  double sums[chains] = {};     // in double: a float gradient of 1e30 has a norm
  Index i = 0;
  for (; i + chains <= count; i += chains) {
#pragma omp simd
    for (Index c = 0; c < chains; ++c) sums[c] += double(values[i + c]) * double(values[i + c]);
  }
  for (; i < count; ++i) sums[0] += double(values[i]) * double(values[i]);
  double total = 0;
  for (Index c = 0; c < chains; ++c) total += sums[c];
  return total;
}

template <class Real> void scale(Real* values, Index count, Real factor) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) values[i] *= factor;
}

template <class Real>
double regularize(const NetworkShape& shape, const rnn::Regularization& rule, const Real* parameters, Real* gradient) {
  double squares = 0;
  for (Index i = 0; i < shape.tensor_count; ++i) {
    const Index first = shape.tensor_boundaries[i], count = shape.tensor_boundaries[i + 1] - first;
    const Real *W = parameters + first, strength = Real(rule.penalty);
    Real* d_W = gradient + first;
    if (rule.penalty > 0 && shape.matrices[i]) {
      squares += sum_of_squares(W, count);
#pragma omp simd
      for (Index k = 0; k < count; ++k) d_W[k] += strength * W[k];
    }
    for (Index k = 0; rule.frozen[i] && k < count; ++k) d_W[k] = 0;
  }
  return 0.5 * rule.penalty * squares;
}

template <class Real> GradientSize clip(const NetworkShape& shape, ClippingRule rule, Real* gradient) {
  GradientSize size{std::sqrt(sum_of_squares(gradient, shape.parameter_count())), false};
  for (Index i = 0; rule.kind == ClippingKind::tensor_norm && i < shape.tensor_count; ++i) {
    Real* tensor = gradient + shape.tensor_boundaries[i];
    const Index count = shape.tensor_boundaries[i + 1] - shape.tensor_boundaries[i];
    const double norm = std::sqrt(sum_of_squares(tensor, count));
    if (norm > rule.limit) {
      scale(tensor, count, Real(rule.limit / norm));
      size.clipped = true;
    }
  }
  if (rule.kind == ClippingKind::global_norm && size.norm > rule.limit) {
    scale(gradient, shape.parameter_count(), Real(rule.limit / size.norm));
    size.clipped = true;
  }
  return size;
}

template <class Real>
void update(Index count, Real* parameters, const Real* gradient, const rnn::Optimizer<Real>& optimizer, double rate) {
  const Real learning_rate = Real(rate);
  if (optimizer.kind == OptimizerKind::sgd) {
#pragma omp simd
    for (Index i = 0; i < count; ++i) parameters[i] -= learning_rate * gradient[i];
    return;
  }
  const double updates = double(++*optimizer.updates);
  const Real keep_m = Real(optimizer.beta1), keep_v = Real(optimizer.beta2), epsilon = Real(optimizer.epsilon);
  const Real take_m = Real(1 - optimizer.beta1), take_v = Real(1 - optimizer.beta2);
  const Real share_m = Real(1 - std::pow(optimizer.beta1, updates)), share_v = Real(1 - std::pow(optimizer.beta2, updates));
  Real *m = optimizer.m, *v = optimizer.v;
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    m[i] = keep_m * m[i] + take_m * gradient[i];
    v[i] = keep_v * v[i] + take_v * gradient[i] * gradient[i];
    parameters[i] -= learning_rate * (m[i] / share_m) / (std::sqrt(v[i] / share_v) + epsilon);
  }
}

}  // namespace
