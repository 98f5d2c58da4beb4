#include "worker/backend/cuda/recorded_graph.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/device_vector.h"
#include "tests/worker/backend/cuda/gate.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Says what it is told, in order.
class LoggingWatcher final : public DeviceWatcher {
 public:
  struct Notes final : RecordedNotes {};

  absl::Status OnWait(absl::Duration) override { return absl::OkStatus(); }
  void BeginRecording() override { calls.push_back("begin"); }
  std::unique_ptr<RecordedNotes> EndRecording() override {
    calls.push_back("end");
    return std::make_unique<Notes>();
  }
  absl::Status BeforeReplay(const RecordedNotes&) override {
    calls.push_back("before");
    return refusal;
  }
  absl::Status AfterReplay(const RecordedNotes&) override {
    calls.push_back("after");
    return absl::OkStatus();
  }

  std::vector<std::string> calls;
  absl::Status refusal;
};

class RecordedGraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
  }
  void TearDown() override {
    CARAVAN_EXPECT_OK(context_->Wait());
    emulated::InjectGraphError(0, cudaSuccess);
    emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
  }

  absl::Status Copy() {
    return CudaStatus(
        cudaMemcpyAsync(to_.data(), from_.data(), sizeof(float),
                        cudaMemcpyDeviceToDevice, context_->stream()),
        "cudaMemcpyAsync");
  }
  absl::StatusOr<std::unique_ptr<RecordedGraph>> RecordCopy() {
    return RecordedGraph::Record(*context_, [this] { return Copy(); });
  }
  float Result() {
    CARAVAN_EXPECT_OK(context_->Wait());
    return to_.Get()[0];
  }

  DeviceVector<float> from_{std::vector<float>{1}};
  const DeviceVector<float> to_{std::vector<float>{0}};
  std::unique_ptr<DeviceContext> context_;
};

TEST_F(RecordedGraphTest, RunsWhatWasRecordedWhenItIsLaunched) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto graph, RecordCopy());
  EXPECT_EQ(graph->num_operations(), 1);
  EXPECT_EQ(Result(), 0);
  for (const float value : {1.0f, 2.0f, 3.0f}) {
    from_.Set({value});
    CARAVAN_ASSERT_OK(graph->Launch());
    EXPECT_EQ(Result(), value);
  }
}

TEST_F(RecordedGraphTest, WhatRunsGoesOnWhenItIsLetGo) {
  emulated::SetStreamPolicy(emulated::StreamPolicy::kBackground, 0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto graph, RecordCopy());
  Gate gate;
  ASSERT_TRUE(gate.Close(context_->stream()));
  CARAVAN_ASSERT_OK(graph->Launch());
  graph.reset();
  gate.Open();
  EXPECT_EQ(Result(), 1);
}

TEST_F(RecordedGraphTest, TellsTheWatcher) {
  LoggingWatcher watcher;
  context_->SetWatcher(&watcher);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto graph, RecordCopy());
  EXPECT_THAT(watcher.calls, ElementsAre("begin", "end"));
  CARAVAN_ASSERT_OK(graph->Launch());
  EXPECT_THAT(watcher.calls, ElementsAre("begin", "end", "before", "after"));
  EXPECT_EQ(Result(), 1);
  from_.Set({2});
  watcher.refusal = absl::AbortedError("the group is broken");
  EXPECT_THAT(graph->Launch(),
              StatusIs(absl::StatusCode::kAborted, "the group is broken"));
  context_->SetWatcher(nullptr);
  EXPECT_EQ(Result(), 1);  // it was not enqueued
}

TEST_F(RecordedGraphTest, AnErrorLeavesTheStreamAsItWas) {
  const auto failing = [this]() -> absl::Status {
    CARAVAN_EXPECT_OK(Copy());
    return absl::UnavailableError("no");
  };
  EXPECT_THAT(RecordedGraph::Record(*context_, failing),
              StatusIs(absl::StatusCode::kUnavailable, "no"));
  EXPECT_FALSE(context_->recording());
  EXPECT_EQ(Result(), 0);
  CARAVAN_ASSERT_OK(Copy());
  EXPECT_EQ(Result(), 1);
  CARAVAN_EXPECT_OK(RecordCopy());
}

TEST_F(RecordedGraphTest, WaitsAndAllocationsCannotBeRecorded) {
  const auto waiting = [this] { return context_->Wait(); };
  EXPECT_THAT(RecordedGraph::Record(*context_, waiting),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("cannot be waited for")));
  const auto allocating = [] {
    void* memory = nullptr;
    return CudaStatus(cudaMalloc(&memory, 64), "cudaMalloc");
  };
  EXPECT_THAT(
      RecordedGraph::Record(*context_, allocating),
      StatusIs(absl::StatusCode::kInternal, HasSubstr("cudaMalloc failed")));
  CARAVAN_EXPECT_OK(RecordCopy());
}

TEST_F(RecordedGraphTest, SaysThatThereIsNoMemoryForIt) {
  emulated::InjectGraphError(0, cudaErrorMemoryAllocation);
  EXPECT_THAT(RecordCopy(), StatusIs(absl::StatusCode::kResourceExhausted,
                                     HasSubstr("cudaGraphInstantiate")));
}

}  // namespace
}  // namespace caravan::worker::cuda
