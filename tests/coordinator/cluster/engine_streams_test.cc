#include "coordinator/cluster/engine_streams.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;

TEST(EngineStreamsTest, StreamsAreFoundByEpochAndRank) {
  EngineStreams streams;
  streams.Add(7, {.epoch = 1, .rank = 1});
  streams.Add(3, {.epoch = 2, .rank = 0});
  streams.Add(9, {.epoch = 2, .rank = 2});
  EXPECT_THAT(streams.OfEpoch(2, 3), ElementsAre(3, 0, 9));
  EXPECT_THAT(streams.OfEpoch(2, 1), ElementsAre(3));
  EXPECT_THAT(streams.UpToEpoch(1), ElementsAre(7));
  EXPECT_THAT(streams.UpToEpoch(2), ElementsAre(3, 7, 9));
  EXPECT_EQ(streams.Find(9)->rank, 2);
  EXPECT_FALSE(streams.Find(8).has_value());
  EXPECT_EQ(streams.Remove(9)->epoch, 2u);
  EXPECT_FALSE(streams.Remove(9).has_value());
  EXPECT_THAT(streams.OfEpoch(2, 3), ElementsAre(3, 0, 0));
}

}  // namespace
}  // namespace caravan::coordinator
