// Whether whole streams come out right is scheduler_simulation_test.cc's
// question.
#include "coordinator/schedule/scheduler.h"

#include <atomic>
#include <memory>
#include <thread>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/schedule/manual_group.h"
#include "tests/coordinator/schedule/recording_sink.h"
#include "tests/coordinator/schedule/simulated_replica.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(SchedulerTest, RefusesWhatCanNeverRun) {
  EngineGroupInfo info = ReplicaInfo(1, 4);
  info.max_model_len = 100;
  Bench bench(info);
  const auto sink = std::make_shared<RecordingSink>();
  const auto submit = [&](GenerationRequest request) {
    return bench.scheduler.Submit(std::move(request), sink);
  };
  EXPECT_THAT(submit({}), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("prompt is empty")));
  EXPECT_THAT(
      submit({.prompt = {1}, .max_tokens = -1}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_tokens=-1")));
  EXPECT_THAT(submit({.prompt = Counting(100)}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("prompt_tokens=100"),
                             HasSubstr("max_model_len=100"))));
  EXPECT_THAT(
      submit({.prompt = Counting(65)}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               AllOf(HasSubstr("prompt_tokens=65"), HasSubstr("blocks=5"),
                     HasSubstr("blocks_total=4"))));
  EXPECT_TRUE(bench.group.issued().empty());
  bench.scheduler.OnEpochEnded(absl::UnavailableError("stopped"));
  EXPECT_THAT(submit({.prompt = {1}}),
              StatusIs(absl::StatusCode::kUnavailable));
  Scheduler never_started({});
  EXPECT_THAT(never_started.Submit({.prompt = {1}}, sink),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(sink->record().num_finished, 0);
}

TEST(SchedulerTest, TheDestructorEndsWhatRuns) {
  const auto sink = std::make_shared<RecordingSink>();
  ManualGroup group(ReplicaInfo(1, 100));
  {
    Scheduler scheduler({});
    scheduler.OnEpochStarted(&group);
    CARAVAN_ASSERT_OK(scheduler.Submit({.prompt = {1}}, sink));
  }
  EXPECT_EQ(sink->record().num_finished, 1);
  EXPECT_THAT(sink->record().status, StatusIs(absl::StatusCode::kUnavailable));
}

TEST(SchedulerTest, SinksMayCallTheScheduler) {
  Bench bench(ReplicaInfo(1, 100));
  RequestId ids[2] = {};
  const auto first = std::make_shared<RecordingSink>();
  const auto second = std::make_shared<RecordingSink>();
  const auto third = std::make_shared<RecordingSink>();
  first->OnEachToken([&](int64_t num_tokens) {
    if (num_tokens != 2) return;
    second->Close();
    bench.scheduler.Cancel(ids[1]);
    CARAVAN_EXPECT_OK(
        bench.scheduler.Submit({.prompt = {4}, .max_tokens = 2}, third));
    first->Close();
    bench.scheduler.Cancel(ids[0]);
    EXPECT_EQ(bench.scheduler.Stats().num_running +
                  bench.scheduler.Stats().num_waiting,
              1);
  });
  CARAVAN_ASSERT_OK_AND_ASSIGN(ids[0],
                               bench.scheduler.Submit({.prompt = {1}}, first));
  CARAVAN_ASSERT_OK_AND_ASSIGN(ids[1],
                               bench.scheduler.Submit({.prompt = {2}}, second));
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_EQ(first->record().misuse + second->record().misuse, "");
  EXPECT_EQ(first->record().tokens.size(), 2u);
  EXPECT_EQ(third->record().tokens.size(), 2u);
  EXPECT_EQ(third->record().num_finished, 1);
}

TEST(SchedulerTest, CancelWaitsForTheCallBeingMade) {
  Bench bench(ReplicaInfo(1, 100));
  absl::Notification entered;
  absl::Notification release;
  std::atomic<bool> left = false;
  std::atomic<bool> cancelled = false;
  const auto sink = std::make_shared<RecordingSink>();
  sink->OnEachToken([&](int64_t) {
    entered.Notify();
    release.WaitForNotificationWithTimeout(absl::Seconds(20));
    left = true;
  });
  CARAVAN_ASSERT_OK_AND_ASSIGN(const RequestId id,
                               bench.scheduler.Submit({.prompt = {1}}, sink));
  std::thread engines(
      [&] { CARAVAN_EXPECT_OK(bench.group.AnswerNext(bench.scheduler)); });
  ASSERT_TRUE(entered.WaitForNotificationWithTimeout(absl::Seconds(20)));
  std::thread client([&] {
    bench.scheduler.Cancel(id);
    EXPECT_TRUE(left);
    cancelled = true;
  });
  // The client is in Cancel when the request is gone.
  while (bench.scheduler.Stats().num_running > 0) std::this_thread::yield();
  EXPECT_FALSE(cancelled);
  release.Notify();
  engines.join();
  client.join();
  EXPECT_TRUE(cancelled);
}

}  // namespace
}  // namespace caravan::coordinator
