// Schedules of batches, and what a plan does with its kernels: whole runs, and training update by update.
#include "plan.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "subnormals.hpp"

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
  lengths_.resize(std::size_t(sequences));
  std::transform(order_.begin(), order_.end(), lengths_.begin(), [&](Index n) { return lengths[n]; });
  active_.assign(std::size_t(steps_) + 1, 0);
  block_.assign(std::size_t(steps_) + 2, 0);
  Index running = sequences;
  for (Index t = 0; t < steps_; ++t) {
    while (lengths_[std::size_t(running - 1)] <= t) --running;
    active_[std::size_t(t)] = running;
  }
  block_[1] = sequences;
  for (Index t = 0; t < steps_; ++t) block_[std::size_t(t) + 2] = block_[std::size_t(t) + 1] + active_[std::size_t(t)];
}

Timetable Schedule::timetable(Pulse& pulse) const {
  return {pulse, Index(order_.size()), steps_, order_.data(), lengths_.data(), active_.data(), block_.data()};
}

NetworkDescription::NetworkDescription(std::vector<LayerShape> layers_, const NetworkShape& words)
    : layers(std::move(layers_)), tensor_boundaries{0}, shape(words) {
  std::vector<bool> is_matrix;
  const auto tensor = [&](Index rows, Index columns = 0) {
    tensor_boundaries.push_back(tensor_boundaries.back() + rows * (columns ? columns : 1));
    is_matrix.push_back(columns > 0);
  };
  shape.state_size = 0;
  if (shape.vocabulary) tensor(shape.vocabulary, shape.inputs);
  for (const LayerShape& layer : layers) {  // as the flat vector: W_x, W_h, b_h, b_hn, h_0, c_0; the last where there are any
    const Index rows = layer.gates() * layer.hidden;
    tensor(rows, layer.inputs);
    tensor(rows, layer.hidden);
    tensor(rows);
    if (facts(layer.cell).hidden_bias) tensor(layer.hidden);
    for (Index state = 0; state < layer.states(); ++state) {
      const Index first = tensor_boundaries.back();
      for (Index i = 0; i < layer.hidden; ++i) learned.push_back(layer.learned_state ? first + i : -1);
      if (layer.learned_state) tensor(layer.hidden);
    }
    shape.state_size += layer.states() * layer.hidden;
  }
  shape.layers = layers.data();
  shape.layer_count = Index(layers.size());
  shape.levels = layers.back().level + 1;
  tensor(shape.outputs, layers.back().hidden * shape.directions(shape.layer_count - 1));
  tensor(shape.outputs);
  matrices = std::make_unique<bool[]>(is_matrix.size());
  std::copy(is_matrix.begin(), is_matrix.end(), matrices.get());
  shape.tensor_boundaries = tensor_boundaries.data();
  shape.matrices = matrices.get();
  shape.tensor_count = Index(is_matrix.size());
}

template <class Real> void Tape<Real>::keep(const Inputs<Real>& inputs, const Index* lengths, Index sequences) {
  starts.resize(std::size_t(sequences));
  tokens.clear();
  for (Index n = 0; inputs.tokens && n < sequences; ++n) {
    starts[std::size_t(n)] = Index(tokens.size());
    const Index* first = inputs.tokens + inputs.rows.starts[n];
    tokens.insert(tokens.end(), first, first + lengths[n]);
  }
  masked = inputs.dropout != nullptr;
  if (!masked) return;
  dropout = *inputs.dropout;
  names.resize(std::size_t(sequences));
  first_steps.resize(std::size_t(sequences));
  for (Index n = 0; n < sequences; ++n) {
    names[std::size_t(n)] = Index(dropout.name(n));
    first_steps[std::size_t(n)] = Index(dropout.time(n, 0));
  }
  dropout.sequences = names.data();
  dropout.first_steps = first_steps.data();
}

template <class Real> Inputs<Real> Tape<Real>::inputs() const {
  return {{nullptr, starts.data(), 0}, tokens.empty() ? nullptr : tokens.data(), masked ? &dropout : nullptr};
}

namespace {

// Says that something is the case as long as this lives.
class AsLong {
 public:
  explicit AsLong(std::atomic<bool>& flag) : flag_(flag) { flag_ = true; }
  ~AsLong() { flag_ = false; }
  AsLong(const AsLong&) = delete;

 private:
  std::atomic<bool>& flag_;
};

Index next_plan_number() {
  static std::atomic<Index> plans{0};
  return ++plans;
}

}  // namespace

template <class Real>
Plan<Real>::Plan(std::unique_ptr<NetworkDescription> description, const Kernels<Real>& kernels, Real* parameters)
    : number_(next_plan_number()), description_(std::move(description)), kernels_(kernels), parameters_(parameters) {
  layout_ = std::make_unique<char[]>(std::size_t(kernels_.layout_bytes(shape())));  // aligned for every scalar
  kernels_.lay_out(shape(), layout_.get());
  description_->shape.layout = layout_.get();
  drops_ = shape().drops();
  kernels_.pack(shape(), parameters_, packed_.at_least(kernels_.packed_size(shape())));
  gradient_.at_least(shape().parameter_count());
}

