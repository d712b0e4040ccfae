// Compiled once per instruction set: RNN_ISA is its name. Everything but the table below is local to this file.
#include "train.hpp"

namespace {

template <class Real> constexpr rnn::Kernels<Real> kernels{
    layout_bytes<Real>,   lay_out<Real>,              packed_size<Real>, pack<Real>,
    tape_size<Real>,      forward<Real>,              outputs<Real>,     final_states<Real>,
    set_states<Real>,     states<Real>,               step<Real>,
    workspace_size<Real>, set_d_preactivations<Real>, loss<Real>,        backward<Real>,
    evaluate<Real>,       add<Real>,                  regularize<Real>,    clip<Real>,          update<Real>,
};

}  // namespace

#define RNN_JOIN(a, b) a##b
#define RNN_NAME(isa) RNN_JOIN(instruction_set_, isa)
#define RNN_TEXT(isa) #isa
#define RNN_STRING(isa) RNN_TEXT(isa)

namespace rnn {

extern const InstructionSet RNN_NAME(RNN_ISA);
const InstructionSet RNN_NAME(RNN_ISA){RNN_STRING(RNN_ISA), &kernels<float>, &kernels<double>};

}  // namespace rnn
