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

// 1/n!, in a table: a function would be called when the program runs wherever the compiler does not unroll a loop over n.
struct OverFactorials {
  double of[16] = {1};

  constexpr OverFactorials() {
    for (int n = 1; n < 16; ++n) of[n] = of[n - 1] / n;
  }
};
constexpr OverFactorials one_over_factorial;

// 2ⁿ, exactly.
template <class Real> constexpr Real power_of_two(int n) { return n == 0 ? Real(1) : 2 * power_of_two<Real>(n - 1); }

// FACTOR · x = k ln 2 + r with |r| ≤ ½ ln 2; keeps 2ᵏ⁺ᴸᴵᶠᵀ, and eʳ = 1 + r + r² rest with a polynomial (Taylor's, whose own
// rest is below half an ulp). The factor is part of the first constant, so that k does not wait for a product. ROUGHLY takes
// ln 2 as it is rounded, which costs digits where k is large.
template <int FACTOR, int LIFT, bool ROUGHLY, class Real> struct Exponential {
  using C = ExpConstants<Real>;
  Vector<Real> scale, r, scaled_square, rest;

  explicit Exponential(Vector<Real> x) {
    const Vector<Real> shifted = x * (FACTOR * C::log2_e) + C::rounder;
    const Vector<Real> k = shifted - C::rounder;
    r = FACTOR * x - k * (ROUGHLY ? C::ln2_high + C::ln2_low : C::ln2_high);
    if constexpr (!ROUGHLY) r -= k * C::ln2_low;
    const Bits<Real> exponent = (reinterpret_cast<Bits<Real>>(shifted) + (C::bias + LIFT)) << C::mantissa_bits;
    scale = reinterpret_cast<Vector<Real>>(exponent);
    // Pairs of terms first, then fours, then Horner's scheme in r⁴: a chain of few operations that wait for each other.
    const Vector<Real> r_squared = r * r, r_fourth = r_squared * r_squared;
    scaled_square = scale * r_squared;
    const auto pair = [&](int n) { return Real(one_over_factorial.of[n]) + Real(one_over_factorial.of[n + 1]) * r; };
    const auto four = [&](int n) { return n + 2 < C::terms ? pair(n) + pair(n + 2) * r_squared : pair(n); };
    constexpr int last = 2 + (C::terms - 2) / 4 * 4;
    rest = four(last);
#pragma GCC unroll 4
    for (int n = last - 4; n >= 2; n -= 4) rest = rest * r_fourth + four(n);
  }
  // The exponential, lifted, and `one`; with the digits of what is left where they nearly take each other away.
  Vector<Real> plus(Real one) const { return scaled_square * rest + (scale * r + (scale + one)); }
};

// eˣ · 2ᴸᴵᶠᵀ for x ≤ 0, a normal number however small eˣ is.
template <class Real> inline Vector<Real> lifted_exp_of_negative(Vector<Real> x) {
  using C = ExpConstants<Real>;
  const Vector<Real> lowest = broadcast<Real>(C::lowest);
  return Exponential<1, C::lift, false, Real>(x < lowest ? lowest : x).plus(0);
}

// eˣ for x ≤ 0. It comes down in one product, which rounds to a subnormal number where it has to.
template <class Real> inline Vector<Real> exp_of_negative(Vector<Real> x) {
  return lifted_exp_of_negative<Real>(x) * (1 / power_of_two<Real>(ExpConstants<Real>::lift));
}

// tanh x = (e²ˣ − 1) / (e²ˣ + 1), with a difference that keeps the digits of small x; the sign is put back at the end. Where
// e²ˣ is large, tanh x is nearly 1 whatever its last digits are; where it is too large to be a number, it is 1.
template <class Real> inline Vector<Real> tanh_of(Vector<Real> x) {
  const Vector<Real> size = absolute<Real>(x), one = broadcast<Real>(1);
  const Exponential<2, 0, true, Real> e(size);
  return with_sign_of<Real>(size > ExpConstants<Real>::tanh_is_one ? one : e.plus(-1) / e.plus(1), x);
}

// σ(x) = 1 / (1 + e⁻ˣ), with e⁻ˡˣˡ so that nothing overflows and the lower tail keeps its digits; both sides of the fraction
// are lifted.
template <class Real> inline Vector<Real> sigmoid_of(Vector<Real> x) {
  const Vector<Real> e = lifted_exp_of_negative<Real>(-absolute<Real>(x));
  const Vector<Real> one = broadcast(power_of_two<Real>(ExpConstants<Real>::lift));
  return (x >= 0 ? one : e) / (e + one);
}

// What the benchmark holds the kernels against: functions that wait for each other, as the steps of a sequence do, and
// multiplications and additions that wait for nothing but their own chain, as many chains as 16 registers have room for.
constexpr int chain_length = 256, chains = 13;

template <class Real> inline Vector<Real> tanh_again_and_again(Vector<Real> x) {
  for (int n = 0; n < chain_length; ++n) x = tanh_of<Real>(x);
  return x;
}

template <class Real> inline Vector<Real> multiply_adds(Vector<Real> x) {
  Vector<Real> sums[chains];
  for (int k = 0; k < chains; ++k) sums[k] = x + Real(k);
  for (int n = 0; n < chain_length; ++n) {
#pragma GCC unroll 13
    for (int k = 0; k < chains; ++k) sums[k] = sums[k] * x + x;
  }
  Vector<Real> total = sums[0];
  for (int k = 1; k < chains; ++k) total += sums[k];
  return total;
}

template <class Real, class Of> inline void apply(Index count, const Real* from, Real* to, Of of) {
  for (; count >= lanes<Real>; count -= lanes<Real>, from += lanes<Real>, to += lanes<Real>) store(to, of(load(from)));
  if (count == 0) return;
  Real room[lanes<Real>] = {};
  copy_row(room, from, count);
  store_some(to, of(load(room)), count);
}

// One of these for a whole array; for tests and for the benchmark.
template <class Real> void evaluate(rnn::Function function, Index count, const Real* from, Real* to) {
  using V = Vector<Real>;
  switch (function) {
    case rnn::Function::exp_of_negative: return apply(count, from, to, [](V x) { return exp_of_negative<Real>(x); });
    case rnn::Function::tanh: return apply(count, from, to, [](V x) { return tanh_of<Real>(x); });
    case rnn::Function::sigmoid: return apply(count, from, to, [](V x) { return sigmoid_of<Real>(x); });
    case rnn::Function::tanh_again_and_again: return apply(count, from, to, [](V x) { return tanh_again_and_again<Real>(x); });
    case rnn::Function::multiply_adds: return apply(count, from, to, [](V x) { return multiply_adds<Real>(x); });
  }
}

}  // namespace
