// The threads that share one operation's work.
#ifndef CARAVAN_WORKER_BACKEND_CPU_THREAD_POOL_H_
#define CARAVAN_WORKER_BACKEND_CPU_THREAD_POOL_H_

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace caravan::worker {

struct ThreadPoolOptions {
  int num_threads = 1;  // with the caller of Run
  // Thread i is bound to processors[i % size], the caller of Run (thread 0) at
  // its first Run; threads that the caller starts after that inherit its
  // binding. The pool's end frees the caller again. Empty: the operating system
  // decides.
  std::vector<int> processors;
};

// Runs the tasks of one operation at a time. A thread that finds no work spins
// for some tens of microseconds, in which the next operation usually comes,
// then sleeps: an idle pool uses no CPU. The caller never waits for a thread
// that has not begun a task, so a thread without a core delays nobody.
//
// Which thread runs which task is not fixed; results must not depend on it.
//
// One thread calls Run, and best the destructor too, which joins the threads.
class ThreadPool final {
 public:
  // kInvalidArgument: fewer than one thread or too many; kResourceExhausted:
  // the system gives no more threads; kFailedPrecondition: not a processor.
  static absl::StatusOr<std::unique_ptr<ThreadPool>> Create(
      const ThreadPoolOptions& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return options_.num_threads; }

  // Calls task(index, thread) once for each index in [0, num_tasks), each on
  // one of the threads [0, num_threads()); returns when all are done.
  void Run(int64_t num_tasks,
           absl::FunctionRef<void(int64_t index, int thread)> task);

 private:
  using Task = absl::FunctionRef<void(int64_t index, int thread)>;

  explicit ThreadPool(const ThreadPoolOptions& options) : options_(options) {}
  absl::Status StartThreads();
  void PinCaller();
  void FreeCaller();
  void ThreadMain(int thread, int processor);
  // Waits for an operation newer than `seen` and joins it. Returns its number,
  // or 0 when the pool ends.
  uint32_t JoinNext(uint32_t seen);
  void Leave();
  void WorkOn(int thread);
  void AwaitOthers();

  const ThreadPoolOptions options_;
  std::vector<std::thread> threads_;
  // Who called Run last and where it could run before.
  pthread_t pinned_caller_{};
  cpu_set_t free_caller_{};
  bool caller_is_pinned_ = false;

  // The operation, written by Run while no thread is inside.
  const Task* task_ = nullptr;
  int64_t num_tasks_ = 0;
  alignas(64) std::atomic<int64_t> next_task_{0};

  // Bits 32..63: the operation's number; bit 31: threads may join; bits 0..30:
  // how many threads are inside.
  alignas(64) std::atomic<uint64_t> state_{0};
  // What sleeping threads wait on: the operation's number; the count of times
  // that the last thread left a closed operation.
  alignas(64) std::atomic<uint32_t> operation_{0};
  alignas(64) std::atomic<uint32_t> left_{0};
  std::atomic<bool> ending_{false};
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_THREAD_POOL_H_
