// The two calls whose overhead matters: a step of a stream, and the prediction of an array. Objects to be called from Python.
#pragma once

#include <nanobind/nanobind.h>

#include "plan.hpp"

namespace rnn {

// A plan that a Python object holds. The attribute `version` of the object `holder` says which version the parameters have;
// the packed weights are those of `*version`. Versions are the same if they are the same object.
template <class Real> struct KnownPlan {
  Plan<Real>* plan;
  const nanobind::object* version;
  PyObject *owner, *holder;
};

// Once, before the others. All of them give null, or false, with a Python error set where something fails.
bool prepare_fast_calls();

// stepper(x, out) makes a step and gives its outputs, or None where x, out or the packed weights are not as they have to be;
// stepper.write(state) and stepper.read(state) set and get the states (N, state_size). No streams: one, without the axis N.
template <class Real> PyObject* new_stepper(const KnownPlan<Real>&, Index streams);

// predictor(X) gives the outputs of an array, or None where it is not as it has to be.
template <class Real> PyObject* new_predictor(const KnownPlan<Real>&);

}  // namespace rnn
