// exp, tanh and sigmoid for vectors: correct digits over the whole range, subnormal numbers included, NaN in → NaN out, no
// branch. tests/test_native_functions.py asks for 4 ulp everywhere.
#pragma once

#include "simd.hpp"

namespace {

// What exp needs to know of a precision.
template <class Real> struct ExpConstants;

template <> struct ExpConstants<float> {
  using Integer = std::uint32_t;
  static constexpr float rounder = 12582912.0f;           // 1.5 · 2²³: adding it rounds to an integer, kept in the low bits
  static constexpr int mantissa_bits = 23, bias = 127;
  static constexpr float log2_e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f;         // few digits, so that k · ln2_high is exact
  static constexpr float ln2_low = -2.12194440e-4f;
  static constexpr float exp_is_zero = 104.0f;            // from here on e⁻ˣ is rounded to zero
  static constexpr int lift = 25;                         // 2ᵏ⁺ˡⁱᶠᵗ is a normal number for all of these k
  static constexpr float tanh_is_one = 10.0f;
  static constexpr int order = 3;                         // of Padé's approximant
  static constexpr int degree = 3;                        // of the polynomial that does beside a table of powers,
  static constexpr double share = 0.8284;                 // and of its first missing term's coefficient, see there
};

template <> struct ExpConstants<double> {
  using Integer = std::uint64_t;
  static constexpr double rounder = 6755399441055744.0;   // 1.5 · 2⁵²
  static constexpr int mantissa_bits = 52, bias = 1023;
  static constexpr double log2_e = 1.4426950408889634074;
  static constexpr double ln2_high = 0.693145751953125;
  static constexpr double ln2_low = 1.42860682030941723212e-6;
  static constexpr double exp_is_zero = 745.2;
  static constexpr int lift = 54;
  static constexpr double tanh_is_one = 20.0;
  static constexpr int order = 6, degree = 6;
  static constexpr double share = 0.9112;
};

// The bits of 2ʲᐟᴾ, j = 0 … P − 1, less j where the P-th parts of exponents begin: added to a number k there they give 2ᵏᐟᴾ.
constexpr double sixteenths[] = {1.0, 1.0442737824274138, 1.0905077326652577, 1.1387886347566916,
                                 1.189207115002721, 1.241857812073484, 1.2968395546510096, 1.3542555469368927,
                                 1.4142135623730951, 1.4768261459394993, 1.5422108254079407, 1.6104903319492543,
                                 1.681792830507429, 1.7562521603732995, 1.8340080864093424, 1.9152065613971474};

template <class Real, int P> struct PowersOfTwo {
  using Integer = typename ExpConstants<Real>::Integer;
  alignas(64) Integer bits[P] = {};

  constexpr PowersOfTwo() {
    constexpr Integer one = Integer(1) << ExpConstants<Real>::mantissa_bits;
    for (int j = 0; j < P; ++j) bits[j] = Integer((Real(sixteenths[16 / P * j]) - 1) * Real(one)) - one / P * Integer(j);
  }
};
template <class Real, int P> constexpr PowersOfTwo<Real, P> powers_of_two;

constexpr int log2_of(int n) { return n == 1 ? 0 : 1 + log2_of(n / 2); }

// 2ⁿ, exactly.
template <class Real> constexpr Real power_of_two(int n) { return n == 0 ? Real(1) : 2 * power_of_two<Real>(n - 1); }

// |FACTOR| · x = S k/P ln 2 + r with |r| ≤ ½ ln 2 / P and S the sign of FACTOR; keeps r and 2ᵏᐟᴾ⁺ᴸᴵᶠᵀ. What x is multiplied
// with is one constant, and bias and lift are part of what rounds: k waits for nothing else. ROUGHLY takes ln 2 as it is
// rounded, which costs digits where k is large. Here and below what can be an addition is no product: those fill other units of
// a processor.
template <int FACTOR, int P, int LIFT, bool ROUGHLY, class Real> struct PowerAndRest {
  using C = ExpConstants<Real>;
  Vector<Real> power, r;

  explicit PowerAndRest(Vector<Real> x) {
    constexpr Real rounder = C::rounder + Real(P * (C::bias + LIFT)), part = FACTOR < 0 ? Real(-1) / P : Real(1) / P;
    const Vector<Real> shifted = x * (FACTOR * P * C::log2_e) + rounder;
    const Vector<Real> k = shifted - rounder;
    const Vector<Real> scaled = FACTOR == 2 ? x + x : x;  // not a product: that would be fused, and r wait for another one
    r = scaled - k * (part * (ROUGHLY ? C::ln2_high + C::ln2_low : C::ln2_high));
    if constexpr (!ROUGHLY) r -= k * (part * C::ln2_low);
    const Bits<Real> index = reinterpret_cast<Bits<Real>>(shifted);
    Bits<Real> bits = index << (C::mantissa_bits - log2_of(P));
    if constexpr (P > 1) bits += looked_up(powers_of_two<Real, P>.bits, index);
    power = reinterpret_cast<Vector<Real>>(bits);
  }
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

// The even and the odd terms of 2 N(r), which give eʳ as (even + odd) / (even − odd) with an error far below half an ulp for
// |r| ≤ ½ ln 2. Of two N(r), because then the largest odd term is r itself.
template <class Real> struct Quotient {
  Vector<Real> even, odd;

  explicit Quotient(Vector<Real> r) {
    constexpr int order = ExpConstants<Real>::order;
    const auto c = [](int n) { return Real(2 * pade<order>.of[n]); };
    const Vector<Real> square = r * r, cube = square * r;  // the small terms first, so that their errors do not count
    if constexpr (order == 3) {
      even = c(2) * square + c(0);
      odd = c(3) * cube + r;
    } else {
      static_assert(order == 6);
      even = ((c(6) * square + c(4)) * square + c(2)) * square + c(0);
      odd = (c(5) * square + c(3)) * cube + r;
    }
  }
};

// 1 − e⁻ʳ for |r| ≤ a = ½ ln 2 / P as a polynomial: terms of the exponential series, and to the last but one of them a share of
// a² is added of the first that is missing, with which the largest error is the least.
template <int P, class Real> inline Vector<Real> one_minus_exp(Vector<Real> r) {
  using C = ExpConstants<Real>;
  const auto c = [](int n) {
    double factorial = 1, a = 0.34657359027997264 / P;
    for (int i = 2; i <= n; ++i) factorial *= i;
    const double missing = C::share * a * a / (n + 1) / (n + 2);
    return Real((n % 2 ? 1 : -1) * (n + 1 == C::degree ? 1 + missing : 1) / factorial);
  };
  const Vector<Real> square = r * r, first = c(3) * r + c(2);
  if constexpr (C::degree == 3) {
    return square * first + r;
  } else {
    static_assert(C::degree == 6);
    return square * (square * (c(6) * square + (c(5) * r + c(4))) + first) + r;
  }
}

// e⁻ˣ · 2ᴸᴵᶠᵀ for x ≥ 0 as a fraction: large enough to keep its digits however small e⁻ˣ is. Where e⁻ˣ rounds to zero it stays
// as it is there; NaN stays NaN.
template <class Real> struct LiftedExponential {
  using C = ExpConstants<Real>;
  Vector<Real> over, under;

  explicit LiftedExponential(Vector<Real> x) {
    constexpr int P = table_size<Real>;
    const PowerAndRest<-1, P, C::lift, false, Real> e(minimum(broadcast(C::exp_is_zero), x));
    if constexpr (P > 1) {
      over = e.power - e.power * one_minus_exp<P, Real>(e.r);
      under = broadcast<Real>(1);
    } else {
      const Quotient<Real> q(e.r);
      over = e.power * (q.even - q.odd);
      under = q.even + q.odd;
    }
  }
};

// x · 2ˡⁱᶠᵗ for normal numbers, by their exponents; of NaN it makes anything.
template <class Real> inline Vector<Real> lifted(Vector<Real> x) {
  using C = ExpConstants<Real>;
  const Bits<Real> lift = (Bits<Real>{} + C::lift) << C::mantissa_bits;
  return reinterpret_cast<Vector<Real>>(reinterpret_cast<Bits<Real>>(x) + lift);
}

// eˣ for x ≤ 0. It comes down in one product, which rounds to a subnormal number, or to zero, where it has to.
template <class Real> inline Vector<Real> exp_of_negative(Vector<Real> x) {
  const LiftedExponential<Real> e(-x);
  return e.over / e.under * (1 / power_of_two<Real>(ExpConstants<Real>::lift));
}

// tanh x = (e²ˣ − 1) / (e²ˣ + 1), both multiplied with what e²ˣ is divided by, and written as a common part and a rest: so
// small x keep their digits, and what is lost of the common part changes nothing where it is large. It has half of e²ˣ − 1,
// because the terms are those of two N(r). The sign is put back at the end. Where e²ˣ is large, tanh x is nearly 1 whatever its
// last digits are; where it is too large to be a number, it is 1. Looking at that first would keep everything else waiting.
// Rounded powers of a table would cost small x their digits.
template <class Real> inline Vector<Real> tanh_of(Vector<Real> x) {
  const Vector<Real> size = absolute<Real>(x), one = broadcast<Real>(1);
  const PowerAndRest<2, 1, -1, true, Real> e(size);
  const Quotient<Real> q(e.r);
  const Vector<Real> common = (e.power - Real(0.5)) * (q.even + q.odd);
  const Vector<Real> tanh = (common + q.odd) / (common + q.even);
  return with_sign_of<Real>(size > ExpConstants<Real>::tanh_is_one ? one : tanh, x);
}

// σ(x) = 1 / (1 + e⁻ˣ), with e⁻ˡˣˡ so that nothing overflows and the lower tail keeps its digits down to zero; both sides of
// the fraction are lifted. NaN comes through by the other term of the sum.
template <class Real> inline Vector<Real> sigmoid_of(Vector<Real> x) {
  const LiftedExponential<Real> e(absolute<Real>(x));
  const Vector<Real> one = lifted<Real>(e.under);
  return (x >= 0 ? one : e.over) / (e.over + one);
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
