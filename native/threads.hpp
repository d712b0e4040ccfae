// Threads that share the work of a call. Between calls they sleep; a process ends them when it forks or exits, and makes
// new ones when there is work again.
//
// What is shared, and so every bit of the result, is decided by whoever calls: a piece of work has so many parts. Who computes
// a part decides nothing. The calling thread takes part as any other does: workers that wake up late, that are busy elsewhere
// or that could not be made leave their parts to it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "network.hpp"

namespace rnn {

constexpr Index most_threads = 256;

// Workers that one call at a time has. It publishes a piece of work as a ticket: (round << 16) | parts. Whoever first writes
// the round beside a part has it; a worker that comes late, with the ticket of a round that is over, finds nothing left of it.
class Crew {
 public:
  using Work = void (*)(const void* context, Index part, Pulse&);

  Crew() = default;
  Crew(const Crew&) = delete;
  ~Crew();  // waits for the workers to end

  bool grow();  // by one worker; false if the system has no more threads
  Index workers() const { return Index(threads_.size()); }
  void rest(bool resting) { resting_ = resting; }  // whether workers go to sleep without waiting for more
  void run(Index parts, Pulse&, Work, const void* context);

 private:
  class Errand;

  void serve(Index own);
  std::uint64_t next_ticket(std::uint64_t seen);
  void take_parts(std::uint64_t ticket, Index own, Pulse&);
  void keep_exception();
  void wait_for_workers(Index parts, Pulse&);

  std::vector<std::thread> threads_;
  Work work_ = nullptr;
  const void* context_ = nullptr;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable published_, finished_;
  // What workers look at while they wait, what the caller looks at while it waits, and what is looked at on the way: apart, so
  // that nobody's writing slows down somebody else's waiting.
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  std::atomic<bool> resting_{true};
  alignas(64) std::atomic<Index> done_{0};
  alignas(64) std::atomic<bool> stop_{false};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<Index> sleepers_{0};
  std::atomic<std::uint64_t> taken_[most_threads] = {};  // of each part: the last round in which somebody took it
};

// A crew for the time of a call, for work in up to so many parts.
class Team {
 public:
  explicit Team(Index parts);
  ~Team();
  Team(const Team&) = delete;
  Index parts() const { return parts_; }

  // Calls work(part, pulse) for every part < parts. An exception of one of them, of the pulse above all, ends them all.
  template <class Work> void run(Index parts, Pulse& pulse, const Work& work) {
    if (!crew_ || parts == 1) {
      for (Index part = 0; part < parts; ++part) work(part, pulse);
      return;
    }
    const auto call = [](const void* context, Index part, Pulse& own) { (*static_cast<const Work*>(context))(part, own); };
    crew_->run(parts, pulse, call, &work);
  }

 private:
  const Index parts_;
  Crew* crew_ = nullptr;
};

// Ends the threads, for good: for the end of the process.
void end_threads();

// How many workers there are now, asleep or not.
Index living_workers();

// The number of this process, by which a child knows that it is one; the same everywhere where there is no fork.
long this_process();

}  // namespace rnn
