#include "quick.hpp"

#include <limits>

#include "subnormals.hpp"

namespace rnn {

namespace {

constexpr Index some_work = Index(1) << 20;  // multiplications: some tens of microseconds, less than a change of threads

// About what one step of one sequence costs.
template <class Real> Index work_of_a_step(const PackedNetwork<Real>& network) {
  return network.shape.parameter_count() - network.shape.embedding_size() + 256;
}

Pulse uninterrupted() {
  return {std::numeric_limits<Index>::max(), [](Pulse& pulse) { pulse.left = std::numeric_limits<Index>::max(); }};
}

}  // namespace

void lay_side_by_side(Index sequences, Index steps, std::vector<Index>& starts, std::vector<Index>& lengths) {
  starts.resize(std::size_t(sequences));
  for (Index n = 0; n < sequences; ++n) starts[std::size_t(n)] = n * steps;
  lengths.assign(std::size_t(sequences), steps);
}

template <class Real>
Stepper<Real>::Stepper(const PackedNetwork<Real>& network, Index streams)
    : network_(network), long_(work_of_a_step(network) > some_work / streams), pulse_(uninterrupted()) {
  lay_side_by_side(streams, 1, starts_, lengths_);
  schedule_.build(lengths_.data(), nullptr, streams);
  memory_.at_least(network_.kernels.tape_size(network_.shape, schedule_.timetable(pulse_, true)));
}

template <class Real> void Stepper<Real>::set_state(const Real* state) {
  const Timetable when = schedule_.timetable(pulse_, true);
  network_.kernels.set_states(network_.shape, network_.parameters, when, state, memory_.at_least(0));
}

template <class Real> void Stepper<Real>::state(Real* to) const {
  network_.kernels.states(network_.shape, schedule_.timetable(pulse_, true), memory_.data(), to);
}

template <class Real> void Stepper<Real>::step(const Real* x, const Index* tokens, Real* outputs) {
  const WithoutSubnormals zeros;
  Timetable when = schedule_.timetable(pulse_, true);
  when.steps_before = steps_++;
  const Inputs<Real> inputs{{x, starts_.data(), network_.shape.inputs}, tokens, nullptr};
  Real* memory = memory_.at_least(0);
  network_.kernels.step(network_.shape, network_.parameters, network_.packed, when, inputs, memory);
  network_.kernels.outputs(network_.shape, when, memory, {outputs, 1}, outputs);
}

template <class Real> bool QuickRun<Real>::is_short(Index sequences, Index steps) const {
  return sequences * steps <= some_work / work_of_a_step(network_);
}

template <class Real> bool QuickRun<Real>::in_its_process() const { return process_ == this_process(); }

template <class Real>
void QuickRun<Real>::run(Index sequences, Index steps, const Real* x, const Index* tokens, Real* outputs) {
  const NetworkShape& shape = network_.shape;
  Pulse pulse = uninterrupted();
  if (sequences != sequences_ || steps != steps_) {
    sequences_ = 0;  // until all below is whole
    lay_side_by_side(sequences, steps, starts_, lengths_);
    schedule_.build(lengths_.data(), nullptr, sequences);
    memory_.at_least(network_.kernels.tape_size(shape, schedule_.timetable(pulse, true)));
    sequences_ = sequences, steps_ = steps;
  }
  const WithoutSubnormals zeros;
  const Timetable when = schedule_.timetable(pulse, true);
  const Inputs<Real> inputs{{x, starts_.data(), shape.inputs}, tokens, nullptr};
  Real* memory = memory_.at_least(0);
  network_.kernels.forward(shape, network_.parameters, network_.packed, when, inputs, nullptr, memory);
  network_.kernels.outputs(shape, when, memory, {outputs, shape.readout == Readout::every ? steps : 1}, outputs);
}

template class Stepper<float>;
template class Stepper<double>;
template class QuickRun<float>;
template class QuickRun<double>;

}  // namespace rnn
