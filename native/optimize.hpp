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
  double sum = 0;  // in double: a float gradient of 1e30 has a norm
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < count; ++i) sum += double(values[i]) * double(values[i]);
  return sum;
}

template <class Real> void scale(Real* values, Index count, Real factor) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) values[i] *= factor;
}

template <class Real> GradientSize clip(const NetworkShape& shape, ClippingRule rule, Real* gradient) {
  GradientSize size{0, false};
  double sum = 0;
  for (Index i = 0; i < shape.tensor_count; ++i) {
    Real* tensor = gradient + shape.tensor_boundaries[i];
    const Index count = shape.tensor_boundaries[i + 1] - shape.tensor_boundaries[i];
    const double squares = sum_of_squares(tensor, count);
    sum += squares;
    if (rule.kind == ClippingKind::tensor_norm && std::sqrt(squares) > rule.limit) {
      scale(tensor, count, Real(rule.limit / std::sqrt(squares)));
      size.clipped = true;
    }
  }
  size.norm = std::sqrt(sum);
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
