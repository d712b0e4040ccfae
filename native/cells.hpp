// The cells: forward beside backward, in the names of the textbook. Layers run them through time.
//
// A layer keeps one row per sequence and state: [h (padded to H_pad) | x (D) | 1], so that the product of a row with
// [W_h | W_x | b_h] is the whole pre-activation, and the product of d_a with the rows is the gradient of all three.
#pragma once

#include "gemm.hpp"
#include "vecmath.hpp"

namespace {

using rnn::Activation;
using rnn::LayerShape;
using rnn::Timetable;

template <Activation ACTIVATION, class Real> inline Vector<Real> activation(Vector<Real> a) {
  if constexpr (ACTIVATION == Activation::tanh) return tanh_of<Real>(a);
  if constexpr (ACTIVATION == Activation::sigmoid) return sigmoid_of<Real>(a);
  if constexpr (ACTIVATION == Activation::relu) return a < 0 ? Vector<Real>{} : a;  // in this order NaN stays NaN
  return a;
}

// The slope of the activation where its value is h.
template <Activation ACTIVATION, class Real> inline Vector<Real> slope(Vector<Real> h) {
  const Vector<Real> one = broadcast<Real>(1);
  if constexpr (ACTIVATION == Activation::tanh) return one - h * h;
  if constexpr (ACTIVATION == Activation::sigmoid) return h * (one - h);
  if constexpr (ACTIVATION == Activation::relu) return h > 0 ? one : Vector<Real>{};
  return one;
}

template <bool VALUE> struct Bool {
  static constexpr bool value = VALUE;
};

// h = f(a), and d_a = d_h ⊙ f'(a).
template <Activation ACTIVATION, class Real> struct Elman {
  static Vector<Real> forward(Vector<Real> a) { return activation<ACTIVATION, Real>(a); }
  static Vector<Real> backward(Vector<Real> d_h, Vector<Real> h) { return d_h * slope<ACTIVATION, Real>(h); }
};

// Widths and places inside one layer's memory.
template <class Real> struct LayerSizes {
  Index D, H, H_pad, D_pad, row;

  explicit LayerSizes(const LayerShape& layer)
      : D(layer.inputs), H(layer.hidden), H_pad(padded<Real>(H)), D_pad(padded<Real>(D)),
        row(H_pad + padded<Real>(D + 1)) {}

  Index forward_weights() const { return (H + D + 1) * H_pad; }    // (H + D + 1, H_pad): a row for each number of a state row
  bool recurrent_as_it_is() const { return H == H_pad; }           // rows of W_h that need no padding are not copied
  Index recurrent_weights() const { return recurrent_as_it_is() ? 0 : H * H_pad; }  // (H, H_pad): W_h
  Index input_weights() const { return H * D_pad; }                // (H, D_pad): W_x
  Index packed() const { return forward_weights() + recurrent_weights() + input_weights(); }
  Index parameters() const { return H * D + H * H + H; }
};

template <class Real> struct LayerWeights {
  const Real *forward, *recurrent, *input;

  // `parameters` are those of the layer, in the flat order.
  LayerWeights(const LayerSizes<Real>& size, const Real* packed, const Real* parameters)
      : forward(packed), recurrent(forward + size.forward_weights()), input(recurrent + size.recurrent_weights()) {
    if (size.recurrent_as_it_is()) recurrent = parameters + size.H * size.D;
  }
};

// Writes the transpose of `from` (rows, columns) with rows padded to whole vectors: to[c · to_row + r] = from[r · columns + c].
// A vector of rows at a time, so that every cache line written is written whole.
template <class Real> void transpose(const Real* from, Index rows, Index columns, Real* to, Index to_row) {
  for (Index r = 0; r < rows; r += lanes<Real>) {
    const Index count = rows - r < lanes<Real> ? rows - r : lanes<Real>;
    const Real* block = from + r * columns;
    Index c = 0;
    for (; count == lanes<Real> && c + lanes<Real> <= columns; c += lanes<Real>) {
      Vector<Real> square[lanes<Real>];
#pragma GCC unroll 16
      for (Index i = 0; i < lanes<Real>; ++i) square[i] = load(block + i * columns + c);
      transpose_square<Real>(square);
#pragma GCC unroll 16
      for (Index i = 0; i < lanes<Real>; ++i) store(to + (c + i) * to_row + r, square[i]);
    }
    for (; c < columns; ++c) {  // what is left at the edges
      Vector<Real> column = {};
      for (Index i = 0; i < count; ++i) column[i] = block[i * columns + c];
      store(to + c * to_row + r, column);
    }
  }
}

// Copies `from` (rows, columns) into rows of to_row numbers.
template <class Real> void copy_rows(const Real* from, Index rows, Index columns, Real* to, Index to_row) {
  for (Index r = 0; r < rows; ++r) copy_row(to + r * to_row, from + r * columns, columns);
}

// From the flat parameters W_x (H, D), W_h (H, H), b_h (H) to the three layouts; padding stays zero.
template <class Real> void pack_layer(const LayerSizes<Real>& size, const Real* parameters, Real* packed) {
  const Index D = size.D, H = size.H, H_pad = size.H_pad;
  const Real *W_x = parameters, *W_h = W_x + H * D, *b_h = W_h + H * H;
  Real *forward = packed, *recurrent = forward + size.forward_weights(), *input = recurrent + size.recurrent_weights();
  transpose(W_h, H, H, forward, H_pad);
  transpose(W_x, H, D, forward + H * H_pad, H_pad);
  copy_rows(b_h, 1, H, forward + (H + D) * H_pad, H_pad);
  if (!size.recurrent_as_it_is()) copy_rows(W_h, H, H, recurrent, H_pad);
  copy_rows(W_x, H, D, input, size.D_pad);
}

// Block 0 of the rows holds h_0 already, and every row its x and 1; fills in the states after each step.
// ALONE: there is one sequence, and a step is so short that calling a product for it would be felt.
template <class Cell, bool ALONE, class Real>
void layer_forward(const LayerSizes<Real>& size, const LayerWeights<Real>& weights, const Timetable& when, Real* rows) {
  for (Index t = 0; t < when.steps; ++t) {
    const Real* now = rows + when.block[t] * size.row;
    Real* next = rows + when.block[t + 1] * size.row;
    const Operands<Real> by_input{now + size.H_pad, size.row, 1, weights.forward + size.H * size.H_pad, size.H_pad, size.D + 1};
    const Operands<Real> by_state{now, size.row, 1, weights.forward, size.H_pad, size.H};
    // The input's share comes first: it does not wait for the state of the step before.
    const auto finish = [&](Index row, Index column, Vector<Real> a) __attribute__((always_inline)) {
      store(next + row * size.row + column, Cell::forward(a));
    };
    if constexpr (ALONE) {
      row_product<Real>(0, size.H_pad, by_input, by_state, finish);
    } else {
      product<Real>(when.active[t], size.H_pad, by_input, by_state, finish);
    }
  }
}

// d_h (rows of blocks 1 …, H_pad), or null where nothing but the last state is looked at; d_h_T (N, H_pad) by the last
// states. Gives d_a (rows of blocks 0 … T-1, H_pad), zero where a sequence has ended.
template <class Cell, bool ALONE, class Real>
void layer_backward(const LayerSizes<Real>& size, const LayerWeights<Real>& weights, const Timetable& when,
                    const Real* rows, const Real* d_h, const Real* d_h_T, Real* d_a) {
  const Index H_pad = size.H_pad;
  for (Index t = when.steps - 1; t >= 0; --t) {
    const Real* h = rows + when.block[t + 1] * size.row;
    const Real* d_h_t = d_h ? d_h + when.block[t + 1] * H_pad : nullptr;
    Real* d_a_t = d_a + when.block[t] * H_pad;
    const auto finish = [&](Index row, Index column, Vector<Real> d_h_next) __attribute__((always_inline)) {
      if (d_h_t) d_h_next += load(d_h_t + row * H_pad + column);
      store(d_a_t + row * H_pad + column, Cell::backward(d_h_next, load(h + row * size.row + column)));
    };
    const Index going_on = when.active[t + 1];
    const Operands<Real> by_step_after{d_a + when.block[t + 1] * H_pad, H_pad, 1, weights.recurrent, H_pad, size.H};
    if constexpr (ALONE) {
      if (going_on) row_product<Real>(0, H_pad, by_step_after, no_operands<Real>, finish);
    } else {
      product<Real>(going_on, H_pad, by_step_after, no_operands<Real>, finish);
    }
    for (Index row = going_on; row < when.active[t]; ++row) {  // sequences whose last step this is
      for (Index column = 0; column < H_pad; column += lanes<Real>) finish(row, column, load(d_h_T + row * H_pad + column));
    }
    for (Index i = when.active[t] * H_pad; i < when.block_rows(t) * H_pad; ++i) d_a_t[i] = 0;
  }
}

// d_W_x, d_W_h and d_b_h in the flat order: one product over all rows of all steps.
template <class Real>
void layer_weight_gradient(const LayerSizes<Real>& size, const Timetable& when, const Real* rows, const Real* d_a,
                           Real* gradient) {
  const Index D = size.D, H = size.H;
  Real *d_W_x = gradient, *d_W_h = d_W_x + H * D, *d_b_h = d_W_h + H * H;
  const Operands<Real> over_time{d_a, 1, size.H_pad, rows, size.row, when.block[when.steps]};
  product<Real>(H, size.row, over_time, no_operands<Real>, [&](Index i, Index column, Vector<Real> sum) {
    if (column < size.H_pad) return store_some(d_W_h + i * H + column, sum, H - column);
    const Index d = column - size.H_pad;  // the columns of x, and after them the column of ones
    if (d < D) store_some(d_W_x + i * D + d, sum, D - d);
    if (d <= D && D < d + lanes<Real>) d_b_h[i] = sum[D - d];
  });
}

// d_x = d_a W_x of the rows that run at step t; the epilogue puts them where they belong.
template <class Real, class Epilogue>
void layer_input_gradient(const LayerSizes<Real>& size, const LayerWeights<Real>& weights, const Timetable& when,
                          const Real* d_a, Index t, const Epilogue& epilogue) {
  const Operands<Real> o{d_a + when.block[t] * size.H_pad, size.H_pad, 1, weights.input, size.D_pad, size.H};
  product<Real>(when.active[t], size.D_pad, o, no_operands<Real>, epilogue);
}

// d_h_0 = d_a_1 W_h, a vector of columns at a time.
template <class Real, class Epilogue>
void layer_state_gradient(const LayerSizes<Real>& size, const LayerWeights<Real>& weights, const Timetable& when,
                          const Real* d_a, const Epilogue& epilogue) {
  const Operands<Real> o{d_a, size.H_pad, 1, weights.recurrent, size.H_pad, size.H};
  product<Real>(when.sequences, size.H_pad, o, no_operands<Real>, epilogue);
}

// Calls run(cell, alone) with the cell of a layer and whether there is one sequence only, both as types; the only place that
// turns the word of a specification into a type.
template <class Real, class Run> void with_cell(const LayerShape& layer, const Timetable& when, const Run& run) {
  const auto with = [&](auto cell) { when.sequences == 1 ? run(cell, Bool<true>{}) : run(cell, Bool<false>{}); };
  switch (layer.activation) {
    case Activation::tanh: return with(Elman<Activation::tanh, Real>{});
    case Activation::sigmoid: return with(Elman<Activation::sigmoid, Real>{});
    case Activation::relu: return with(Elman<Activation::relu, Real>{});
    case Activation::linear: return with(Elman<Activation::linear, Real>{});
  }
}

}  // namespace
