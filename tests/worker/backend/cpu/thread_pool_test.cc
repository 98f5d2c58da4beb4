#include "worker/backend/cpu/thread_pool.h"

#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/topology.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::Each;

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsEachTaskOnce) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto pool,
                               ThreadPool::Create({.num_threads = GetParam()}));
  EXPECT_EQ(pool->num_threads(), GetParam());
  for (int64_t num_tasks : {0, 1, 2, 3, 100}) {
    std::vector<std::atomic<int>> runs(num_tasks);
    pool->Run(num_tasks, [&](int64_t index, int thread) {
      EXPECT_GE(thread, 0);
      EXPECT_LT(thread, GetParam());
      ++runs[index];
    });
    for (const std::atomic<int>& count : runs) EXPECT_EQ(count.load(), 1);
  }
}

// What one operation wrote, the next one reads, on whatever thread.
TEST_P(ThreadPoolTest, OperationsFollowEachOther) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto pool,
                               ThreadPool::Create({.num_threads = GetParam()}));
  constexpr int64_t kTasks = 16;
  std::vector<int64_t> values(kTasks, 0);
  for (int64_t operation = 0; operation < 20000; ++operation) {
    std::vector<int64_t> next(kTasks);
    pool->Run(kTasks, [&](int64_t index, int) {
      next[index] = values[(index + 1) % kTasks] + 1;
    });
    values = next;
  }
  EXPECT_THAT(values, Each(20000));
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 5));

// Waits until `count` threads have come. Of the standard library, because
// ThreadSanitizer does not see the system's abseil.
class Meeting final {
 public:
  explicit Meeting(size_t count) : count_(count) {}

  // Whether all came in time.
  bool Join(int thread) {
    std::unique_lock<std::mutex> lock(mutex_);
    threads_.insert(thread);
    processors_.insert(sched_getcpu());
    changed_.notify_all();
    return changed_.wait_for(lock, std::chrono::seconds(30),
                             [&] { return threads_.size() == count_; });
  }

  std::set<int> processors() {
    std::lock_guard<std::mutex> lock(mutex_);
    return processors_;
  }

 private:
  const size_t count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<int> threads_;
  std::set<int> processors_;
};

// Another thread has all the time it needs to take a task while one is held.
TEST(ThreadPool, SharesTasks) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto pool,
                               ThreadPool::Create({.num_threads = 3}));
  Meeting meeting(3);
  pool->Run(3, [&](int64_t, int thread) { EXPECT_TRUE(meeting.Join(thread)); });
}

TEST(ThreadPool, SleepsWhenIdle) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto pool,
                               ThreadPool::Create({.num_threads = 4}));
  pool->Run(100, [](int64_t, int) {});
  const auto used = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return absl::DurationFromTimeval(usage.ru_utime) +
           absl::DurationFromTimeval(usage.ru_stime);
  };
  const absl::Duration before = used();
  absl::Notification never;
  EXPECT_FALSE(never.WaitForNotificationWithTimeout(absl::Milliseconds(300)));
  // Three threads that spun would use 900 ms, or all of two cores.
  EXPECT_LT(used() - before, absl::Milliseconds(60));
}

TEST(ThreadPool, BindsThreadsWhileItLives) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::vector<int> cores, UsableCores());
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        auto pool,
        ThreadPool::Create({.num_threads = 2, .processors = {cores.back()}}));
    Meeting meeting(2);
    pool->Run(2,
              [&](int64_t, int thread) { EXPECT_TRUE(meeting.Join(thread)); });
    EXPECT_THAT(meeting.processors(), ::testing::ElementsAre(cores.back()));
  }
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(ThreadPool, RefusesImpossibleNumbers) {
  for (int num_threads : {-3, 0, 100000}) {
    EXPECT_THAT(ThreadPool::Create({.num_threads = num_threads}),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(ThreadPool::Create({.num_threads = 2}), IsOk());
}

}  // namespace
}  // namespace caravan::worker
