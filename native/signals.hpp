// How calls that compute without Python's lock hear of Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <limits>

#include "network.hpp"
#include "subnormals.hpp"

namespace rnn {

// Looks for Ctrl-C and other signals while a call computes without Python's lock. An exception of a signal's handler leaves the
// call as if the call had raised it.
class Signals : public Pulse {
 public:
  Signals() : Pulse{some_work, look_for_signals}, next_(Clock::now() + patience) {}

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Index some_work = Index(1) << 20;  // done in a fraction of a millisecond, or in ten where memory is slow
  static constexpr std::chrono::milliseconds patience{30};  // taking the lock may take another thread five

  static void look_for_signals(Pulse& pulse) {
    Signals& self = static_cast<Signals&>(pulse);
    self.left = some_work;
    if (!self.hears_ || Clock::now() < self.next_) return;
    const nanobind::gil_scoped_acquire locked;
    const FloatingPointModes ordinary(self.modes_);  // Python's code runs as anywhere else
    if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
    const nanobind::object main_thread = nanobind::module_::import_("threading").attr("main_thread")();
    self.hears_ = nanobind::cast<unsigned long>(main_thread.attr("ident")) == PyThread_get_thread_ident();
    if (!self.hears_) self.left = std::numeric_limits<Index>::max();  // signals are the main thread's: leave others their lock
    self.next_ = Clock::now() + patience;
  }

  Clock::time_point next_;
  bool hears_ = true;
  const FloatingPointModes::Word modes_ = FloatingPointModes::now();  // of the thread, before the call changes them
};

}  // namespace rnn
