// One product for everything: sums of a(row, k) · b(k, column), a tile of rows and vectors of columns held in registers.
//
// Forward, backward through the weights and the gradient of the weights are all this product; they differ in strides, and in
// what the epilogue does with a finished vector of sums while it is still in a register.
#pragma once

#include <type_traits>

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

// Adds one pair of operands to a tile, or to its vectors FIRST … LAST − 1 with columns so far apart. SPLIT chains of sums run
// side by side where the tile alone has too few of them to hide the latency of a fused multiply-add.
template <int FIRST, int LAST, int ROWS, int VECTORS, int SPLIT, class Real>
inline __attribute__((always_inline)) void accumulate(
    Vector<Real> (&sum)[SPLIT][ROWS][VECTORS], const Operands<Real>& o, Index row, Index distance = lanes<Real>) {
  const Real* a = o.a + row * o.a_row;
  const Real* b = o.b;
  const auto multiply_add = [&](int s) __attribute__((always_inline)) {
    Vector<Real> w[VECTORS];
#pragma GCC unroll 16
    for (int v = FIRST; v < LAST; ++v) w[v] = load(b + (v - FIRST) * distance);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const Vector<Real> x = broadcast(a[r * o.a_row]);
#pragma GCC unroll 16
      for (int v = FIRST; v < LAST; ++v) sum[s][r][v] += x * w[v];
    }
    // Where the next k is in another page, as in gradients of large weights, a does not come by itself.
    if constexpr (fuses && ROWS >= 5 && VECTORS >= 2) __builtin_prefetch(a + 24 * o.a_depth);
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

// Where sums go: to[row · width + column], in rows that are padded to whole vectors.
template <class Real> struct Places {
  Real* to;
  Index width;
  bool adds = false;  // to what is there
};

template <int VALUE> struct Number {
  static constexpr int value = VALUE;
};

// The same operands, beginning with another column of b.
template <class Real> Operands<Real> from_column(Operands<Real> o, Index column) {
  o.b += column;
  return o;
}

// Two pairs of operands, one after the other. Tiles there are many of have one loop for both.
template <class Real, bool ONE_LOOP> struct Both {
  const Operands<Real>&first, &second;

  Index depth() const { return first.depth + second.depth; }
  template <int ROWS, int VECTORS, int SPLIT>
  __attribute__((always_inline)) void add_to(Vector<Real> (&sum)[SPLIT][ROWS][VECTORS], Index row) const {
    if constexpr (ONE_LOOP) {
      const Operands<Real>* pairs[2] = {&first, &second};
#pragma GCC unroll 1
      for (int i = 0; i < 2; ++i) accumulate<0, VECTORS>(sum, *pairs[i], row);
    } else {
      accumulate<0, VECTORS>(sum, first, row);
      accumulate<0, VECTORS>(sum, second, row);
    }
  }
};

// `of` adds its products to the sums of a tile (`add_to`) and says how deep they are (`depth`): it is Both of some operands, or
// PanelProducts. The epilogue is Places, or takes each vector of sums: epilogue(row, column, sums). However large a product is,
// its tiles are short: between them a run can be interrupted.
template <int ROWS, int VECTORS, int SPLIT, class Real, class Of, class Spent, class Epilogue>
inline __attribute__((always_inline)) void tile(Spent& pulse, Index row, Index column, const Of& of, const Epilogue& epilogue) {
  constexpr bool has_places = std::is_same_v<Places<Real>, Epilogue>;
  if (ROWS == 1) pulse.spend(VECTORS * of.depth());  // here, where there are no sums that a call would have to put away
  Vector<Real> sum[SPLIT][ROWS][VECTORS] = {};
  const auto each_sum = [&](const auto& take) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; ++v) take(r, v * lanes<Real>, sum[0][r][v]);
    }
  };
  if constexpr (has_places && ROWS > 1) {
    // What is there, in a large matrix, is far away: it comes while the sums are made.
    const Real* const there = epilogue.to + row * epilogue.width + column;
    if (epilogue.adds && epilogue.width * Index(sizeof(Real)) >= 1024) {
      each_sum([&](int r, Index c, Vector<Real>) __attribute__((always_inline)) {
        if (c * Index(sizeof(Real)) % 64 == 0) __builtin_prefetch(there + r * epilogue.width + c, 1);
      });
    }
  }
  of.add_to(sum, row);
  if (ROWS > 1) pulse.spend(ROWS * VECTORS * of.depth());
  each_sum([&](int r, Index c, Vector<Real>& total) __attribute__((always_inline)) {
    static_assert(SPLIT == 1 || SPLIT == 2 || SPLIT == 4);
    const Index v = c / lanes<Real>;
    if constexpr (SPLIT == 4) total += sum[2][r][v], sum[1][r][v] += sum[3][r][v];  // in pairs: fewer wait for each other
    if constexpr (SPLIT > 1) total += sum[1][r][v];
  });
  if constexpr (has_places) {
    const Index width = epilogue.width;
    Real* const to = epilogue.to + row * width + column;
    if (epilogue.adds) {
      each_sum([&](int r, Index c, Vector<Real>& total) __attribute__((always_inline)) { total += load(to + r * width + c); });
    }
    each_sum([&](int r, Index c, Vector<Real> total) __attribute__((always_inline)) { store(to + r * width + c, total); });
  } else {
    each_sum([&](int r, Index c, Vector<Real> total) __attribute__((always_inline)) { epilogue(row + r, column + c, total); });
  }
}

