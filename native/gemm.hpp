// One product for everything: sums of a(row, k) · b(k, column), a tile of rows and vectors of columns held in registers.
//
// Forward, backward through the weights and the gradient of the weights are all this product; they differ in strides, and in
// what the epilogue does with a finished vector of sums while it is still in a register.
#pragma once

#include "simd.hpp"

namespace {

using rnn::Pulse;

// a(row, k) = a[row · a_row + k · a_depth] and b(k, column) = b[k · b_depth + column], for k < depth.
template <class Real> struct Operands {
  const Real* a;
  Index a_row, a_depth;
  const Real* b;
  Index b_depth;
  Index depth;
};

template <class Real> constexpr Operands<Real> no_operands{nullptr, 0, 0, nullptr, 0, 0};

// Adds one pair of operands to a tile. SPLIT chains of sums run side by side where the tile alone has too few of them to
// hide the latency of a fused multiply-add.
template <int ROWS, int VECTORS, int SPLIT, class Real>
inline __attribute__((always_inline)) void accumulate(
    Vector<Real> (&sum)[SPLIT][ROWS][VECTORS], const Operands<Real>& o, Index row, Index column) {
  const Real* a = o.a + row * o.a_row;
  const Real* b = o.b + column;
  const auto multiply_add = [&](int s) __attribute__((always_inline)) {
    Vector<Real> w[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) w[v] = load(b + v * lanes<Real>);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const Vector<Real> x = broadcast(a[r * o.a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) sum[s][r][v] += x * w[v];
    }
    a += o.a_depth;
    b += o.b_depth;
  };
  Index k = 0;
  for (; k + SPLIT <= o.depth; k += SPLIT) {
#pragma GCC unroll 8
    for (int s = 0; s < SPLIT; ++s) multiply_add(s);
  }
  // The rest goes to different chains too.
#pragma GCC unroll 8
  for (int s = 0; s < SPLIT - 1; ++s) {
    if (k++ < o.depth) multiply_add(s);
  }
}

// Whether an epilogue has an edge: columns beyond which vectors have no place of their own. It then says which columns are
// `inside`; of a tile that is not, it gets the rows of sums through `at_edge`, whose code is there once and not for every
// vector of every tile.
template <class Epilogue> constexpr bool has_edge = false;

// However large a product is, its tiles are short: between them a run can be interrupted.
template <int ROWS, int VECTORS, int SPLIT, class Real, class Spent, class Epilogue>
inline __attribute__((always_inline)) void tile(Spent& pulse, Index row, Index column, const Operands<Real>& first,
                                                const Operands<Real>& second, const Epilogue& epilogue) {
  Vector<Real> sum[SPLIT][ROWS][VECTORS] = {};
  accumulate<ROWS, VECTORS, SPLIT, Real>(sum, first, row, column);
  accumulate<ROWS, VECTORS, SPLIT, Real>(sum, second, row, column);
  pulse.spend(ROWS * VECTORS * (first.depth + second.depth));
  const auto each_total = [&](const auto& take) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) {
        Vector<Real> total = sum[0][r][v];
#pragma GCC unroll 8
        for (int s = 1; s < SPLIT; ++s) total += sum[s][r][v];
        take(r, v * lanes<Real>, total);
      }
    }
  };
  constexpr Index columns = VECTORS * lanes<Real>;
  if constexpr (has_edge<Epilogue>) {
    if (!epilogue.inside(column, columns)) {
      Real totals[ROWS * columns];
      each_total([&](int r, Index c, Vector<Real> total) __attribute__((always_inline)) {
        store(totals + r * columns + c, total);
      });
      return epilogue.at_edge(row, ROWS, column, totals, columns);
    }
  }
  each_total([&](int r, Index c, Vector<Real> total) __attribute__((always_inline)) { epilogue(row + r, column + c, total); });
}

// One row: as many columns at once as there are, and enough chains of sums to keep the processor busy.
template <class Real, class Spent, class Epilogue>
inline __attribute__((always_inline)) void row_product(Spent& pulse, Index row, Index columns, const Operands<Real>& first,
                                                       const Operands<Real>& second, const Epilogue& epilogue) {
  constexpr Index L = lanes<Real>;
  Index column = 0;
  for (; column + 4 * L <= columns; column += 4 * L) tile<1, 4, 2, Real>(pulse, row, column, first, second, epilogue);
  for (; column + 2 * L <= columns; column += 2 * L) tile<1, 2, 4, Real>(pulse, row, column, first, second, epilogue);
  for (; column < columns; column += L) tile<1, 1, 4, Real>(pulse, row, column, first, second, epilogue);
}

// Whether what one row is multiplied with lies so near that a few columns at a time may be read, row after row.
template <class Real> constexpr bool is_near(Index columns, Index depth) {
  return columns * depth * Index(sizeof(Real)) <= Index(128) << 10;
}

// Adds a row times b to the sums in `to`. A few rows of b at a time over all columns: far from the processor, b comes fastest
// in the order in which it lies in memory.
template <class Real> void add_row_product(Pulse& pulse, Index row, Index columns, const Operands<Real>& o, Real* to) {
  const Real *a = o.a + row * o.a_row, *b = o.b;
  Index k = 0;
  for (; k + 4 <= o.depth; k += 4, a += 4 * o.a_depth, b += 4 * o.b_depth) {
    const Vector<Real> x[4] = {broadcast(a[0]), broadcast(a[o.a_depth]), broadcast(a[2 * o.a_depth]),
                               broadcast(a[3 * o.a_depth])};
    const Real *b1 = b + o.b_depth, *b2 = b1 + o.b_depth, *b3 = b2 + o.b_depth;
    for (Index c = 0; c < columns; c += lanes<Real>) {
      const Vector<Real> even = load(to + c) + x[0] * load(b + c) + x[2] * load(b2 + c);
      store(to + c, even + (x[1] * load(b1 + c) + x[3] * load(b3 + c)));
    }
    pulse.spend(4 * columns / lanes<Real>);
  }
  for (; k < o.depth; ++k, a += o.a_depth, b += o.b_depth) {
    const Vector<Real> x = broadcast(a[0]);
    for (Index c = 0; c < columns; c += lanes<Real>) store(to + c, load(to + c) + x * load(b + c));
  }
}

