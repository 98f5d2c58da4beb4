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

  // As a kernel would, and what brings them to the host.
  void Fill(TokenSlot first, const DeviceVector<DeviceToken>& values) {
    const auto count = static_cast<int64_t>(values.size());
    CARAVAN_ASSERT_OK_AND_ASSIGN(DeviceToken* const slots,
                                 tokens_->Slots(first, count));
    ASSERT_EQ(cudaMemcpyAsync(slots, values.data(), count * sizeof(DeviceToken),
                              cudaMemcpyDeviceToDevice, context_->stream()),
              cudaSuccess);
    CARAVAN_ASSERT_OK(tokens_->EnqueueRead(first, count));
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
  Gate gate;
  ASSERT_TRUE(gate.Close(context_->stream()));
  Fill({.set = 0, .index = 0}, more);
  EXPECT_FALSE(tokens_->HasToWait(1));
  EXPECT_THAT(Read(1, 3), ::testing::ElementsAre(10, 11, 20));
  EXPECT_TRUE(tokens_->HasToWait(0));
  gate.Open();
  EXPECT_THAT(Read(0, 1), ::testing::ElementsAre(20));
  EXPECT_FALSE(tokens_->HasToWait(0));
}

TEST_F(TokenSetsTest, HaveTheRoomThatWasReserved) {
  EXPECT_EQ(tokens_->Slots(0), nullptr);
  EXPECT_FALSE(tokens_->HasToWait(0));
  EXPECT_THAT(tokens_->Slots({}, 1),
              StatusIs(absl::StatusCode::kResourceExhausted));
  CARAVAN_ASSERT_OK(tokens_->Reserve(4));
  EXPECT_EQ(tokens_->Slots(1) - tokens_->Slots(0), 4);
  CARAVAN_EXPECT_OK(tokens_->Slots({.set = 1, .index = 1}, 3));
  EXPECT_THAT(tokens_->Slots({.set = 1, .index = 2}, 3),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       ::testing::HasSubstr("reserved=4")));
  const emulated::MemoryCalls before = emulated::MemoryCallsMade();
  CARAVAN_ASSERT_OK(tokens_->Reserve(2));  // the larger room stays
  EXPECT_EQ(emulated::MemoryCallsMade(), before);
  CARAVAN_EXPECT_OK(tokens_->Slots({}, 4));
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
