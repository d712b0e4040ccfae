// The weights of one direction of a layer as its products read them: their sizes, where they lie, and how they get there.
//
// A direction keeps one row per sequence and state: [h (padded to H_pad) | x (D) | 1]. Forward weights lie so that the product
// of a row with them is the whole pre-activation; the other layouts are those that the gradients flow back through.
#pragma once

#include "cells.hpp"
#include "gemm.hpp"

namespace {

using rnn::NetworkShape;

// What a layer (or the readout) reads: `count` blocks of `size` numbers, one for each direction below, `distance` apart.
struct Blocks {
  Index count, size, distance;

  Index columns() const { return (count - 1) * distance + size; }
  Index numbers() const { return count * size; }
};

// What the direction `layer` reads; with `layer` past the last one, what the readout reads.
template <class Real> Blocks blocks_below(const NetworkShape& shape, Index layer) {
  Index below = layer - 1;
  if (layer < shape.layer_count) {
    while (below >= 0 && shape.layers[below].level == shape.layers[layer].level) --below;
    if (below < 0) return {1, shape.inputs, 0};
  }
  const Index H = shape.layers[below].hidden;
  return {shape.directions(below), H, padded<Real>(H)};
}

// The forward weights of some units lie together, in a panel: rows for h, whose columns are those of the cell that see the
// state; rows for x and 1 with those that see the input; and of the others, which see 1 alone, one row more.
template <class Cell> struct PanelColumns {
  static constexpr int FIRST = Cell::P_FIRST, H_FIRST = Cell::H_FIRST > FIRST ? Cell::H_FIRST : FIRST;
  static constexpr int COLUMNS = Cell::COLUMNS - FIRST, BY_STATE = Cell::COLUMNS - H_FIRST, BY_INPUT = Cell::X_END - FIRST,
                       BY_ONE = Cell::COLUMNS - Cell::X_END;
  static constexpr bool ALL = BY_STATE == COLUMNS && BY_INPUT == COLUMNS;  // see everything
  // Of a tile in which not all do. 16 registers have room for four rows of three sums if products are fused with them.
  static constexpr Index MOST_ROWS = most_rows((BY_STATE > BY_INPUT ? BY_STATE : BY_INPUT) + !fuses);
  // So many vectors of units that one row keeps the processor busy with its sums, and that those of a column fill cache lines;
  // but tiles that take one of them at a time would leave no room for the others in the nearest cache.
  static constexpr int MOST_VECTORS = COLUMNS == 1 ? 4 : vector_bytes < 64 ? 2 : 1;
  static Index vectors(Index depth) {
    const bool stays_near = depth * BY_STATE * MOST_VECTORS * vector_bytes <= 24 << 10;
    return ALL || vector_bytes != 32 || stays_near ? MOST_VECTORS : 1;
  }
};

// Widths and places inside one direction's memory.
template <class Real> struct LayerSizes {
  Index H, H_pad, D, D_pad, row;
  Index gates, states, columns, x_end, h_first;
  Parts panels{0, 1};  // of the forward weights: how many vectors of units each one has
  Index per_unit;      // numbers of a panel for each of its units
  Index A;  // width of a row of gates, or of gradients d_a; column p of unit i is p · H_pad + i
  bool hidden_bias, has_memory, keeps, resets_before, masks_state, input_as_it_is;
  rnn::Activation activation;
  Blocks below;

  LayerSizes(const NetworkShape& shape, Index layer)
      : H(shape.layers[layer].hidden), H_pad(padded<Real>(H)), gates(shape.layers[layer].gates()),
        states(shape.layers[layer].states()), hidden_bias(rnn::facts(shape.layers[layer].cell).hidden_bias),
        masks_state(shape.layers[layer].recurrent_dropout > 0), activation(shape.layers[layer].activation),
        below(blocks_below<Real>(shape, layer)) {
    D = below.columns();
    D_pad = padded<Real>(D);
    row = H_pad + padded<Real>(D + 1);
    with_cell<Real>(shape.layers[layer], [this](auto cell) {
      using Cell = decltype(cell);
      columns = Cell::COLUMNS, x_end = Cell::X_END, h_first = Cell::H_FIRST;
      using P = PanelColumns<Cell>;
      panels = Parts(H_pad / lanes<Real>, P::vectors(H + D));
      per_unit = P::BY_STATE * H + P::BY_INPUT * (D + 1) + P::BY_ONE;
      has_memory = Cell::has_memory, keeps = Cell::keeps, resets_before = Cell::resets_before;
    });
    A = spread<Real>(columns * H_pad);
    const bool in_order = columns == 1 || (h_first == 0 && H == H_pad);
    // What comes out of the padding of rows that have none is not looked at by those who gave the inputs. There are rows of
    // W_h behind the last one of W_x.
    const bool needs_no_padding = D == D_pad || (shape.layers[layer].level == 0 && H * (H + 1) >= lanes<Real>);
    input_as_it_is = in_order && needs_no_padding && below.count == 1;
  }

  Index turned() const { return (D + 1) * A; }  // the gradient of the weights by [x | 1], a row for each of their numbers
  // Rows a multiple of a page apart would compete for one place of the nearest cache when a few sequences read them.
  Index W_h_row() const { return H_pad * Index(sizeof(Real)) % 4096 ? H_pad : spread<Real>(H_pad); }
  // With one column the padding between columns is left out of sums over them.
  Index summed(Index some) const { return columns == 1 ? H : some * H_pad; }

  Index forward_weights() const { return per_unit * H_pad; }
  // Rows of W_h that need no padding are not copied: the columns that see the state are in the order of its gates.
  bool recurrent_as_it_is() const { return H == W_h_row(); }
  Index recurrent_weights() const { return recurrent_as_it_is() ? 0 : summed(columns - h_first) * W_h_row(); }
  // Nor are those of W_x.
  Index W_x_row() const { return input_as_it_is ? D : D_pad; }
  Index input_weights() const { return input_as_it_is ? 0 : summed(x_end) * D_pad; }
  Index reset_forward() const { return resets_before ? (H + D + 1) * H_pad : 0; }  // all weights of n,
  Index reset_recurrent() const { return resets_before ? H * H_pad : 0; }  // and W_hn for the way back
  Index packed() const {
    return forward_weights() + recurrent_weights() + input_weights() + reset_forward() + reset_recurrent();
  }
  Index W_x() const { return gates * H * below.numbers(); }
  Index weights() const { return W_x() + gates * H * (H + 1) + (hidden_bias ? H : 0); }  // without first states
};

template <class Real> struct LayerWeights {
  const Real *forward, *recurrent, *input, *reset_forward, *reset_recurrent;

  // `parameters` are those of the direction, in the flat order.
  LayerWeights(const LayerSizes<Real>& size, const Real* packed, const Real* parameters)
      : forward(packed), recurrent(forward + size.forward_weights()), input(recurrent + size.recurrent_weights()),
        reset_forward(input + size.input_weights()), reset_recurrent(reset_forward + size.reset_forward()) {
    if (size.recurrent_as_it_is()) recurrent = parameters + size.W_x();
    if (size.input_as_it_is) input = parameters;
  }
};

// Writes the transpose of `from`, (rows, columns) with rows from_row apart, its columns padded to whole vectors:
// to[c · to_row + r] = from[r · from_row + c]. A vector of rows at a time, so that every cache line is written whole. Whole
// squares are read at the ends of rows, too: behind a matrix of so many rows there is a bias of as many parameters. What does
// not PAD leaves what is behind its columns alone.
template <bool PAD = true, class Real>
void transpose(const Real* from, Index from_row, Index rows, Index columns, Real* to, Index to_row) {
  Index r = 0;
  for (; r + lanes<Real> <= rows; r += lanes<Real>) {
    const Real* block = from + r * from_row;
    for (Index c = 0; c < columns; c += lanes<Real>) {
      Vector<Real> square[lanes<Real>];
#pragma GCC unroll 16
      for (Index i = 0; i < lanes<Real>; ++i) square[i] = load(block + i * from_row + c);
      transpose_square<Real>(square);
      Real* place = to + c * to_row + r;
      const Index left = columns - c;
#pragma GCC unroll 16
      for (Index i = 0; i < lanes<Real>; ++i) {
        if (i < left) store(place + i * to_row, square[i]);
      }
    }
  }
  for (Index c = 0; r < rows && c < columns; ++c) {  // fewer rows than fill a vector
    Real* column = to + c * to_row + r;
    if constexpr (PAD) store(column, Vector<Real>{});
    for (Index i = 0; i < rows - r; ++i) column[i] = from[(r + i) * from_row + c];
  }
}

// Copies `from` (rows, columns) into rows of to_row numbers.
template <class Real>
void copy_rows(const Real* from, Index from_row, Index rows, Index columns, Real* to, Index to_row) {
  for (Index r = 0; r < rows; ++r) copy_row(to + r * to_row, from + r * from_row, columns);
}

// From the flat parameters W_x (G·H, D), W_h (G·H, H), b_h (G·H) and perhaps b_hn (H) to the layouts above; padding, and
// weights of columns that do not see input or state, stay zero.
template <class Cell, class Real> void pack_layer(const LayerSizes<Real>& size, const Real* parameters, Real* packed) {
  const Index H = size.H, H_pad = size.H_pad, numbers = size.below.numbers();
  const Real *W_x = parameters, *W_h = W_x + size.W_x(), *b_h = W_h + size.gates * H * H, *b_hn = b_h + size.gates * H;
  Real *recurrent = packed + size.forward_weights(), *input = recurrent + size.recurrent_weights(),
       *reset_forward = input + size.input_weights();
  using P = PanelColumns<Cell>;
  // Of `count` units of a gate, from `unit` on, to rows `by_state`, `by_input` and the bias behind it.
  const auto pack_state = [&](Index gate, Index unit, Index count, Real* to, Index to_row) {
    transpose(W_h + (gate * H + unit) * H, H, count, H, to, to_row);
  };
  const auto pack_input = [&](Index gate, Index unit, Index count, Real* to, Index to_row) {
    copy_row(to + size.D * to_row, b_h + gate * H + unit, count);
    for (Index b = 0; b < size.below.count; ++b) {
      const Real* block = W_x + (gate * H + unit) * numbers + b * size.below.size;
      transpose(block, numbers, count, size.below.size, to + b * size.below.distance * to_row, to_row);
    }
  };
  const Parts& panels = size.panels;
  for (Index i = 0; i < panels.count; ++i) {
    const Index unit = panels.before(i) * lanes<Real>, units = panels[i] * lanes<Real>, left = H - unit;
    const Index count = left < units ? left : units;
    Real *by_state = packed + unit * size.per_unit, *by_input = by_state + H * P::BY_STATE * units,
         *by_bias = by_input + (size.D + 1) * P::BY_INPUT * units;
    for (Index p = Cell::P_FIRST; p < Cell::COLUMNS; ++p) {
      if (p >= Cell::H_FIRST) {
        pack_state(Cell::GATE[p], unit, count, by_state, P::BY_STATE * units);
        by_state += units;
      }
      if (p < Cell::X_END) {
        pack_input(Cell::GATE[p], unit, count, by_input, P::BY_INPUT * units);
        by_input += units;
      } else {
        copy_row(by_bias, b_hn + unit, count);
      }
    }
  }
  for (Index p = 0; p < Cell::COLUMNS; ++p) {
    const Index gate = Cell::GATE[p] * H;
    if (p >= Cell::H_FIRST && !size.recurrent_as_it_is()) {
      copy_rows(W_h + gate * H, H, H, H, recurrent + (p - Cell::H_FIRST) * H_pad * size.W_h_row(), size.W_h_row());
    }
    for (Index b = 0; p < Cell::X_END && !size.input_as_it_is && b < size.below.count; ++b) {
      copy_rows(W_x + gate * numbers + b * size.below.size, numbers, H, size.below.size,
                input + p * H_pad * size.D_pad + b * size.below.distance, size.D_pad);
    }
  }
  if constexpr (Cell::resets_before) {
    pack_state(Cell::GATE[0], 0, H, reset_forward, H_pad);
    pack_input(Cell::GATE[0], 0, H, reset_forward + H * H_pad, H_pad);
    copy_rows(W_h + Cell::GATE[0] * H * H, H, H, H, reset_forward + size.reset_forward(), H_pad);
  }
}

}  // namespace