template <class Real> void Plan<Real>::refresh(Pulse& pulse) {
  const Turns::Turn turn(turns_, pulse);
  kernels_.pack(shape(), parameters_, packed_.at_least(0));
}

template <class Real>
std::unique_ptr<Tape<Real>> Plan<Real>::forward(const Run<Real>& run, const Real* state, const ForwardResult<Real>& result,
                                                bool keep_tape, Pulse& pulse) {
  const Turns::Turn turn(turns_, pulse);
  const WithoutSubnormals zeros;
  std::unique_ptr<Tape<Real>> kept = keep_tape ? std::make_unique<Tape<Real>>() : nullptr;
  Tape<Real>& tape = keep_tape ? *kept : own_tape_;
  tape.plan = number_;
  tape.schedule.build(run.lengths, nullptr, run.sequences);
  const Timetable when = tape.schedule.timetable(pulse);
  Real* memory = tape.memory.at_least(kernels_.tape_size(shape(), when));
  kernels_.forward(shape(), parameters_, packed_.data(), when, run.inputs, state, memory);
  const Index steps = shape().readout == Readout::every ? run.steps : 1;
  kernels_.outputs(shape(), when, memory, {result.preactivations, steps}, result.outputs);
  if (result.final_state) kernels_.final_states(shape(), when, run.inputs.dropout, memory, result.final_state);
  if (kept) kept->keep(run.inputs, run.lengths, run.sequences);
  return kept;
}

template <class Real>
void Plan<Real>::backward(const Tape<Real>& tape, Padded<const Real> d_preactivations, const Real* d_final_state,
                          const Gradients<Real>& into, Pulse& pulse) {
  const Turns::Turn turn(turns_, pulse);
  const WithoutSubnormals zeros;
  const Timetable when = tape.schedule.timetable(pulse);
  Real* workspace = workspace_.at_least(kernels_.workspace_size(shape(), when));
  kernels_.set_d_preactivations(shape(), when, d_preactivations, workspace);
  kernels_.backward(shape(), parameters_, packed_.data(), when, tape.inputs(), tape.memory.data(), d_final_state, workspace,
                    into);
}

template <class Real> double Plan<Real>::gradient_of(const Training<Real>& training, Index update, Pulse& pulse) {
  const Index first = training.boundaries[update], last = training.boundaries[update + 1];
  own_tape_.schedule.build(training.lengths, training.order + first, last - first);
  const Timetable when = own_tape_.schedule.timetable(pulse);
  Real* tape = own_tape_.memory.at_least(kernels_.tape_size(shape(), when));
  Real* workspace = workspace_.at_least(kernels_.workspace_size(shape(), when));
  const Dropout dropout{training.dropout_key, std::uint64_t(training.epochs[update]), nullptr, nullptr};
  const Inputs<Real> inputs{training.inputs.rows, training.inputs.tokens, drops_ ? &dropout : nullptr};
  kernels_.forward(shape(), parameters_, packed_.data(), when, inputs, nullptr, tape);
  const double loss = kernels_.loss(shape(), when, tape, training.targets, workspace);
  const Gradients<Real> into{gradient_.at_least(0), {nullptr, 0}, nullptr, true};
  kernels_.backward(shape(), parameters_, packed_.data(), when, inputs, tape, nullptr, workspace, into);
  return loss;
}

template <class Real> void CarriedBatch<Real>::take(const Training<Real>& training, Index first, Index last) {
  const auto pick = [&](std::vector<Index>& into, const Index* from) {
    into.resize(std::size_t(last - first));
    std::transform(training.order + first, training.order + last, into.begin(), [&](Index n) { return from[n]; });
  };
  pick(starts, training.inputs.rows.starts);
  pick(lengths, training.lengths);
  pick(target_starts, training.targets.rows.starts);
  pick(owners, training.carried.owners);
  pick(first_steps, training.carried.first_steps);
}

template <class Real> void Plan<Real>::set_carried_states(const Carried<Real>& carried) {
  const Index width = shape().state_size, rows = Index(batch_.owners.size());
  const std::vector<Index>& learned = description_->learned;
  Real* to = batch_.state.at_least(rows * width);
  for (Index n = 0; n < rows; ++n, to += width) {
    const Real* before = carried.state + batch_.owners[std::size_t(n)] * width;
    const bool fresh = batch_.first_steps[std::size_t(n)] == 0;
    for (Index i = 0; i < width; ++i) {
      const Index parameter = learned[std::size_t(i)];
      to[i] = !fresh ? before[i] : parameter < 0 ? Real(0) : parameters_[parameter];
    }
  }
}

