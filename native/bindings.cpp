// Python's way in, beside fast_calls.cpp. Every array is checked before a kernel sees it: memory does not rest on callers.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>

#include "fast_calls.hpp"
#include "plan.hpp"
#include "signals.hpp"

namespace nb = nanobind;
using rnn::Index;
using rnn::Signals;

namespace {

template <class T> using In = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

[[noreturn]] void refuse(const std::string& message) { throw nb::value_error(message.c_str()); }

// Sizes as errors show them; nobody makes a string while everything is right.
template <class Length> std::string shown(const Length* lengths, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += (i ? ", " : "") + std::to_string(lengths[i]);
  return "(" + all + ")";
}

// A pointer to an array whose shape and alignment have been checked.
template <class Array> auto* checked(const Array& array, const char* name, std::initializer_list<Index> shape) {
  const auto same = [](Index expected, auto came) { return expected == Index(came); };
  const auto* came = array.shape_ptr();
  if (!std::equal(shape.begin(), shape.end(), came, came + array.ndim(), same)) {
    refuse(std::string(name) + " must be " + shown(shape.begin(), shape.size()) + ". Got " + shown(came, array.ndim()) + ".");
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

double fraction(double value, const char* name) {
  if (!(value >= 0 && value < 1)) refuse(std::string(name) + " must be in [0, 1). Got " + std::to_string(value) + ".");
  return value;
}

constexpr Index most_units = Index(1) << 24;  // products of two sizes stay far from overflowing

Index size(Index value, const char* name, Index least = 1) {
  if (value < least || value > most_units) {
    refuse(std::string(name) + " must be a possible size. Got " + std::to_string(value) + ".");
  }
  return value;
}

// (cell, activation, inputs, hidden, level, reverse, learned_state, input_dropout, recurrent_dropout) of each direction.
using LayerWords = std::tuple<int, int, Index, Index, Index, bool, bool, double, double>;

rnn::LayerShape layer_shape(const LayerWords& words) {
  const auto& [cell, activation, inputs, hidden, level, reverse, learned_state, input_dropout, recurrent_dropout] = words;
  return {word(cell, rnn::Cell::lstm, "cell"),
          word(activation, rnn::Activation::linear, "activation"),
          size(inputs, "inputs"),
          size(hidden, "hidden"),
          level,
          reverse,
          learned_state,
          fraction(input_dropout, "input_dropout"),
          fraction(recurrent_dropout, "recurrent_dropout")};
}

// Each level reads what the one below gives; a reverse direction follows its twin.
void check_stack(const std::vector<rnn::LayerShape>& layers, Index inputs) {
  if (layers.empty()) refuse("a network must have layers.");
  Index level = -1, reads = inputs, gives = 0;
  for (const rnn::LayerShape& layer : layers) {
    const rnn::LayerShape* twin = layer.reverse && &layer != layers.data() ? &layer - 1 : nullptr;
    if (layer.reverse && !(twin && !twin->reverse && twin->level == layer.level && twin->hidden == layer.hidden)) {
      refuse("a reverse direction must follow its twin.");
    }
    if (!layer.reverse) {
      if (level >= 0) reads = gives;
      ++level;
      gives = 0;
    }
    gives += layer.hidden;
    if (layer.level != level || layer.inputs != reads) refuse("a layer must read what the one below it gives.");
  }
}

constexpr Index most_updates = Index(1) << 62;  // to which others can be added

template <class Real> class BoundPlan {
  // Rows of features, tokens, starts and lengths; of features and tokens one is empty.
  using InputArrays = std::tuple<In<Real>, In<Index>, In<Index>, In<Index>>;

  // Kind, β₁, β₂, ε, weight decay, Nesterov or not, m, v, count of updates; arrays that a kind does not use are empty.
  using OptimizerArrays = std::tuple<int, double, double, double, double, bool, Out<Real>, Out<Real>, Out<Index>>;

  // The inputs of a call, positions copied and everything checked.
  struct OwnInputs {
    std::vector<Index> starts, lengths;
    rnn::Sequences<Real> rows;
    const Index* tokens;
    Index row_count, vocabulary;

    OwnInputs(const InputArrays& arrays, const rnn::NetworkShape& shape)
        : starts(copied(std::get<2>(arrays), "starts", first_axis(std::get<2>(arrays)))),
          lengths(copied(std::get<3>(arrays), "lengths", sequences())), vocabulary(shape.vocabulary) {
      const auto& [features, all_tokens, unused_starts, unused_lengths] = arrays;
      row_count = vocabulary ? first_axis(all_tokens) : first_axis(features);
      rows = {checked(features, "array", {vocabulary ? 0 : row_count, shape.inputs}), starts.data(), shape.inputs};
      const Index* tokens_data = checked(all_tokens, "tokens", {vocabulary ? row_count : 0});
      tokens = vocabulary ? tokens_data : nullptr;
    }
    OwnInputs(const OwnInputs&) = delete;  // rows points into starts
    Index sequences() const { return Index(starts.size()); }

    // Every step of the chosen sequences lies inside the arrays, and is a token of the vocabulary.
    void check(const Index* order, Index count) const {
      check_rows(starts.data(), lengths.data(), order, count, sequences(), row_count, "array");
      for (Index i = 0; tokens && i < count; ++i) {
        const Index n = order ? order[i] : i;
        for (Index t = 0; t < lengths[std::size_t(n)]; ++t) {
          const Index token = tokens[starts[std::size_t(n)] + t];
          if (token < 0 || token >= vocabulary) refuse("tokens must lie in the vocabulary. Got " + std::to_string(token) + ".");
        }
      }
    }
  };

 public:
  BoundPlan(const std::vector<LayerWords>& layers, Index inputs, Index outputs, Index vocabulary,
            const std::tuple<int, int, int>& words, double huber_delta, double dropout, const Out<Real>& parameters,
            const nb::object& version)
      : parameters_(parameters), version_(version) {
    std::vector<rnn::LayerShape> shapes;
    for (const LayerWords& layer : layers) shapes.push_back(layer_shape(layer));
    check_stack(shapes, size(inputs, "inputs"));
    if (!(huber_delta > 0)) refuse("huber_delta must be positive.");
    const auto& [readout, output_activation, loss] = words;
    rnn::NetworkShape shape{};
    shape.inputs = inputs;
    shape.outputs = size(outputs, "outputs");
    shape.vocabulary = size(vocabulary, "vocabulary", 0);
    shape.readout = word(readout, rnn::Readout::mean, "readout");
    shape.output_activation = word(output_activation, rnn::OutputActivation::softmax, "output_activation");
    shape.loss = word(loss, rnn::Loss::huber, "loss");
    shape.huber_delta = huber_delta;
    shape.dropout = fraction(dropout, "dropout");
    auto description = std::make_unique<rnn::NetworkDescription>(std::move(shapes), shape);
    Real* data = checked(parameters_, "parameters", {description->shape.parameter_count()});
    plan_ = std::make_unique<rnn::Plan<Real>>(std::move(description), rnn::chosen_kernels<Real>(), data);
  }

  void use_threads(Index most, bool at_will) {
    if (most < 1 || most > rnn::most_threads) refuse("threads must be a possible number. Got " + std::to_string(most) + ".");
    plan_->use_threads({most, at_will});
  }

  // Packs the weights anew: they are those of this version of the parameters.
  void refresh(const nb::object& version) {
    {
      Signals signals;
      const nb::gil_scoped_release unlocked;  // it may have to wait for another thread's run
      plan_->refresh(signals);
    }
    version_ = version;  // only now: another thread may be looking
  }
  const nb::object& version() const { return version_; }

  // `self` is the Python object that holds this; `holder` has the version of the parameters.
  static nb::object stepper(nb::handle self, const nb::object& holder, Index streams) {
    return fast_call(rnn::new_stepper(known(self, holder), size(streams, "streams")));
  }
  static nb::object alone_stepper(nb::handle self, const nb::object& holder) {
    return fast_call(rnn::new_stepper(known(self, holder), 0));
  }
  static nb::object predictor(nb::handle self, const nb::object& holder) {
    return fast_call(rnn::new_predictor(known(self, holder)));
  }

  std::unique_ptr<rnn::Tape<Real>> forward(const InputArrays& inputs, Index steps,
                                           const std::tuple<std::uint64_t, std::uint64_t, In<Index>, In<Index>>& dropout,
                                           const In<Real>& state, const Out<Real>& outputs, const Out<Real>& preactivations,
                                           const Out<Real>& final_state, bool keep_tape) {
    const rnn::NetworkShape& shape = plan_->shape();
    const OwnInputs own(inputs, shape);
    const Index N = own.sequences();
    if (N < 1) refuse("starts must hold at least one sequence. Got none.");
    own.check(nullptr, N);
    for (Index length : own.lengths) {
      if (length > steps) refuse("lengths must not exceed the steps of the outputs.");
    }
    const auto& [key, epoch, names, first_steps] = dropout;
    const bool masked = first_axis(names) > 0;
    const std::vector<Index> own_names = copied(names, "names of sequences", masked ? N : 0),
                             own_first_steps = copied(first_steps, "first_steps", masked ? N : 0);
    const rnn::Dropout masks{key, epoch, own_names.data(), masked ? own_first_steps.data() : nullptr};
    const rnn::Run<Real> run{{own.rows, own.tokens, masked ? &masks : nullptr}, own.lengths.data(), N, steps};
    const Real* state_data = checked(state, "state", {N, shape.state_size});
    const rnn::ForwardResult<Real> result{readout_shaped(outputs, "outputs", N, steps),
                                          readout_shaped(preactivations, "preactivations", N, steps),
                                          checked(final_state, "final_state", {N, shape.state_size})};
    Signals signals;
    const nb::gil_scoped_release unlocked;
    return plan_->forward(run, state_data, result, keep_tape, signals);
  }

  void backward(const rnn::Tape<Real>& tape, Index steps, const In<Real>& d_preactivations, const In<Real>& d_final_state,
                const Out<Real>& gradient, const Out<Real>& d_inputs, const Out<Real>& d_state) {
    if (!plan_->made(tape)) refuse("tape must come from the forward of this plan.");
    Signals signals;
    const rnn::NetworkShape& shape = plan_->shape();
    const Index N = tape.sequences;
    if (tape.steps > steps) refuse("steps must be those of the forward run.");
    const bool every = shape.readout == rnn::Readout::every;
    const rnn::Padded<const Real> d_a{readout_shaped(d_preactivations, "d_preactivations", N, steps), every ? steps : 1};
    const Real* d_final = checked(d_final_state, "d_final_state", {N, shape.state_size});
    const rnn::Gradients<Real> into{checked(gradient, "gradient", {shape.parameter_count()}),
                                    {checked(d_inputs, "d_inputs", {N, steps, shape.inputs}), steps},
                                    checked(d_state, "d_state", {N, shape.state_size}),
                                    false};
    const nb::gil_scoped_release unlocked;
    plan_->backward(tape, d_a, d_final, into, signals);
  }

  std::tuple<Index, Index> train_updates(
      const InputArrays& inputs, const std::tuple<In<Real>, In<Index>, In<Real>>& targets,
      const std::tuple<In<Index>, In<Index>, In<double>, In<Index>>& updates, std::uint64_t dropout_key,
      const std::tuple<In<Index>, In<Index>, Out<Real>>& carried, const OptimizerArrays& optimizer,
      const std::tuple<double, In<bool>>& regularization, const std::tuple<int, double>& clipping,
      const std::tuple<Out<double>, Out<double>, Out<bool>>& report) {
    const rnn::NetworkShape& shape = plan_->shape();
    const auto& [target_array, target_starts, weights] = targets;
    const auto& [order, boundaries, rates, epochs] = updates;
    const auto& [owners, first_steps, carried_state] = carried;
    const auto& [penalty, frozen] = regularization;
    const auto& [clipping_kind, limit] = clipping;
    const auto& [losses, norms, clipped] = report;
    const OwnInputs own(inputs, shape);
    const Index N = own.sequences(), M = first_axis(order), U = first_axis(rates);
    const Index target_rows = first_axis(target_array);
    rnn::Training<Real> training{};
    const std::vector<Index> own_target_starts = copied(target_starts, "target starts", N),
                             own_order = copied(order, "order", M), own_boundaries = copied(boundaries, "boundaries", U + 1),
                             own_epochs = copied(epochs, "epochs", U);
    training.inputs = {own.rows, own.tokens, nullptr};
    training.lengths = own.lengths.data();
    training.dropout_key = dropout_key;
    training.epochs = own_epochs.data();
    training.regularization = {penalty, checked(frozen, "frozen", {shape.tensor_count})};
    const Real* target_data = checked(target_array, "targets", {target_rows, shape.outputs});
    training.targets = {{target_data, own_target_starts.data(), shape.outputs}, checked(weights, "weights", {target_rows})};
    training.order = own_order.data();
    training.boundaries = own_boundaries.data();
    training.learning_rates = checked(rates, "learning_rates", {U});
    training.updates = U;
    training.optimizer = checked_optimizer(optimizer, shape.parameter_count());
    training.clipping = {word(clipping_kind, rnn::ClippingKind::value, "clipping"), limit};
    const Index state_rows = first_axis(carried_state);
    const bool carries = state_rows > 0;
    const std::vector<Index> own_owners = copied(owners, "owners", carries ? N : 0),
                             own_first_steps = copied(first_steps, "first_steps", carries ? N : 0);
    for (Index owner : own_owners) {
      if (owner < 0 || owner >= state_rows) refuse("owners must be rows of the state. Got " + std::to_string(owner) + ".");
    }
    Real* states = checked(carried_state, "carried state", {state_rows, shape.state_size});
    training.carried = {own_owners.data(), own_first_steps.data(), carries ? states : nullptr};
    for (Index u = 0; u < U; ++u) {
      const Index first = training.boundaries[u], last = training.boundaries[u + 1];
      if (first < 0 || first >= last || last > M) refuse("boundaries must rise and end inside order.");
    }
    if (U > 0) {
      const Index first = training.boundaries[0], seen = training.boundaries[U] - first;
      const bool every = shape.readout == rnn::Readout::every;
      own.check(training.order + first, seen);
      check_rows(training.targets.rows.starts, every ? training.lengths : nullptr, training.order + first, seen, N,
                 target_rows, "targets");
    }
    rnn::Report into{checked(losses, "losses", {U}), checked(norms, "gradient_norms", {U}), checked(clipped, "clipped", {U}),
                     0, 0};
    Signals signals;
    const nb::gil_scoped_release unlocked;
    into = plan_->train_updates(training, into, signals);
    return {into.computed, into.applied};
  }

 private:
  static rnn::KnownPlan<Real> known(nb::handle self, const nb::object& holder) {
    BoundPlan& here = nb::cast<BoundPlan&>(self);
    return {here.plan_.get(), &here.version_, self.ptr(), holder.ptr()};
  }

  static nb::object fast_call(PyObject* made) {
    if (!made) throw nb::python_error();
    return nb::steal(made);
  }

  static rnn::Optimizer<Real> checked_optimizer(const OptimizerArrays& optimizer, Index P) {
    const auto& [code, beta1, beta2, epsilon, weight_decay, nesterov, m, v, updates] = optimizer;
    const rnn::OptimizerKind kind = word(code, rnn::OptimizerKind::adamw, "optimizer");
    const bool sgd = kind == rnn::OptimizerKind::sgd, rmsprop = kind == rnn::OptimizerKind::rmsprop;
    const bool has_m = sgd ? beta1 > 0 || nesterov : !rmsprop, has_v = !sgd;
    Index* count = checked(updates, "updates", {has_m && has_v ? 1 : 0});
    if (has_m && has_v && (*count < 0 || *count > most_updates)) {
      refuse("updates must be a possible count. Got " + std::to_string(*count) + ".");
    }
    return {kind, beta1, beta2, epsilon, weight_decay, nesterov, checked(m, "m", {has_m ? P : 0}),
            checked(v, "v", {has_v ? P : 0}), count};
  }

  template <class Array> auto* readout_shaped(const Array& array, const char* name, Index N, Index steps) {
    const rnn::NetworkShape& shape = plan_->shape();
    if (shape.readout == rnn::Readout::every) return checked(array, name, {N, steps, shape.outputs});
    return checked(array, name, {N, shape.outputs});
  }

  Out<Real> parameters_;  // keeps the vector alive
  nb::object version_;    // of the parameters that the packed weights are copies of
  std::unique_ptr<rnn::Plan<Real>> plan_;
};

// For tests, and for the benchmark, which asks how fast this processor can be.
template <class Real> void evaluate(int function, const In<Real>& from, const Out<Real>& to) {
  const Index count = first_axis(from);
  const Real* numbers = checked(from, "from", {count});
  const rnn::Function known = word(function, rnn::Function::multiply_adds, "function");
  rnn::chosen_kernels<Real>().evaluate(known, count, numbers, checked(to, "to", {count}));
}

template <class Real> void bind(nb::module_& module, const char* plan_name, const char* tape_name) {
  using Bound = BoundPlan<Real>;
  module.def("evaluate", &evaluate<Real>, nb::arg("function"), nb::arg("from").noconvert(), nb::arg("to").noconvert());
  nb::class_<rnn::Tape<Real>>(module, tape_name);
  nb::class_<Bound>(module, plan_name)
      .def(nb::init<const std::vector<LayerWords>&, Index, Index, Index, const std::tuple<int, int, int>&, double, double,
                    const Out<Real>&, const nb::object&>(),
           nb::arg("layers"), nb::arg("inputs"), nb::arg("outputs"), nb::arg("vocabulary"), nb::arg("words"),
           nb::arg("huber_delta"), nb::arg("dropout"), nb::arg("parameters").noconvert(), nb::arg("version") = nb::none())
      .def("use_threads", &Bound::use_threads, nb::arg("most"), nb::arg("at_will"))
      .def("refresh", &Bound::refresh, nb::arg("version") = nb::none())
      .def_prop_ro("version", &Bound::version)
      .def("stepper", &Bound::stepper, nb::arg("holder"), nb::arg("streams"))
      .def("stepper", &Bound::alone_stepper, nb::arg("holder"))
      .def("predictor", &Bound::predictor, nb::arg("holder"))
      .def("forward", &Bound::forward, nb::arg("inputs").noconvert(), nb::arg("steps"), nb::arg("dropout").noconvert(),
           nb::arg("state").noconvert(), nb::arg("outputs").noconvert(), nb::arg("preactivations").noconvert(),
           nb::arg("final_state").noconvert(), nb::arg("keep_tape"))
      .def("backward", &Bound::backward, nb::arg("tape"), nb::arg("steps"), nb::arg("d_preactivations").noconvert(),
           nb::arg("d_final_state").noconvert(), nb::arg("gradient").noconvert(), nb::arg("d_inputs").noconvert(),
           nb::arg("d_state").noconvert())
      .def("train_updates", &Bound::train_updates, nb::arg("inputs").noconvert(), nb::arg("targets").noconvert(),
           nb::arg("updates").noconvert(), nb::arg("dropout_key"), nb::arg("carried").noconvert(),
           nb::arg("optimizer").noconvert(), nb::arg("regularization").noconvert(), nb::arg("clipping").noconvert(),
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
  module.attr("most_threads") = rnn::most_threads;
  module.def("living_workers", &rnn::living_workers);
  module.def("end_threads", &rnn::end_threads, nb::call_guard<nb::gil_scoped_release>());
  nb::module_::import_("atexit").attr("register")(module.attr("end_threads"));
  if (!rnn::prepare_fast_calls()) throw nb::python_error();
  bind<float>(module, "Plan32", "Tape32");
  bind<double>(module, "Plan64", "Tape64");
}
