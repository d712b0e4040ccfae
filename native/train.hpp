// A whole network on plain memory: the levels of the stack on top of each other, the readout, and back.
#pragma once

#include "optimize.hpp"
#include "readout.hpp"

namespace {

using rnn::Dropout;
using rnn::Gradients;
using rnn::Inputs;
using rnn::LayerShape;

// Multiplies what a level reads at one step, `blocks` of numbers, with its masks.
template <class Real>
void drop_inputs(const NetworkShape& shape, const LayerShape& layer, const Blocks& blocks, const Dropout& dropout,
                 Index sequence, Index time, Real* x) {
  for (Index b = 0; b < blocks.count; ++b) {
    Real* values = x + b * blocks.distance;
    const Index first_unit = b * blocks.size;
    if (shape.dropout > 0 && layer.level > 0) {
      const MaskAddress address{dropout, Mask::between_layers, layer.level, sequence, time};
      drop(values, first_unit, blocks.size, shape.dropout, address);
    }
    if (layer.input_dropout > 0) {
      drop(values, first_unit, blocks.size, layer.input_dropout, {dropout, Mask::input, layer.level, sequence, 0});
    }
  }
}

inline bool drops_inputs(const NetworkShape& shape, const LayerShape& layer, const Dropout* dropout) {
  return dropout && ((shape.dropout > 0 && layer.level > 0) || layer.input_dropout > 0);
}

// The x and the 1 of every state row; source(time, row, x) writes x. Rows that only keep a last state get zeros: their d_a is
// zero, and zero times whatever stood there before must be zero.
template <class Real, class Source>
void set_inputs(const LayerSizes<Real>& size, const Timetable& when, bool reverse, Real* rows, const Source& source) {
  Purse purse{when.pulse};
  Real* x = rows + size.H_pad;
  const auto set = [&](Index time, Index row) __attribute__((always_inline)) {
    source(time, row, x);
    x[size.D] = 1;
    x += size.row;
    purse.spend(size.D);
  };
  if (when.sequences == 1) {  // with one row in a step, looking at the timetable would be felt
    for (Index t = 0; t < when.steps; ++t) set(reverse ? when.steps - 1 - t : t, 0);
    return;
  }
  for (Index t = 0; t < when.steps; ++t) {
    for (Index row = 0; row < when.active[t]; ++row) set(when.time_of(reverse, t, row), row);
    for (Index row = when.active[t]; row < when.block_rows(t); ++row, x += size.row) {
      for (Index d = 0; d <= size.D; ++d) x[d] = 0;
    }
  }
}

template <class Real>
void read_inputs(const TapeParts<Real>& parts, Index layer, const Real* parameters, const Inputs<Real>& inputs, Real* rows) {
  const NetworkShape& shape = parts.shape;
  const Timetable& when = parts.when;
  const LayerShape& here = shape.layers[layer];
  const LayerSizes<Real>& size = view<Real>(shape, layer).size;
  const Index* starts = inputs.rows.starts;
  if (here.level == 0 && !inputs.tokens) {
    set_inputs(size, when, here.reverse, rows, [&](Index time, Index row, Real* x) {
      const Real* from = inputs.rows.array + (starts[when.order[row]] + time) * size.D;
      __builtin_prefetch(from + 256 / sizeof(Real));
      copy_row(x, from, size.D);
    });
  } else if (here.level == 0) {
    set_inputs(size, when, here.reverse, rows, [&](Index time, Index row, Real* x) {
      const Index token = inputs.tokens[starts[when.order[row]] + time];
      const bool known = token >= 0 && token < shape.vocabulary;  // whoever called has looked; memory is safe without
      copy_row(x, parameters + (known ? token : 0) * size.D, size.D);
    });
  } else {
    const Index top = here.reverse ? layer - 2 : layer - 1;  // of the level below
    for (Index b = 0; b < size.below.count; ++b) {
      const Index source = top - (size.below.count - 1) + b;
      const bool reverse = shape.layers[source].reverse;
      const LayerTape<Real> below = parts.layer(source, inputs.dropout);
      const Index first = b * size.below.distance, rest = size.D - first;
      const Index count = rest < size.below.distance ? rest : size.below.distance;
      set_inputs(size, when, here.reverse, rows, [&](Index time, Index row, Real* x) {
        copy_row(x + first, below.h + (when.block[when.time_of(reverse, time, row) + 1] + row) * below.h_row, count);
      });
    }
  }
  if (!drops_inputs(shape, here, inputs.dropout)) return;
  each_step(when, when.steps, size.D, [&](Index t, Index row) {
    drop_inputs(shape, here, size.below, *inputs.dropout, when.order[row], when.time_of(here.reverse, t, row),
                rows + (when.block[t] + row) * size.row + size.H_pad);
  });
}

// Rows of padded states from what the user gave (at `given`, or null), else from the learned ones (or null), else zero.
template <class Real>
void set_states(const Timetable& when, Index H, Index H_pad, const Real* given, Index width, const Real* learned, Real* to,
                Index to_row) {
  each_row(when.pulse, 0, when.sequences, H, [&](Index row) {
    const Real* from = given ? given + when.order[row] * width : learned;
    zero(to + row * to_row, H_pad);
    if (from) copy_row(to + row * to_row, from, H);
  });
}

template <class Real>
void set_first_states(const NetworkShape& shape, const Timetable& when, const LayerShape& layer, const LayerView<Real>& here,
                      const Real* state, const Real* parameters, const LayerTape<Real>& tape) {
  const Index H = here.size.H, H_pad = here.size.H_pad;
  const Real* given = state ? state + here.state : nullptr;
  const Real* learned = layer.learned_state ? parameters + here.parameters + here.size.weights() : nullptr;
  set_states(when, H, H_pad, given, shape.state_size, learned, tape.h, tape.h_row);
  if (!here.size.has_memory) return;
  set_states(when, H, H_pad, given ? given + H : nullptr, shape.state_size, learned ? learned + H : nullptr, tape.c, H_pad);
}

template <class Real>
void set_all_first_states(const TapeParts<Real>& parts, const Real* parameters, const Dropout* dropout, const Real* state) {
  const NetworkShape& shape = parts.shape;
  for (Index l = 0; l < shape.layer_count; ++l) {
    set_first_states(shape, parts.when, shape.layers[l], view<Real>(shape, l), state, parameters, parts.layer(l, dropout));
  }
}

template <class Real>
void set_state_mask(const Timetable& when, const LayerShape& layer, const LayerSizes<Real>& size, const Dropout& dropout,
                    Real* mask) {
  const Mask kind = layer.reverse ? Mask::recurrent_reverse : Mask::recurrent;
  each_row(when.pulse, 0, when.sequences, size.H, [&](Index row) {
    for (Index i = 0; i < size.H_pad; ++i) mask[i] = 1;
    drop(mask, 0, size.H, layer.recurrent_dropout, {dropout, kind, layer.level, when.order[row], 0});
    mask += size.H_pad;
  });
}

// From first states that are on the tape already.
template <class Real>
void run(const NetworkShape& shape, const Real* parameters, const Real* packed, const Timetable& when,
         const Inputs<Real>& inputs, const TapeParts<Real>& parts) {
  for (Index l = 0; l < shape.layer_count; ++l) {
    const LayerShape& layer = shape.layers[l];
    const LayerView<Real>& here = view<Real>(shape, l);
    const LayerTape<Real> tape = parts.layer(l, inputs.dropout);
    if (tape.mask) set_state_mask(when, layer, here.size, *inputs.dropout, tape.mask);
    read_inputs(parts, l, parameters, inputs, tape.rows);
    const LayerWeights<Real> weights = here.weights(packed, parameters);
    with_active_cell<Real>(layer, [&](auto cell) {
      using Cell = decltype(cell);
      alone_or_not<Cell>(when, tape.mask, [&](auto alone) {
        layer_forward<Cell, alone.value, Real>(here.size, weights, when, tape);
      });
    });
  }
  readout_forward(parts, packed + layout<Real>(shape).readout_packed, inputs.dropout);
}

template <class Real>
void forward(const NetworkShape& shape, const Real* parameters, const Real* packed, const Timetable& when,
             const Inputs<Real>& inputs, const Real* state, Real* memory) {
  const TapeParts<Real> parts{shape, when, memory};
  set_all_first_states(parts, parameters, inputs.dropout, state);
  run(shape, parameters, packed, when, inputs, parts);
}

template <class Real>
void set_states(const NetworkShape& shape, const Real* parameters, const Timetable& when, const Real* state, Real* memory) {
  set_all_first_states(TapeParts<Real>{shape, when, memory}, parameters, nullptr, state);
}

template <class Real>
void step(const NetworkShape& shape, const Real* parameters, const Real* packed, const Timetable& when,
          const Inputs<Real>& inputs, Real* memory) {
  const TapeParts<Real> parts{shape, when, memory};
  run(shape, parameters, packed, when, inputs, parts);
  for (Index l = 0; l < shape.layer_count; ++l) {
    const LayerSizes<Real>& size = view<Real>(shape, l).size;
    const LayerTape<Real> tape = parts.layer(l, nullptr);
    each_unit<Real>(when, when.sequences, size.H_pad, [&](Index row, Index unit) {
      const Index after = when.sequences + row;
      store(tape.h + row * tape.h_row + unit, load(tape.h + after * tape.h_row + unit));
      if (size.has_memory) store(tape.c + row * size.H_pad + unit, load(tape.c + after * size.H_pad + unit));
    });
  }
}

// What backward does with one direction: from the gradient by what it gives to those by its parameters and first states, and
// d_x by what it reads.
template <class Real> struct BackwardRun {
  const NetworkShape& shape;
  const Real *parameters, *packed;
  const Timetable& when;
  const Inputs<Real>& inputs;
  const TapeParts<Real> parts;
  const WorkspaceParts<Real> work;
  const Gradients<Real>& into;

  // The gradients by the last states of a direction: what the caller gave, and what the readout saw of them.
  void set_last_states(const LayerView<Real>& here, const Real* d_final_state, const Real* d_seen, Index seen_width) const {
    const LayerGradients<Real> d = work.layer();
    const Index H = here.size.H, H_pad = here.size.H_pad;
    const Real* given = d_final_state ? d_final_state + here.state : nullptr;
    const Real* given_c = given ? given + H : nullptr;
    set_states<Real>(when, H, H_pad, given, shape.state_size, nullptr, d.d_h, H_pad);
    if (here.size.has_memory) set_states<Real>(when, H, H_pad, given_c, shape.state_size, nullptr, d.d_c, H_pad);
    if (!d_seen) return;
    each_unit<Real>(when, when.sequences, H_pad, [&](Index row, Index i) {
      store(d.d_h + row * H_pad + i, load(d.d_h + row * H_pad + i) + load(d_seen + row * seen_width + i));
    });
  }

  void first_state_gradient(const LayerShape& layer, const LayerView<Real>& here) const {
    const LayerGradients<Real> d = work.layer();
    const Index H = here.size.H, H_pad = here.size.H_pad;
    Real* learned = into.parameters + here.parameters + here.size.weights();
    for (Index i = 0; i < layer.first_states(); ++i) learned[i] = 0;
    for (Index s = 0; s < layer.states(); ++s) {
      const Real* d_first = s ? d.d_c : d.d_h;
      each_row(when.pulse, 0, when.sequences, H, [&](Index row) {
        const Real* from = d_first + row * H_pad;
        if (into.d_state) copy_row(into.d_state + when.order[row] * shape.state_size + here.state + s * H, from, H);
        for (Index i = 0; into.first_states && layer.learned_state && i < H; ++i) learned[s * H + i] += from[i];
      });
    }
  }

  void direction(Index l, const Real* d_final_state, const Real* d_seen, Index seen_width, const Real* d_above,
                 Index width) const {
    const LayerShape& layer = shape.layers[l];
    const LayerView<Real>& here = view<Real>(shape, l);
    const LayerTape<Real> tape = parts.layer(l, inputs.dropout);
    const LayerWeights<Real> weights = here.weights(packed, parameters);
    LayerGradients<Real> d = work.layer();
    if (into.spends_tape && here.size.columns > 1 && !here.size.resets_before) d.d_a = tape.gates;
    d.d_W_h = into.parameters + here.parameters + here.size.W_x();
    set_last_states(here, d_final_state, d_seen, seen_width);
    const GradientAbove<Real> above{d_above, width, layer.reverse, when};
    with_cell<Real>(layer, [&](auto cell) {
      using Cell = decltype(cell);
      alone_or_not<Cell>(when, tape.mask, [&](auto alone) {
        layer_backward<Cell, alone.value && Cell::COLUMNS == 1, Real>(here.size, weights, when, tape, above, d);
      });
      turn_input_gradient<Cell>(here.size, d.turned, into.parameters + here.parameters);
      if (into.d_state || layer.learned_state) layer_state_gradient<Cell, Real>(here.size, weights, when, tape, d);
    });
    if (into.d_state || layer.learned_state) first_state_gradient(layer, here);
    if (layer.level > 0 || into.d_inputs.array || shape.vocabulary) {
      layer_input_gradient(here.size, weights, when, layer.reverse, d.d_a, work.d_level(layer.level), here.size.D_pad);
    }
  }

  // After all directions of a level have given their share of d_x.
  void drop_below(Index l) const {
    const LayerSizes<Real>& size = view<Real>(shape, l).size;
    if (!drops_inputs(shape, shape.layers[l], inputs.dropout)) return;
    each_step(when, when.steps, size.D, [&](Index t, Index row) {
      Real* d_x = work.d_level(shape.layers[l].level) + when.place(t, row) * size.D_pad;
      drop_inputs(shape, shape.layers[l], size.below, *inputs.dropout, when.order[row], t, d_x);
    });
  }

  // From d_x of the first level to the user's inputs and to the embedding.
  void input_gradient() const {
    const Index D = shape.inputs, D_pad = padded<Real>(D);
    zero_numbers(into.parameters, shape.embedding_size());
    if (!into.d_inputs.array && !shape.vocabulary) return;
    each_step(when, when.steps, D, [&](Index t, Index row) {
      const Real* d_x = work.d_level(0) + when.place(t, row) * D_pad;
      const Index n = when.order[row];
      if (into.d_inputs.array) copy_row(into.d_inputs.array + (n * into.d_inputs.steps + t) * D, d_x, D);
      if (!shape.vocabulary) return;
      const Index token = inputs.tokens[inputs.rows.starts[n] + t];
      Real* d_W_e = into.parameters + (token >= 0 && token < shape.vocabulary ? token : 0) * D;
      for (Index i = 0; i < D; ++i) d_W_e[i] += d_x[i];
    });
  }

  static void zero_numbers(Real* to, Index count) {
    for (Index i = 0; i < count; ++i) to[i] = 0;
  }
};

template <class Real>
void backward(const NetworkShape& shape, const Real* parameters, const Real* packed, const Timetable& when,
              const Inputs<Real>& inputs, const Real* tape, const Real* d_final_state, Real* workspace,
              const Gradients<Real>& into) {
  const TapeParts<Real> parts{shape, when, const_cast<Real*>(tape)};
  const WorkspaceParts<Real> work{shape, when, workspace};
  const BackwardRun<Real> run{shape, parameters, packed, when, inputs, parts, work, into};
  const ReadoutSizes<Real>& readout = layout<Real>(shape).readout;
  const Index W_pad = readout.W_pad, readout_parameters = shape.parameter_count() - readout.weights();
  const Real* readout_packed = packed + layout<Real>(shape).readout_packed;
  Real* d_above = work.d_level(shape.levels);
  Real* d_seen = shape.readout == Readout::every ? d_above : work.d_seen();
  readout_backward(parts, readout_packed, inputs.dropout, work.d_outputs(), d_seen, into.parameters + readout_parameters);
  if (shape.readout == Readout::mean) {  // every real step has its share
    for (Index t = 0; t < when.steps; ++t) {
      each_unit<Real>(when, when.active[t], W_pad, [&](Index row, Index i) {
        store(d_above + when.place(t, row) * W_pad + i, load(d_seen + row * W_pad + i) / Real(when.lengths[row]));
      });
    }
  }
  Index width = W_pad;
  for (Index l = shape.layer_count - 1; l >= 0;) {
    const Index directions = shape.directions(l), first = l - directions + 1;
    const bool top = l == shape.layer_count - 1;
    for (Index direction = 0; direction < directions; ++direction) {
      const Index offset = direction * padded<Real>(shape.layers[l].hidden);
      const bool last_only = top && shape.readout == Readout::last;
      run.direction(first + direction, d_final_state, last_only ? d_seen + offset : nullptr, W_pad,
                    last_only ? nullptr : work.d_level(shape.layers[l].level + 1) + offset, width);
    }
    run.drop_below(l);
    width = view<Real>(shape, first).size.D_pad;
    l = first - 1;
  }
  run.input_gradient();
}

}  // namespace
