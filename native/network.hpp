// What the neutral files and the files compiled per instruction set tell each other: plain structs and a table of functions.
#pragma once

#include <cstdint>

namespace rnn {

using Index = std::int64_t;

enum class Cell : int { elman, gru_reset_after, gru_reset_before, lstm };
enum class Activation : int { tanh, sigmoid, relu, linear };
enum class OutputActivation : int { linear, sigmoid, softmax };
enum class Loss : int { mse, ce, mae, huber };
enum class Readout : int { every, last, mean };
enum class ClippingKind : int { none, global_norm, tensor_norm, value };
enum class Function : int { exp_of_negative, tanh, sigmoid, tanh_again_and_again, multiply_adds };
enum class OptimizerKind : int { sgd, rmsprop, adam, adamw };

// What the files of both kinds need to know of a cell.
struct CellFacts {
  Index gates;       // blocks of H rows in W_x, W_h and b_h
  Index states;      // 1: h; 2: h and c
  bool hidden_bias;  // whether b_hn follows b_h
};

constexpr CellFacts facts(Cell cell) {
  switch (cell) {
    case Cell::gru_reset_after: return {3, 1, true};
    case Cell::gru_reset_before: return {3, 1, false};
    case Cell::lstm: return {4, 2, false};
    default: return {1, 1, false};
  }
}

// One direction of one layer; a bidirectional layer is two of these, one after the other.
struct LayerShape {
  Cell cell;
  Activation activation;  // of the Elman cell
  Index inputs, hidden;
  Index level;  // of the stack, from 0
  bool reverse, learned_state;
  double input_dropout, recurrent_dropout;

  Index gates() const { return facts(cell).gates; }
  Index states() const { return facts(cell).states; }
  Index own_parameters() const {  // those of the flat vector: W_x, W_h, b_h, perhaps b_hn, perhaps h_0 and c_0
    return gates() * hidden * (inputs + hidden + 1) + (facts(cell).hidden_bias ? hidden : 0) + first_states();
  }
  Index first_states() const { return learned_state ? states() * hidden : 0; }
};

struct NetworkShape {
  const LayerShape* layers;  // directions of layers, from the input upwards
  Index layer_count;
  Index levels;
  Index inputs, outputs;
  Index vocabulary;  // 0: the inputs are features
  Readout readout;
  OutputActivation output_activation;
  Loss loss;
  double huber_delta;
  double dropout;                  // between layers
  Index state_size;                // numbers in the state of one sequence, all layers together
  const Index* tensor_boundaries;  // of the flat parameters: tensor i is [i], [i + 1]
  const bool* matrices;            // which tensors are weight matrices
  Index tensor_count;
  const void* layout;  // sizes that the kernels of one instruction set and precision have worked out

  Index parameter_count() const { return tensor_boundaries[tensor_count]; }
  bool drops() const {  // whether training needs masks
    bool found = dropout > 0;
    for (Index l = 0; l < layer_count; ++l) found = found || layers[l].input_dropout > 0 || layers[l].recurrent_dropout > 0;
    return found;
  }
  Index embedding_size() const { return vocabulary * inputs; }
  Index directions(Index layer) const {  // of the level that this direction belongs to
    return (layer + 1 < layer_count && layers[layer + 1].level == layers[layer].level) || layers[layer].reverse ? 2 : 1;
  }
};

// How a long run is interrupted. Kernels count what they do, in steps of about a vector instruction; whenever the count is
// used up they call `look`, which sets it anew and may throw. A run too short to use it up is not asked at all.
struct Pulse {
  Index left;
  void (*look)(Pulse&);

  __attribute__((always_inline)) void spend(Index work) {
    left -= work;
    if (__builtin_expect(left < 0, 0)) look(*this);
  }
};

// When the rows of a batch run. Rows are sequences sorted by falling length; `order` says which sequence a row is. Hidden
// states are stored in blocks of rows: block 0 holds the states before the first step, block t + 1 those after step t, with
// a row for each sequence that had a step t. Nothing is stored for steps that do not exist. A reverse direction has steps of
// its own: its step s of a sequence is that sequence's time length - 1 - s.
struct Timetable {
  Pulse& pulse;          // of the run
  Index sequences;
  Index steps;           // of the longest
  const Index* order;    // (sequences)
  const Index* lengths;  // (sequences): of each row
  const Index* active;   // (steps + 1): rows at step t, and a closing 0
  const Index* block;    // (steps + 2): first row of each block; the last entry is the number of rows
  Index steps_before = 0;  // of the same streams
  bool forgets = false;    // there is no way back: a tape has room for the gates of one step

  Index rows() const { return block[steps + 1]; }
  Index real_steps() const { return block[steps + 1] - sequences; }
  Index step_rows() const { return block[steps]; }  // of the blocks that a step begins in
  // Where on a tape the gates of a step lie, and what else only backward needs of it; and how many rows of that there are.
  Index kept_row(Index t) const { return forgets ? 0 : block[t]; }
  Index kept_rows() const { return forgets ? sequences : step_rows(); }
  Index readout_rows(Readout readout) const { return readout == Readout::every ? real_steps() : sequences; }
  Index block_rows(Index t) const { return block[t + 1] - block[t]; }
  // Whether a step goes through the weights from the last ones to the first: every other one does.
  bool turns_back(Index t) const { return (steps_before + t) % 2; }
  Index time_of(bool reverse, Index step, Index row) const { return reverse ? lengths[row] - 1 - step : step; }
  Index place(Index time, Index row) const { return block[time + 1] - sequences + row; }  // among all real steps
};

// Names the dropout masks of a run; see textbook/dropout.py.
struct Dropout {
  std::uint64_t key, epoch;
  const Index* sequences;    // what each sequence of the batch is called, or null: by its number
  const Index* first_steps;  // the time of its first step, or null: 0

