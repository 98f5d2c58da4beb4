#include "worker/backend/cuda/step_graphs.h"

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {
namespace {

using ::caravan::testing::StatusIs;

TEST(StepLadder, HasFewSizes) {
  std::set<int64_t> sizes;
  for (int64_t rows = 1; rows <= kMostGraphRows; ++rows) {
    const int64_t rounded = RowsOfGraph(rows, kMostGraphRows);
    EXPECT_GE(rounded, rows);
    EXPECT_LE(rounded, rows <= 64 ? rows + 7 : rows + rows / 4);
    EXPECT_EQ(RowsOfGraph(rounded, kMostGraphRows), rounded);
    sizes.insert(rounded);
  }
  EXPECT_EQ(sizes.size(), 23u);
  for (const int64_t size : {1, 2, 4, 8, 16, 64, 80, 128, 160, 256, 320, 512}) {
    EXPECT_TRUE(sizes.count(size)) << size;
  }
}

TEST(StepLadder, DoesNotPassItsLimit) {
  EXPECT_EQ(RowsOfGraph(5, 7), 7);
  EXPECT_EQ(RowsOfGraph(65, 65), 65);
  EXPECT_EQ(RowsOfGraph(3, 3), 3);
  EXPECT_EQ(PartsOfGraph(1, 3), 1);
  EXPECT_EQ(PartsOfGraph(2, 3), 2);
  EXPECT_EQ(PartsOfGraph(3, 3), 3);
  EXPECT_EQ(PartsOfGraph(3, 16), 4);
  EXPECT_EQ(PartsOfGraph(9, 16), 16);
}

// A step copies a number and counts how often it was enqueued.
class StepGraphsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
    graphs_.emplace(*context_, /*enabled=*/true);
  }
  void TearDown() override {
    emulated::InjectGraphError(0, cudaSuccess);
    graphs_.reset();
    CARAVAN_EXPECT_OK(context_->Wait());
  }

  absl::Status Run(const StepShape& shape) {
    return graphs_->Run(
        shape,
        [this]() -> absl::Status {
          ++num_enqueued_;
          if (!error_.ok()) return error_;
          return CudaStatus(
              cudaMemcpyAsync(to_.data(), from_.data(), sizeof(float),
                              cudaMemcpyDeviceToDevice, context_->stream()),
              "cudaMemcpyAsync");
        },
        [this](bool ok) {
          asked_.push_back(ok);
          return others_agree_.ok() ? absl::StatusOr<bool>(ok && *others_agree_)
                                    : others_agree_;
        });
  }
  // Runs the step on another number each time; whether it was enqueued.
  bool Enqueues(const StepShape& shape) {
    const int before = num_enqueued_;
    from_.Set({++number_});
    CARAVAN_EXPECT_OK(Run(shape));
    CARAVAN_EXPECT_OK(context_->Wait());
    EXPECT_EQ(to_.Get()[0], number_);
    return num_enqueued_ > before;
  }

  DeviceVector<float> from_{std::vector<float>{0}};
  const DeviceVector<float> to_{std::vector<float>{0}};
  std::unique_ptr<DeviceContext> context_;
  std::optional<StepGraphs> graphs_;
  float number_ = 0;
  int num_enqueued_ = 0;
  std::vector<bool> asked_;
  absl::StatusOr<bool> others_agree_ = true;
  absl::Status error_;
};

TEST_F(StepGraphsTest, RunsThenRecordsThenReplays) {
  const StepShape shape = {this, 4, 1};
  const int64_t before = emulated::EnqueueCallsMade(0).graphs;
  EXPECT_TRUE(Enqueues(shape));  // as it is
  EXPECT_EQ(emulated::EnqueueCallsMade(0).graphs, before);
  EXPECT_TRUE(Enqueues(shape));  // recorded, then launched
  EXPECT_EQ(emulated::EnqueueCallsMade(0).graphs, before + 1);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Enqueues(shape));
  EXPECT_EQ(emulated::EnqueueCallsMade(0).graphs, before + 6);
  EXPECT_EQ(graphs_->num_recorded(), 1);
  EXPECT_EQ(graphs_->num_replayed(), 6);
  EXPECT_THAT(asked_, ::testing::ElementsAre(true));
}

