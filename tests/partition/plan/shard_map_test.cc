#include "partition/plan/shard_map.h"

#include <algorithm>
#include <ostream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {

inline void PrintTo(const Range& range, std::ostream* out) {
  *out << "[" << range.begin << "," << range.end << ")";
}

namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelSpec SmallSpec(int num_heads, int num_kv_heads) {
  ModelSpec spec;
  spec.vocab_size = 320;
  spec.num_heads = num_heads;
  spec.num_kv_heads = num_kv_heads;
  spec.head_dim = 8;
  spec.hidden_size = num_heads * spec.head_dim;
  spec.intermediate_size = 256;
  spec.num_layers = 8;
  spec.max_positions = 128;
  return spec;
}

ModelSpec Llama2_70B() {
  ModelSpec spec = SmallSpec(64, 8);
  spec.vocab_size = 32000;
  spec.head_dim = 128;
  spec.hidden_size = 8192;
  spec.intermediate_size = 28672;
  spec.num_layers = 80;
  return spec;
}

std::vector<Range> AllParts(int64_t total, int parts, int64_t unit = 1) {
  std::vector<Range> ranges;
  for (int i = 0; i < parts; ++i) {
    ranges.push_back(SplitEvenly(total, parts, i, unit));
  }
  return ranges;
}

// Ranges that follow each other from 0 to `total`.
void ExpectCovers(const std::vector<Range>& ranges, int64_t total) {
  int64_t end = 0;
  for (const Range& range : ranges) {
    EXPECT_EQ(range.begin, end);
    EXPECT_GE(range.end, range.begin);
    end = range.end;
  }
  EXPECT_EQ(end, total);
}

TEST(SplitEvenlyTest, Table) {
  EXPECT_THAT(AllParts(8, 2), ElementsAre(Range{0, 4}, Range{4, 8}));
  EXPECT_THAT(AllParts(8, 3),
              ElementsAre(Range{0, 3}, Range{3, 6}, Range{6, 8}));
  EXPECT_THAT(AllParts(2, 3),
              ElementsAre(Range{0, 1}, Range{1, 2}, Range{2, 2}));
  EXPECT_THAT(AllParts(0, 2), ElementsAre(Range{0, 0}, Range{0, 0}));
  // Whole units, and the last part with what they leave.
  EXPECT_THAT(AllParts(100, 2, 32), ElementsAre(Range{0, 64}, Range{64, 100}));
  EXPECT_THAT(AllParts(95, 2, 32), ElementsAre(Range{0, 32}, Range{32, 95}));
  // Fewer units than parts: the rest is the last non-empty part.
  EXPECT_THAT(AllParts(70, 4, 32), ElementsAre(Range{0, 32}, Range{32, 64},
                                               Range{64, 70}, Range{70, 70}));
  EXPECT_THAT(AllParts(5, 2, 32), ElementsAre(Range{0, 5}, Range{5, 5}));
}

TEST(SplitEvenlyTest, PartsCoverAllAndDifferByAtMostAUnit) {
  for (int64_t unit : {1, 2, 7, 32}) {
    for (int parts = 1; parts <= 9; ++parts) {
      for (int64_t total = 0; total <= 300; ++total) {
        SCOPED_TRACE(::testing::Message() << "total=" << total << " parts="
                                          << parts << " unit=" << unit);
        const std::vector<Range> ranges = AllParts(total, parts, unit);
        ExpectCovers(ranges, total);
        int64_t least = total;
        int64_t most = 0;
        for (const Range& range : ranges) {
          least = std::min(least, range.size());
          most = std::max(most, range.size());
          if (range.end != total) {
            EXPECT_EQ(range.end % unit, 0);
          }
        }
        EXPECT_LE(most - least, unit);
      }
    }
  }
}

TEST(ShardTensorsTest, SplitsByKvHeadGroups) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto shards, ShardTensors(Llama2_70B(), 4));
  ASSERT_EQ(shards.size(), 4u);
  EXPECT_EQ(shards[1].kv_heads, (Range{2, 4}));
  EXPECT_EQ(shards[1].heads, (Range{16, 32}));
  EXPECT_EQ(shards[1].mlp_columns, (Range{7168, 14336}));
  EXPECT_EQ(shards[1].vocabulary, (Range{8000, 16000}));
}

TEST(ShardTensorsTest, SplitsUnevenly) {
  // Nine heads over three KV heads on two ranks, as SmolLM2-135M.
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto shards, ShardTensors(SmallSpec(9, 3), 2));
  EXPECT_EQ(shards[0].kv_heads, (Range{0, 2}));
  EXPECT_EQ(shards[0].heads, (Range{0, 6}));
  EXPECT_EQ(shards[1].kv_heads, (Range{2, 3}));
  EXPECT_EQ(shards[1].heads, (Range{6, 9}));
}

TEST(ShardTensorsTest, ReplicatesKvHeadsAboveTheirNumber) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto shards, ShardTensors(SmallSpec(8, 2), 4));
  EXPECT_EQ(shards[0].heads, (Range{0, 2}));
  EXPECT_EQ(shards[0].kv_heads, (Range{0, 1}));
  EXPECT_EQ(shards[1].kv_heads, (Range{0, 1}));
  EXPECT_EQ(shards[2].kv_heads, (Range{1, 2}));
  // Three ranks: the middle one reads both.
  CARAVAN_ASSERT_OK_AND_ASSIGN(shards, ShardTensors(SmallSpec(8, 2), 3));
  EXPECT_EQ(shards[1].heads, (Range{3, 6}));
  EXPECT_EQ(shards[1].kv_heads, (Range{0, 2}));
}

