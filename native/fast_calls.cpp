// Plain C API of Python and NumPy: here a microsecond is long. Arrays are taken only if they are exactly what a kernel reads,
// every number finite, every token known. Whatever else comes, the answer is None, and Python's code converts it or says what
// is wrong with it.
#include "fast_calls.hpp"

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include <structmember.h>

#include <cstddef>
#include <new>

#include "quick.hpp"
#include "signals.hpp"

namespace rnn {

namespace {

constexpr npy_intp most_rows = npy_intp(1) << 16;  // of one run: as sequences.py has it

template <class Real> struct Number;
template <> struct Number<float> {
  static constexpr int type = NPY_FLOAT32;
  using Bits = std::uint32_t;
  static constexpr Bits exponent = 0x7f800000u;
};
template <> struct Number<double> {
  static constexpr int type = NPY_FLOAT64;
  using Bits = std::uint64_t;
  static constexpr Bits exponent = 0x7ff0000000000000u;
};

// No branch inside: compilers turn it into vector instructions.
template <class Real> bool all_finite(const Real* numbers, npy_intp count) {
  using Bits = typename Number<Real>::Bits;
  Bits found = 0;
  for (npy_intp i = 0; i < count; ++i) {
    Bits bits;
    __builtin_memcpy(&bits, numbers + i, sizeof(bits));
    found |= Bits((bits & Number<Real>::exponent) == Number<Real>::exponent);
  }
  return !found;
}

bool all_known(const Index* tokens, npy_intp count, Index vocabulary) {
  bool outside = false;
  for (npy_intp i = 0; i < count; ++i) outside |= std::uint64_t(tokens[i]) >= std::uint64_t(vocabulary);
  return !outside;
}

// An array of exactly this type and so many axes, aligned, contiguous, in the machine's byte order; else null.
PyArrayObject* plain(PyObject* object, int type, int axes, int flags = NPY_ARRAY_CARRAY_RO) {
  if (!PyArray_CheckExact(object)) return nullptr;
  PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
  const bool right = PyArray_TYPE(array) == type && PyArray_NDIM(array) == axes && PyArray_CHKFLAGS(array, flags) &&
                     PyArray_ISNOTSWAPPED(array);
  return right ? array : nullptr;
}

template <class T> T* data(PyArrayObject* array) { return static_cast<T*>(PyArray_DATA(array)); }

bool has_shape(PyArrayObject* array, const npy_intp* shape) {
  for (int axis = 0; axis < PyArray_NDIM(array); ++axis) {
    if (PyArray_DIM(array, axis) != shape[axis]) return false;
  }
  return true;
}

PyObject* version_word = nullptr;

// A callable object. Subject to Python's lock, as all that it has.
template <class Real, class Worker> struct FastCall {
  PyObject_HEAD
  vectorcallfunc call;
  KnownPlan<Real> known;
  Worker* worker;

  const NetworkShape& shape() const { return known.plan->shape(); }

  // Whether the packed weights are those of the parameters, for the whole call. An error leaves an exception.
  bool fresh(bool& error) const {
    PyObject* version = PyObject_GetAttr(known.holder, version_word);
    error = !version;
    Py_XDECREF(version);
    return version && version == known.version->ptr() && !known.plan->trains();
  }
};

template <class Real> struct Streams {
  Stepper<Real> stepper;
  int axes;  // of outputs: 1 if there is no axis N
  npy_intp x_shape[2], out_shape[2];

  Streams(const Plan<Real>& plan, Index streams)
      : stepper(plan.network(), streams ? streams : 1), axes(streams ? 2 : 1),
        x_shape{streams ? streams : plan.shape().inputs, plan.shape().inputs},
        out_shape{streams ? streams : plan.shape().outputs, plan.shape().outputs} {}
};

template <class Real> using StepperObject = FastCall<Real, Streams<Real>>;
template <class Real> using PredictorObject = FastCall<Real, QuickRun<Real>>;

// Runs with Python's lock, or without where others should not have to wait. Gives false with a Python error set.
template <class Run> bool guarded(bool unlocked, const Run& run) {
  try {
    if (unlocked) {
      const nanobind::gil_scoped_release released;
      run();
    } else {
      run();
    }
    return true;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (nanobind::python_error& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return false;
}

bool counted(const char* name, size_t flags, PyObject* words, Py_ssize_t wanted) {
  if (PyVectorcall_NARGS(flags) == wanted && !(words && PyTuple_GET_SIZE(words))) return true;
  PyErr_Format(PyExc_TypeError, "%s takes %zd arguments by position.", name, wanted);
  return false;
}

// The tokens of a step, or null. `alone` is where that of a single stream is put.
template <class Real> const Index* step_tokens(const StepperObject<Real>& self, PyObject* x, Index* alone) {
  const Streams<Real>& streams = *self.worker;
  const Index* tokens = alone;
  if (streams.axes == 1) {
    if (!PyLong_CheckExact(x)) return nullptr;
    int overflow = 0;
    *alone = PyLong_AsLongLongAndOverflow(x, &overflow);
    if (overflow) return nullptr;
  } else {
    PyArrayObject* array = plain(x, NPY_INT64, 1);
    if (!array || !has_shape(array, streams.x_shape)) return nullptr;
    tokens = data<const Index>(array);
  }
  return all_known(tokens, streams.stepper.streams(), self.shape().vocabulary) ? tokens : nullptr;
}

template <class Real> const Real* step_features(const StepperObject<Real>& self, PyObject* x) {
  PyArrayObject* array = plain(x, Number<Real>::type, self.worker->axes);
  if (!array || !has_shape(array, self.worker->x_shape)) return nullptr;
  const Real* features = data<const Real>(array);
  return all_finite(features, PyArray_SIZE(array)) ? features : nullptr;
}

template <class Real> PyObject* step_call(PyObject* object, PyObject* const* arguments, size_t flags, PyObject* words) {
  StepperObject<Real>& self = *reinterpret_cast<StepperObject<Real>*>(object);
  if (!counted("a stepper", flags, words, 2)) return nullptr;
  Streams<Real>& streams = *self.worker;
  PyObject *x = arguments[0], *out = arguments[1];
  Index token = 0;
  const bool reads_tokens = self.shape().vocabulary > 0;
  const Index* tokens = reads_tokens ? step_tokens(self, x, &token) : nullptr;
  const Real* features = reads_tokens ? nullptr : step_features(self, x);
  if (!tokens && !features) Py_RETURN_NONE;
  if (out != Py_None) {
    PyArrayObject* array = plain(out, Number<Real>::type, streams.axes, NPY_ARRAY_CARRAY);
    if (!array || !has_shape(array, streams.out_shape)) Py_RETURN_NONE;
  }
  bool error = false;
  if (!self.fresh(error)) return error ? nullptr : Py_NewRef(Py_None);
  PyObject* y = out == Py_None ? PyArray_SimpleNew(streams.axes, streams.out_shape, Number<Real>::type) : Py_NewRef(out);
  if (!y) return nullptr;
  Real* outputs = data<Real>(reinterpret_cast<PyArrayObject*>(y));
  if (!guarded(streams.stepper.is_long(), [&] { streams.stepper.step(features, tokens, outputs); })) Py_CLEAR(y);
  return y;
}

// The numbers of an array for the states, or null with an error set.
template <class Real> Real* state_numbers(const StepperObject<Real>& self, PyObject* state, int flags) {
  PyArrayObject* array = plain(state, Number<Real>::type, 2, flags);
  const npy_intp shape[] = {self.worker->stepper.streams(), self.shape().state_size};
  if (array && has_shape(array, shape)) return data<Real>(array);
  PyErr_Format(PyExc_ValueError, "state must be a plain array (%zd, %zd) of the plan's dtype.", shape[0], shape[1]);
  return nullptr;
}

template <class Real> PyObject* write_state(PyObject* object, PyObject* state) {
  StepperObject<Real>& self = *reinterpret_cast<StepperObject<Real>*>(object);
  const Real* from = state_numbers(self, state, NPY_ARRAY_CARRAY_RO);
  if (!from) return nullptr;
  self.worker->stepper.set_state(from);
  Py_RETURN_NONE;
}

template <class Real> PyObject* read_state(PyObject* object, PyObject* state) {
  StepperObject<Real>& self = *reinterpret_cast<StepperObject<Real>*>(object);
  Real* to = state_numbers(self, state, NPY_ARRAY_CARRAY);
  if (!to) return nullptr;
  self.worker->stepper.state(to);
  Py_RETURN_NONE;
}

// A run that others should not wait for: as any other of the plan.
template <class Real>
void long_run(Plan<Real>& plan, Index N, Index T, const Real* x, const Index* tokens, Real* outputs) {
  std::vector<Index> starts, lengths;
  lay_side_by_side(N, T, starts, lengths);
  const Run<Real> run{{{x, starts.data(), plan.shape().inputs}, tokens, nullptr}, lengths.data(), N, T};
  Signals signals;
  plan.forward(run, nullptr, {outputs, outputs, nullptr}, false, signals);
}

template <class Real> PyObject* predict_call(PyObject* object, PyObject* const* arguments, size_t flags, PyObject* words) {
  PredictorObject<Real>& self = *reinterpret_cast<PredictorObject<Real>*>(object);
  if (!counted("a predictor", flags, words, 1)) return nullptr;
  const NetworkShape& shape = self.shape();
  const bool reads_tokens = shape.vocabulary > 0;
  PyArrayObject* X = plain(arguments[0], reads_tokens ? NPY_INT64 : Number<Real>::type, reads_tokens ? 2 : 3);
  if (!X) Py_RETURN_NONE;
  const npy_intp N = PyArray_DIM(X, 0), T = PyArray_DIM(X, 1);
  if (N < 1 || T < 1 || N > most_rows || T > most_rows / N) Py_RETURN_NONE;
  if (!reads_tokens && PyArray_DIM(X, 2) != shape.inputs) Py_RETURN_NONE;
  const Index* tokens = reads_tokens ? data<const Index>(X) : nullptr;
  const Real* features = reads_tokens ? nullptr : data<const Real>(X);
  if (reads_tokens ? !all_known(tokens, N * T, shape.vocabulary) : !all_finite(features, N * T * shape.inputs)) Py_RETURN_NONE;
  const bool is_short = self.worker->is_short(N, T);
  if (!is_short && !self.worker->in_its_process()) Py_RETURN_NONE;
  bool error = false;
  if (!self.fresh(error)) return error ? nullptr : Py_NewRef(Py_None);
  const bool every = shape.readout == Readout::every;
  npy_intp out_shape[] = {N, every ? T : npy_intp(shape.outputs), shape.outputs};
  PyObject* y = PyArray_SimpleNew(every ? 3 : 2, out_shape, Number<Real>::type);
  if (!y) return nullptr;
  Real* outputs = data<Real>(reinterpret_cast<PyArrayObject*>(y));
  const bool done = guarded(!is_short, [&] {
    if (is_short) {
      self.worker->run(N, T, features, tokens, outputs);
    } else {
      long_run(*self.known.plan, N, T, features, tokens, outputs);
    }
  });
  if (!done) Py_CLEAR(y);
  return y;
}

template <class Real, class Worker> void destroy(PyObject* object) {
  FastCall<Real, Worker>& self = *reinterpret_cast<FastCall<Real, Worker>*>(object);
  delete self.worker;
  Py_DECREF(self.known.owner);
  Py_DECREF(self.known.holder);
  PyTypeObject* of_object = Py_TYPE(object);
  of_object->tp_free(object);
  Py_DECREF(of_object);
}

template <class Real, class Worker> PyTypeObject* type = nullptr;

template <class Real, class Worker> bool make_type(const char* name, PyMethodDef* methods) {
  using Object = FastCall<Real, Worker>;
  static PyMemberDef members[] = {{"__vectorcalloffset__", T_PYSSIZET, offsetof(Object, call), READONLY, nullptr},
                                  {nullptr, 0, 0, 0, nullptr}};
  PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(destroy<Real, Worker>)},
                         {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                         {Py_tp_members, members},
                         {Py_tp_methods, methods},
                         {0, nullptr}};
  constexpr unsigned int flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  PyType_Spec description{name, sizeof(Object), 0, flags, slots};
  type<Real, Worker> = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&description));
  return type<Real, Worker> != nullptr;
}

template <class Real> bool make_types(const char* stepper, const char* predictor) {
  static PyMethodDef none[] = {{nullptr, nullptr, 0, nullptr}};
  static PyMethodDef methods[] = {{"write", write_state<Real>, METH_O, "Set the states (N, state_size)."},
                                  {"read", read_state<Real>, METH_O, "Copy the states (N, state_size) into an array."},
                                  {nullptr, nullptr, 0, nullptr}};
  return make_type<Real, Streams<Real>>(stepper, methods) && make_type<Real, QuickRun<Real>>(predictor, none);
}

template <class Real, class Worker, class... Arguments>
PyObject* new_object(const KnownPlan<Real>& known, vectorcallfunc call, const Arguments&... arguments) {
  Worker* worker = nullptr;
  if (!guarded(false, [&] { worker = new Worker(arguments...); })) return nullptr;
  PyObject* object = type<Real, Worker>->tp_alloc(type<Real, Worker>, 0);
  if (!object) {
    delete worker;
    return nullptr;
  }
  FastCall<Real, Worker>& self = *reinterpret_cast<FastCall<Real, Worker>*>(object);
  self.call = call;
  self.known = known;
  self.worker = worker;
  Py_INCREF(known.owner);
  Py_INCREF(known.holder);
  return object;
}

}  // namespace

#define RNN_MODULE "rnn_from_scratch.engines._native."

bool prepare_fast_calls() {
  version_word = PyUnicode_InternFromString("version");
  return version_word && PyArray_ImportNumPyAPI() == 0 && make_types<float>(RNN_MODULE "Stepper32", RNN_MODULE "Predictor32") &&
         make_types<double>(RNN_MODULE "Stepper64", RNN_MODULE "Predictor64");
}

template <class Real> PyObject* new_stepper(const KnownPlan<Real>& known, Index streams) {
  return new_object<Real, Streams<Real>>(known, step_call<Real>, *known.plan, streams);
}

template <class Real> PyObject* new_predictor(const KnownPlan<Real>& known) {
  return new_object<Real, QuickRun<Real>>(known, predict_call<Real>, known.plan->network());
}

template PyObject* new_stepper(const KnownPlan<float>&, Index);
template PyObject* new_stepper(const KnownPlan<double>&, Index);
template PyObject* new_predictor(const KnownPlan<float>&);
template PyObject* new_predictor(const KnownPlan<double>&);

}  // namespace rnn
