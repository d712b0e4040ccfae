// exp, tanh and sigmoid for vectors: correct digits over the whole range, subnormal numbers included, NaN in → NaN out, no
// branch. tests/test_native_functions.py asks for 4 ulp everywhere.
#pragma once

#include "simd.hpp"

namespace {

// What exp needs to know of a precision.
template <class Real> struct ExpConstants;

template <> struct ExpConstants<float> {
  static constexpr float rounder = 12582912.0f;           // 1.5 · 2²³: adding it rounds to an integer, kept in the low bits
  static constexpr int mantissa_bits = 23, bias = 127;
  static constexpr float log2_e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f;         // few digits, so that k · ln2_high is exact
  static constexpr float ln2_low = -2.12194440e-4f;
  static constexpr float lowest = -104.0f;                // from here on downwards, eˣ is rounded to zero
  static constexpr int lift = 24;                         // 2ᵏ⁺ˡⁱᶠᵗ is a normal number for all of these k
  static constexpr float tanh_is_one = 10.0f;
  static constexpr int terms = 7;
};

template <> struct ExpConstants<double> {
  static constexpr double rounder = 6755399441055744.0;   // 1.5 · 2⁵²
  static constexpr int mantissa_bits = 52, bias = 1023;
  static constexpr double log2_e = 1.4426950408889634074;
  static constexpr double ln2_high = 0.693145751953125;
  static constexpr double ln2_low = 1.42860682030941723212e-6;
  static constexpr double lowest = -745.2;
  static constexpr int lift = 54;
  static constexpr double tanh_is_one = 20.0;
  static constexpr int terms = 13;
};

// 1 / n! for the terms of both precisions. A table, so that it is the compiler who computes them: a function called where no
// constant is asked for may be left for the run, and was, with all its divisions, for every vector of doubles.
struct ReciprocalFactorials {
  double of[14];
};

constexpr ReciprocalFactorials reciprocal_factorials() {
  ReciprocalFactorials found{{1.0}};
  for (int n = 1; n < 14; ++n) found.of[n] = found.of[n - 1] / n;
  return found;
}

constexpr ReciprocalFactorials one_over_factorial = reciprocal_factorials();

// 2ⁿ, exactly.
template <class Real> constexpr Real power_of_two(int n) { return n == 0 ? Real(1) : 2 * power_of_two<Real>(n - 1); }

// FACTOR · x = k ln 2 + r with |r| ≤ ½ ln 2; gives 2ᵏ⁺ᴸᴵᶠᵀ, and eʳ − 1 as a polynomial (Taylor's, whose rest is below half an
// ulp). The factor is part of the first constant, so that k does not wait for a product.
template <class Real> struct Exponential {
  Vector<Real> scale, fraction;
};

template <int FACTOR, int LIFT, class Real> inline Exponential<Real> exponential(Vector<Real> x) {
  using C = ExpConstants<Real>;
  const Vector<Real> shifted = x * (FACTOR * C::log2_e) + C::rounder;
  const Vector<Real> k = shifted - C::rounder;
  const Vector<Real> r = (FACTOR * x - k * C::ln2_high) - k * C::ln2_low;
  // Pairs of terms first, then Horner's scheme in r²: half as long a chain of operations that wait for each other.
  const Vector<Real> r_squared = r * r;
  Vector<Real> p = Real(one_over_factorial.of[C::terms - 1]) + Real(one_over_factorial.of[C::terms]) * r;
#pragma GCC unroll 8
  for (int n = C::terms - 3; n >= 2; n -= 2) {
    p = p * r_squared + (Real(one_over_factorial.of[n]) + Real(one_over_factorial.of[n + 1]) * r);
  }
  const Bits<Real> exponent = (reinterpret_cast<Bits<Real>>(shifted) + (C::bias + LIFT)) << C::mantissa_bits;
  return {reinterpret_cast<Vector<Real>>(exponent), p * r_squared + r};
}

// eˣ · 2ᴸᴵᶠᵀ for x ≤ 0, a normal number however small eˣ is.
template <class Real> inline Vector<Real> lifted_exp_of_negative(Vector<Real> x) {
  using C = ExpConstants<Real>;
  const Vector<Real> lowest = broadcast<Real>(C::lowest);
  const Exponential<Real> e = exponential<1, C::lift, Real>(x < lowest ? lowest : x);
  return e.scale * e.fraction + e.scale;
}

// eˣ for x ≤ 0. It comes down in one product, which rounds to a subnormal number where it has to.
template <class Real> inline Vector<Real> exp_of_negative(Vector<Real> x) {
  constexpr Real down = 1 / power_of_two<Real>(ExpConstants<Real>::lift);
  return lifted_exp_of_negative<Real>(x) * down;
}

// tanh x = m / (m + 2) with m = e²ˣ − 1, which keeps the digits of small x; the sign is put back at the end.
template <class Real> inline Vector<Real> tanh_of(Vector<Real> x) {
  const Vector<Real> one_from = broadcast<Real>(ExpConstants<Real>::tanh_is_one);
  const Vector<Real> size = absolute<Real>(x);
  const Exponential<Real> e = exponential<2, 0, Real>(size > one_from ? one_from : size);
  const Vector<Real> m = e.scale * e.fraction + (e.scale - 1);
  return with_sign_of<Real>(m / (m + 2), x);
}

// σ(x) = 1 / (1 + e⁻ˣ), with e⁻ˡˣˡ so that nothing overflows and the lower tail keeps its digits; both sides of the fraction
// are lifted.
template <class Real> inline Vector<Real> sigmoid_of(Vector<Real> x) {
  const Vector<Real> e = lifted_exp_of_negative<Real>(-absolute<Real>(x));
  constexpr Real lifted_one = power_of_two<Real>(ExpConstants<Real>::lift);
  const Vector<Real> one = broadcast(lifted_one);
  return (x >= 0 ? one : e) / (e + one);
}

// One of these for a whole array; for tests.
template <class Real> void evaluate(rnn::Function function, Index count, const Real* from, Real* to) {
  for (Index i = 0; i < count; i += lanes<Real>) {
    Real room[lanes<Real>] = {};
    copy_row(room, from + i, count - i < lanes<Real> ? count - i : lanes<Real>);
    const Vector<Real> x = load(room);
    switch (function) {
      case rnn::Function::exp_of_negative: store_some(to + i, exp_of_negative<Real>(x), count - i); break;
      case rnn::Function::tanh: store_some(to + i, tanh_of<Real>(x), count - i); break;
      case rnn::Function::sigmoid: store_some(to + i, sigmoid_of<Real>(x), count - i); break;
    }
  }
}

}  // namespace