template <class Real>
void Plan<Real>::keep_carried_states(const Carried<Real>& carried, const Timetable& when, const Dropout* dropout) {
  const Index width = shape().state_size;
  Real* final_state = batch_.d_state.at_least(when.sequences * width);  // backward will write over it
  kernels_.final_states(shape(), when, dropout, own_tape_.memory.data(), final_state);
  for (Index n = 0; n < when.sequences; ++n, final_state += width) {
    std::copy(final_state, final_state + width, carried.state + batch_.owners[std::size_t(n)] * width);
  }
}

template <class Real> bool Plan<Real>::has_weight(const TargetRows<Real>& targets) const {
  double weight = 0;
  for (std::size_t n = 0; n < batch_.lengths.size(); ++n) {
    const Index steps = shape().readout == Readout::every ? batch_.lengths[n] : 1;
    for (Index t = 0; t < steps; ++t) weight += double(targets.weights[batch_.target_starts[n] + t]);
  }
  return weight > 0;
}

// Only whole sequences start from learned states.
template <class Real> void Plan<Real>::add_learned_state_gradient() {
  Real *gradient = gradient_.at_least(0), *d_state = batch_.d_state.at_least(0);
  for (std::size_t n = 0; n < batch_.lengths.size(); ++n, d_state += shape().state_size) {
    for (Index i = 0; batch_.first_steps[n] == 0 && i < shape().state_size; ++i) {
      const Index parameter = description_->learned[std::size_t(i)];
      if (parameter >= 0) gradient[parameter] += d_state[i];
    }
  }
}

template <class Real>
std::optional<double> Plan<Real>::carried_gradient_of(const Training<Real>& training, Index update, Pulse& pulse) {
  batch_.take(training, training.boundaries[update], training.boundaries[update + 1]);
  own_tape_.schedule.build(batch_.lengths.data(), nullptr, Index(batch_.lengths.size()));
  const Timetable when = own_tape_.schedule.timetable(pulse);
  Real* tape = own_tape_.memory.at_least(kernels_.tape_size(shape(), when));
  const Dropout dropout{training.dropout_key, std::uint64_t(training.epochs[update]), batch_.owners.data(),
                        batch_.first_steps.data()};
  const Sequences<Real>& rows = training.inputs.rows;
  const Inputs<Real> inputs{{rows.array, batch_.starts.data(), rows.width},
                            training.inputs.tokens,
                            drops_ ? &dropout : nullptr};
  set_carried_states(training.carried);
  kernels_.forward(shape(), parameters_, packed_.data(), when, inputs, batch_.state.data(), tape);
  keep_carried_states(training.carried, when, inputs.dropout);

  const Sequences<Real>& target_rows = training.targets.rows;
  const TargetRows<Real> targets{{target_rows.array, batch_.target_starts.data(), target_rows.width}, training.targets.weights};
  if (!has_weight(targets)) return std::nullopt;
  Real* workspace = workspace_.at_least(kernels_.workspace_size(shape(), when));
  const double loss = kernels_.loss(shape(), when, tape, targets, workspace);
  const Gradients<Real> into{gradient_.at_least(0), {nullptr, 0}, batch_.d_state.at_least(0), false};
  kernels_.backward(shape(), parameters_, packed_.data(), when, inputs, tape, nullptr, workspace, into);
  add_learned_state_gradient();
  return loss;
}

template <class Real> Report Plan<Real>::train_updates(const Training<Real>& training, Report report, Pulse& pulse) {
  const Turns::Turn turn(turns_, pulse);
  const AsLong as_long(trains_);
  const WithoutSubnormals zeros;
  Real* gradient = gradient_.at_least(0);
  report.computed = report.applied = 0;
  const bool* frozen = training.regularization.frozen;
  const bool regularizes =
      training.regularization.penalty > 0 || std::any_of(frozen, frozen + shape().tensor_count, [](bool is) { return is; });
  for (Index u = 0; u < training.updates; ++u) {
    const std::optional<double> found =
        training.carried.state ? carried_gradient_of(training, u, pulse) : gradient_of(training, u, pulse);
    report.losses[u] = report.gradient_norms[u] = 0;
    report.clipped[u] = false;
    ++report.computed;
    if (!found) {  // nothing to learn from here: the states have moved on, and that is all
      ++report.applied;
      continue;
    }
    double loss = *found;
    if (regularizes) loss += kernels_.regularize(shape(), training.regularization, parameters_, gradient);
    const GradientSize size = kernels_.clip(shape(), training.clipping, gradient);
    report.losses[u] = loss;
    report.gradient_norms[u] = size.norm;
    if (!std::isfinite(loss) || !std::isfinite(size.norm)) break;
    report.clipped[u] = size.clipped;
    kernels_.update(shape(), frozen, parameters_, gradient, training.optimizer, training.learning_rates[u]);
    kernels_.pack(shape(), parameters_, packed_.at_least(0));
    ++report.applied;
  }
  return report;
}

template struct Tape<float>;
template struct Tape<double>;
template class Plan<float>;
template class Plan<double>;

}  // namespace rnn
