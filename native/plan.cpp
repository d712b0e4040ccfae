#include "plan.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

namespace rnn {

void Schedule::build(const Index* lengths, const Index* chosen, Index sequences) {
  const Index before = Index(order_.size());
  order_.resize(std::size_t(sequences));
  if (chosen) {
    std::copy(chosen, chosen + sequences, order_.begin());
  } else {
    std::iota(order_.begin(), order_.end(), Index(0));
  }
  const Index first = lengths[order_[0]];
  const bool same = std::all_of(order_.begin(), order_.end(), [&](Index n) { return lengths[n] == first; });
  if (same && same_length_ == first && before == sequences) return;  // the same shape as last time
  same_length_ = 0;  // until the tables below are whole
  if (!same) {
    std::stable_sort(order_.begin(), order_.end(), [&](Index a, Index b) { return lengths[a] > lengths[b]; });
  }
  lay_out(lengths);
  same_length_ = same ? first : 0;
}

void Schedule::lay_out(const Index* lengths) {
  const Index sequences = Index(order_.size());
  steps_ = lengths[order_[0]];
  active_.assign(std::size_t(steps_) + 1, 0);
  block_.assign(std::size_t(steps_) + 2, 0);
  Index running = sequences;
  for (Index t = 0; t < steps_; ++t) {
    while (lengths[order_[std::size_t(running - 1)]] <= t) --running;
    active_[std::size_t(t)] = running;
  }
  block_[1] = sequences;
  for (Index t = 0; t < steps_; ++t) block_[std::size_t(t) + 2] = block_[std::size_t(t) + 1] + active_[std::size_t(t)];
}

Timetable Schedule::timetable() const {
  return {Index(order_.size()), steps_, order_.data(), active_.data(), block_.data()};
}

NetworkDescription::NetworkDescription(std::vector<LayerShape> layers_, Index inputs, Index outputs, Readout readout,
                                       OutputActivation output_activation, Loss loss)
    : layers(std::move(layers_)), tensor_boundaries{0} {
  const auto tensor = [&](Index size) { tensor_boundaries.push_back(tensor_boundaries.back() + size); };
  Index state_size = 0;
  for (const LayerShape& layer : layers) {  // in the order of the flat vector: W_x, W_h, b_h of each layer, W_y, b_y
    tensor(layer.hidden * layer.inputs);
    tensor(layer.hidden * layer.hidden);
    tensor(layer.hidden);
    state_size += layer.hidden;
  }
  tensor(outputs * layers.back().hidden);
  tensor(outputs);
  shape = {layers.data(), Index(layers.size()),     inputs, outputs, readout, output_activation, loss, state_size,
           tensor_boundaries.data(), Index(tensor_boundaries.size()) - 1};
}

namespace {

Index next_plan_number() {
  static std::atomic<Index> plans{0};
  return ++plans;
}

}  // namespace

template <class Real>
Plan<Real>::Plan(std::unique_ptr<NetworkDescription> description, const Kernels<Real>& kernels, Real* parameters)
    : number_(next_plan_number()), description_(std::move(description)), kernels_(kernels), parameters_(parameters) {
  packed_.at_least(kernels_.packed_size(shape()));
  gradient_.at_least(shape().parameter_count());
  refresh();
}

template <class Real> void Plan<Real>::refresh() {
  const std::lock_guard<std::mutex> lock(mutex_);
  kernels_.pack(shape(), parameters_, packed_.at_least(0));
}

template <class Real>
std::unique_ptr<Tape<Real>> Plan<Real>::forward(const Run<Real>& run, const Real* state, const ForwardResult<Real>& result,
                                                bool keep_tape) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::unique_ptr<Tape<Real>> kept = keep_tape ? std::make_unique<Tape<Real>>() : nullptr;
  Tape<Real>& tape = keep_tape ? *kept : own_tape_;
  tape.plan = number_;
  tape.schedule.build(run.lengths, nullptr, run.sequences);
  const Timetable when = tape.schedule.timetable();
  Real* memory = tape.memory.at_least(kernels_.tape_size(shape(), when));
  kernels_.forward(shape(), parameters_, packed_.data(), when, run.inputs, state, memory);
  const Index steps = shape().readout == Readout::every ? run.steps : 1;
  kernels_.outputs(shape(), when, memory, {result.preactivations, steps}, result.outputs, result.final_state);
  return kept;
}

template <class Real>
void Plan<Real>::backward(const Tape<Real>& tape, Padded<const Real> d_preactivations, const Real* d_final_state,
                          Real* gradient, Padded<Real> d_inputs, Real* d_state) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Timetable when = tape.schedule.timetable();
  Real* workspace = workspace_.at_least(kernels_.workspace_size(shape(), when));
  kernels_.set_d_preactivations(shape(), when, d_preactivations, workspace);
  kernels_.backward(shape(), parameters_, packed_.data(), when, tape.memory.data(), d_final_state, workspace, gradient, d_inputs, d_state);
}

template <class Real> Report Plan<Real>::train_updates(const Training<Real>& training, Report report) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Real* gradient = gradient_.at_least(0);
  report.computed = report.applied = 0;
  for (Index u = 0; u < training.updates; ++u) {
    const Index first = training.boundaries[u], last = training.boundaries[u + 1];
    own_tape_.schedule.build(training.lengths, training.order + first, last - first);
    const Timetable when = own_tape_.schedule.timetable();
    Real* tape = own_tape_.memory.at_least(kernels_.tape_size(shape(), when));
    Real* workspace = workspace_.at_least(kernels_.workspace_size(shape(), when));
    kernels_.forward(shape(), parameters_, packed_.data(), when, training.inputs, nullptr, tape);
    const double loss = kernels_.loss(shape(), when, tape, training.targets, workspace);
    kernels_.backward(shape(), parameters_, packed_.data(), when, tape, nullptr, workspace, gradient, {nullptr, 0}, nullptr);
    const GradientSize size = kernels_.clip(shape(), training.clipping, gradient);
    report.losses[u] = loss;
    report.gradient_norms[u] = size.norm;
    report.clipped[u] = size.clipped;
    ++report.computed;
    if (!std::isfinite(loss) || !std::isfinite(size.norm)) {
      report.clipped[u] = false;
      break;
    }
    kernels_.update(shape().parameter_count(), parameters_, gradient, training.optimizer, training.learning_rates[u]);
    kernels_.pack(shape(), parameters_, packed_.at_least(0));
    ++report.applied;
  }
  return report;
}

template class Plan<float>;
template class Plan<double>;

}  // namespace rnn
