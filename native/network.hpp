// What the neutral files and the files compiled per instruction set tell each other: plain structs and a table of functions.
#pragma once

#include <cstdint>

namespace rnn {

using Index = std::int64_t;

enum class Activation : int { tanh, sigmoid, relu, linear };
enum class OutputActivation : int { linear, sigmoid, softmax };
enum class Loss : int { mse, ce };
enum class Readout : int { every, last };
enum class ClippingKind : int { none, global_norm, tensor_norm };
enum class OptimizerKind : int { sgd, adam };

struct LayerShape {
  Activation activation;
  Index inputs, hidden;
};

struct NetworkShape {
  const LayerShape* layers;
  Index layer_count;
  Index inputs, outputs;
  Readout readout;
  OutputActivation output_activation;
  Loss loss;
  Index state_size;               // hidden units of all layers together
  const Index* tensor_boundaries; // of the flat parameters: tensor i is [i], [i + 1]
  Index tensor_count;

  Index parameter_count() const { return tensor_boundaries[tensor_count]; }
};

// When the rows of a batch run. Rows are sequences sorted by falling length; `order` says which sequence a row is. Hidden
// states are stored in blocks of rows: block 0 holds the states before the first step, block t + 1 those after step t, with
// a row for each sequence that had a step t. Nothing is stored for steps that do not exist.
struct Timetable {
  Index sequences;
  Index steps;          // of the longest
  const Index* order;   // (sequences)
  const Index* active;  // (steps + 1): rows at step t, and a closing 0
  const Index* block;   // (steps + 2): first row of each block; the last entry is the number of rows

  Index rows() const { return block[steps + 1]; }
  Index real_steps() const { return block[steps + 1] - sequences; }
  Index readout_rows(Readout readout) const { return readout == Readout::every ? real_steps() : sequences; }
  Index block_rows(Index t) const { return block[t + 1] - block[t]; }
};

// N sequences as rows of one array: sequence n begins at row starts[n].
template <class Real> struct Sequences {
  const Real* array;
  const Index* starts;
  Index width;  // numbers in a row
};

template <class Real> struct TargetRows {
  Sequences<Real> rows;
  const Real* weights;
};

struct ClippingRule {
  ClippingKind kind;
  double limit;
};

template <class Real> struct Optimizer {
  OptimizerKind kind;
  double beta1, beta2, epsilon;
  Real *m, *v;
  Index* updates;
};

struct GradientSize {
  double norm;
  bool clipped;
};

// Arrays of user-visible shape (N, T, width), of which `steps` is T.
template <class Real> struct Padded {
  Real* array;
  Index steps;
};

// The kernels of one instruction set and precision. Sizes are counted in numbers of type Real.
template <class Real> struct Kernels {
  Index (*packed_size)(const NetworkShape&);
  void (*pack)(const NetworkShape&, const Real* parameters, Real* packed);

  Index (*tape_size)(const NetworkShape&, const Timetable&);
  void (*forward)(const NetworkShape&, const Real* parameters, const Real* packed, const Timetable&, const Sequences<Real>&,
                  const Real* state, Real* tape);
  void (*outputs)(const NetworkShape&, const Timetable&, const Real* tape, Padded<Real> preactivations, Real* outputs,
                  Real* final_state);

  Index (*workspace_size)(const NetworkShape&, const Timetable&);
  void (*set_d_preactivations)(const NetworkShape&, const Timetable&, Padded<const Real> d_preactivations, Real* workspace);
  double (*loss)(const NetworkShape&, const Timetable&, const Real* tape, const TargetRows<Real>&, Real* workspace);
  // d_final_state, d_inputs and d_state may be null: zeros, and not wanted.
  void (*backward)(const NetworkShape&, const Real* parameters, const Real* packed, const Timetable&, const Real* tape,
                   const Real* d_final_state, Real* workspace, Real* gradient, Padded<Real> d_inputs, Real* d_state);

  GradientSize (*clip)(const NetworkShape&, ClippingRule, Real* gradient);
  void (*update)(Index count, Real* parameters, const Real* gradient, const Optimizer<Real>&, double learning_rate);
};

struct InstructionSet {
  const char* name;
  const Kernels<float>* single_precision;
  const Kernels<double>* double_precision;
};

}  // namespace rnn
