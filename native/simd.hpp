// One vector type for each instruction set: as many numbers as the widest register holds.
//
// GCC's and Clang's vector extension gives arithmetic, comparison and selection on every processor from one source; the
// compiler fuses a * b + c into one instruction where there is one. Included only by files compiled per instruction set.
#pragma once

#include "network.hpp"

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

template <class Real> struct VectorTypes;

template <> struct VectorTypes<float> {
  typedef float vector __attribute__((vector_size(vector_bytes)));
  typedef float in_memory __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
  typedef std::int32_t bits __attribute__((vector_size(vector_bytes)));
};

template <> struct VectorTypes<double> {
  typedef double vector __attribute__((vector_size(vector_bytes)));
  typedef double in_memory __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
  typedef std::int64_t bits __attribute__((vector_size(vector_bytes)));
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

// The first `count` numbers of a vector: for rows that are not padded.
template <class Real> inline void store_some(Real* to, Vector<Real> values, Index count) {
  if (count >= lanes<Real>) return store(to, values);
  for (Index i = 0; i < count; ++i) to[i] = values[i];
}

template <class Real> inline Vector<Real> broadcast(Real value) { return value - Vector<Real>{}; }

template <class Real> inline Vector<Real> absolute(Vector<Real> x) { return x < 0 ? -x : x; }

}  // namespace
