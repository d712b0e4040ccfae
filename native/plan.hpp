// What lives longer than a call: a network's packed weights, its workspace, and the tapes of its runs. No Python here.
#pragma once

#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "network.hpp"

namespace rnn {

// Zeroed memory for vectors of any instruction set; grows, never shrinks.
template <class Real> class Buffer {
 public:
  Real* at_least(Index count) {
    if (count > size_) {
      memory_.reset();
      size_ = 0;
      const std::size_t bytes = std::size_t(count) * sizeof(Real);
      memory_.reset(static_cast<Real*>(::operator new(bytes, alignment)));
      std::memset(memory_.get(), 0, bytes);
      size_ = count;
    }
    return memory_.get();
  }
  const Real* data() const { return memory_.get(); }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Free {
    void operator()(Real* memory) const { ::operator delete(memory, alignment); }
  };
  std::unique_ptr<Real, Free> memory_;
  Index size_ = 0;
};

// Sorts sequences by falling length and lays out their rows; see Timetable.
class Schedule {
 public:
  // Row lengths are lengths[chosen[i]], or lengths[i] where chosen is null.
  void build(const Index* lengths, const Index* chosen, Index sequences);
  Timetable timetable() const;

 private:
  void lay_out(const Index* lengths);

  std::vector<Index> order_, lengths_, active_, block_;
  Index steps_ = 0, same_length_ = 0;
};

struct NetworkDescription {
  std::vector<LayerShape> layers;
  std::vector<Index> tensor_boundaries;
  std::unique_ptr<bool[]> matrices;
  std::vector<Index> learned;  // (state_size): the parameter that each number of the state starts from, or -1: zero
  NetworkShape shape;

  // `words` has everything that does not follow from the layers.
  NetworkDescription(std::vector<LayerShape> layers, const NetworkShape& words);
  NetworkDescription(const NetworkDescription&) = delete;  // shape points into the vectors
};

template <class Real> struct Tape {
  Index plan = 0;  // the number of the plan that made it: only that plan knows how it is laid out
  Schedule schedule;
  Buffer<Real> memory;
  std::vector<Index> starts, tokens, names, first_steps;  // what backward reads of the inputs, if it does
  Dropout dropout{};
  bool masked = false;

  void keep(const Inputs<Real>&, const Index* lengths, Index sequences);
  Inputs<Real> inputs() const;  // points into this
};

// States that live longer than an update: sequence n continues row owners[n], unless it is the first part of its whole,
// first_steps[n] = 0; afterwards that row holds its final state. Without a state there are none.
template <class Real> struct Carried {
  const Index *owners, *first_steps;
  Real* state;  // (rows, state_size)
};

// A batch as the user has it: N sequences in rows of `inputs`.
template <class Real> struct Run {
  Inputs<Real> inputs;
  const Index* lengths;
  Index sequences;
  Index steps;  // T of the user's arrays
};

template <class Real> struct ForwardResult {
  Real *outputs, *preactivations, *final_state;
};

template <class Real> struct Training {
  Inputs<Real> inputs;
  TargetRows<Real> targets;
  const Index* lengths;
  const Index *order, *boundaries;
  const double* learning_rates;
  Index updates;
  Optimizer<Real> optimizer;
  ClippingRule clipping;
  Regularization regularization;
  std::uint64_t dropout_key;
  const Index* epochs;  // of each update
  Carried<Real> carried;
};

struct Report {
  double *losses, *gradient_norms;
  bool* clipped;
  Index computed, applied;
};

// The mini-batch of an update, numbered from 0, with the states it starts from.
template <class Real> struct CarriedBatch {
  std::vector<Index> starts, lengths, target_starts, owners, first_steps;
  Buffer<Real> state, d_state;

  void take(const Training<Real>&, Index first, Index last);
};

// One network on one set of kernels. Calls exclude each other: they share the workspace.
template <class Real> class Plan {
 public:
  Plan(std::unique_ptr<NetworkDescription>, const Kernels<Real>&, Real* parameters);

  void refresh();  // after the parameters were changed from outside
  std::unique_ptr<Tape<Real>> forward(const Run<Real>&, const Real* state, const ForwardResult<Real>&, bool keep_tape);
  void backward(const Tape<Real>&, Padded<const Real> d_preactivations, const Real* d_final_state, const Gradients<Real>&);
  Report train_updates(const Training<Real>&, Report);
  const NetworkShape& shape() const { return description_->shape; }
  bool made(const Tape<Real>& tape) const { return tape.plan == number_; }

 private:
  // Forward, loss and backward of one update; gives the loss, or false in `counts` where nothing has a weight.
  double gradient_of(const Training<Real>&, Index update, bool& counts);
  double carried_gradient_of(const Training<Real>&, Index update, bool& counts);
  void set_carried_states(const Carried<Real>&);
  void keep_carried_states(const Carried<Real>&, const Timetable&, const Dropout*);

  const Index number_;
  std::unique_ptr<NetworkDescription> description_;
  std::unique_ptr<char[]> layout_;
  const Kernels<Real>& kernels_;
  Real* parameters_;
  bool drops_ = false;
  std::mutex mutex_;
  Buffer<Real> packed_, workspace_, gradient_;
  Tape<Real> own_tape_;
  CarriedBatch<Real> batch_;
};

// The kernels chosen when the module was imported, and all that were compiled.
const InstructionSet& chosen_instruction_set();
std::vector<const char*> compiled_instruction_sets();

template <class Real> const Kernels<Real>& chosen_kernels();

}  // namespace rnn
