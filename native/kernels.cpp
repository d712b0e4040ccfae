// Compiled once per instruction set and precision: RNN_ISA is the name of the one, RNN_REAL that of the other. What a network
// needs then lies together, and a process does not read the code of the other precision into memory. Everything but the table
// below is local to this file.
#include "train.hpp"

#define RNN_JOIN(isa, real) kernels_##isa##_##real
#define RNN_NAME(isa, real) RNN_JOIN(isa, real)

namespace rnn {

extern const Kernels<RNN_REAL> RNN_NAME(RNN_ISA, RNN_REAL);
constexpr Kernels<RNN_REAL> RNN_NAME(RNN_ISA, RNN_REAL){
    layout_bytes<RNN_REAL>,   lay_out<RNN_REAL>,              packed_size<RNN_REAL>, pack<RNN_REAL>,
    tape_size<RNN_REAL>,      forward<RNN_REAL>,              outputs<RNN_REAL>,     final_states<RNN_REAL>,
    set_states<RNN_REAL>,     states<RNN_REAL>,               step<RNN_REAL>,
    workspace_size<RNN_REAL>, set_d_preactivations<RNN_REAL>, loss<RNN_REAL>,        backward<RNN_REAL>,
    evaluate<RNN_REAL>,       add<RNN_REAL>,                  regularize<RNN_REAL>,  clip<RNN_REAL>,     update<RNN_REAL>,
};

}  // namespace rnn
