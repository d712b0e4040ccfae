// One vector type for each instruction set: as many numbers as the widest register holds.
//
// GCC's and Clang's vector extension gives arithmetic, comparison and selection on every processor from one source; the
// compiler fuses a * b + c into one instruction where there is one. Included only by files compiled per instruction set.
#pragma once

#include <utility>

#include "network.hpp"

#if defined(__SSE2__) && !defined(RNN_VECTOR_BYTES)
#include <immintrin.h>
#define RNN_X86  // what vectors have instructions for and the language has no word for, below
#endif

namespace {

using rnn::Index;

#if defined(RNN_VECTOR_BYTES)  // tests build wider vectors than the processor has, to try the code of other machines
constexpr int vector_bytes = RNN_VECTOR_BYTES;
#elif defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif

#if defined(__FMA__) || defined(__aarch64__)
constexpr bool fuses = true;
#else
constexpr bool fuses = false;
#endif

template <class Real> struct VectorTypes;

template <> struct VectorTypes<float> {
  typedef float vector __attribute__((vector_size(vector_bytes)));
  typedef float in_memory __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
  typedef std::uint32_t bits __attribute__((vector_size(vector_bytes)));
};

template <> struct VectorTypes<double> {
  typedef double vector __attribute__((vector_size(vector_bytes)));
  typedef double in_memory __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
  typedef std::uint64_t bits __attribute__((vector_size(vector_bytes)));
};

template <class Real> using Vector = typename VectorTypes<Real>::vector;
template <class Real> using Bits = typename VectorTypes<Real>::bits;
template <class Real> constexpr Index lanes = vector_bytes / sizeof(Real);

// A length rounded up to whole vectors.
template <class Real> constexpr Index padded(Index length) {
  return (length + lanes<Real> - 1) / lanes<Real> * lanes<Real>;
}

template <class Real> inline Vector<Real> load(const Real* from) {
  return *reinterpret_cast<const typename VectorTypes<Real>::in_memory*>(from);
}

template <class Real> inline void store(Real* to, Vector<Real> values) {
  *reinterpret_cast<typename VectorTypes<Real>::in_memory*>(to) = values;
}

// A padded row length at which rows one below the other do not compete for the same lines of the nearest cache, as they
// would at multiples of large powers of two.
template <class Real> inline Index spread(Index padded_length) {
  return padded_length * Index(sizeof(Real)) % 512 ? padded_length : padded_length + 64 / Index(sizeof(Real));
}

// A half, a quarter, … of a vector from both ends, which may overlap: copies of known size instead of a loop.
template <Index SOME, class Real> inline void copy_ends(Real* to, const Real* from, Index count) {
  if constexpr (SOME > 0) {
    if (count < SOME) return copy_ends<SOME / 2>(to, from, count);
    Real first[SOME], last[SOME];
    __builtin_memcpy(first, from, sizeof(first));
    __builtin_memcpy(last, from + count - SOME, sizeof(last));
    __builtin_memcpy(to, first, sizeof(first));
    __builtin_memcpy(to + count - SOME, last, sizeof(last));
  }
}

template <class Real> inline void copy_less_than_a_vector(Real* to, const Real* from, Index count) {
  copy_ends<lanes<Real> / 2>(to, from, count);
}

// The first `count` numbers of a vector: for rows that are not padded.
template <class Real> inline void store_some(Real* to, Vector<Real> values, Index count) {
  if (count >= lanes<Real>) return store(to, values);
  Real room[lanes<Real>];
  store(room, values);
  copy_less_than_a_vector(to, room, count);
}

template <class Real> inline void zero(Real* to, Index padded_count) {
  for (Index i = 0; i < padded_count; i += lanes<Real>) store(to + i, Vector<Real>{});
}

// Copies a row that is not padded.
template <class Real> inline void copy_row(Real* to, const Real* from, Index count) {
  for (; count >= lanes<Real>; count -= lanes<Real>, to += lanes<Real>, from += lanes<Real>) store(to, load(from));
  copy_less_than_a_vector(to, from, count);
}

template <class Real> inline Vector<Real> broadcast(Real value) { return value - Vector<Real>{}; }

// a₀ b₀ a₁ b₁ … of the lower and of the upper halves of two vectors.
template <class Real> inline void interleave(Vector<Real> a, Vector<Real> b, Vector<Real>& low, Vector<Real>& high) {
  if constexpr (lanes<Real> == 2) {
    low = __builtin_shufflevector(a, b, 0, 2);
    high = __builtin_shufflevector(a, b, 1, 3);
  } else if constexpr (lanes<Real> == 4) {
    low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else if constexpr (lanes<Real> == 8) {
    low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else {
    static_assert(lanes<Real> == 16);
    low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }
}

// Every lane gets the sum of all: with the lane HALF away first, with those half as far away next, and so on.
template <Index HALF, class Real, std::size_t... LANE>
inline Vector<Real> sum_of_lanes(Vector<Real> values, std::index_sequence<LANE...> every) {
  if constexpr (HALF == 0) {
    return values;
  } else {
    values += __builtin_shufflevector(values, values, (LANE ^ std::size_t(HALF))...);
    return sum_of_lanes<HALF / 2, Real>(values, every);
  }
}

template <class Real> inline Real sum_of_lanes(Vector<Real> values) {
  return sum_of_lanes<lanes<Real> / 2, Real>(values, std::make_index_sequence<lanes<Real>>())[0];
}

// Turns a square of vectors: rows become columns. Interleaving each vector with the one half the square away, as often as
// the square can be halved, is a transposition.
template <class Real> inline void transpose_square(Vector<Real> (&rows)[lanes<Real>]) {
  constexpr Index half = lanes<Real> / 2;
#pragma GCC unroll 4
  for (Index width = 1; width < lanes<Real>; width *= 2) {
    Vector<Real> mixed[lanes<Real>];
#pragma GCC unroll 8
    for (Index i = 0; i < half; ++i) interleave<Real>(rows[i], rows[i + half], mixed[2 * i], mixed[2 * i + 1]);
#pragma GCC unroll 16
    for (Index i = 0; i < lanes<Real>; ++i) rows[i] = mixed[i];
  }
}

// The smaller one, and b where one of them is not a number. (The forms with a mask, which is always full, do not begin with a
// vector that nobody has set, of which GCC 12 warns.)
#if defined(RNN_X86) && defined(__AVX512F__)
inline Vector<float> minimum(Vector<float> a, Vector<float> b) { return _mm512_maskz_min_ps(__mmask16(-1), a, b); }
inline Vector<double> minimum(Vector<double> a, Vector<double> b) { return _mm512_maskz_min_pd(__mmask8(-1), a, b); }
#elif defined(RNN_X86) && defined(__AVX__)
inline Vector<float> minimum(Vector<float> a, Vector<float> b) { return _mm256_min_ps(a, b); }
inline Vector<double> minimum(Vector<double> a, Vector<double> b) { return _mm256_min_pd(a, b); }
#elif defined(RNN_X86)
inline Vector<float> minimum(Vector<float> a, Vector<float> b) { return _mm_min_ps(a, b); }
inline Vector<double> minimum(Vector<double> a, Vector<double> b) { return _mm_min_pd(a, b); }
#else
inline Vector<float> minimum(Vector<float> a, Vector<float> b) { return a < b ? a : b; }
inline Vector<double> minimum(Vector<double> a, Vector<double> b) { return a < b ? a : b; }
#endif

// Tables that lie in a register or two: as many numbers as the lowest bits of an index can choose from at once, or one.
#if defined(RNN_X86) && defined(__AVX512F__)
template <class Real> constexpr int table_size = 16;
inline Bits<float> looked_up(const std::uint32_t* table, Bits<float> index) {
  return Bits<float>(_mm512_maskz_permutexvar_epi32(__mmask16(-1), __m512i(index), _mm512_loadu_si512(table)));
}
inline Bits<double> looked_up(const std::uint64_t* table, Bits<double> index) {
  const __m512i low = _mm512_loadu_si512(table), high = _mm512_loadu_si512(table + 8);
  return Bits<double>(_mm512_permutex2var_epi64(low, __m512i(index), high));
}
#elif defined(RNN_X86) && defined(__AVX2__)
template <class Real> constexpr int table_size = sizeof(Real) == 4 ? 8 : 1;
inline Bits<float> looked_up(const std::uint32_t* table, Bits<float> index) {
  return Bits<float>(_mm256_permutevar8x32_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(table)), __m256i(index)));
}
#else
template <class Real> constexpr int table_size = 1;
#endif

// The one bit that is set in −0.
template <class Real> inline Bits<Real> sign_bit(Vector<Real> x) {
  return reinterpret_cast<Bits<Real>>(x) & reinterpret_cast<Bits<Real>>(-Vector<Real>{});
}

template <class Real> inline Vector<Real> absolute(Vector<Real> x) {
  return reinterpret_cast<Vector<Real>>(reinterpret_cast<Bits<Real>>(x) ^ sign_bit<Real>(x));
}

// `size` ≥ 0 with the sign of x.
template <class Real> inline Vector<Real> with_sign_of(Vector<Real> size, Vector<Real> x) {
  return reinterpret_cast<Vector<Real>>(reinterpret_cast<Bits<Real>>(size) | sign_bit<Real>(x));
}

}  // namespace
