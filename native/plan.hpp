// What lives longer than a call: a network's packed weights, its workspace, and the tapes of its runs. No Python here.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "shares.hpp"
#include "threads.hpp"

namespace rnn {

// One call at a time. Waiting for another thread's can be interrupted. A call from inside a call, by a signal handler that an
// interruption runs, would wait for itself, and is refused.
class Turns {
 public:
  class Turn {
   public:
    Turn(Turns& turns, Pulse& pulse) : turns_(turns) {
      if (turns_.owner_ == std::this_thread::get_id()) {
        throw std::runtime_error("this network is at work: a signal handler cannot use it before that has ended.");
      }
      while (!turns_.mutex_.try_lock_for(std::chrono::milliseconds(10))) pulse.look(pulse);
      turns_.owner_ = std::this_thread::get_id();
    }
    ~Turn() {
      turns_.owner_ = std::thread::id();
      turns_.mutex_.unlock();
    }
    Turn(const Turn&) = delete;

   private:
    Turns& turns_;
  };

 private:
  std::timed_mutex mutex_;
  std::atomic<std::thread::id> owner_{std::thread::id()};
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
  Index sequences = 0, steps = 0;
  Shares<Real> shares;
  std::vector<Index> starts, tokens, names, first_steps;  // what backward reads of the inputs, if it does
  Dropout dropout{};
  bool masked = false;

  Tape() = default;
  Tape(const Tape&) = delete;
  void keep(const Inputs<Real>&, const Index* lengths, Index count);
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
  Real *outputs, *preactivations, *final_state;  // the first two may be one; the last may be null: not wanted
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

// The mini-batch of an update: the sequences `chosen` of all, or, if null, so many as they come.
template <class Real> struct MiniBatch {
  Inputs<Real> inputs;
  TargetRows<Real> targets;
  const Index *lengths, *chosen;
  Index sequences;
  const Real* state;             // or null: where nobody gave one
  Real *final_state, *d_state;   // or null: not wanted
};

// The mini-batch of an update, numbered from 0, with the states it starts from.
template <class Real> struct CarriedBatch {
  std::vector<Index> starts, lengths, target_starts, owners, first_steps;
  Buffer<Real> state, final_state, d_state;

  void take(const Training<Real>&, Index first, Index last);
};

// How many threads a plan may use: up to so many; with `at_will` fewer, or one, where the work is too small to be shared.
struct ThreadCount {
  Index most = 1;
  bool at_will = true;
};

// All that a run needs of a plan, for those who bring memory of their own. Valid as long as the plan.
template <class Real> struct PackedNetwork {
  const NetworkShape& shape;
  const Kernels<Real>& kernels;
  const Real *parameters, *packed;
};

// One network on one set of kernels. Calls exclude each other: they share the workspace. A call that is left by an exception
// of its pulse has changed nothing but the workspace and what it was to fill; `train_updates` has made the updates before the
// one under way, as whole updates.
template <class Real> class Plan {
 public:
  Plan(std::unique_ptr<NetworkDescription>, const Kernels<Real>&, Real* parameters);

  void refresh(Pulse&);  // after the parameters were changed from outside
  std::unique_ptr<Tape<Real>> forward(const Run<Real>&, const Real* state, const ForwardResult<Real>&, bool keep_tape,
                                      Pulse&);
  void backward(const Tape<Real>&, Padded<const Real> d_preactivations, const Real* d_final_state, const Gradients<Real>&,
                Pulse&);
  Report train_updates(const Training<Real>&, Report, Pulse&);
  void use_threads(ThreadCount count) { threads_ = count; }
  const NetworkShape& shape() const { return description_->shape; }
  bool trains() const { return trains_; }  // whether parameters and packed weights change at this moment
  PackedNetwork<Real> network() const { return {shape(), kernels_, parameters_, packed_.data()}; }
  bool made(const Tape<Real>& tape) const { return tape.plan == number_; }

 private:
  // Room of one thread for backward.
  struct Bench {
    Buffer<Real> workspace, gradient;
  };

  Index share_count(const Index* lengths, const Index* chosen, Index sequences, int passes) const;
  Index group_size(const Run<Real>&) const;
  // The benches of all shares, their workspaces large enough; the first share's gradient is where it is wanted.
  void set_benches(const Shares<Real>&, Pulse&);
  Real* gradient_of_share(Index share, Real* first) {
    return share ? benches_[std::size_t(share)].gradient.at_least(0) : first;
  }
  void add_gradients(Index shares, Real* first, Team&);
  template <class Work> void each_range(Team&, const Work&) const;

  // Forward, loss and backward of one update. From carried states there is no loss where nothing has a weight.
  std::optional<double> gradient_of(const Training<Real>&, Index update, Team&, Pulse&);
  std::optional<double> carried_gradient_of(const Training<Real>&, Index update, Team&, Pulse&);
  std::optional<double> run(const MiniBatch<Real>&, Team&, Pulse&);
  double total_weight(const MiniBatch<Real>&) const;
  void set_carried_states(const Carried<Real>&);
  void keep_carried_states(const Carried<Real>&) const;
  void add_learned_state_gradient();

  const Index number_;
  std::unique_ptr<NetworkDescription> description_;
  std::unique_ptr<char[]> layout_;
  const Kernels<Real>& kernels_;
  Real* parameters_;
  bool drops_ = false;
  std::atomic<bool> trains_{false};
  Turns turns_;
  ThreadCount threads_;
  Buffer<Real> packed_, gradient_;
  std::vector<Bench> benches_;
  std::vector<double> losses_;  // of the shares
  Tape<Real> own_tape_;
  CarriedBatch<Real> batch_;
};

// The kernels chosen when the module was imported, and all that were compiled.
const InstructionSet& chosen_instruction_set();
std::vector<const char*> compiled_instruction_sets();

template <class Real> const Kernels<Real>& chosen_kernels();

}  // namespace rnn
