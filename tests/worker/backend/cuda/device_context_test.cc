#include "worker/backend/cuda/device_context.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/gate.h"

namespace caravan::worker::cuda {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TEST(DeviceContext, KnowsItsDevice) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto context,
                               DeviceContext::Create({.device = 1}));
  EXPECT_EQ(context->device(), 1);
  EXPECT_FALSE(context->name().empty());
  EXPECT_GE(context->compute_capability(), 80);
  EXPECT_GT(context->num_multiprocessors(), 0);
  CARAVAN_EXPECT_OK(context->Wait());
}

TEST(DeviceContext, RefusesADeviceThatIsNotThere) {
  EXPECT_THAT(
      DeviceContext::Create({.device = 99}),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("GPU 99: ")));
}

TEST(DeviceContext, GivesUpWorkThatDoesNotEnd) {
  emulated::SetStreamPolicy(emulated::StreamPolicy::kBackground, 0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto context,
      DeviceContext::Create({.timeout = absl::Milliseconds(20)}));
  Gate gate;
  ASSERT_TRUE(gate.Close(context->stream()));
  EXPECT_THAT(context->Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                        HasSubstr("after=20ms")));
  gate.Open();
  ASSERT_EQ(cudaStreamSynchronize(context->stream()), cudaSuccess);
  CARAVAN_EXPECT_OK(context->Wait());
  emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
}

// Counts, and gives up after some calls.
class ImpatientWatcher final : public DeviceWatcher {
 public:
  absl::Status OnWait(absl::Duration waited) override {
    longest_ = std::max(longest_, waited);
    return ++calls_ < 3 ? absl::OkStatus()
                        : absl::UnavailableError("rank 7 is gone");
  }
  int calls() const { return calls_; }
  absl::Duration longest() const { return longest_; }

 private:
  int calls_ = 0;
  absl::Duration longest_;
};

TEST(DeviceContext, TheWatcherEndsAWait) {
  emulated::SetStreamPolicy(emulated::StreamPolicy::kBackground, 0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto context, DeviceContext::Create({}));
  ImpatientWatcher watcher;
  context->SetWatcher(&watcher);
  CARAVAN_EXPECT_OK(context->Wait());  // nothing to wait for
  EXPECT_EQ(watcher.calls(), 0);
  Gate gate;
  ASSERT_TRUE(gate.Close(context->stream()));
  EXPECT_THAT(context->Wait(),
              StatusIs(absl::StatusCode::kUnavailable, "rank 7 is gone"));
  EXPECT_EQ(watcher.calls(), 3);
  EXPECT_GT(watcher.longest(), absl::ZeroDuration());
  context->SetWatcher(nullptr);
  gate.Open();
  CARAVAN_EXPECT_OK(context->Wait());
  emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
}

}  // namespace
}  // namespace caravan::worker::cuda
