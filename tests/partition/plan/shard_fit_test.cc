#include "partition/plan/shard_fit.h"

#include <cmath>
#include <numeric>
#include <ostream>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/partition/plan/plan_cases.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {

inline void PrintTo(const Range& range, std::ostream* out) {
  *out << "[" << range.begin << "," << range.end << ")";
}

namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;

TEST(SplitInProportionTest, FollowsTheShares) {
  EXPECT_THAT(SplitInProportion(8, {3.0, 1.0}),
              ElementsAre(Range{0, 6}, Range{6, 8}));
  EXPECT_THAT(SplitInProportion(8, {24.0, 16.0}),
              ElementsAre(Range{0, 5}, Range{5, 8}));
  EXPECT_THAT(SplitInProportion(9, {1.0, 1.0, 1.0}),
              ElementsAre(Range{0, 3}, Range{3, 6}, Range{6, 9}));
}

TEST(SplitInProportionTest, NobodyGoesWithout) {
  EXPECT_THAT(SplitInProportion(4, {1000.0, 1.0, 1.0}),
              ElementsAre(Range{0, 2}, Range{2, 3}, Range{3, 4}));
  EXPECT_THAT(SplitInProportion(3, {1.0, 1e-9, 1e9}),
              ElementsAre(Range{0, 1}, Range{1, 2}, Range{2, 3}));
}

TEST(SplitInProportionTest, UnitsStayWholeAndTheLastTakesTheRest) {
  EXPECT_THAT(SplitInProportion(100, {2.0, 1.0}, 32),
              ElementsAre(Range{0, 64}, Range{64, 100}));
}

TEST(SplitInProportionTest, NoPartMissesItsShareByMoreThanAUnit) {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    std::vector<double> shares(1 + random() % 6);
    for (double& share : shares) share = 1 + random() % 20;
    const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
    // So many that even the smallest share is due one.
    const int64_t total = 200 + random() % 1000;
    const std::vector<Range> parts = SplitInProportion(total, shares);
    int64_t end = 0;
    for (size_t k = 0; k < shares.size(); ++k) {
      EXPECT_EQ(parts[k].begin, end);
      end = parts[k].end;
      const double due = static_cast<double>(total) * shares[k] / all;
      EXPECT_LE(std::fabs(static_cast<double>(parts[k].size()) - due), 1);
    }
    EXPECT_EQ(end, total);
  }
}

TEST(ShardTensorsInProportionTest, EqualSharesAreTheEvenShards) {
  for (const char* name : {"llama-2-7b", "llama-2-70b"}) {
    const ModelSpec spec = Named(name);
    for (const int tp : {1, 2, 4, 8, 16}) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const auto even, ShardTensors(spec, tp));
      CARAVAN_ASSERT_OK_AND_ASSIGN(
          const auto shards,
          ShardTensorsInProportion(spec, std::vector<double>(tp, 2.5)));
      for (int rank = 0; rank < tp; ++rank) {
        EXPECT_EQ(shards[rank].heads, even[rank].heads);
        EXPECT_EQ(shards[rank].kv_heads, even[rank].kv_heads);
        EXPECT_EQ(shards[rank].mlp_columns.size(),
                  even[rank].mlp_columns.size());
        EXPECT_EQ(shards[rank].vocabulary, even[rank].vocabulary);
      }
    }
  }
}

TEST(ShardTensorsInProportionTest, ColumnsMakeUpForHeads) {
  const ModelSpec spec = Named("llama-2-70b");  // eight KV heads
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto shards,
                               ShardTensorsInProportion(spec, {24.0, 16.0}));
  EXPECT_EQ(shards[0].kv_heads, (Range{0, 5}));
  EXPECT_EQ(shards[1].heads, (Range{40, 64}));
  const auto parameters = [&](const TensorShard& shard) {
    const int64_t heads = 2 * (shard.heads.size() + shard.kv_heads.size());
    return static_cast<double>(heads * spec.head_dim * spec.hidden_size +
                               3 * shard.mlp_columns.size() * spec.hidden_size);
  };
  EXPECT_NEAR(parameters(shards[0]) / parameters(shards[1]), 1.5, 0.005);
  EXPECT_EQ(shards[0].mlp_columns.end % kColumnUnit, 0);
  EXPECT_EQ(shards[1].mlp_columns.end, spec.intermediate_size);
}

TEST(ShardTensorsInProportionTest, KvHeadsAreReplicatedAboveTheirNumber) {
  ModelSpec spec = Named("llama-2-70b");
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto shards,
      ShardTensorsInProportion(
          spec, std::vector<double>{2, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(shards[0].heads, (Range{0, 11}));
  EXPECT_EQ(shards[0].kv_heads, (Range{0, 2}));
  EXPECT_EQ(shards[1].kv_heads.begin, 1);
  EXPECT_EQ(shards[9].heads.end, 64);
}

TEST(ShardTensorsInProportionTest, RefusesTheSameDegrees) {
  EXPECT_THAT(ShardTensorsInProportion(Named("llama-2-70b"),
                                       std::vector<double>(65, 1)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::partition
