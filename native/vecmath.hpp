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
  static constexpr int order = 3;
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
  static constexpr int order = 6;
};

// The coefficients of Padé's approximant of order (K, K): eʳ is nearly N(r) / N(−r) with N(r) = Σ c_n rⁿ,
// c_n = (2K − n)! K! / ((2K)! n! (K − n)!). (H. Padé, "Sur la représentation approchée d'une fonction par des fractions
// rationnelles", 1892.) A quotient is what tanh and σ are in any case, and one division is made for both.
template <int K> struct PadeCoefficients {
  double of[K + 1] = {1};

  constexpr PadeCoefficients() {
    for (int n = 1; n <= K; ++n) of[n] = of[n - 1] * (K - n + 1) / (double(n) * (2 * K - n + 1));
  }
};
template <int K> constexpr PadeCoefficients<K> pade;

// 2ⁿ, exactly.
template <class Real> constexpr Real power_of_two(int n) { return n == 0 ? Real(1) : 2 * power_of_two<Real>(n - 1); }

// FACTOR · x = k ln 2 + r with |r| ≤ ½ ln 2; keeps 2ᵏ⁺ᴸᴵᶠᵀ, and the even and the odd terms of 2 N(r), which give eʳ as
// (even + odd) / (even − odd) with an error far below half an ulp. Of two N(r), because then the largest odd term is r itself.
// The factor is part of the first constant, so that k does not wait for a product. ROUGHLY takes ln 2 as it is rounded, which
// costs digits where k is large. Here and below what can be an addition is no product: those fill other units of a processor.
template <int FACTOR, int LIFT, bool ROUGHLY, class Real> struct Exponential {
  using C = ExpConstants<Real>;
  Vector<Real> scale, even, odd;

  explicit Exponential(Vector<Real> x) {
    const Vector<Real> shifted = x * (FACTOR * C::log2_e) + C::rounder;
    const Vector<Real> k = shifted - C::rounder;
    const Vector<Real> scaled = FACTOR == 2 ? x + x : x;  // not a product: that would be fused, and r wait for another one
    Vector<Real> r = scaled - k * (ROUGHLY ? C::ln2_high + C::ln2_low : C::ln2_high);
    if constexpr (!ROUGHLY) r -= k * C::ln2_low;
    const Bits<Real> exponent = (reinterpret_cast<Bits<Real>>(shifted) + (C::bias + LIFT)) << C::mantissa_bits;
    scale = reinterpret_cast<Vector<Real>>(exponent);
    const auto c = [](int n) { return Real(2 * pade<C::order>.of[n]); };
    const Vector<Real> square = r * r, cube = square * r;  // the small terms first, so that their errors do not count
    if constexpr (C::order == 3) {
      even = c(2) * square + c(0);
      odd = c(3) * cube + r;
    } else {
      static_assert(C::order == 6);
      even = ((c(6) * square + c(4)) * square + c(2)) * square + c(0);
      odd = (c(5) * square + c(3)) * cube + r;
    }
  }
};

// eˣ · 2ᴸᴵᶠᵀ for x ≤ 0 as a fraction: large enough to keep its digits however small eˣ is. Below `lowest` it is nothing of the
// kind, and whoever asked puts the limit there at the end: looking at x first would keep everything else waiting.
template <class Real> struct LiftedExponential {
  Vector<Real> over, under;

  explicit LiftedExponential(Vector<Real> x) {
    const Exponential<1, ExpConstants<Real>::lift, false, Real> e(x);
    over = e.scale * (e.even + e.odd);
    under = e.even - e.odd;
  }
};

// x · 2ˡⁱᶠᵗ for normal numbers, by their exponents; of NaN it makes anything.
template <class Real> inline Vector<Real> lifted(Vector<Real> x) {
  using C = ExpConstants<Real>;
  const Bits<Real> lift = (Bits<Real>{} + C::lift) << C::mantissa_bits;
  return reinterpret_cast<Vector<Real>>(reinterpret_cast<Bits<Real>>(x) + lift);
}

// eˣ for x ≤ 0. It comes down in one product, which rounds to a subnormal number where it has to.
template <class Real> inline Vector<Real> exp_of_negative(Vector<Real> x) {
  const LiftedExponential<Real> e(x);
  const Vector<Real> value = e.over / e.under * (1 / power_of_two<Real>(ExpConstants<Real>::lift));
  return x < ExpConstants<Real>::lowest ? Vector<Real>{} : value;
}

// tanh x = (e²ˣ − 1) / (e²ˣ + 1), both multiplied with what e²ˣ is divided by, and written as a common part and a rest: so
// small x keep their digits, and what is lost of the common part changes nothing where it is large. It has half of e²ˣ − 1,
// because the terms are those of two N(r). The sign is put back at the end. Where e²ˣ is large, tanh x is nearly 1 whatever its
// last digits are; where it is too large to be a number, it is 1.
template <class Real> inline Vector<Real> tanh_of(Vector<Real> x) {
  const Vector<Real> size = absolute<Real>(x), one = broadcast<Real>(1);
  const Exponential<2, -1, true, Real> e(size);
  const Vector<Real> common = (e.scale - Real(0.5)) * (e.even + e.odd);
  const Vector<Real> tanh = (common + e.odd) / (common + e.even);
  return with_sign_of<Real>(size > ExpConstants<Real>::tanh_is_one ? one : tanh, x);
}

// σ(x) = 1 / (1 + e⁻ˣ), with e⁻ˡˣˡ so that nothing overflows and the lower tail keeps its digits; both sides of the fraction
// are lifted. NaN comes through by the other term of the sum.
template <class Real> inline Vector<Real> sigmoid_of(Vector<Real> x) {
  const Vector<Real> below = below_zero<Real>(x), limit = x < 0 ? Vector<Real>{} : broadcast<Real>(1);
  const LiftedExponential<Real> e(below);
  const Vector<Real> one = lifted<Real>(e.under);
  const Vector<Real> value = (x >= 0 ? one : e.over) / (e.over + one);
  return below < ExpConstants<Real>::lowest ? limit : value;
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
