// The weights of one direction of a layer as its products read them: their sizes, where they lie, and how they get there.
//
// A direction keeps one row per sequence and state: [h (padded to H_pad) | x (D) | 1]. Forward weights lie so that the product
// of a row with them is the whole pre-activation; the other layouts are those that the gradients flow back through.
#pragma once

#include "cells.hpp"

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

// Widths and places inside one direction's memory.
template <class Real> struct LayerSizes {
  Index H, H_pad, D, D_pad, row;
  Index gates, states, columns, x_end, h_first;
  Index A;  // width of a row of pre-activations; column p of unit i is p · H_pad + i
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
  Index W_h_row() const { return spread<Real>(H_pad); }
  // With one column the padding between columns is left out of sums over them.
  Index summed(Index some) const { return columns == 1 ? H : some * H_pad; }

  Index forward_weights() const { return (H + D + 1) * A; }  // (H + D + 1, A): a row for each number of a state row
  // Rows of W_h that need no padding are not copied: the columns that see the state are in the order of its gates.
  bool recurrent_as_it_is() const { return H == W_h_row(); }
  Index recurrent_weights() const { return recurrent_as_it_is() ? 0 : summed(columns - h_first) * W_h_row(); }
  // Nor are those of W_x.
  Index W_x_row() const { return input_as_it_is ? D : D_pad; }
  Index input_weights() const { return input_as_it_is ? 0 : summed(x_end) * D_pad; }
  Index reset_weights() const { return resets_before ? H * H_pad : 0; }  // W_hn by itself, once for each way
  Index packed() const { return forward_weights() + recurrent_weights() + input_weights() + 2 * reset_weights(); }
  Index W_x() const { return gates * H * below.numbers(); }
  Index weights() const { return W_x() + gates * H * (H + 1) + (hidden_bias ? H : 0); }  // without first states
};

template <class Real> struct LayerWeights {
  const Real *forward, *recurrent, *input, *reset_forward, *reset_recurrent;

  // `parameters` are those of the direction, in the flat order.
  LayerWeights(const LayerSizes<Real>& size, const Real* packed, const Real* parameters)
      : forward(packed), recurrent(forward + size.forward_weights()), input(recurrent + size.recurrent_weights()),
        reset_forward(input + size.input_weights()), reset_recurrent(reset_forward + size.reset_weights()) {
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
  const Index H = size.H, H_pad = size.H_pad, A = size.A, numbers = size.below.numbers();
  const Real *W_x = parameters, *W_h = W_x + size.W_x(), *b_h = W_h + size.gates * H * H, *b_hn = b_h + size.gates * H;
  Real *forward = packed, *recurrent = forward + size.forward_weights(), *input = recurrent + size.recurrent_weights();
  for (Index p = 0; p < Cell::COLUMNS; ++p) {
    const Index gate = Cell::GATE[p] * H;
    if (p >= Cell::H_FIRST) {
      transpose(W_h + gate * H, H, H, H, forward + p * H_pad, A);
      if (!size.recurrent_as_it_is()) {
        copy_rows(W_h + gate * H, H, H, H, recurrent + (p - Cell::H_FIRST) * H_pad * size.W_h_row(), size.W_h_row());
      }
    }
    Real* bias = forward + (H + size.D) * A + p * H_pad;
    copy_row(bias, p < Cell::X_END ? b_h + gate : b_hn, H);
    for (Index b = 0; p < Cell::X_END && b < size.below.count; ++b) {
      const Real* block = W_x + gate * numbers + b * size.below.size;
      const Index first = b * size.below.distance;
      transpose(block, numbers, H, size.below.size, forward + (H + first) * A + p * H_pad, A);
      if (size.input_as_it_is) continue;
      copy_rows(block, numbers, H, size.below.size, input + p * H_pad * size.D_pad + first, size.D_pad);
    }
  }
  if constexpr (Cell::resets_before) {
    const Real* W_hn = W_h + Cell::GATE[0] * H * H;
    Real* reset_forward = input + size.input_weights();
    transpose(W_hn, H, H, H, reset_forward, H_pad);
    copy_rows(W_hn, H, H, H, reset_forward + size.reset_weights(), H_pad);
  }
}

}  // namespace
