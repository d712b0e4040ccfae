// What a plan does with its kernels: whole runs, and training update by update.
#include "plan.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "subnormals.hpp"

namespace rnn {

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

template <class Real> void Tape<Real>::keep(const Inputs<Real>& inputs, const Index* lengths, Index count) {
  sequences = count;
  steps = *std::max_element(lengths, lengths + count);
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

// With less than this for each thread, in multiplications and additions, waking it up costs more than it saves; and with
// fewer sequences the weights are read more often than they are used.
constexpr double least_work = 1 << 20;
constexpr Index least_sequences = 4;

// How many sequences run together where nothing goes back: as many as leave so many numbers, but enough for the weights to be
// read seldom. The memory of a prediction does not grow with the number of its sequences.
constexpr Index group_numbers = 1 << 17, least_group = 64;
constexpr int learning_passes = 3;           // forward and backward are as much work as three times forward
constexpr Index least_range = 1 << 13, cache_line = 16;  // parameters

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
Index Plan<Real>::share_count(const Index* lengths, const Index* chosen, Index sequences, int passes) const {
  Index most = std::min(threads_.most, sequences);
  if (most == 1 || !threads_.at_will) return most;
  double steps = 0;
  for (Index i = 0; i < sequences; ++i) steps += double(lengths[chosen ? chosen[i] : i]);
  const double work = steps * double(shape().parameter_count() - shape().embedding_size()) * passes;
  most = std::min({most, Index(work / least_work), sequences / least_sequences});
  return std::max(most, Index(1));
}

template <class Real> Index Plan<Real>::group_size(const Run<Real>& run) const {
  double numbers = 0;  // about what a step of a sequence leaves on a tape
  for (const LayerShape& layer : description_->layers) numbers += double(layer.inputs + 1 + layer.hidden * layer.states());
  double steps = 0;
  for (Index n = 0; n < run.sequences; ++n) steps += double(run.lengths[n]);
  return std::max(least_group, Index(double(group_numbers) * double(run.sequences) / (numbers * steps)));
}

template <class Real> void Plan<Real>::set_benches(const Shares<Real>& shares, Pulse& pulse) {
  if (Index(benches_.size()) < shares.count()) benches_.resize(std::size_t(shares.count()));
  for (Index share = 0; share < shares.count(); ++share) {
    Bench& bench = benches_[std::size_t(share)];
    bench.workspace.at_least(kernels_.workspace_size(shape(), shares.timetable(share, pulse)));
    if (share) bench.gradient.at_least(shape().parameter_count());
  }
}

// Calls work(range) for ranges that are all the parameters together; whole, once it has begun.
template <class Real> template <class Work> void Plan<Real>::each_range(Team& team, const Work& work) const {
  const Index P = shape().parameter_count(), ranges = std::clamp(P / least_range, Index(1), team.parts());
  if (ranges == 1) return work(Range{0, P});
  Pulse undisturbed{std::numeric_limits<Index>::max(), [](Pulse&) {}};
  team.run(ranges, undisturbed, [&](Index i, Pulse&) {
    const auto bound = [&](Index k) { return k == ranges ? P : P / ranges * k / cache_line * cache_line; };
    work(Range{bound(i), bound(i + 1)});
  });
}

// The sum of the shares' gradients, always in the same order.
template <class Real> void Plan<Real>::add_gradients(Index shares, Real* first, Team& team) {
  if (shares == 1) return;
  each_range(team, [&](Range range) {
    for (Index share = 1; share < shares; ++share) {
      kernels_.add(first + range.first, gradient_of_share(share, nullptr) + range.first, range.last - range.first);
    }
  });
}

template <class Real>
std::unique_ptr<Tape<Real>> Plan<Real>::forward(const Run<Real>& run, const Real* state, const ForwardResult<Real>& result,
                                                bool keep_tape, Pulse& pulse) {
  const Turns::Turn turn(turns_, pulse);
  const WithoutSubnormals zeros;
  std::unique_ptr<Tape<Real>> kept = keep_tape ? std::make_unique<Tape<Real>>() : nullptr;
  Tape<Real>& tape = keep_tape ? *kept : own_tape_;
  tape.plan = number_;
  const Index shares = share_count(run.lengths, nullptr, run.sequences, 1);
  tape.shares.deal(run.lengths, nullptr, run.sequences, shares, keep_tape ? Shares<Real>::all : group_size(run));
  for (Index share = 0; share < shares; ++share) {
    tape.shares.tape(share, kernels_.tape_size(shape(), tape.shares.timetable(share, pulse, !keep_tape)));
  }
  const Index steps = shape().readout == Readout::every ? run.steps : 1;
  Team(shares).run(shares, pulse, [&](Index share, Pulse& own) {
    Real* memory = tape.shares.tape(share, 0);
    do {
      const Timetable when = tape.shares.timetable(share, own, !keep_tape);
      kernels_.forward(shape(), parameters_, packed_.data(), when, run.inputs, state, memory);
      kernels_.outputs(shape(), when, memory, {result.preactivations, steps}, result.outputs);
      if (result.final_state) kernels_.final_states(shape(), when, run.inputs.dropout, memory, result.final_state);
    } while (tape.shares.begin_next_group(share, run.lengths));
  });
  if (kept) kept->keep(run.inputs, run.lengths, run.sequences);
  return kept;
}

template <class Real>
void Plan<Real>::backward(const Tape<Real>& tape, Padded<const Real> d_preactivations, const Real* d_final_state,
                          const Gradients<Real>& into, Pulse& pulse) {
  const Turns::Turn turn(turns_, pulse);
  const WithoutSubnormals zeros;
  const Index shares = tape.shares.count();
  set_benches(tape.shares, pulse);
  Team team(shares);
  team.run(shares, pulse, [&](Index share, Pulse& own) {
    const Timetable when = tape.shares.timetable(share, own);
    Real* workspace = benches_[std::size_t(share)].workspace.at_least(0);
    Gradients<Real> into_share = into;
    into_share.parameters = gradient_of_share(share, into.parameters);
    kernels_.set_d_preactivations(shape(), when, d_preactivations, workspace);
    kernels_.backward(shape(), parameters_, packed_.data(), when, tape.inputs(), tape.shares.tape(share), d_final_state,
                      workspace, into_share);
  });
  add_gradients(shares, into.parameters, team);
}

template <class Real> double Plan<Real>::total_weight(const MiniBatch<Real>& batch) const {
  double sums[4] = {};  // side by side, because one sum would wait for itself
  for (Index i = 0; i < batch.sequences; ++i) {
    const Index n = batch.chosen ? batch.chosen[i] : i, steps = shape().readout == Readout::every ? batch.lengths[n] : 1;
    const Real* weights = batch.targets.weights + batch.targets.rows.starts[n];
    Index t = 0;
    for (; t + 4 <= steps; t += 4) {
      for (Index k = 0; k < 4; ++k) sums[k] += double(weights[t + k]);
    }
    for (; t < steps; ++t) sums[0] += double(weights[t]);
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

template <class Real>
std::optional<double> Plan<Real>::run(const MiniBatch<Real>& batch, Team& team, Pulse& pulse) {
  const double weight = total_weight(batch);
  const bool learns = weight > 0;
  Shares<Real>& shares = own_tape_.shares;
  shares.deal(batch.lengths, batch.chosen, batch.sequences,
              std::min(team.parts(), share_count(batch.lengths, batch.chosen, batch.sequences, learning_passes)));
  for (Index share = 0; share < shares.count(); ++share) {
    shares.tape(share, kernels_.tape_size(shape(), shares.timetable(share, pulse)));
  }
  set_benches(shares, pulse);
  losses_.assign(std::size_t(shares.count()), 0);
  Real* gradient = gradient_.at_least(0);
  team.run(shares.count(), pulse, [&](Index share, Pulse& own) {
    const Timetable when = shares.timetable(share, own);
    Real *tape = shares.tape(share, 0), *workspace = benches_[std::size_t(share)].workspace.at_least(0);
    kernels_.forward(shape(), parameters_, packed_.data(), when, batch.inputs, batch.state, tape);
    if (batch.final_state) kernels_.final_states(shape(), when, batch.inputs.dropout, tape, batch.final_state);
    if (!learns) return;
    losses_[std::size_t(share)] = kernels_.loss(shape(), when, tape, batch.targets, weight, workspace);
    const Gradients<Real> into{gradient_of_share(share, gradient), {nullptr, 0}, batch.d_state, !batch.state, true};
    kernels_.backward(shape(), parameters_, packed_.data(), when, batch.inputs, tape, nullptr, workspace, into);
  });
  if (!learns) return std::nullopt;
  add_gradients(shares.count(), gradient, team);
  return std::accumulate(losses_.begin(), losses_.end(), 0.0);
}

template <class Real>
std::optional<double> Plan<Real>::gradient_of(const Training<Real>& training, Index update, Team& team, Pulse& pulse) {
  const Index first = training.boundaries[update], last = training.boundaries[update + 1];
  const Dropout dropout{training.dropout_key, std::uint64_t(training.epochs[update]), nullptr, nullptr};
  const Inputs<Real> inputs{training.inputs.rows, training.inputs.tokens, drops_ ? &dropout : nullptr};
  const Index* chosen = training.order + first;
  return run({inputs, training.targets, training.lengths, chosen, last - first, nullptr, nullptr, nullptr}, team, pulse);
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

template <class Real> void Plan<Real>::keep_carried_states(const Carried<Real>& carried) const {
  const Index width = shape().state_size;
  const Real* final_state = batch_.final_state.data();
  for (Index owner : batch_.owners) {
    std::copy(final_state, final_state + width, carried.state + owner * width);
    final_state += width;
  }
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
std::optional<double> Plan<Real>::carried_gradient_of(const Training<Real>& training, Index update, Team& team, Pulse& pulse) {
  batch_.take(training, training.boundaries[update], training.boundaries[update + 1]);
  const Index sequences = Index(batch_.lengths.size()), numbers = sequences * shape().state_size;
  const Dropout dropout{training.dropout_key, std::uint64_t(training.epochs[update]), batch_.owners.data(),
                        batch_.first_steps.data()};
  const Sequences<Real>&rows = training.inputs.rows, &target_rows = training.targets.rows;
  const Inputs<Real> inputs{{rows.array, batch_.starts.data(), rows.width},
                            training.inputs.tokens,
                            drops_ ? &dropout : nullptr};
  const TargetRows<Real> targets{{target_rows.array, batch_.target_starts.data(), target_rows.width}, training.targets.weights};
  set_carried_states(training.carried);
  Real *final_state = batch_.final_state.at_least(numbers), *d_state = batch_.d_state.at_least(numbers);
  const MiniBatch<Real> batch{inputs,    targets, batch_.lengths.data(), nullptr, sequences, batch_.state.data(),
                              final_state, d_state};
  const std::optional<double> loss = run(batch, team, pulse);
  keep_carried_states(training.carried);
  if (loss) add_learned_state_gradient();
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
  Index most = 1;
  for (Index u = 0; u < training.updates; ++u) {
    const Index first = training.boundaries[u], sequences = training.boundaries[u + 1] - first;
    most = std::max(most, share_count(training.lengths, training.order + first, sequences, learning_passes));
  }
  Team team(most);
  for (Index u = 0; u < training.updates; ++u) {
    const std::optional<double> found =
        training.carried.state ? carried_gradient_of(training, u, team, pulse) : gradient_of(training, u, team, pulse);
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
    if (training.optimizer.counts_updates()) ++*training.optimizer.updates;
    each_range(team, [&](Range range) {
      kernels_.update(shape(), frozen, parameters_, gradient, training.optimizer, training.learning_rates[u], range);
    });
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
