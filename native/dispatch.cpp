// Chooses the instruction set when the module is imported: the best that was compiled and that this processor has.
// RNN_FROM_SCRATCH_ISA can lower the choice, so that tests try them all on one machine.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "plan.hpp"

namespace rnn {

extern const Kernels<float> kernels_v2_float, kernels_v3_float, kernels_v4_float, kernels_baseline_float;
extern const Kernels<double> kernels_v2_double, kernels_v3_double, kernels_v4_double, kernels_baseline_double;

namespace {

struct Candidate {
  InstructionSet set;
  bool supported;
};

#if defined(__x86_64__)
bool supports_v2() { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"); }

bool supports_v3() {
  return supports_v2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}

bool supports_v4() {
  return supports_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// What was compiled, from the least to the most demanding.
std::vector<Candidate> candidates() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  return {
#if defined(RNN_HAS_v2)
      {{"v2", &kernels_v2_float, &kernels_v2_double}, supports_v2()},
#endif
#if defined(RNN_HAS_v3)
      {{"v3", &kernels_v3_float, &kernels_v3_double}, supports_v3()},
#endif
#if defined(RNN_HAS_v4)
      {{"v4", &kernels_v4_float, &kernels_v4_double}, supports_v4()},
#endif
#if defined(RNN_HAS_baseline)
      {{"baseline", &kernels_baseline_float, &kernels_baseline_double}, true},
#endif
  };
}

InstructionSet choose() {
  const char* wanted = std::getenv("RNN_FROM_SCRATCH_ISA");
  const bool any = !wanted || !*wanted;
  InstructionSet best{};
  bool known = any;
  for (const Candidate& candidate : candidates()) {
    if (candidate.supported) best = candidate.set;
    if (!any && std::strcmp(wanted, candidate.set.name) == 0) {
      known = true;
      break;  // the choice can be lowered, not raised: what lies beyond is not looked at
    }
  }
  if (!known) {
    std::string names;
    for (const char* name : compiled_instruction_sets()) names += names.empty() ? name : std::string(", ") + name;
    throw std::runtime_error("RNN_FROM_SCRATCH_ISA must be one of " + names + ". Got '" + wanted + "'.");
  }
  if (!best.name) {
    throw std::runtime_error("this processor has none of the instruction sets that the native engine was compiled for.");
  }
  return best;
}

}  // namespace

const InstructionSet& chosen_instruction_set() {
  static const InstructionSet chosen = choose();
  return chosen;
}

std::vector<const char*> compiled_instruction_sets() {
  std::vector<const char*> names;
  for (const Candidate& candidate : candidates()) names.push_back(candidate.set.name);
  return names;
}

template <> const Kernels<float>& chosen_kernels<float>() { return *chosen_instruction_set().single_precision; }
template <> const Kernels<double>& chosen_kernels<double>() { return *chosen_instruction_set().double_precision; }

}  // namespace rnn
