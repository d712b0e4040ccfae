// Runs too short to share a plan's workspace for: a step of some streams, and a short batch. They have memory of their own,
// allocate nothing but when they are made or grow, and are not interrupted. No Python here; one thread at a time.
#pragma once

#include "plan.hpp"
#include "threads.hpp"

namespace rnn {

// N streams that advance together. Their states are the first states on a tape of one step.
template <class Real> class Stepper {
 public:
  Stepper(const PackedNetwork<Real>&, Index streams);
  Stepper(const Stepper&) = delete;

  Index streams() const { return Index(starts_.size()); }
  bool is_long() const { return long_; }             // whether others should not have to wait for a step
  void set_state(const Real* state);                 // (N, state_size)
  void state(Real* to) const;                        // (N, state_size)
  // x (N, D), or tokens (N) and no x; outputs (N, O).
  void step(const Real* x, const Index* tokens, Real* outputs);

 private:
  const PackedNetwork<Real> network_;
  const bool long_;
  mutable Pulse pulse_;
  std::vector<Index> starts_, lengths_;
  Schedule schedule_;
  Buffer<Real> memory_;
  Index steps_ = 0;
};

// Sequences of one length, from the learned states or from zero. What the last run had of the same shape is used again.
template <class Real> class QuickRun {
 public:
  explicit QuickRun(const PackedNetwork<Real>& network) : network_(network) {}
  QuickRun(const QuickRun&) = delete;

  bool is_short(Index sequences, Index steps) const;
  bool in_its_process() const;  // and not in a child by a fork, where the plan may have the number of threads of its parent
  // x (N, T, D), or tokens (N, T) and no x; outputs (N, T, O) or (N, O).
  void run(Index sequences, Index steps, const Real* x, const Index* tokens, Real* outputs);

 private:
  const PackedNetwork<Real> network_;
  const long process_ = this_process();
  Index sequences_ = 0, steps_ = 0;
  std::vector<Index> starts_, lengths_;
  Schedule schedule_;
  Buffer<Real> memory_;
};

// Where sequences of one length lie in their array.
void lay_side_by_side(Index sequences, Index steps, std::vector<Index>& starts, std::vector<Index>& lengths);

}  // namespace rnn