TEST(ShardTensorsTest, SplitsNarrowMlpsFinely) {
  ModelSpec spec = SmallSpec(6, 3);
  spec.intermediate_size = 64;
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto shards, ShardTensors(spec, 3));
  EXPECT_EQ(shards[0].mlp_columns, (Range{0, 22}));
  EXPECT_EQ(shards[2].mlp_columns, (Range{43, 64}));
}

TEST(ShardTensorsTest, EveryHeadColumnAndRowExactlyOnce) {
  for (int kv_heads = 1; kv_heads <= 8; ++kv_heads) {
    for (int group : {1, 2, 3, 8}) {
      ModelSpec spec = SmallSpec(kv_heads * group, kv_heads);
      spec.vocab_size = 321;
      spec.intermediate_size = 300;
      for (int tp = 1; tp <= spec.num_heads; ++tp) {
        SCOPED_TRACE(::testing::Message()
                     << "kv_heads=" << kv_heads << " group=" << group
                     << " tp=" << tp);
        CARAVAN_ASSERT_OK_AND_ASSIGN(auto shards, ShardTensors(spec, tp));
        std::vector<Range> heads, columns, rows;
        for (const TensorShard& shard : shards) {
          heads.push_back(shard.heads);
          columns.push_back(shard.mlp_columns);
          rows.push_back(shard.vocabulary);
          EXPECT_GT(shard.heads.size(), 0);
          EXPECT_GT(shard.mlp_columns.size(), 0);
          EXPECT_GT(shard.vocabulary.size(), 0);
          // Exactly the KV heads that the query heads read.
          EXPECT_EQ(shard.kv_heads.begin, shard.heads.begin / group);
          EXPECT_EQ(shard.kv_heads.end, (shard.heads.end - 1) / group + 1);
        }
        ExpectCovers(heads, spec.num_heads);
        ExpectCovers(columns, spec.intermediate_size);
        ExpectCovers(rows, spec.vocab_size);
      }
    }
  }
}

TEST(ShardTensorsTest, RefusesMoreRanksThanHeads) {
  EXPECT_THAT(
      ShardTensors(SmallSpec(4, 2), 5),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tp=5 heads=4")));
  EXPECT_THAT(ShardTensors(SmallSpec(4, 2), 0),
              StatusIs(absl::StatusCode::kInvalidArgument));
  ModelSpec narrow = SmallSpec(4, 2);
  narrow.intermediate_size = 3;
  EXPECT_THAT(ShardTensors(narrow, 4),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("intermediate_size=3")));
}

TEST(ShardLayersTest, LargeModelsSplitNearlyEvenly) {
  // Embedding and head of the 70B weigh less than a third of a layer each.
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto stages, ShardLayers(Llama2_70B(), 4));
  EXPECT_THAT(stages, ElementsAre(Range{0, 20}, Range{20, 40}, Range{40, 60},
                                  Range{60, 80}));
}

TEST(ShardLayersTest, LargeVocabulariesTakeLayersFromTheEnds) {
  ModelSpec spec = SmallSpec(4, 2);  // a layer: 61,568 parameters
  spec.vocab_size = 2000;            // embedding and head: two layers each
  spec.num_layers = 12;
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto stages, ShardLayers(spec, 3));
  EXPECT_THAT(stages, ElementsAre(Range{0, 3}, Range{3, 9}, Range{9, 12}));
}

TEST(ShardLayersTest, EveryLayerOnceAndNoBetterSplitByOneMove) {
  for (int64_t vocabulary : {100, 2000, 50000}) {
    for (int layers = 1; layers <= 13; ++layers) {
      for (int pp = 1; pp <= layers; ++pp) {
        SCOPED_TRACE(::testing::Message()
                     << "vocabulary=" << vocabulary << " layers=" << layers
                     << " pp=" << pp);
        ModelSpec spec = SmallSpec(4, 2);
        spec.vocab_size = vocabulary;
        spec.num_layers = layers;
        CARAVAN_ASSERT_OK_AND_ASSIGN(auto stages, ShardLayers(spec, pp));
        ExpectCovers(stages, layers);
        const int64_t layer = 64 * 64 * 3 + 3 * 64 * 256 + 2 * 64;
        const auto cost = [&](int stage, int64_t moved) {
          return (stages[stage].size() + moved) * layer +
                 (stage == 0 ? vocabulary * 64 : 0) +
                 (stage == pp - 1 ? vocabulary * 64 + 64 : 0);
        };
        int64_t dearest = 0;
        for (int stage = 0; stage < pp; ++stage) {
          EXPECT_GT(stages[stage].size(), 0);
          dearest = std::max(dearest, cost(stage, 0));
        }
        for (int from = 0; from < pp; ++from) {
          if (cost(from, 0) < dearest || stages[from].size() == 1) continue;
          for (int to = 0; to < pp; ++to) {
            if (to != from) {
              EXPECT_GE(cost(to, 1), dearest);
            }
          }
        }
      }
    }
  }
}

TEST(ShardLayersTest, RefusesMoreStagesThanLayers) {
  EXPECT_THAT(
      ShardLayers(SmallSpec(4, 2), 9),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("pp=9 layers=8")));
  EXPECT_THAT(ShardLayers(SmallSpec(4, 2), 0),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::partition
