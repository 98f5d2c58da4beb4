#include "worker/backend/cuda/token_sets.h"

#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/device_vector.h"
#include "tests/worker/backend/cuda/gate.h"

namespace caravan::worker::cuda {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;

class TokenSetsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    emulated::SetStreamPolicy(emulated::StreamPolicy::kBackground, 0);
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
    tokens_ = std::make_unique<TokenSets>(*context_);
  }
  void TearDown() override {
    CARAVAN_EXPECT_OK(context_->Wait());
    emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
  }

  // As a kernel would.
  void Fill(TokenSlot first, const DeviceVector<DeviceToken>& values) {
    const auto count = static_cast<int64_t>(values.size());
    CARAVAN_ASSERT_OK_AND_ASSIGN(const int64_t place,
                                 tokens_->Place(first, count));
    ASSERT_EQ(cudaMemcpyAsync(tokens_->slots() + place, values.data(),
                              count * sizeof(DeviceToken),
                              cudaMemcpyDeviceToDevice, context_->stream()),
              cudaSuccess);
  }
  std::vector<int32_t> Read(int set, size_t count) {
    std::vector<ChosenToken> tokens(count);
    CARAVAN_EXPECT_OK(tokens_->Read(set, absl::MakeSpan(tokens)));
    std::vector<int32_t> ids;
    for (const ChosenToken& token : tokens) {
      EXPECT_EQ(token.largest, static_cast<float>(token.id) / 2);
      ids.push_back(token.id);
    }
    return ids;
  }

  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<TokenSets> tokens_;
};

TEST_F(TokenSetsTest, AreReadWithoutWaitingForWhatFollows) {
  const DeviceVector<DeviceToken> some(
      std::vector<DeviceToken>{{10, 1, 5}, {11, 2, 5.5f}});
  const DeviceVector<DeviceToken> more(std::vector<DeviceToken>{{20, 3, 10}});
  CARAVAN_ASSERT_OK(tokens_->Reserve(3));
  Fill({.set = 1, .index = 0}, some);
  Fill({.set = 1, .index = 2}, more);
  CARAVAN_ASSERT_OK(tokens_->Fetch(1, 3));
  Gate gate;
  ASSERT_TRUE(gate.Close(context_->stream()));
  Fill({.set = 0, .index = 0}, more);
  CARAVAN_ASSERT_OK(tokens_->Fetch(0, 1));
  EXPECT_FALSE(tokens_->HasToWait(1));
  EXPECT_THAT(Read(1, 3), ::testing::ElementsAre(10, 11, 20));
  EXPECT_TRUE(tokens_->HasToWait(0));
  gate.Open();
  EXPECT_THAT(Read(0, 1), ::testing::ElementsAre(20));
  EXPECT_FALSE(tokens_->HasToWait(0));
}

TEST_F(TokenSetsTest, HaveTheRoomThatWasReserved) {
  EXPECT_EQ(tokens_->slots(), nullptr);
  EXPECT_FALSE(tokens_->HasToWait(0));
  EXPECT_THAT(tokens_->Place({}, 1),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(tokens_->Fetch(0, 1),
              StatusIs(absl::StatusCode::kResourceExhausted));
  CARAVAN_EXPECT_OK(tokens_->Fetch(0, 0));
  CARAVAN_ASSERT_OK(tokens_->Reserve(4));
  EXPECT_THAT(tokens_->Place({.set = 1, .index = 1}, 3), IsOkAndHolds(5));
  EXPECT_THAT(tokens_->Place({.set = 1, .index = 2}, 3),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       ::testing::HasSubstr("reserved=4")));
  const emulated::MemoryCalls before = emulated::MemoryCallsMade();
  CARAVAN_ASSERT_OK(tokens_->Reserve(2));  // the larger room stays
  EXPECT_EQ(emulated::MemoryCallsMade(), before);
  CARAVAN_EXPECT_OK(tokens_->Place({}, 4));
}

TEST_F(TokenSetsTest, IdsStandForSlotsOfTheirSet) {
  CARAVAN_ASSERT_OK(tokens_->Reserve(4));
  const std::vector<int32_t> ids = {7, -1, 0, -1 - 3};
  EXPECT_EQ(tokens_->PlaceIds({.ids = ids, .set = 0}), ids);
  EXPECT_THAT(tokens_->PlaceIds({.ids = ids, .set = 1}),
              ::testing::ElementsAre(7, -1 - 4, 0, -1 - 7));
}

TEST_F(TokenSetsTest, HaveRoomForThePartsOfRanks) {
  const VocabularyShard shard = {.rank = 2, .num_ranks = 3};
  CARAVAN_ASSERT_OK(tokens_->Reserve(4));
  EXPECT_THAT(tokens_->Parts(shard, 1),
              StatusIs(absl::StatusCode::kResourceExhausted));
  CARAVAN_ASSERT_OK(tokens_->Reserve(4, /*num_ranks=*/3));
  CARAVAN_ASSERT_OK_AND_ASSIGN(DeviceToken* const parts,
                               tokens_->Parts(shard, 4));
  EXPECT_NE(parts, nullptr);
  EXPECT_THAT(tokens_->Parts(shard, 5),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       ::testing::HasSubstr("reserved=12")));
}

}  // namespace
}  // namespace caravan::worker::cuda
