// The workers of a process: how they wait, take parts of the work, and come and go.
#include "threads.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "subnormals.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif

namespace rnn {

namespace {

using Clock = std::chrono::steady_clock;

struct Stopped {};  // what ends the part of a worker when that of another has failed

constexpr int parts_bits = 16;
constexpr std::uint64_t ended = ~std::uint64_t(0);  // the last ticket of a crew
constexpr Index some_work = Index(1) << 20;         // done in a fraction of a millisecond

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// Whether `is_so` came true before it was time to sleep. A thread that sleeps takes about as long to wake up as this waits.
template <class Condition> bool soon(const Condition& is_so) {
  static const std::chrono::microseconds patience{std::thread::hardware_concurrency() > 1 ? 50 : 0};
  const Clock::time_point end = Clock::now() + patience;
  do {
    for (int i = 0; i < 32; ++i) {
      if (is_so()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return false;
}

// Signals are for the threads of the program: a thread made meanwhile gets none.
class SignalsBlocked {
 public:
#if defined(__unix__) || defined(__APPLE__)
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
#endif
};

}  // namespace

// How a worker hears that it need not go on.
class Crew::Errand : public Pulse {
 public:
  explicit Errand(const std::atomic<bool>& stop) : Pulse{some_work, look_whether_to_stop}, stop_(stop) {}

 private:
  static void look_whether_to_stop(Pulse& pulse) {
    pulse.left = some_work;
    if (static_cast<Errand&>(pulse).stop_) throw Stopped{};
  }

  const std::atomic<bool>& stop_;
};

Crew::~Crew() {
  ticket_ = ended;
  { const std::lock_guard<std::mutex> lock(mutex_); }  // nobody is between looking at the ticket and falling asleep
  published_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Crew::grow() {
  const SignalsBlocked blocked;
  try {
    threads_.emplace_back([this, own = workers() + 1] { serve(own); });
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

void Crew::serve(Index own) {
  const WithoutSubnormals zeros;
  std::uint64_t ticket = 0;
  while ((ticket = next_ticket(ticket)) != ended) {
    Errand errand(stop_);
    take_parts(ticket, own, errand);
  }
}

std::uint64_t Crew::next_ticket(std::uint64_t seen) {
  std::uint64_t ticket = seen;
  soon([&] { return (ticket = ticket_) != seen || resting_; });
  if (ticket != seen) return ticket;
  std::unique_lock<std::mutex> lock(mutex_);
  ++sleepers_;  // before the ticket is looked at: whoever publishes then writes the ticket before it looks for sleepers
  while ((ticket = ticket_) == seen) published_.wait(lock);
  --sleepers_;
  return ticket;
}

// Everybody begins with a part of its own, that of the last piece of work: its memory is still in the cache nearby.
void Crew::take_parts(std::uint64_t ticket, Index own, Pulse& pulse) {
  const std::uint64_t round = ticket >> parts_bits;
  const Index parts = Index(ticket & ((1 << parts_bits) - 1));
  for (Index i = 0; i < parts; ++i) {
    const Index part = (own + i) % parts;
    std::uint64_t last = taken_[part];
    if (last >= round || !taken_[part].compare_exchange_strong(last, round)) continue;
    try {
      if (!stop_) work_(context_, part, pulse);
    } catch (...) {
      keep_exception();
    }
    if (++done_ == parts && caller_sleeps_) {
      { const std::lock_guard<std::mutex> lock(mutex_); }
      finished_.notify_one();
    }
  }
}

void Crew::keep_exception() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!failure_) failure_ = std::current_exception();
  stop_ = true;
}

void Crew::wait_for_workers(Index parts, Pulse& pulse) {
  const auto all_done = [&] { return done_ == parts; };
  if (soon(all_done)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeps_ = true;
  while (!finished_.wait_for(lock, std::chrono::milliseconds(10), all_done)) {
    lock.unlock();
    try {
      if (!stop_) pulse.look(pulse);
    } catch (...) {
      keep_exception();
    }
    lock.lock();
  }
  caller_sleeps_ = false;
}

void Crew::run(Index parts, Pulse& pulse, Work work, const void* context) {
  work_ = work;
  context_ = context;
  done_ = 0;
  stop_ = false;
  const std::uint64_t ticket = (((ticket_ >> parts_bits) + 1) << parts_bits) | std::uint64_t(parts);
  ticket_ = ticket;
  if (sleepers_ > 0) {
    { const std::lock_guard<std::mutex> lock(mutex_); }
    published_.notify_all();
  }
  take_parts(ticket, 0, pulse);
  wait_for_workers(parts, pulse);
  if (stop_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

namespace {

// All crews that no call has. A call takes one of them, or has a new one made.
class Pool {
 public:
  std::unique_ptr<Crew> take(Index workers) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ended_) return nullptr;
    const auto fewer = [](const auto& a, const auto& b) { return a->workers() < b->workers(); };
    const auto largest = std::max_element(resting_.begin(), resting_.end(), fewer);
    std::unique_ptr<Crew> crew;
    if (largest == resting_.end()) {
      crew = std::make_unique<Crew>();
      resting_.reserve(++crews_);  // giving it back cannot fail
    } else {
      crew = std::move(*largest);
      resting_.erase(largest);
    }
    // Calls that come at once do not get a machine full of workers each.
    const Index most = std::max(workers, processors_ - 1);
    while (crew->workers() < workers && living_ < most && crew->grow()) ++living_;
    crew->rest(false);
    return crew;
  }

  void give_back(std::unique_ptr<Crew> crew) {
    crew->rest(true);
    const std::lock_guard<std::mutex> lock(mutex_);
    resting_.push_back(std::move(crew));
  }

  void end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    end_resting();
  }

  Index living() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return living_;
  }

  // A fork copies the thread that calls it and no other: those at rest, which would be missing after it, end before it, and
  // the lock is held by nobody else.
  void before_fork() {
    mutex_.lock();
    end_resting();
  }
  void after_fork() { mutex_.unlock(); }

 private:
  void end_resting() {
    for (const auto& crew : resting_) living_ -= crew->workers();
    crews_ -= resting_.size();
    resting_.clear();
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Crew>> resting_;
  std::size_t crews_ = 0;  // resting or at work
  Index living_ = 0;       // workers of all crews
  const Index processors_ = Index(std::thread::hardware_concurrency());
  bool ended_ = false;
};

std::atomic<Pool*> the_pool{nullptr};  // never freed: threads may outlive whatever the end of the process destroys

Pool* make_pool() {
#if defined(__unix__) || defined(__APPLE__)
  // In the child, crews at work are without their workers: it begins anew.
  pthread_atfork([] { the_pool.load()->before_fork(); }, [] { the_pool.load()->after_fork(); }, [] { the_pool = new Pool; });
#endif
  return the_pool = new Pool;
}

Pool& pool() {
  static const bool made = make_pool() != nullptr;
  (void)made;
  return *the_pool;
}

}  // namespace

Team::Team(Index parts) : parts_(parts) {
  if (parts > 1) crew_ = pool().take(parts - 1).release();
}

Team::~Team() {
  if (crew_) pool().give_back(std::unique_ptr<Crew>(crew_));
}

void end_threads() { pool().end(); }

Index living_workers() { return pool().living(); }

long this_process() {
#if defined(__unix__) || defined(__APPLE__)
  return getpid();
#else
  return 0;
#endif
}

}  // namespace rnn
