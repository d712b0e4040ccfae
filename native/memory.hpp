// What a network keeps in memory: packed weights, the tape that forward leaves for backward, and backward's workspace.
#pragma once

#include "layers.hpp"

namespace {

using rnn::Readout;

// The readout's two layouts: forward (W + 1, O_pad), its last row the bias, and W_y (O, W_pad) for the way back, and forward
// too where the outputs are few: of the first layout there is the bias alone. W counts what the readout sees of a sequence: the
// states of all directions of the top level, each padded.
template <class Real> struct ReadoutSizes {
  Blocks seen;
  Index W, W_pad, O, O_pad;

  explicit ReadoutSizes(const NetworkShape& shape)
      : seen(blocks_below<Real>(shape, shape.layer_count)), W(seen.columns()), W_pad(seen.count * seen.distance),
        O(shape.outputs), O_pad(padded<Real>(O)) {}

  bool few_outputs() const { return 2 * O <= lanes<Real>; }
  Index bias() const { return few_outputs() ? 0 : W * O_pad; }  // where it begins
  Index forward_weights() const { return bias() + O_pad; }
  Index packed() const { return forward_weights() + O * W_pad; }
  Index weights() const { return O * seen.numbers() + O; }  // of the flat parameters
};

// One direction: its sizes, and where its parameters, packed weights and states begin among those of all.
template <class Real> struct LayerView {
  LayerSizes<Real> size;
  Index parameters, packed, state;

  LayerWeights<Real> weights(const Real* all_packed, const Real* all_parameters) const {
    return {size, all_packed + packed, all_parameters + parameters};
  }
};

// All sizes of a network, worked out once when its plan is made; the views of the directions follow in memory.
template <class Real> struct Layout {
  ReadoutSizes<Real> readout;
  Index readout_packed, packed;  // where the readout's packed weights begin, and the size of all
  Index widest_level, widest_A, widest_H, widest_turned;

  const LayerView<Real>* views() const { return reinterpret_cast<const LayerView<Real>*>(this + 1); }
};

template <class Real> const Layout<Real>& layout(const NetworkShape& shape) {
  return *static_cast<const Layout<Real>*>(shape.layout);
}

template <class Real> const LayerView<Real>& view(const NetworkShape& shape, Index layer) {
  return layout<Real>(shape).views()[layer];
}

template <class Real> Index layout_bytes(const NetworkShape& shape) {
  return sizeof(Layout<Real>) + shape.layer_count * sizeof(LayerView<Real>);
}

template <class Real> void lay_out(const NetworkShape& shape, void* memory) {
  Layout<Real> all{ReadoutSizes<Real>(shape), 0, 0, 0, 0, 0, 0};
  all.widest_level = all.readout.W_pad;
  char* to = static_cast<char*>(memory) + sizeof(all);
  Index parameters = shape.embedding_size(), state = 0;
  for (Index l = 0; l < shape.layer_count; ++l, to += sizeof(LayerView<Real>)) {
    const LayerView<Real> here{LayerSizes<Real>(shape, l), parameters, all.readout_packed, state};
    __builtin_memcpy(to, &here, sizeof(here));
    const LayerSizes<Real>& size = here.size;
    all.widest_level = size.D_pad > all.widest_level ? size.D_pad : all.widest_level;
    all.widest_A = size.A > all.widest_A ? size.A : all.widest_A;
    all.widest_H = size.H_pad > all.widest_H ? size.H_pad : all.widest_H;
    all.widest_turned = size.turned() > all.widest_turned ? size.turned() : all.widest_turned;
    all.readout_packed += size.packed();
    parameters += shape.layers[l].own_parameters();
    state += shape.layers[l].states() * shape.layers[l].hidden;
  }
  all.packed = all.readout_packed + all.readout.packed();
  __builtin_memcpy(memory, &all, sizeof(all));
}

template <class Real> Index packed_size(const NetworkShape& shape) { return layout<Real>(shape).packed; }

template <class Real> void pack(const NetworkShape& shape, const Real* parameters, Real* packed) {
  for (Index l = 0; l < shape.layer_count; ++l) {
    const LayerView<Real>& here = view<Real>(shape, l);
    with_cell<Real>(shape.layers[l], [&](auto cell) {
      pack_layer<decltype(cell), Real>(here.size, parameters + here.parameters, packed + here.packed);
    });
  }
  const ReadoutSizes<Real>& size = layout<Real>(shape).readout;
  const Index numbers = size.seen.numbers();
  const Real *W_y = parameters + (shape.parameter_count() - size.weights()), *b_y = W_y + size.O * numbers;
  Real *forward = packed + layout<Real>(shape).readout_packed, *backward = forward + size.forward_weights();
  for (Index b = 0; b < size.seen.count; ++b) {
    const Index first = b * size.seen.distance;
    const Real* block = W_y + b * size.seen.size;
    if (!size.few_outputs()) transpose(block, numbers, size.O, size.seen.size, forward + first * size.O_pad, size.O_pad);
    copy_rows(block, numbers, size.O, size.seen.size, backward + first, size.W_pad);
  }
  copy_row(forward + size.bias(), b_y, size.O);
}

// What forward leaves for backward: the tape of each direction; then the rows the readout saw, unless those are the top
// layer's own states; then the pre-activations (M, O_pad).
template <class Real> struct TapeParts {
  const NetworkShape& shape;
  const Timetable& when;
  Real* memory;

  Real* layer_memory(Index layer) const {
    Real* at = memory;
    for (Index l = 0; l < layer; ++l) at += LayerTape<Real>(view<Real>(shape, l).size, when, false, at).size;
    return at;
  }
  LayerTape<Real> layer(Index l, const rnn::Dropout* dropout) const {
    const LayerSizes<Real>& size = view<Real>(shape, l).size;
    return {size, when, size.masks_state && dropout, layer_memory(l)};
  }
  bool sees_states_themselves() const {
    return shape.readout == Readout::every && shape.directions(shape.layer_count - 1) == 1;
  }
  Real* seen() const { return layer_memory(shape.layer_count); }  // (M, W_pad)
  Real* preactivations() const {
    return seen() + (sees_states_themselves() ? 0 : when.readout_rows(shape.readout) * layout<Real>(shape).readout.W_pad);
  }
  Index size() const {
    return preactivations() - memory + when.readout_rows(shape.readout) * layout<Real>(shape).readout.O_pad;
  }
};

// The gradients on the way back: by the pre-activations of the outputs (M, O_pad); by what the readout saw (M, W_pad), if
// that is not every state; by what a level gives and by what it reads (real steps, widest), in turn; by the pre-activations
// of the direction at work, unless they take the place of its gates; what its steps hand on; and what is to be turned round.
template <class Real> struct WorkspaceParts {
  const NetworkShape& shape;
  const Timetable& when;
  Real* memory;

  Real* d_outputs() const { return memory; }
  Real* d_seen() const { return memory + when.readout_rows(shape.readout) * layout<Real>(shape).readout.O_pad; }
  Real* d_level(Index level) const {  // level counts from 0, the inputs of the first layer
    const Index seen = shape.readout == Readout::every ? 0 : when.sequences * layout<Real>(shape).readout.W_pad;
    return d_seen() + seen + (level % 2) * when.real_steps() * layout<Real>(shape).widest_level;
  }
  LayerGradients<Real> layer() const {
    Real* d_a = d_level(0) + 2 * when.real_steps() * layout<Real>(shape).widest_level;
    Real* d_h = d_a + when.rows() * layout<Real>(shape).widest_A;
    const Index states = when.sequences * layout<Real>(shape).widest_H;
    return {d_a, d_h, d_h + states, d_h + 2 * states, d_h + 3 * states, nullptr};
  }
  Index size() const { return layer().turned + layout<Real>(shape).widest_turned - memory; }
};

template <class Real> Index tape_size(const NetworkShape& shape, const Timetable& when) {
  return TapeParts<Real>{shape, when, nullptr}.size();
}

template <class Real> Index workspace_size(const NetworkShape& shape, const Timetable& when) {
  return WorkspaceParts<Real>{shape, when, nullptr}.size();
}

}  // namespace