template <class Real, class Epilogue>
void single_row(Pulse& pulse, Index row, Index columns, const Operands<Real>& first, const Operands<Real>& second,
                const Epilogue& epilogue) {
  row_product<Real>(pulse, row, columns, first, second, epilogue);
}

// Epilogues that only put sums where they belong; named, so that all their products share one instantiation.
template <class Real> struct IntoPadded {
  Real* to;
  Index width;

  void operator()(Index row, Index column, Vector<Real> sum) const { store(to + row * width + column, sum); }
};

template <class Real>
void single_row(Pulse& pulse, Index row, Index columns, const Operands<Real>& first, const Operands<Real>& second,
                const IntoPadded<Real>& into) {
  if (is_near<Real>(columns, first.depth + second.depth)) {
    return row_product<Real>(pulse, row, columns, first, second, into);
  }
  zero(into.to + row * into.width, columns);
  add_row_product<Real>(pulse, row, columns, first, into.to + row * into.width);
  add_row_product<Real>(pulse, row, columns, second, into.to + row * into.width);
}

// The largest tile: its sums, a row of b and a broadcast number of a fill the registers.
constexpr Index most_rows = vector_registers == 32 ? 6 : 4;
constexpr Index most_vectors = vector_registers == 32 ? 4 : 3;

// Sums over more than this are made in parts: so much of b's columns and a's rows stays in the nearest cache.
constexpr Index most_depth = 128;

// A length cut into nearly equal parts, none larger than `most`: 32 rows are 6, 6, 5, 5, 5, 5 and not 6, 6, 6, 6, 6, 2.
struct Parts {
  Index count, size, larger;  // the first `larger` parts have one more

  Parts(Index length, Index most) : count((length + most - 1) / most), size(length), larger(0) {
    if (count > 1) {
      size = length / count;
      larger = length - size * count;
    }
  }
  Index operator[](Index part) const { return size + (part < larger); }
};

template <int VECTORS, class Real, class Epilogue>
void tiles_of_columns(Pulse& pulse, Index column, const Parts& heights, const Operands<Real>& first,
                      const Operands<Real>& second, const Epilogue& epilogue) {
  if constexpr (VECTORS <= most_vectors) {
    Index row = 0;
    for (Index part = 0; part < heights.count; ++part) {
      switch (heights[part]) {
        case 1: tile<1, VECTORS, (VECTORS > 2 ? 2 : 4), Real>(pulse, row, column, first, second, epilogue); break;
        case 2: tile<2, VECTORS, (VECTORS > 2 ? 1 : 2), Real>(pulse, row, column, first, second, epilogue); break;
        case 3: tile<3, VECTORS, (VECTORS > 1 ? 1 : 2), Real>(pulse, row, column, first, second, epilogue); break;
        case 4: tile<4, VECTORS, (VECTORS > 1 ? 1 : 2), Real>(pulse, row, column, first, second, epilogue); break;
        case 5:
          if constexpr (most_rows == 6) tile<5, VECTORS, 1, Real>(pulse, row, column, first, second, epilogue);
          break;
        default:
          if constexpr (most_rows == 6) tile<6, VECTORS, 1, Real>(pulse, row, column, first, second, epilogue);
      }
      row += heights[part];
    }
  }
}

// epilogue(row, column, sums) for every row < rows and every vector of columns < columns, which is a multiple of the lanes.
// All rows of a come to a few columns of b before the next columns do: those stay in the nearest cache, however large b is.
template <class Real, class Epilogue>
__attribute__((noinline)) void product(Pulse& pulse, Index rows, Index columns, const Operands<Real>& first,
                                       const Operands<Real>& second, const Epilogue& epilogue) {
  if (rows == 1) return single_row<Real>(pulse, 0, columns, first, second, epilogue);
  const Parts heights(rows, most_rows), vectors(columns / lanes<Real>, most_vectors);
  Index column = 0;
  for (Index part = 0; part < vectors.count; ++part) {
    switch (vectors[part]) {
      case 1: tiles_of_columns<1, Real>(pulse, column, heights, first, second, epilogue); break;
      case 2: tiles_of_columns<2, Real>(pulse, column, heights, first, second, epilogue); break;
      case 3: tiles_of_columns<3, Real>(pulse, column, heights, first, second, epilogue); break;
      default: tiles_of_columns<4, Real>(pulse, column, heights, first, second, epilogue); break;
    }
    column += vectors[part] * lanes<Real>;
  }
}

// Rows that are `width` apart, of which only the first `count` numbers are wanted.
template <class Real> struct IntoRows {
  Real* to;
  Index width, count;

  bool inside(Index column, Index columns) const { return column + columns <= count; }
  void operator()(Index row, Index column, Vector<Real> sum) const { store(to + row * width + column, sum); }
  __attribute__((noinline)) void at_edge(Index row, Index rows, Index column, const Real* sums, Index columns) const {
    const Index wanted = count - column < columns ? count - column : columns;
    for (Index r = 0; r < rows; ++r) copy_row(to + (row + r) * width + column, sums + r * columns, wanted);
  }
};
template <class Real> constexpr bool has_edge<IntoRows<Real>> = true;

}  // namespace
