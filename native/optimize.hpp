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
using rnn::Range;

// Sums of a few numbers each in their own precision, all together in double.
template <class Real> double sum_of_squares_as_they_are(const Real* values, Index count) {
  constexpr Index chains = 4, step = chains * lanes<Real>, most = 32 * step;  // chains, because one sum would wait for itself
  const auto square = [](Vector<Real> some) { return some * some; };
  double total = 0;
  for (Index i = 0; i < count;) {
    const Index last = count - i < most ? count : i + most;
    Vector<Real> sums[chains] = {};
    for (; i + step <= last; i += step) {
#pragma GCC unroll 4
      for (Index c = 0; c < chains; ++c) sums[c] += square(load(values + i + c * lanes<Real>));
    }
    for (; i + lanes<Real> <= last; i += lanes<Real>) sums[0] += square(load(values + i));
    if (i < last) {
      Real rest[lanes<Real>] = {};
      copy_less_than_a_vector(rest, values + i, last - i);
      sums[1] += square(load(rest));
      i = last;
    }
    const Vector<Real> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (Index k = 0; k < lanes<Real>; ++k) total += double(sum[k]);
  }
  return total;
}

template <class Real> double sum_of_squares(const Real* values, Index count) {
  constexpr double small = 1e-28, large = 1e+37;  // between them no square is lost that would count
  double total = sum_of_squares_as_they_are(values, count);
  if (total > small && total < large) return total;
  total = 0;  // a gradient of 1e30 has a norm, in float too, and so has one of 1e-30
  for (Index i = 0; i < count; ++i) total += double(values[i]) * double(values[i]);
  return total;
}

template <class Real> void scale(Real* values, Index count, Real factor) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) values[i] *= factor;
}

template <class Real> void add(Real* to, const Real* from, Index count) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) to[i] += from[i];
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
  if (rule.kind == ClippingKind::value) {
    const Real limit = Real(rule.limit);
    for (Index i = 0; i < shape.parameter_count(); ++i) {
      const Real before = gradient[i];
      gradient[i] = before > limit ? limit : before < -limit ? -limit : before;
      size.clipped = size.clipped || gradient[i] != before;
    }
  }
  if (rule.kind == ClippingKind::global_norm && size.norm > rule.limit) {
    scale(gradient, shape.parameter_count(), Real(rule.limit / size.norm));
    size.clipped = true;
  }
  return size;
}

// m ← keep · m + take · g
template <class Real> void keep_mean(Index count, Real keep, Real take, const Real* gradient, Real* m) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) m[i] = keep * m[i] + take * gradient[i];
}

// v ← keep · v + take · g²
template <class Real> void keep_mean_of_squares(Index count, Real keep, Real take, const Real* gradient, Real* v) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) v[i] = keep * v[i] + take * gradient[i] * gradient[i];
}

template <class Real>
void decay(const NetworkShape& shape, const bool* frozen, Real* parameters, double share, Range range) {
  for (Index i = 0; i < shape.tensor_count; ++i) {
    if (!shape.matrices[i] || frozen[i]) continue;
    const Index *bounds = shape.tensor_boundaries + i, first = bounds[0] > range.first ? bounds[0] : range.first,
                last = bounds[1] < range.last ? bounds[1] : range.last;
    if (first < last) scale(parameters + first, last - first, Real(1 - share));
  }
}

template <class Real>
void update(const NetworkShape& shape, const bool* frozen, Real* all_parameters, const Real* all_gradient,
            const rnn::Optimizer<Real>& optimizer, double rate, Range range) {
  const Index count = range.last - range.first;
  const Real learning_rate = Real(rate), beta1 = Real(optimizer.beta1), epsilon = Real(optimizer.epsilon);
  Real *parameters = all_parameters + range.first, *m = optimizer.m ? optimizer.m + range.first : nullptr,
       *v = optimizer.v ? optimizer.v + range.first : nullptr;
  const Real* gradient = all_gradient + range.first;
  if (optimizer.kind == OptimizerKind::sgd) {
    const Real* step = gradient;
    if (optimizer.beta1 > 0) {
      keep_mean(count, beta1, Real(1), gradient, m);
      step = m;
    }
    if (optimizer.nesterov) {
#pragma omp simd
      for (Index i = 0; i < count; ++i) parameters[i] -= learning_rate * (gradient[i] + beta1 * m[i]);
      return;
    }
#pragma omp simd
    for (Index i = 0; i < count; ++i) parameters[i] -= learning_rate * step[i];
    return;
  }
  keep_mean_of_squares(count, Real(optimizer.beta2), Real(1 - optimizer.beta2), gradient, v);
  if (optimizer.kind == OptimizerKind::rmsprop) {
#pragma omp simd
    for (Index i = 0; i < count; ++i) parameters[i] -= learning_rate * gradient[i] / (std::sqrt(v[i]) + epsilon);
    return;
  }
  if (optimizer.kind == OptimizerKind::adamw) decay(shape, frozen, all_parameters, rate * optimizer.weight_decay, range);
  keep_mean(count, beta1, Real(1 - optimizer.beta1), gradient, m);
  const double updates = double(*optimizer.updates);
  // The corrections of m and v are numbers: they go into the learning rate and into ε.
  const double root = std::sqrt(1 - std::pow(optimizer.beta2, updates));
  const Real corrected = Real(rate * root / (1 - std::pow(optimizer.beta1, updates))), small = Real(root * optimizer.epsilon);
#pragma omp simd
  for (Index i = 0; i < count; ++i) parameters[i] -= corrected * m[i] / (std::sqrt(v[i]) + small);
}

}  // namespace