// The same sums, from their last terms to the first.
template <class Real> Operands<Real> from_the_end(Operands<Real> o) {
  o.a += (o.depth - 1) * o.a_depth, o.b += (o.depth - 1) * o.b_depth;
  o.a_depth = -o.a_depth, o.b_depth = -o.b_depth;
  return o;
}

// One row: as many columns at once as there are sums for in registers, and enough chains of sums to keep the processor busy.
// Products with the same b, one after the other, go through it in turn `backwards`: what the one before read last is near. They
// have no second operands.
template <class Real, class Spent, class Epilogue>
inline __attribute__((always_inline)) void row_product(Spent& pulse, Index columns, bool backwards, const Operands<Real>& first,
                                                       const Operands<Real>& second, const Epilogue& epilogue) {
  constexpr Index L = lanes<Real>;
  Index column = backwards ? columns : 0, left = columns;
  const auto some = [&](auto vectors, auto split) __attribute__((always_inline)) {
    constexpr Index width = vectors.value * L;
    if (backwards) column -= width;
    const bool from_end = vectors.value >= 4 && backwards;  // fewer columns are near in any case
    const Operands<Real> one = from_column(from_end ? from_the_end(first) : first, column), other = from_column(second, column);
    tile<1, vectors.value, split.value, Real>(pulse, 0, column, Both<Real, false>{one, other}, epilogue);
    if (!backwards) column += width;
    left -= width;
  };
  if constexpr (vector_registers == 32) {
    while (left >= 16 * L) some(Number<16>{}, Number<1>{});
  }
  while (left >= 8 * L) some(Number<8>{}, Number<1>{});
  while (left >= 4 * L) some(Number<4>{}, Number<2>{});
  while (left >= 2 * L) some(Number<2>{}, Number<4>{});
  while (left > 0) some(Number<1>{}, Number<4>{});
}

// The largest tile: its sums, a row of b and a broadcast number of a fill the registers. Where products are not fused with
// sums, b need not be in registers, and a broadcast takes the time of a product: few rows share it among many columns.
constexpr Index most_vectors = vector_registers == 32 || !fuses ? 4 : 3;
constexpr Index most_rows(Index vectors) { return vector_registers == 32 || vectors < 3 ? 6 : vectors == 3 ? 4 : 3; }

// Sums over more than this are made in parts: so much of b's columns and a's rows stays in the nearest cache.
constexpr Index most_depth = 128, deepest_at_once = 256;

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
  Index before(Index part) const { return part * size + (part < larger ? part : larger); }
};

// All rows of the products `of` some with a few columns. It takes a copy of the places, which no store can change: they are
// not read again for every vector.
template <int VECTORS, class Real, int MOST_ROWS = most_rows(VECTORS), class Of>
void tiles_of_columns(Pulse& pulse, Index column, const Parts& heights, const Of& of, const Places<Real> into) {
  Index row = 0;
  const auto some = [&](auto rows, auto split) __attribute__((always_inline)) {
    if constexpr (rows.value <= MOST_ROWS) {
      tile<rows.value, VECTORS, split.value, Real>(pulse, row, column, of, into);
      row += rows.value;
    }
  };
  for (Index part = 0; part < heights.count; ++part) {
    switch (heights[part]) {
      case 1: some(Number<1>{}, Number<(VECTORS > 2 ? 2 : 4)>{}); break;
      case 2: some(Number<2>{}, Number<(VECTORS > 2 ? 1 : 2)>{}); break;
      case 3: some(Number<3>{}, Number<(VECTORS > 1 ? 1 : 2)>{}); break;
      case 4: some(Number<4>{}, Number<(VECTORS > 1 ? 1 : 2)>{}); break;
      case 5: some(Number<5>{}, Number<1>{}); break;
      default: some(Number<6>{}, Number<1>{});
    }
  }
}

// Whether rows of b lie so far apart that they compete for the same lines of the nearest cache.
template <class Real> bool compete(const Operands<Real>& o) {
  return o.depth > 1 && o.b_depth * Index(sizeof(Real)) % 256 == 0;
}

// What lies in the nearest caches.
template <class Real> constexpr bool is_near(Index columns, Index depth) {
  return columns * depth * Index(sizeof(Real)) <= Index(128) << 10;
}

// A few columns of a b that is far away, copied so that one row follows the other: many tiles read them, from a few pages
// instead of one page per row.
constexpr Index least_tiles = 16;  // of the largest kind

