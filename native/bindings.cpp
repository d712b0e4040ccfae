// The only file that knows Python. It checks every array before a kernel sees it: memory safety does not rest on callers.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <tuple>

#include "plan.hpp"

namespace nb = nanobind;
using rnn::Index;

namespace {

template <class T> using In = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

[[noreturn]] void refuse(const std::string& message) { throw nb::value_error(message.c_str()); }

// A pointer to an array whose shape and alignment have been checked.
template <class Array> auto* checked(const Array& array, const char* name, std::initializer_list<Index> shape) {
  bool right = array.ndim() == shape.size();
  std::size_t axis = 0;
  std::string expected;
  for (Index length : shape) {
    right = right && Index(array.shape(axis)) == length;
    expected += (axis++ ? ", " : "") + std::to_string(length);
  }
  if (!right) {
    std::string came;
    for (std::size_t i = 0; i < array.ndim(); ++i) came += (i ? ", " : "") + std::to_string(array.shape(i));
    refuse(std::string(name) + " must be (" + expected + "). Got (" + came + ").");
  }
  using Scalar = typename Array::Scalar;
  if (reinterpret_cast<std::uintptr_t>(array.data()) % alignof(Scalar)) {
    refuse(std::string(name) + " must be aligned to its dtype. Got an array at an odd address.");
  }
  return array.data();
}

// Positions are copied before they are checked: nobody can change them, not even through an array that a kernel writes to.
std::vector<Index> copied(const In<Index>& array, const char* name, Index length) {
  const Index* data = checked(array, name, {length});
  return std::vector<Index>(data, data + length);
}

template <class Array> Index first_axis(const Array& array) { return array.ndim() ? Index(array.shape(0)) : 0; }

template <class Enumeration> Enumeration word(int value, Enumeration last, const char* name) {
  if (value < 0 || value > int(last)) refuse(std::string(name) + " must be a known code. Got " + std::to_string(value) + ".");
  return Enumeration(value);
}

// Rows of sequences: every step that a kernel will read lies inside the array.
void check_rows(const Index* starts, const Index* lengths, const Index* order, Index count, Index sequences, Index rows,
                const char* name) {
  for (Index i = 0; i < count; ++i) {
    const Index n = order ? order[i] : i;
    if (n < 0 || n >= sequences) refuse(std::string("order must hold sequences of the batch. Got ") + std::to_string(n) + ".");
    const Index length = lengths ? lengths[n] : 1;
    if (length < 1 || starts[n] < 0 || starts[n] > rows || length > rows - starts[n]) {
      refuse(std::string(name) + " must hold every step of sequence " + std::to_string(n) + ". Got " + std::to_string(rows) +
             " rows for " + std::to_string(length) + " steps from row " + std::to_string(starts[n]) + ".");
    }
  }
}

template <class Real> class BoundPlan {
 public:
  BoundPlan(const std::vector<std::tuple<int, Index, Index>>& layers, Index outputs, int readout, int output_activation,
            int loss, const Out<Real>& parameters)
      : parameters_(parameters) {
    if (layers.empty() || outputs < 1 || outputs > most_units) refuse("a network must have layers and outputs.");
    std::vector<rnn::LayerShape> shapes;
    for (const auto& [activation, inputs, hidden] : layers) {
      const Index expected = shapes.empty() ? inputs : shapes.back().hidden;
      if (inputs < 1 || hidden < 1 || inputs != expected || inputs > most_units || hidden > most_units) {
        refuse("a layer must read what the one below it gives.");
      }
      shapes.push_back({word(activation, rnn::Activation::linear, "activation"), inputs, hidden});
    }
    auto description = std::make_unique<rnn::NetworkDescription>(
        std::move(shapes), std::get<1>(layers.front()), outputs, word(readout, rnn::Readout::last, "readout"),
        word(output_activation, rnn::OutputActivation::softmax, "output_activation"), word(loss, rnn::Loss::ce, "loss"));
    Real* data = checked(parameters_, "parameters", {description->shape.parameter_count()});
    plan_ = std::make_unique<rnn::Plan<Real>>(std::move(description), rnn::chosen_kernels<Real>(), data);
  }

  void refresh() {
    const nb::gil_scoped_release unlocked;  // it may have to wait for another thread's run
    plan_->refresh();
  }

  std::unique_ptr<rnn::Tape<Real>> forward(const In<Real>& array, const In<Index>& starts, const In<Index>& lengths,
                                           Index steps, const In<Real>& state, const Out<Real>& outputs,
                                           const Out<Real>& preactivations, const Out<Real>& final_state, bool keep_tape) {
    const rnn::NetworkShape& shape = plan_->shape();
    const Index N = first_axis(starts), rows = first_axis(array);
    if (N < 1) refuse("starts must hold at least one sequence. Got none.");
    const std::vector<Index> own_starts = copied(starts, "starts", N), own_lengths = copied(lengths, "lengths", N);
    const rnn::Run<Real> run{{checked(array, "array", {rows, shape.inputs}), own_starts.data(), shape.inputs},
                             own_lengths.data(), N, steps};
    check_rows(run.inputs.starts, run.lengths, nullptr, N, N, rows, "array");
    for (Index n = 0; n < N; ++n) {
      if (run.lengths[n] > steps) refuse("lengths must not exceed the steps of the outputs.");
    }
    const Real* state_data = checked(state, "state", {N, shape.state_size});
    const rnn::ForwardResult<Real> result{readout_shaped(outputs, "outputs", N, steps),
                                          readout_shaped(preactivations, "preactivations", N, steps),
                                          checked(final_state, "final_state", {N, shape.state_size})};
    const nb::gil_scoped_release unlocked;
    return plan_->forward(run, state_data, result, keep_tape);
  }

  void backward(const rnn::Tape<Real>& tape, Index steps, const In<Real>& d_preactivations, const In<Real>& d_final_state,
                const Out<Real>& gradient, const Out<Real>& d_inputs, const Out<Real>& d_state) {
    if (!plan_->made(tape)) refuse("tape must come from the forward of this plan.");
    const rnn::NetworkShape& shape = plan_->shape();
    const rnn::Timetable when = tape.schedule.timetable();
    const Index N = when.sequences;
    if (when.steps > steps) refuse("steps must be those of the forward run.");
    const bool every = shape.readout == rnn::Readout::every;
    const rnn::Padded<const Real> d_a{readout_shaped(d_preactivations, "d_preactivations", N, steps), every ? steps : 1};
    const Real* d_final = checked(d_final_state, "d_final_state", {N, shape.state_size});
    Real* g = checked(gradient, "gradient", {shape.parameter_count()});
    const rnn::Padded<Real> d_x{checked(d_inputs, "d_inputs", {N, steps, shape.inputs}), steps};
    Real* d_s = checked(d_state, "d_state", {N, shape.state_size});
    const nb::gil_scoped_release unlocked;
    plan_->backward(tape, d_a, d_final, g, d_x, d_s);
  }

  std::tuple<Index, Index> train_updates(
      const std::tuple<In<Real>, In<Index>, In<Index>>& inputs, const std::tuple<In<Real>, In<Index>, In<Real>>& targets,
      const std::tuple<In<Index>, In<Index>, In<double>>& updates,
      const std::tuple<int, double, double, double, Out<Real>, Out<Real>, Out<Index>>& optimizer,
      const std::tuple<int, double>& clipping, const std::tuple<Out<double>, Out<double>, Out<bool>>& report) {
    const rnn::NetworkShape& shape = plan_->shape();
    const auto& [array, starts, lengths] = inputs;
    const auto& [target_array, target_starts, weights] = targets;
    const auto& [order, boundaries, rates] = updates;
    const auto& [kind, beta1, beta2, epsilon, m, v, count] = optimizer;
    const auto& [losses, norms, clipped] = report;
    const Index rows = first_axis(array), N = first_axis(starts), M = first_axis(order), U = first_axis(rates);
    const Index target_rows = first_axis(target_array), P = shape.parameter_count();
    rnn::Training<Real> training{};
    const std::vector<Index> own_starts = copied(starts, "starts", N), own_lengths = copied(lengths, "lengths", N),
                             own_target_starts = copied(target_starts, "target starts", N),
                             own_order = copied(order, "order", M), own_boundaries = copied(boundaries, "boundaries", U + 1);
    training.inputs = {checked(array, "array", {rows, shape.inputs}), own_starts.data(), shape.inputs};
    training.lengths = own_lengths.data();
    training.targets = {{checked(target_array, "targets", {target_rows, shape.outputs}), own_target_starts.data(), shape.outputs},
                        checked(weights, "weights", {target_rows})};
    training.order = own_order.data();
    training.boundaries = own_boundaries.data();
    training.learning_rates = checked(rates, "learning_rates", {U});
    training.updates = U;
    training.optimizer.kind = word(kind, rnn::OptimizerKind::adam, "optimizer");
    const bool remembers = training.optimizer.kind == rnn::OptimizerKind::adam;
    training.optimizer = {training.optimizer.kind, beta1, beta2, epsilon, checked(m, "m", {remembers ? P : 0}),
                          checked(v, "v", {remembers ? P : 0}), checked(count, "updates", {remembers ? 1 : 0})};
    training.clipping = {word(std::get<0>(clipping), rnn::ClippingKind::tensor_norm, "clipping"), std::get<1>(clipping)};
    for (Index u = 0; u < U; ++u) {
      if (training.boundaries[u] < 0 || training.boundaries[u] >= training.boundaries[u + 1] || training.boundaries[u + 1] > M) {
        refuse("boundaries must rise and end inside order.");
      }
    }
    if (U > 0) {
      const Index first = training.boundaries[0], seen = training.boundaries[U] - first;
      const bool every = shape.readout == rnn::Readout::every;
      check_rows(training.inputs.starts, training.lengths, training.order + first, seen, N, rows, "array");
      check_rows(training.targets.rows.starts, every ? training.lengths : nullptr, training.order + first, seen, N,
                 target_rows, "targets");
    }
    rnn::Report into{checked(losses, "losses", {U}), checked(norms, "gradient_norms", {U}), checked(clipped, "clipped", {U}), 0, 0};
    const nb::gil_scoped_release unlocked;
    into = plan_->train_updates(training, into);
    return {into.computed, into.applied};
  }

 private:
  static constexpr Index most_units = Index(1) << 24;  // products of two sizes stay far from overflowing

  template <class Array> auto* readout_shaped(const Array& array, const char* name, Index N, Index steps) {
    const rnn::NetworkShape& shape = plan_->shape();
    if (shape.readout == rnn::Readout::every) return checked(array, name, {N, steps, shape.outputs});
    return checked(array, name, {N, shape.outputs});
  }

  Out<Real> parameters_;  // keeps the vector alive
  std::unique_ptr<rnn::Plan<Real>> plan_;
};

template <class Real> void bind(nb::module_& module, const char* plan_name, const char* tape_name) {
  using Bound = BoundPlan<Real>;
  nb::class_<rnn::Tape<Real>>(module, tape_name);
  nb::class_<Bound>(module, plan_name)
      .def(nb::init<const std::vector<std::tuple<int, Index, Index>>&, Index, int, int, int, const Out<Real>&>(),
           nb::arg("layers"), nb::arg("outputs"), nb::arg("readout"), nb::arg("output_activation"), nb::arg("loss"),
           nb::arg("parameters").noconvert())
      .def("refresh", &Bound::refresh)
      .def("forward", &Bound::forward, nb::arg("array").noconvert(), nb::arg("starts").noconvert(),
           nb::arg("lengths").noconvert(), nb::arg("steps"), nb::arg("state").noconvert(), nb::arg("outputs").noconvert(),
           nb::arg("preactivations").noconvert(), nb::arg("final_state").noconvert(), nb::arg("keep_tape"))
      .def("backward", &Bound::backward, nb::arg("tape"), nb::arg("steps"), nb::arg("d_preactivations").noconvert(),
           nb::arg("d_final_state").noconvert(), nb::arg("gradient").noconvert(), nb::arg("d_inputs").noconvert(),
           nb::arg("d_state").noconvert())
      .def("train_updates", &Bound::train_updates, nb::arg("inputs").noconvert(), nb::arg("targets").noconvert(),
           nb::arg("updates").noconvert(), nb::arg("optimizer").noconvert(), nb::arg("clipping").noconvert(),
           nb::arg("report").noconvert());
}

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "The kernels of the native engine. Use rnn_from_scratch.Network with engine='native'.";
  module.attr("instruction_set") = rnn::chosen_instruction_set().name;
  nb::list compiled;
  for (const char* name : rnn::compiled_instruction_sets()) compiled.append(name);
  module.attr("compiled_instruction_sets") = nb::tuple(compiled);
  module.attr("compiler") = __VERSION__;
  bind<float>(module, "Plan32", "Tape32");
  bind<double>(module, "Plan64", "Tape64");
}
