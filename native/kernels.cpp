// Compiled once per instruction set and precision: RNN_ISA and RNN_REAL are their names. Everything but the table below is
// local to this file. What a process uses is of one set and mostly of one precision; in files of their own, these lie together.
#include "train.hpp"

namespace {

template <class Real> constexpr rnn::Kernels<Real> table{
    layout_bytes<Real>,   lay_out<Real>,              packed_size<Real>, pack<Real>,
    tape_size<Real>,      forward<Real>,              outputs<Real>,     final_states<Real>,
    set_states<Real>,     states<Real>,               step<Real>,
    workspace_size<Real>, set_d_preactivations<Real>, loss<Real>,        backward<Real>,
    evaluate<Real>,       add<Real>,                  regularize<Real>,  clip<Real>,         update<Real>,
};

}  // namespace

#define RNN_JOIN(isa, real) kernels_##isa##_##real
#define RNN_NAME(isa, real) RNN_JOIN(isa, real)

namespace rnn {

extern const Kernels<RNN_REAL> RNN_NAME(RNN_ISA, RNN_REAL);
const Kernels<RNN_REAL> RNN_NAME(RNN_ISA, RNN_REAL) = table<RNN_REAL>;

}  // namespace rnn
