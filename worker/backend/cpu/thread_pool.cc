#include "worker/backend/cpu/thread_pool.h"

#include <signal.h>

#include <chrono>
#include <memory>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/topology.h"

namespace caravan::worker {
namespace {

constexpr int kMostThreads = 1024;
// Longer than the gap between two operations of a layer, short against a
// scheduler tick: on a machine with more engines than cores a waiting thread
// takes this much from a working one.
constexpr auto kSpin = std::chrono::microseconds(30);

constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr uint64_t kCountMask = kOpen - 1;

uint32_t OperationOf(uint64_t state) {
  return static_cast<uint32_t>(state >> 32);
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether `done` became true before the time to spin was over.
template <typename Done>
bool SpinUntil(Done done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// Signals are for the process's own threads, not for a pool's.
class BlockSignals final {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::Create(
    const ThreadPoolOptions& options) {
  if (options.num_threads < 1 || options.num_threads > kMostThreads) {
    return absl::InvalidArgumentError(absl::StrCat(
        "number of threads out of range: num_threads=", options.num_threads,
        " most=", kMostThreads));
  }
  std::unique_ptr<ThreadPool> pool(new ThreadPool(options));
  CARAVAN_RETURN_IF_ERROR(pool->StartThreads());
  return pool;
}

absl::Status ThreadPool::StartThreads() {
  const BlockSignals block;
  for (int thread = 1; thread < options_.num_threads; ++thread) {
    int processor = -1;
    if (!options_.processors.empty()) {
      processor = options_.processors[thread % options_.processors.size()];
    }
    try {
      threads_.emplace_back(
          [this, thread, processor] { ThreadMain(thread, processor); });
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "cannot start a thread: thread=", thread, " ", error.what()));
    }
  }
  return absl::OkStatus();
}

ThreadPool::~ThreadPool() {
  ending_.store(true);
  operation_.fetch_add(1);
  operation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  FreeCaller();
}

void ThreadPool::PinCaller() {
  if (options_.processors.empty()) return;
  const pthread_t self = pthread_self();
  if (caller_is_pinned_ && pthread_equal(self, pinned_caller_)) return;
  caller_is_pinned_ =
      pthread_getaffinity_np(self, sizeof(free_caller_), &free_caller_) == 0;
  pinned_caller_ = self;
  if (absl::Status status = PinThisThread(options_.processors[0]);
      !status.ok()) {
    LogWarning(status.ToString());
  }
}

// Else the caller's next pool would see one processor only.
void ThreadPool::FreeCaller() {
  const pthread_t self = pthread_self();
  if (!caller_is_pinned_ || !pthread_equal(self, pinned_caller_)) return;
  (void)pthread_setaffinity_np(self, sizeof(free_caller_), &free_caller_);
}

void ThreadPool::Run(int64_t num_tasks, Task task) {
  PinCaller();
  if (threads_.empty() || num_tasks <= 1) {
    for (int64_t index = 0; index < num_tasks; ++index) task(index, 0);
    return;
  }
  task_ = &task;
  num_tasks_ = num_tasks;
  next_task_.store(0, std::memory_order_relaxed);
  uint32_t operation = operation_.load(std::memory_order_relaxed) + 1;
  if (operation == 0) operation = 1;  // 0 means "the pool ends"
  state_.store((uint64_t{operation} << 32) | kOpen);
  operation_.store(operation);
  operation_.notify_all();
  WorkOn(/*thread=*/0);
  AwaitOthers();
}

void ThreadPool::WorkOn(int thread) {
  while (true) {
    const int64_t index = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (index >= num_tasks_) return;
    (*task_)(index, thread);
  }
}

void ThreadPool::AwaitOthers() {
  state_.fetch_and(~kOpen);
  const auto none_inside = [this] {
    return (state_.load(std::memory_order_acquire) & kCountMask) == 0;
  };
  if (SpinUntil(none_inside)) return;
  while (true) {
    const uint32_t left = left_.load();
    if (none_inside()) return;
    left_.wait(left);
  }
}

uint32_t ThreadPool::JoinNext(uint32_t seen) {
  while (true) {
    if (operation_.load() == seen && !SpinUntil([&] {
          return operation_.load(std::memory_order_acquire) != seen;
        })) {
      operation_.wait(seen);
    }
    if (ending_.load()) return 0;
    uint64_t state = state_.load();
    const uint32_t operation = OperationOf(state);
    seen = operation;
    while ((state & kOpen) != 0 && OperationOf(state) == operation) {
      if (state_.compare_exchange_weak(state, state + 1)) return operation;
    }
  }
}

void ThreadPool::Leave() {
  const uint64_t before = state_.fetch_sub(1);
  if ((before & kOpen) == 0 && (before & kCountMask) == 1) {
    left_.fetch_add(1);
    left_.notify_all();
  }
}

void ThreadPool::ThreadMain(int thread, int processor) {
  if (processor >= 0) {
    if (absl::Status status = PinThisThread(processor); !status.ok()) {
      LogWarning(status.ToString());
    }
  }
  uint32_t seen = 0;
  while ((seen = JoinNext(seen)) != 0) {
    WorkOn(thread);
    Leave();
  }
}

}  // namespace caravan::worker