template <class Real> struct NearColumns {
  static constexpr Index size = (Index(32) << 10) / Index(sizeof(Real));
  Real numbers[size];
  Index used = 0;

  static bool holds(Index columns, Index depth) { return columns * depth <= size; }
  Operands<Real> copy(Operands<Real> o, Index columns) {
    Real* const first = numbers + used;
    for (Index k = 0; k < o.depth; ++k, used += columns) {
      for (Index c = 0; c < columns; c += lanes<Real>) store(numbers + used + c, load(o.b + k * o.b_depth + c));
    }
    o.b = first, o.b_depth = columns;
    return o;
  }
};

template <class Real>
void product_in_parts(Pulse& pulse, Index rows, Index columns, Operands<Real> o, Places<Real> into);

// The sums for every row < rows and every vector of columns < columns, which is a multiple of the lanes. All rows of a come to
// a few columns of b before the next columns do: those stay in the nearest cache, however large b is. One row goes through b
// `backwards` if asked to.
template <class Real>
__attribute__((noinline)) void product(Pulse& pulse, Index rows, Index columns, const Operands<Real>& first,
                                       const Operands<Real>& second, const Places<Real>& into, bool backwards = false) {
  if (rows == 1) return row_product(pulse, columns, backwards, first, second, into);
  if (second.depth == 0 && first.depth > deepest_at_once) return product_in_parts(pulse, rows, columns, first, into);
  const Parts vectors(columns / lanes<Real>, most_vectors);
  const Index depth = first.depth + second.depth;
  const bool copies = rows >= least_tiles * most_rows(most_vectors) && (!is_near<Real>(columns, depth) || compete(first));
  Index column = 0;
  for (Index part = 0; part < vectors.count; ++part) {
    const Index width = vectors[part] * lanes<Real>;
    const Parts heights(rows, most_rows(vectors[part]));
    Operands<Real> one = from_column(first, column), other = from_column(second, column);
    NearColumns<Real> near;
    if (copies && near.holds(width, depth)) {
      one = near.copy(one, width);
      other = near.copy(other, width);
    }
    const Both<Real, true> both{one, other};
    switch (vectors[part]) {
      case 1: tiles_of_columns<1, Real>(pulse, column, heights, both, into); break;
      case 2: tiles_of_columns<2, Real>(pulse, column, heights, both, into); break;
      case 3: tiles_of_columns<3, Real>(pulse, column, heights, both, into); break;
      default:
        if constexpr (most_vectors >= 4) tiles_of_columns<4, Real>(pulse, column, heights, both, into);
    }
    column += width;
  }
}

// A deep sum, so many terms at a time.
template <class Real>
void product_in_parts(Pulse& pulse, Index rows, Index columns, Operands<Real> o, Places<Real> into) {
  const Parts depths(o.depth, deepest_at_once);
  for (Index part = 0; part < depths.count; ++part, into.adds = true) {
    o.depth = depths[part];
    product<Real>(pulse, rows, columns, o, no_operands<Real>, into);
    o.a += o.depth * o.a_depth, o.b += o.depth * o.b_depth;
  }
}

// So many rows at once have their sums in memory before something is made of them.
constexpr Index most_rows_at_once = 48;

// Products whose sums belong where only put(row, rows, column, sums, columns) knows.
template <class Real, class Put>
void product_through_memory(Pulse& pulse, Index rows, Index columns, Operands<Real> o, const Put& put) {
  const Parts heights(rows, most_rows_at_once), vectors(columns / lanes<Real>, most_vectors);
  Index row = 0;
  for (Index i = 0; i < heights.count; ++i) {
    for (Index part = 0; part < vectors.count; ++part) {
      Real sums[most_rows_at_once * most_vectors * lanes<Real>];
      const Index column = vectors.before(part) * lanes<Real>, width = vectors[part] * lanes<Real>;
      product<Real>(pulse, heights[i], width, from_column(o, column), no_operands<Real>, Places<Real>{sums, width});
      put(row, heights[i], column, sums, width);
    }
    row += heights[i], o.a += heights[i] * o.a_row;
  }
}

// Into rows that are `width` apart, of `count` numbers each, less than a vector of them in the last one; or added to what is
// there. b has whole vectors.
template <class Real>
void product_into_rows(Pulse& pulse, Index rows, const Operands<Real>& o, Real* to, Index width, Index count,
                       bool adds = false) {
  const Index whole = count / lanes<Real> * lanes<Real>;
  if (whole > 0) product<Real>(pulse, rows, whole, o, no_operands<Real>, Places<Real>{to, width, adds});
  if (whole == count) return;
  const auto put = [&](Index row, Index some, Index, const Real* sums, Index columns) {
    for (Index r = 0; r < some; ++r, sums += columns) {
      Real* const place = to + (row + r) * width + whole;
      if (!adds) copy_row(place, sums, count - whole);
      for (Index k = 0; adds && k < count - whole; ++k) place[k] += sums[k];
    }
  };
  product_through_memory(pulse, rows, lanes<Real>, from_column(o, whole), put);
}

}  // namespace
