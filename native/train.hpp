// A whole network on plain memory: layers on top of each other, the readout, the loss, and back.
#pragma once

#include "cells.hpp"
#include "losses.hpp"
#include "optimize.hpp"

namespace {

using rnn::Padded;
using rnn::Readout;
using rnn::Sequences;
using rnn::TargetRows;

// The readout's two layouts: forward (H + 1, O_pad), its last row the bias, and W_y (O, H_pad) for the way back.
template <class Real> struct ReadoutSizes {
  Index H, H_pad, O, O_pad;

  explicit ReadoutSizes(const NetworkShape& shape)
      : H(shape.layers[shape.layer_count - 1].hidden), H_pad(padded<Real>(H)), O(shape.outputs), O_pad(padded<Real>(O)) {}

  Index forward_weights() const { return (H + 1) * O_pad; }
  Index packed() const { return forward_weights() + O * H_pad; }
};

// What forward leaves for backward: the state rows of each layer, then the rows the readout saw (only if they are not the
// top layer's own), then the pre-activations (M, O_pad).
template <class Real> struct TapeParts {
  const NetworkShape& shape;
  const Timetable& when;
  Real* memory;

  Real* rows(Index layer) const {
    Real* at = memory;
    for (Index l = 0; l < layer; ++l) at += when.rows() * LayerSizes<Real>(shape.layers[l]).row;
    return at;
  }
  Real* last_states() const { return rows(shape.layer_count); }  // (N, H_pad), only where the readout sees the last states
  Real* preactivations() const {
    const Index last = shape.readout == Readout::last ? when.sequences * ReadoutSizes<Real>(shape).H_pad : 0;
    return last_states() + last;
  }
  Index size() const {
    return preactivations() - memory + when.readout_rows(shape.readout) * ReadoutSizes<Real>(shape).O_pad;
  }
};

// The gradients on the way back: by the pre-activations of the outputs (M, O_pad); by the hidden states and, in turn, the
// pre-activations of the layer at work; by the last states of the layer.
template <class Real> struct WorkspaceParts {
  const NetworkShape& shape;
  const Timetable& when;
  Real* memory;

  Index widest() const {
    Index most = 0;
    for (Index l = 0; l < shape.layer_count; ++l) {
      const Index width = padded<Real>(shape.layers[l].hidden);
      most = width > most ? width : most;
    }
    return most;
  }
  Real* d_outputs() const { return memory; }
  Real* d_h() const { return memory + when.readout_rows(shape.readout) * ReadoutSizes<Real>(shape).O_pad; }
  Real* d_a() const { return d_h() + when.rows() * widest(); }
  Real* d_h_T() const { return d_a() + when.rows() * widest(); }
  Index size() const { return d_h_T() - memory + when.sequences * widest(); }
};

template <class Real> Index packed_size(const NetworkShape& shape) {
  Index size = ReadoutSizes<Real>(shape).packed();
  for (Index l = 0; l < shape.layer_count; ++l) size += LayerSizes<Real>(shape.layers[l]).packed();
  return size;
}

template <class Real> void pack(const NetworkShape& shape, const Real* parameters, Real* packed) {
  for (Index l = 0; l < shape.layer_count; ++l) {
    const LayerSizes<Real> size(shape.layers[l]);
    pack_layer(size, parameters, packed);
    parameters += size.parameters();
    packed += size.packed();
  }
  const ReadoutSizes<Real> size(shape);
  const Real *W_y = parameters, *b_y = W_y + size.O * size.H;
  Real *forward = packed, *backward = packed + size.forward_weights();
  transpose(W_y, size.O, size.H, forward, size.O_pad);
  copy_rows(b_y, 1, size.O, forward + size.H * size.O_pad, size.O_pad);
  copy_rows(W_y, size.O, size.H, backward, size.H_pad);
}

template <class Real> const Real* layer_packed(const NetworkShape& shape, const Real* packed, Index layer) {
  for (Index l = 0; l < layer; ++l) packed += LayerSizes<Real>(shape.layers[l]).packed();
  return packed;
}

template <class Real> Index tape_size(const NetworkShape& shape, const Timetable& when) {
  return TapeParts<Real>{shape, when, nullptr}.size();
}

template <class Real> Index workspace_size(const NetworkShape& shape, const Timetable& when) {
  return WorkspaceParts<Real>{shape, when, nullptr}.size();
}

// The x and the 1 of every state row. Rows that only keep a last state get zeros: their d_a is zero, and zero times
// whatever stood there before must be zero.
template <class Real, class Source>
void set_inputs(const LayerSizes<Real>& size, const Timetable& when, Real* rows, const Source& source) {
  for (Index t = 0; t < when.steps; ++t) {
    Real* x = rows + when.block[t] * size.row + size.H_pad;
    for (Index row = 0; row < when.active[t]; ++row, x += size.row) {
      copy_row(x, source(t, row), size.D);
      x[size.D] = 1;
    }
    for (Index row = when.active[t]; row < when.block_rows(t); ++row, x += size.row) {
      for (Index d = 0; d <= size.D; ++d) x[d] = 0;
    }
  }
}

template <class Real>
void set_first_states(const LayerSizes<Real>& size, const Timetable& when, const Real* state, Index state_width, Real* rows) {
  for (Index row = 0; row < when.sequences; ++row) {
    Real* h = rows + row * size.row;
    const Real* from = state ? state + when.order[row] * state_width : nullptr;
    zero(h, size.H_pad);
    if (from) copy_row(h, from, size.H);
  }
}

// The row that holds the last state of sequence `row`: the last block that has it.
inline Index last_row(const Timetable& when, Index row, Index& steps) {
  while (when.active[steps - 1] <= row) --steps;  // rows are sorted by falling length: steps only ever falls
  return when.block[steps] + row;
}

template <class Real>
void forward(const NetworkShape& shape, const Real* parameters, const Real* packed, const Timetable& when, const Sequences<Real>& inputs,
             const Real* state, Real* tape) {
  const TapeParts<Real> parts{shape, when, tape};
  for (Index l = 0; l < shape.layer_count; ++l) {
    const LayerSizes<Real> size(shape.layers[l]);
    Real* rows = parts.rows(l);
    set_first_states(size, when, state, shape.state_size, rows);
    if (state) state += size.H;
    if (l == 0) {
      set_inputs(size, when, rows, [&](Index t, Index row) {
        return inputs.array + (inputs.starts[when.order[row]] + t) * inputs.width;
      });
    } else {
      const Index below_row = LayerSizes<Real>(shape.layers[l - 1]).row;
      const Real* below = parts.rows(l - 1);
      set_inputs(size, when, rows, [&](Index t, Index row) { return below + (when.block[t + 1] + row) * below_row; });
    }
    const LayerWeights<Real> weights(size, layer_packed(shape, packed, l), parameters);
    parameters += size.parameters();
    with_cell<Real>(shape.layers[l], when, [&](auto cell, auto alone) {
      layer_forward<decltype(cell), alone.value, Real>(size, weights, when, rows);
    });
  }

  const ReadoutSizes<Real> size(shape);
  const Index top = shape.layer_count - 1, top_row = LayerSizes<Real>(shape.layers[top]).row;
  const Real* h = parts.rows(top) + when.sequences * top_row;
  Index h_row = top_row;
  if (shape.readout == Readout::last) {
    Real* last = parts.last_states();
    Index steps = when.steps;
    for (Index row = 0; row < when.sequences; ++row) {
      const Real* from = parts.rows(top) + last_row(when, row, steps) * top_row;
      for (Index i = 0; i < size.H_pad; ++i) last[row * size.H_pad + i] = from[i];
    }
    h = last;
    h_row = size.H_pad;
  }
  const Real* W = layer_packed(shape, packed, shape.layer_count);
  const Real* bias = W + size.H * size.O_pad;
  Real* a = parts.preactivations();
  static constexpr Real one = 1;
  const Operands<Real> by_state{h, h_row, 1, W, size.O_pad, size.H}, by_bias{&one, 0, 0, bias, 0, 1};
  product<Real>(when.readout_rows(shape.readout), size.O_pad, by_bias, by_state, IntoPadded<Real>{a, size.O_pad});
}

// Calls visit(m, n, t) for each row m of the readout: the sequence it belongs to, and the step (0 with the last state only).
template <class Visit> void each_readout_row(const NetworkShape& shape, const Timetable& when, const Visit& visit) {
  const Index steps = shape.readout == Readout::every ? when.steps : 1;
  Index m = 0;
  for (Index t = 0; t < steps; ++t) {
    for (Index row = 0; row < when.active[t]; ++row) visit(m++, when.order[row], t);
  }
}

template <class Real>
void outputs(const NetworkShape& shape, const Timetable& when, const Real* tape, Padded<Real> preactivations, Real* y,
             Real* final_state) {
  const TapeParts<Real> parts{shape, when, const_cast<Real*>(tape)};
  const ReadoutSizes<Real> size(shape);
  const Real* a = parts.preactivations();
  each_readout_row(shape, when, [&](Index m, Index n, Index t) {
    const Index place = (n * preactivations.steps + t) * size.O;
    for (Index o = 0; o < size.O; ++o) preactivations.array[place + o] = a[m * size.O_pad + o];
    output_row(shape.output_activation, size.O, a + m * size.O_pad, y + place);
  });
  for (Index l = 0; l < shape.layer_count; ++l) {
    const LayerSizes<Real> layer(shape.layers[l]);
    Index steps = when.steps;
    for (Index row = 0; row < when.sequences; ++row) {
      const Real* from = parts.rows(l) + last_row(when, row, steps) * layer.row;
      Real* to = final_state + when.order[row] * shape.state_size;
      for (Index i = 0; i < layer.H; ++i) to[i] = from[i];
    }
    final_state += layer.H;
  }
}

template <class Real>
void set_d_preactivations(const NetworkShape& shape, const Timetable& when, Padded<const Real> d_preactivations,
                          Real* workspace) {
  const Index O = shape.outputs, O_pad = ReadoutSizes<Real>(shape).O_pad;
  Real* d_outputs = WorkspaceParts<Real>{shape, when, workspace}.d_outputs();
  each_readout_row(shape, when, [&](Index m, Index n, Index t) {
    const Real* from = d_preactivations.array + (n * d_preactivations.steps + t) * O;
    for (Index o = 0; o < O; ++o) d_outputs[m * O_pad + o] = from[o];
  });
}

// Σ w ℓ / Σ w over the rows of the readout, and its gradient by the pre-activations into the workspace.
template <class Real>
double loss(const NetworkShape& shape, const Timetable& when, const Real* tape, const TargetRows<Real>& targets,
            Real* workspace) {
  const Index O = shape.outputs, O_pad = ReadoutSizes<Real>(shape).O_pad;
  const Real* a = TapeParts<Real>{shape, when, const_cast<Real*>(tape)}.preactivations();
  Real* d_outputs = WorkspaceParts<Real>{shape, when, workspace}.d_outputs();
  double total = 0;
  each_readout_row(shape, when, [&](Index, Index n, Index t) { total += double(targets.weights[targets.rows.starts[n] + t]); });
  // Binary cross-entropy and mse average over the outputs of a row: the division is made once, here.
  const bool sums_classes = shape.loss == Loss::ce && shape.output_activation == OutputActivation::softmax;
  const double scale = 1 / (sums_classes ? total : total * double(O));
  return with_loss(shape.loss, shape.output_activation, [&](auto loss) {
    double sum = 0;
    each_readout_row(shape, when, [&](Index m, Index n, Index t) {
      const Index target = targets.rows.starts[n] + t;
      Real* d_a = d_outputs + m * O_pad;
      const double share = double(targets.weights[target]) * scale;
      sum += share * loss.row(O, a + m * O_pad, targets.rows.array + target * O, d_a);
      for (Index o = 0; o < O; ++o) d_a[o] *= Real(share);
    });
    return sum;
  });
}

// d_W_y and d_b_y, and the gradient by the states that the readout saw (rows, H_pad).
template <class Real>
void readout_backward(const NetworkShape& shape, const Real* packed, Index rows, const Real* h, Index h_row,
                      const Real* d_outputs, Real* d_h, Real* gradient) {
  const ReadoutSizes<Real> size(shape);
  Real *d_W_y = gradient, *d_b_y = d_W_y + size.O * size.H;
  const Operands<Real> over_rows{d_outputs, 1, size.O_pad, h, h_row, rows};
  product<Real>(size.O, size.H_pad, over_rows, no_operands<Real>, IntoRows<Real>{d_W_y, size.H, size.H, nullptr});
  for (Index o = 0; o < size.O; ++o) {
    Real sum = 0;
    for (Index m = 0; m < rows; ++m) sum += d_outputs[m * size.O_pad + o];
    d_b_y[o] = sum;
  }
  const Real* W_y = layer_packed(shape, packed, shape.layer_count) + size.forward_weights();
  const Operands<Real> by_output{d_outputs, size.O_pad, 1, W_y, size.H_pad, size.O};
  product<Real>(rows, size.H_pad, by_output, no_operands<Real>, IntoPadded<Real>{d_h, size.H_pad});
}

template <class Real>
void backward(const NetworkShape& shape, const Real* parameters, const Real* packed, const Timetable& when, const Real* tape,
              const Real* d_final_state, Real* workspace, Real* gradient, Padded<Real> d_inputs, Real* d_state) {
  const TapeParts<Real> parts{shape, when, const_cast<Real*>(tape)};
  const WorkspaceParts<Real> work{shape, when, workspace};
  const ReadoutSizes<Real> readout(shape);
  const Index top = shape.layer_count - 1, top_row = LayerSizes<Real>(shape.layers[top]).row;
  const bool last_only = shape.readout == Readout::last;

  Index layer_gradient = shape.parameter_count() - (readout.O * readout.H + readout.O);
  Index state_offset = shape.state_size;
  Real* d_seen = last_only ? work.d_h_T() : work.d_h() + when.sequences * readout.H_pad;
  const Real* seen = last_only ? parts.last_states() : parts.rows(top) + when.sequences * top_row;
  readout_backward(shape, packed, when.readout_rows(shape.readout), seen, last_only ? readout.H_pad : top_row,
                   work.d_outputs(), d_seen, gradient + layer_gradient);

  for (Index l = top; l >= 0; --l) {
    const LayerSizes<Real> size(shape.layers[l]);
    layer_gradient -= size.parameters();
    const LayerWeights<Real> weights(size, layer_packed(shape, packed, l), parameters + layer_gradient);
    state_offset -= size.H;
    for (Index row = 0; row < when.sequences; ++row) {
      const Real* from = d_final_state ? d_final_state + when.order[row] * shape.state_size + state_offset : nullptr;
      Real* to = work.d_h_T() + row * size.H_pad;
      const bool seen_by_readout = last_only && l == top;
      if (!seen_by_readout) zero(to, size.H_pad);
      for (Index i = 0; from && i < size.H; ++i) to[i] += from[i];
    }
    const Real* d_h = last_only && l == top ? nullptr : work.d_h();
    with_cell<Real>(shape.layers[l], when, [&](auto cell, auto alone) {
      layer_backward<decltype(cell), alone.value, Real>(size, weights, when, parts.rows(l), d_h, work.d_h_T(), work.d_a());
    });
    layer_weight_gradient(size, when, parts.rows(l), work.d_a(), gradient + layer_gradient);
    for (Index t = 0; l > 0 && t < when.steps; ++t) {  // the states below were this layer's inputs: D_pad is their H_pad
      IntoPadded<Real> below{work.d_h() + when.block[t + 1] * size.D_pad, size.D_pad};
      layer_input_gradient(size, weights, when, work.d_a(), t, below);
    }
    for (Index t = 0; l == 0 && d_inputs.array && t < when.steps; ++t) {
      IntoRows<Real> d_x{d_inputs.array + t * size.D, d_inputs.steps * size.D, size.D, when.order};
      layer_input_gradient(size, weights, when, work.d_a(), t, d_x);
    }
    if (d_state) {
      IntoRows<Real> d_h_0{d_state + state_offset, shape.state_size, size.H, when.order};
      layer_state_gradient(size, weights, when, work.d_a(), d_h_0);
    }
  }
}

}  // namespace
