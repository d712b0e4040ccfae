// Chooses the instruction set when the module is imported: the best that was compiled and that this processor has.
// RNN_FROM_SCRATCH_ISA can lower the choice, so that tests try them all on one machine.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "plan.hpp"

namespace rnn {

#if defined(RNN_HAS_v2)
extern const InstructionSet instruction_set_v2, instruction_set_v3, instruction_set_v4;
#else
extern const InstructionSet instruction_set_baseline;
#endif

namespace {

struct Candidate {
  const InstructionSet* set;
  bool supported;
};

// From the least to the most demanding.
std::vector<Candidate> candidates() {
#if defined(RNN_HAS_v2)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return {{&instruction_set_v2, v2}, {&instruction_set_v3, v3}, {&instruction_set_v4, v4}};
#else
  return {{&instruction_set_baseline, true}};
#endif
}

const InstructionSet& choose() {
  const char* wanted = std::getenv("RNN_FROM_SCRATCH_ISA");
  const bool any = !wanted || !*wanted;
  const InstructionSet* best = nullptr;
  bool known = any;
  for (const Candidate& candidate : candidates()) {
    if (candidate.supported) best = candidate.set;
    if (!any && std::strcmp(wanted, candidate.set->name) == 0) {
      known = true;
      break;  // the choice can be lowered, not raised: what lies beyond is not looked at
    }
  }
  if (!known) {
    std::string names;
    for (const char* name : compiled_instruction_sets()) names += names.empty() ? name : std::string(", ") + name;
    throw std::runtime_error("RNN_FROM_SCRATCH_ISA must be one of " + names + ". Got '" + wanted + "'.");
  }
  if (!best) throw std::runtime_error("this processor has none of the instruction sets that the native engine was compiled for.");
  return *best;
}

}  // namespace

const InstructionSet& chosen_instruction_set() {
  static const InstructionSet& chosen = choose();
  return chosen;
}

std::vector<const char*> compiled_instruction_sets() {
  std::vector<const char*> names;
  for (const Candidate& candidate : candidates()) names.push_back(candidate.set->name);
  return names;
}

template <> const Kernels<float>& chosen_kernels<float>() { return *chosen_instruction_set().single_precision; }
template <> const Kernels<double>& chosen_kernels<double>() { return *chosen_instruction_set().double_precision; }

}  // namespace rnn