  std::uint64_t name(Index n) const { return std::uint64_t(sequences ? sequences[n] : n); }
  std::uint64_t time(Index n, Index step) const {  // of whatever numbers the user gave: it may wrap
    return std::uint64_t(step) + std::uint64_t(first_steps ? first_steps[n] : 0);
  }
};

// N sequences as rows of one array: sequence n begins at row starts[n].
template <class Real> struct Sequences {
  const Real* array;
  const Index* starts;
  Index width;  // numbers in a row
};

// What a run reads: rows of features, or tokens at the same places; and which masks it uses, or null.
template <class Real> struct Inputs {
  Sequences<Real> rows;
  const Index* tokens;
  const Dropout* dropout;
};

template <class Real> struct TargetRows {
  Sequences<Real> rows;
  const Real* weights;
};

struct ClippingRule {
  ClippingKind kind;
  double limit;
};

// What is done to the gradient before it is clipped.
struct Regularization {
  double penalty;      // ½ · penalty · Σ‖W‖² over the weight matrices
  const bool* frozen;  // (tensors)
};

// beta1 keeps m (the momentum, for SGD), beta2 keeps v; arrays that an optimiser does not use are empty.
template <class Real> struct Optimizer {
  OptimizerKind kind;
  double beta1, beta2, epsilon, weight_decay;
  bool nesterov;
  Real *m, *v;
  Index* updates;

  bool counts_updates() const { return kind == OptimizerKind::adam || kind == OptimizerKind::adamw; }
};

// Some of the flat parameters.
struct Range {
  Index first, last;
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

// Where backward puts gradients. d_inputs and d_state may be null: not wanted. With first_states, nobody gave a state, and
// the gradient by the learned ones goes into `parameters`; else that is zero. A tape that nobody wants afterwards is spent:
// gradients may take the place of what they were made from, which need not come to the processor once more.
template <class Real> struct Gradients {
  Real* parameters;
  Padded<Real> d_inputs;
  Real* d_state;
  bool first_states;
  bool spends_tape = false;
};

// The kernels of one instruction set and precision. Sizes are counted in numbers of type Real. What has a timetable can be
// left by an exception at any point, and then has written some of its results. Kernels own nothing that this would leak.
template <class Real> struct Kernels {
  Index (*layout_bytes)(const NetworkShape&);
  void (*lay_out)(const NetworkShape&, void* layout);
  Index (*packed_size)(const NetworkShape&);
  void (*pack)(const NetworkShape&, const Real* parameters, Real* packed);

  Index (*tape_size)(const NetworkShape&, const Timetable&);
  // Without a state, sequences start from the learned one, or zero.
  void (*forward)(const NetworkShape&, const Real* parameters, const Real* packed, const Timetable&, const Inputs<Real>&,
                  const Real* state, Real* tape);
  // The pre-activations and the outputs may be one array.
  void (*outputs)(const NetworkShape&, const Timetable&, const Real* tape, Padded<Real> preactivations, Real* outputs);
  void (*final_states)(const NetworkShape&, const Timetable&, const Dropout*, const Real* tape, Real* state);

  // Streams: a tape of one step whose first states are those of the present; `step` ends with those after it in their place.
  void (*set_states)(const NetworkShape&, const Real* parameters, const Timetable&, const Real* state, Real* tape);
  void (*states)(const NetworkShape&, const Timetable&, const Real* tape, Real* state);
  void (*step)(const NetworkShape&, const Real* parameters, const Real* packed, const Timetable&, const Inputs<Real>&,
               Real* tape);

  Index (*workspace_size)(const NetworkShape&, const Timetable&);
  void (*set_d_preactivations)(const NetworkShape&, const Timetable&, Padded<const Real> d_preactivations, Real* workspace);
  // The share of these rows in Σ w ℓ / `total_weight`, and its gradient by the pre-activations.
  double (*loss)(const NetworkShape&, const Timetable&, const Real* tape, const TargetRows<Real>&, double total_weight,
                 Real* workspace);
  // d_final_state may be null: zeros. Of the inputs, only tokens and masks are read. A tape is written where it is spent.
  void (*backward)(const NetworkShape&, const Real* parameters, const Real* packed, const Timetable&, const Inputs<Real>&,
                   const Real* tape, const Real* d_final_state, Real* workspace, const Gradients<Real>&);

  void (*evaluate)(Function, Index count, const Real* from, Real* to);
  void (*add)(Real* to, const Real* from, Index count);
  // Adds the penalty to the gradient and gives it; sets the gradient of frozen tensors to zero.
  double (*regularize)(const NetworkShape&, const Regularization&, const Real* parameters, Real* gradient);
  GradientSize (*clip)(const NetworkShape&, ClippingRule, Real* gradient);
  // Of some parameters; the optimiser counts this update already. Weight matrices decay unless they are frozen.
  void (*update)(const NetworkShape&, const bool* frozen, Real* parameters, const Real* gradient, const Optimizer<Real>&,
                 double learning_rate, Range);
};

struct InstructionSet {
  const char* name;
  const Kernels<float>* single_precision;
  const Kernels<double>* double_precision;
};

}  // namespace rnn
