// Subnormal numbers, which cost up to a hundred times what others do, are taken for zero inside a native call and nowhere else.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace rnn {

// How this thread treats subnormal numbers, among other things.
class FloatingPointModes {
 public:
#if defined(__SSE2__)
  using Word = unsigned int;
  static constexpr Word zero_for_subnormal = 0x8040;  // results (FTZ) and operands (DAZ)
  static Word now() { return _mm_getcsr(); }
  static void set(Word word) { _mm_setcsr(word); }
#elif defined(__aarch64__)
  using Word = std::uint64_t;
  static constexpr Word zero_for_subnormal = Word(1) << 24;
  static Word now() {
    Word word;
    asm volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void set(Word word) { asm volatile("msr fpcr, %0" : : "r"(word)); }
#else
  using Word = int;
  static constexpr Word zero_for_subnormal = 0;
  static Word now() { return 0; }
  static void set(Word) {}
#endif

  explicit FloatingPointModes(Word word) : before_(now()) { set(word); }
  ~FloatingPointModes() { set(before_); }
  FloatingPointModes(const FloatingPointModes&) = delete;

 private:
  const Word before_;
};

// As long as this lives, in this thread.
class WithoutSubnormals {
 public:
  WithoutSubnormals() : modes_(FloatingPointModes::now() | FloatingPointModes::zero_for_subnormal) {}

 private:
  const FloatingPointModes modes_;
};

}  // namespace rnn
