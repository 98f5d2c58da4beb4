#include "worker/comm/nccl/operation_log.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/gate.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;

// Fails its wait with the name of the operation that it was asked about.
class FakeGroup final : public WatchedGroup {
 public:
  explicit FakeGroup(std::string name) : name_(std::move(name)) {}
  absl::Status OnWait(const DeviceOperation& operation,
                      absl::Duration) override {
    return absl::UnavailableError(
        absl::StrCat(name_, " ", operation.name, " peer=", operation.peer));
  }
  absl::Status OnReplay(const DeviceOperation& operation,
                        int64_t count) override {
    replayed.push_back(absl::StrCat(operation.name, " x", count));
    return refusal;
  }

  std::vector<std::string> replayed;
  absl::Status refusal;

 private:
  const std::string name_;
};

class OperationLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    emulated::SetStreamPolicy(emulated::StreamPolicy::kBackground, 0);
    CARAVAN_ASSERT_OK_AND_ASSIGN(auto context, cuda::DeviceContext::Create({}));
    context_ = std::move(context);
    log_ = std::make_unique<OperationLog>(context_);
  }
  void TearDown() override {
    log_.reset();
    CARAVAN_EXPECT_OK(context_->Wait());
    emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
  }

  std::shared_ptr<cuda::DeviceContext> context_;
  std::unique_ptr<OperationLog> log_;
  cuda::Gate gate_;
  FakeGroup tensor_{"tp0"};
  FakeGroup pipeline_{"pp1"};
};

TEST_F(OperationLogTest, AsksTheGroupThatTheDeviceIsIn) {
  CARAVAN_EXPECT_OK(log_->Add(&pipeline_, {"receive", 0}));
  CARAVAN_EXPECT_OK(context_->Wait());
  ASSERT_TRUE(gate_.Close(context_->stream()));
  CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  CARAVAN_EXPECT_OK(log_->Add(&pipeline_, {"send", 2}));
  EXPECT_THAT(context_->Wait(), StatusIs(absl::StatusCode::kUnavailable,
                                         "tp0 all-reduce peer=-1"));
  gate_.Open();
}

TEST_F(OperationLogTest, GoesOnToTheNext) {
  CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  ASSERT_TRUE(gate_.Close(context_->stream()));
  CARAVAN_EXPECT_OK(log_->Add(&pipeline_, {"send", 2}));
  EXPECT_THAT(context_->Wait(),
              StatusIs(absl::StatusCode::kUnavailable, "pp1 send peer=2"));
  gate_.Open();
}

TEST_F(OperationLogTest, OtherWorkIsNobodysWait) {
  CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  CARAVAN_EXPECT_OK(context_->Wait());
  CARAVAN_EXPECT_OK(log_->OnWait(absl::Seconds(100)));
  ASSERT_TRUE(gate_.Close(context_->stream()));
  CARAVAN_EXPECT_OK(log_->OnWait(absl::Seconds(100)));
  gate_.Open();
}

TEST_F(OperationLogTest, ForgetsAGroup) {
  ASSERT_TRUE(gate_.Close(context_->stream()));
  CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  CARAVAN_EXPECT_OK(log_->Add(&pipeline_, {"send", 2}));
  log_->Forget(&tensor_);
  // The device still stands before the other's.
  CARAVAN_EXPECT_OK(log_->OnWait(absl::Seconds(100)));
  gate_.Open();
  CARAVAN_EXPECT_OK(context_->Wait());
}

TEST_F(OperationLogTest, TellsGroupsOfWhatIsReplayed) {
  log_->BeginRecording();
  EXPECT_TRUE(log_->recording());
  for (int i = 0; i < 3; ++i) {
    CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  }
  CARAVAN_EXPECT_OK(log_->Add(&pipeline_, {"send", 2}));
  CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  const auto notes = log_->EndRecording();
  EXPECT_FALSE(log_->recording());
  // Not begun.
  CARAVAN_EXPECT_OK(log_->OnWait(absl::Seconds(100)));
  EXPECT_THAT(tensor_.replayed, ::testing::IsEmpty());
  CARAVAN_EXPECT_OK(log_->BeforeReplay(*notes));
  EXPECT_THAT(tensor_.replayed,
              ::testing::ElementsAre("all-reduce x3", "all-reduce x1"));
  EXPECT_THAT(pipeline_.replayed, ::testing::ElementsAre("send x1"));
  pipeline_.refusal = absl::AbortedError("broken");
  EXPECT_EQ(log_->BeforeReplay(*notes), pipeline_.refusal);
}

TEST_F(OperationLogTest, AsksTheGroupWhoseReplayTheDeviceIsIn) {
  log_->BeginRecording();
  CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  CARAVAN_EXPECT_OK(log_->Add(&tensor_, {"all-reduce"}));
  const auto notes = log_->EndRecording();
  ASSERT_TRUE(gate_.Close(context_->stream()));
  CARAVAN_EXPECT_OK(log_->AfterReplay(*notes));
  CARAVAN_EXPECT_OK(log_->Add(&pipeline_, {"send", 2}));
  EXPECT_THAT(context_->Wait(), StatusIs(absl::StatusCode::kUnavailable,
                                         "tp0 all-reduce peer=-1"));
  gate_.Open();
}

TEST_F(OperationLogTest, HoldsManyAndUsesEventsAgain) {
  for (int i = 0; i < 3000; ++i) {
    CARAVAN_ASSERT_OK(log_->Add(&tensor_, {"all-reduce"}));
  }
  log_->Forget(&tensor_);  // it would end a wait, however short
  CARAVAN_EXPECT_OK(context_->Wait());
  CARAVAN_EXPECT_OK(log_->OnWait(absl::Seconds(100)));
}

}  // namespace
}  // namespace caravan::worker
