// From states to outputs and losses, and back: what the readout sees, its product, and each row's loss.
#pragma once

#include "losses.hpp"
#include "memory.hpp"

namespace {

using rnn::Padded;
using rnn::TargetRows;

// The row that holds the last state of sequence `row`: the last block that has it.
inline Index last_row(const Timetable& when, Index row) { return when.block[when.lengths[row]] + row; }

// Calls visit(m, row, t) for each row m of the readout, of so many numbers: with the row among the sequences sorted by length,
// and the time (0 with one output).
template <class Visit>
void each_readout_row(const NetworkShape& shape, const Timetable& when, Index numbers, const Visit& visit) {
  Index m = 0;
  const Index steps = shape.readout == Readout::every ? when.steps : 1;
  each_step(when, steps, numbers, [&](Index t, Index row) __attribute__((always_inline)) { visit(m++, row, t); });
}

// Gathers what the readout sees of one direction of the top level into rows of W_pad numbers.
template <class Real>
void gather_seen(const NetworkShape& shape, const Timetable& when, const LayerTape<Real>& tape, bool reverse, Index H_pad,
                 Real* seen, Index W_pad) {
  const Index steps = shape.readout == Readout::mean ? when.steps : 1;
  each_readout_row(shape, when, steps * H_pad, [&](Index m, Index row, Index t) {
    Real* to = seen + m * W_pad;
    if (shape.readout != Readout::mean) {
      const Index step = when.time_of(reverse, t, row);
      const Index from = shape.readout == Readout::last ? last_row(when, row) : when.block[step + 1] + row;
      for (Index i = 0; i < H_pad; i += lanes<Real>) store(to + i, load(tape.h + from * tape.h_row + i));
      return;
    }
    const Real length = Real(when.lengths[row]);
    for (Index i = 0; i < H_pad; i += lanes<Real>) {
      Vector<Real> sum = {};
      for (Index step = 0; step < when.lengths[row]; ++step) {
        sum += load(tape.h + (when.block[step + 1] + row) * tape.h_row + i);
      }
      store(to + i, sum / length);
    }
  });
}

// The rows that the readout sees, and how far apart they lie.
template <class Real> struct Seen {
  const Real* rows;
  Index width;

  Seen(const TapeParts<Real>& parts, const rnn::Dropout* dropout) {
    if (parts.sees_states_themselves()) {
      const LayerTape<Real> top = parts.layer(parts.shape.layer_count - 1, dropout);
      width = top.h_row;
      rows = top.h + parts.when.sequences * width;
    } else {
      width = layout<Real>(parts.shape).readout.W_pad;
      rows = parts.seen();
    }
  }
};

// Few outputs: a sum over the units for each, instead of a product whose columns would mostly be padding.
template <class Real>
void sum_for_each_output(Pulse& pulse, Index rows, const ReadoutSizes<Real>& size, const Seen<Real>& seen, const Real* packed,
                 Real* preactivations) {
  const Real *bias = packed + size.bias(), *W_y = packed + size.forward_weights();
  const Index last = padded<Real>(size.W) - lanes<Real>;
  Real is_unit[lanes<Real>];  // of the last vector
  for (Index i = 0; i < lanes<Real>; ++i) is_unit[i] = Real(last + i < size.W);
  Purse purse{pulse};
  for (Index m = 0; m < rows; ++m) {
    const Real* h = seen.rows + m * seen.width;
    for (Index o = 0; o < size.O; ++o) {
      const Real* w = W_y + o * size.W_pad;
      Vector<Real> sum = (load(is_unit) > 0 ? load(h + last) : Vector<Real>{}) * load(w + last);
      for (Index i = 0; i < last; i += lanes<Real>) sum += load(h + i) * load(w + i);
      preactivations[m * size.O_pad + o] = sum_of_lanes<Real>(sum) + bias[o];
    }
    purse.spend(size.W);
  }
}

template <class Real>
void readout_forward(const TapeParts<Real>& parts, const Real* packed, const rnn::Dropout* dropout) {
  const NetworkShape& shape = parts.shape;
  const Timetable& when = parts.when;
  const ReadoutSizes<Real>& size = layout<Real>(shape).readout;
  for (Index b = 0; !parts.sees_states_themselves() && b < size.seen.count; ++b) {
    const Index layer = shape.layer_count - size.seen.count + b;
    gather_seen(shape, when, parts.layer(layer, dropout), shape.layers[layer].reverse, size.seen.distance,
                parts.seen() + b * size.seen.distance, size.W_pad);
  }
  const Seen<Real> seen(parts, dropout);
  const Index rows = when.readout_rows(shape.readout);
  if (size.few_outputs()) return sum_for_each_output(when.pulse, rows, size, seen, packed, parts.preactivations());
  const Real *bias = packed + size.bias(), *W = packed;
  static constexpr Real one = 1;
  const Operands<Real> by_state{seen.rows, seen.width, 1, W, size.O_pad, size.W}, by_bias{&one, 0, 0, bias, 0, 1};
  product<Real>(when.pulse, rows, size.O_pad, by_bias, by_state, Places<Real>{parts.preactivations(), size.O_pad});
}

// d_W_y and d_b_y, and the gradient by what the readout saw (M, W_pad).
template <class Real>
void readout_backward(const TapeParts<Real>& parts, const Real* packed, const rnn::Dropout* dropout, const Real* d_outputs,
                      Real* d_seen, Real* gradient) {
  const ReadoutSizes<Real>& size = layout<Real>(parts.shape).readout;
  Pulse& pulse = parts.when.pulse;
  const Index rows = parts.when.readout_rows(parts.shape.readout), numbers = size.seen.numbers();
  const Seen<Real> seen(parts, dropout);
  Real *d_W_y = gradient, *d_b_y = d_W_y + size.O * numbers;
  for (Index b = 0; b < size.seen.count; ++b) {
    const Index first = b * size.seen.distance;
    const Operands<Real> over_rows{d_outputs, 1, size.O_pad, seen.rows + first, seen.width, rows};
    product_into_rows(pulse, size.O, over_rows, d_W_y + b * size.seen.size, numbers, size.seen.size);
  }
  for (Index o = 0; o < size.O; o += lanes<Real>) {
    Vector<Real> sum = {};
    for (Index m = 0; m < rows; ++m) sum += load(d_outputs + m * size.O_pad + o);
    store_some(d_b_y + o, sum, size.O - o);
    pulse.spend(rows);
  }
  const Operands<Real> by_output{d_outputs, size.O_pad, 1, packed + size.forward_weights(), size.W_pad, size.O};
  product<Real>(pulse, rows, size.W_pad, by_output, no_operands<Real>, Places<Real>{d_seen, size.W_pad});
}

template <class Real>
void outputs(const NetworkShape& shape, const Timetable& when, const Real* tape, Padded<Real> preactivations, Real* y) {
  const Index O = shape.outputs, O_pad = layout<Real>(shape).readout.O_pad;
  const Real* a = TapeParts<Real>{shape, when, const_cast<Real*>(tape)}.preactivations();
  const bool are_outputs = shape.output_activation == OutputActivation::linear && preactivations.array == y;
  each_readout_row(shape, when, O, [&](Index m, Index row, Index t) {
    const Index place = (when.order[row] * preactivations.steps + t) * O;
    for (Index o = 0; o < O; ++o) preactivations.array[place + o] = a[m * O_pad + o];
    if (!are_outputs) output_row(shape.output_activation, O, a + m * O_pad, y + place);
  });
}

// The states in rows place(row) of the tape, into rows (N, state_size) in the user's order.
template <class Real, class Place>
void copy_states(const NetworkShape& shape, const Timetable& when, const rnn::Dropout* dropout, const Real* tape, Real* state,
                 const Place& place) {
  const TapeParts<Real> parts{shape, when, const_cast<Real*>(tape)};
  for (Index l = 0; l < shape.layer_count; ++l) {
    const LayerView<Real>& here = view<Real>(shape, l);
    const LayerTape<Real> layer = parts.layer(l, dropout);
    const Index H = here.size.H, H_pad = here.size.H_pad;
    each_row(when.pulse, 0, when.sequences, H, [&](Index row) {
      const Index from = place(row);
      Real* to = state + when.order[row] * shape.state_size + here.state;
      copy_row(to, layer.h + from * layer.h_row, H);
      if (here.size.has_memory) copy_row(to + H, layer.c + from * H_pad, H);
    });
  }
}

// The states at the last real steps.
template <class Real>
void final_states(const NetworkShape& shape, const Timetable& when, const rnn::Dropout* dropout, const Real* tape,
                  Real* state) {
  copy_states(shape, when, dropout, tape, state, [&](Index row) { return last_row(when, row); });
}

// The states before the first step.
template <class Real> void states(const NetworkShape& shape, const Timetable& when, const Real* tape, Real* state) {
  copy_states(shape, when, nullptr, tape, state, [](Index row) { return row; });
}

template <class Real>
void set_d_preactivations(const NetworkShape& shape, const Timetable& when, Padded<const Real> d_preactivations,
                          Real* workspace) {
  const Index O = shape.outputs, O_pad = layout<Real>(shape).readout.O_pad;
  each_readout_row(shape, when, O, [&](Index m, Index row, Index t) {
    const Real* from = d_preactivations.array + (when.order[row] * d_preactivations.steps + t) * O;
    for (Index o = 0; o < O; ++o) workspace[m * O_pad + o] = from[o];
  });
}

// Σ w ℓ / total_weight over the rows of the readout, and its gradient by the pre-activations into the workspace.
template <class Real>
double loss(const NetworkShape& shape, const Timetable& when, const Real* tape, const TargetRows<Real>& targets,
            double total_weight, Real* workspace) {
  const Index O = shape.outputs, O_pad = layout<Real>(shape).readout.O_pad;
  const Real* a = TapeParts<Real>{shape, when, const_cast<Real*>(tape)}.preactivations();
  // All losses but the categorical cross-entropy average over the outputs of a row: the division is made once, here.
  const bool sums_classes = shape.loss == Loss::ce && shape.output_activation == OutputActivation::softmax;
  const double scale = 1 / (sums_classes ? total_weight : total_weight * double(O));
  return with_loss(shape, [&](auto loss) {
    double sum = 0;
    each_readout_row(shape, when, O, [&](Index m, Index row, Index t) {
      const Index target = targets.rows.starts[when.order[row]] + t;
      const double share = double(targets.weights[target]) * scale;
      sum += share * loss.row(O, a + m * O_pad, targets.rows.array + target * O, Real(share), workspace + m * O_pad);
    });
    return sum;
  });
}

}  // namespace