TEST_F(StepGraphsTest, EveryShapeHasItsOwn) {
  const std::vector<StepShape> shapes = {
      {this, 4, 1},    {this, 8, 1},       {this, 4, 2},
      {nullptr, 4, 1}, {this, 4, 1, true}, {this, 4, 1, false, true}};
  for (const bool enqueues : {true, true, false}) {
    for (const StepShape& shape : shapes) {
      EXPECT_EQ(Enqueues(shape), enqueues);
    }
  }
}

TEST_F(StepGraphsTest, ForgetsWhatIsLongestOutOfUse) {
  const int most = static_cast<int>(StepGraphs::kMostGraphs);
  for (int round = 0; round < 2; ++round) {
    for (int i = 1; i <= most; ++i) EXPECT_TRUE(Enqueues({this, i, 1}));
  }
  EXPECT_FALSE(Enqueues({this, 1, 1}));
  EXPECT_TRUE(Enqueues({this, most + 1, 1}));  // in place of the second
  EXPECT_FALSE(Enqueues({this, 1, 1}));
  EXPECT_FALSE(Enqueues({this, 3, 1}));
  EXPECT_TRUE(Enqueues({this, 2, 1}));
  EXPECT_TRUE(Enqueues({this, 2, 1}));
  EXPECT_FALSE(Enqueues({this, 2, 1}));
}

TEST_F(StepGraphsTest, BeginsAgainAfterAllAreDropped) {
  for (int i = 0; i < 3; ++i) Enqueues({this, 1, 1});
  context_->DropGraphs();
  EXPECT_TRUE(Enqueues({this, 1, 1}));
  EXPECT_TRUE(Enqueues({this, 1, 1}));
  EXPECT_FALSE(Enqueues({this, 1, 1}));
}

TEST_F(StepGraphsTest, RunsWithoutGraphsWhereThereIsNoRoomForThem) {
  emulated::InjectGraphError(0, cudaErrorMemoryAllocation);
  const emulated::EnqueueCalls before = emulated::EnqueueCallsMade(0);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Enqueues({this, 1, 1}));
  EXPECT_FALSE(graphs_->enabled());
  EXPECT_EQ(num_enqueued_, 5);  // the second step twice
  EXPECT_THAT(asked_, ::testing::ElementsAre(false));
  EXPECT_EQ(emulated::EnqueueCallsMade(0).graphs, before.graphs);
}

TEST_F(StepGraphsTest, RunsWithoutGraphsWhereAnotherRankCannotRecord) {
  others_agree_ = false;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Enqueues({this, 1, 1}));
  EXPECT_FALSE(graphs_->enabled());
  EXPECT_THAT(asked_, ::testing::ElementsAre(true));
}

TEST_F(StepGraphsTest, RunsWithoutGraphsWhereItIsToldTo) {
  graphs_.reset();
  graphs_.emplace(*context_, /*enabled=*/false);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Enqueues({this, 1, 1}));
  EXPECT_THAT(asked_, ::testing::IsEmpty());
}

TEST_F(StepGraphsTest, TellsErrors) {
  error_ = absl::UnavailableError("peer=1 is gone");
  EXPECT_EQ(Run({this, 1, 1}), error_);
  EXPECT_EQ(Run({this, 1, 1}), error_);  // also when it is to be recorded
  others_agree_ = absl::DeadlineExceededError("peer=1 does not answer");
  graphs_.reset();
  graphs_.emplace(*context_, /*enabled=*/true);
  error_ = absl::OkStatus();
  CARAVAN_EXPECT_OK(Run({this, 1, 1}));
  EXPECT_EQ(Run({this, 1, 1}), others_agree_.status());
}

}  // namespace
}  // namespace caravan::worker::cuda
