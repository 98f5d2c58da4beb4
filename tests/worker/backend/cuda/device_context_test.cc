#include "worker/backend/cuda/device_context.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker::cuda {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

// Work in the stream that is done when the host says so.
class Gate final {
 public:
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // Until the device's own thread stands before it: a query of the stream could
  // otherwise be what runs into it.
  bool AwaitArrival() {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30),
                             [this] { return reached_; });
  }
  static void Await(void* gate) {
    auto* self = static_cast<Gate*>(gate);
    std::unique_lock<std::mutex> lock(self->mutex_);
    self->reached_ = true;
    self->changed_.notify_all();
    self->changed_.wait(lock, [self] { return self->open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  bool reached_ = false;
};

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
  ASSERT_EQ(cudaLaunchHostFunc(context->stream(), Gate::Await, &gate),
            cudaSuccess);
  ASSERT_TRUE(gate.AwaitArrival());
  EXPECT_THAT(context->Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                        HasSubstr("after=20ms")));
  gate.Open();
  ASSERT_EQ(cudaStreamSynchronize(context->stream()), cudaSuccess);
  CARAVAN_EXPECT_OK(context->Wait());
  emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
}

}  // namespace
}  // namespace caravan::worker::cuda
