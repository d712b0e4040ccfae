// A batch laid out for the kernels: who runs which sequences, in which rows, and the memory for them. No Python here.
#pragma once

#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "network.hpp"

namespace rnn {

// Asks for large pages, as NumPy does for its arrays: gigabytes then come, go and are walked through in a fraction of the time.
inline void prefer_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr std::size_t large = std::size_t(1) << 22, page = 4096;
  if (bytes < large) return;
  const std::size_t skipped = page - reinterpret_cast<std::uintptr_t>(memory) % page;
  madvise(static_cast<char*>(memory) + skipped, bytes - skipped, MADV_HUGEPAGE);  // a wish, granted or not
#endif
}

// Zeroed memory for vectors of any instruction set; grows, never shrinks.
template <class Real> class Buffer {
 public:
  Real* at_least(Index count) {
    if (count > size_) {
      memory_.reset();
      size_ = 0;
      std::size_t room = std::size_t(count) * sizeof(Real) + alignment;
      memory_.reset(std::calloc(room, 1));  // the system zeroes large memory where it is first used: nothing waits for it
      if (!memory_) throw std::bad_alloc();
      prefer_large_pages(memory_.get(), room);
      void* first = memory_.get();
      aligned_ = static_cast<Real*>(std::align(alignment, 1, first, room));
      size_ = count;
    }
    return aligned_;
  }
  const Real* data() const { return aligned_; }

 private:
  static constexpr std::size_t alignment = 64;
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  Real* aligned_ = nullptr;
  Index size_ = 0;
};

// Sorts sequences by falling length and lays out their rows; see Timetable.
class Schedule {
 public:
  // Row lengths are lengths[chosen[i]], or lengths[i] where chosen is null.
  void build(const Index* lengths, const Index* chosen, Index sequences);
  // One that `forgets` is for a run without a way back.
  Timetable timetable(Pulse&, bool forgets = false) const;

 private:
  void lay_out(const Index* lengths);

  std::vector<Index> order_, lengths_, active_, block_;
  Index steps_ = 0, same_length_ = 0;
};

// A batch dealt to threads: sequence by sequence in the order of falling length, so that all shares are about the same work.
// One share is the batch as it came. A share may be dealt in groups, which run one after the other on the same tape.
template <class Real> class Shares {
 public:
  static constexpr Index all = std::numeric_limits<Index>::max();

  // All shares begin with their first group, which needs the largest tape.
  void deal(const Index* lengths, const Index* chosen, Index sequences, Index count, Index most_in_group = all);
  bool begin_next_group(Index share, const Index* lengths);  // if there is one
  Index count() const { return count_; }
  Timetable timetable(Index share, Pulse& pulse, bool forgets = false) const {
    return shares_[std::size_t(share)].schedule.timetable(pulse, forgets);
  }
  Real* tape(Index share, Index size) { return shares_[std::size_t(share)].tape.at_least(size); }
  const Real* tape(Index share) const { return shares_[std::size_t(share)].tape.data(); }

 private:
  struct Share {
    std::vector<Index> dealt;  // sequences; groups take them in this order
    Index begun = 0;           // of them
    Schedule schedule;
    Buffer<Real> tape;
  };
  std::vector<Share> shares_;  // grows, never shrinks
  std::vector<Index> sorted_;
  Index count_ = 0, group_ = 0;
};

}  // namespace rnn
