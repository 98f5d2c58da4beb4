#include "worker/comm/rank_ordered_sum.h"

#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// In any other order the small addend would not be lost, or twice.
TEST(RankOrderedSumTest, AddsFromTheFirstToTheLast) {
  const std::vector<float> huge = {1e8f}, one = {1}, minus = {-1e8f};
  std::vector<float> sum(1);
  SumInRankOrder({huge.data(), one.data(), minus.data()}, absl::MakeSpan(sum));
  EXPECT_THAT(sum, ElementsAre(0));
  SumInRankOrder({huge.data(), minus.data(), one.data()}, absl::MakeSpan(sum));
  EXPECT_THAT(sum, ElementsAre(1));
}

TEST(RankOrderedSumTest, TheResultMayReplaceAnyAddend) {
  for (int place = 0; place < 3; ++place) {
    // More than a block, and not a multiple of one.
    std::vector<std::vector<float>> addends(3, std::vector<float>(2500));
    for (int i = 0; i < 3; ++i) addends[i].assign(2500, i + 1);
    SumInRankOrder({addends[0].data(), addends[1].data(), addends[2].data()},
                   absl::MakeSpan(addends[place]));
    EXPECT_THAT(addends[place], Each(6)) << "place " << place;
  }
}

TEST(RankOrderedSumTest, OneAddendIsItsSum) {
  const std::vector<float> addend = {-0.0f, 2};
  std::vector<float> sum(2);
  SumInRankOrder({addend.data()}, absl::MakeSpan(sum));
  EXPECT_EQ(sum, addend);
}

uint16_t Bits(float value) { return FloatToBFloat16(value); }

// 256 + 1 + 1 in bfloat16 alone would stay 256: neighbours are two apart.
TEST(RankOrderedSumTest, BFloat16IsAddedInFloat32AndRoundedOnce) {
  const std::vector<uint16_t> large = {Bits(256)}, one = {Bits(1)};
  std::vector<uint16_t> sum(1);
  SumInRankOrder({large.data(), one.data(), one.data()}, absl::MakeSpan(sum));
  EXPECT_THAT(sum, ElementsAre(Bits(258)));
  // Half-way between 256 and 258: to the even one.
  SumInRankOrder({large.data(), one.data()}, absl::MakeSpan(sum));
  EXPECT_THAT(sum, ElementsAre(Bits(256)));
}

TEST(RankOrderedSumTest, BFloat16MayBeReplacedToo) {
  for (int place = 0; place < 3; ++place) {
    std::vector<std::vector<uint16_t>> addends(3);
    for (int i = 0; i < 3; ++i) addends[i].assign(2500, Bits(i + 1));
    SumInRankOrder({addends[0].data(), addends[1].data(), addends[2].data()},
                   absl::MakeSpan(addends[place]));
    EXPECT_THAT(addends[place], Each(Bits(6))) << "place " << place;
  }
}

}  // namespace
}  // namespace caravan::worker
