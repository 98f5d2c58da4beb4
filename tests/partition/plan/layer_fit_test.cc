#include "partition/plan/layer_fit.h"

#include <algorithm>
#include <optional>
#include <ostream>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {

inline void PrintTo(const Range& range, std::ostream* out) {
  *out << "[" << range.begin << "," << range.end << ")";
}

namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;

ModelSpec SmallSpec(int num_layers, int64_t vocab_size) {
  ModelSpec spec;
  spec.vocab_size = vocab_size;
  spec.num_heads = 4;
  spec.num_kv_heads = 2;
  spec.head_dim = 8;
  spec.hidden_size = 32;
  spec.intermediate_size = 64;
  spec.num_layers = num_layers;
  spec.max_positions = 128;
  return spec;
}

// Stages with room for so many layers.
struct Rooms {
  std::vector<int64_t> layers;
  bool operator()(int stage, const Range& range) const {
    return range.size() <= layers[stage];
  }
};

TEST(FitLayersTest, LeavesWhatFitsAsItIs) {
  const ModelSpec spec = SmallSpec(8, 40);
  EXPECT_THAT(FitLayers(spec, 2, Rooms{{4, 8}}),
              IsOkAndHolds(ElementsAre(Range{0, 4}, Range{4, 8})));
}

TEST(FitLayersTest, GivesSmallStagesFewerLayers) {
  const ModelSpec spec = SmallSpec(8, 40);
  EXPECT_THAT(FitLayers(spec, 2, Rooms{{2, 8}}),
              IsOkAndHolds(ElementsAre(Range{0, 2}, Range{2, 8})));
  EXPECT_THAT(FitLayers(spec, 2, Rooms{{8, 3}}),
              IsOkAndHolds(ElementsAre(Range{0, 5}, Range{5, 8})));
  // The others share what the small one leaves.
  EXPECT_THAT(FitLayers(spec, 3, Rooms{{8, 1, 8}}),
              IsOkAndHolds(ElementsAre(Range{0, 4}, Range{4, 5}, Range{5, 8})));
}

TEST(FitLayersTest, ExactlyFullFitsAndOneLessDoesNot) {
  const ModelSpec spec = SmallSpec(8, 40);
  EXPECT_THAT(FitLayers(spec, 3, Rooms{{1, 2, 5}}),
              IsOkAndHolds(ElementsAre(Range{0, 1}, Range{1, 3}, Range{3, 8})));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto even, ShardLayers(spec, 3));
  EXPECT_THAT(FitLayers(spec, 3, Rooms{{1, 2, 4}}), IsOkAndHolds(even));
  EXPECT_THAT(FitLayers(spec, 3, Rooms{{0, 8, 8}}), IsOkAndHolds(even));
}

TEST(FitLayersTest, RefusesImpossibleDegrees) {
  const ModelSpec spec = SmallSpec(8, 40);
  EXPECT_THAT(FitLayers(spec, 9, Rooms{std::vector<int64_t>(9, 8)}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(FitLayers(spec, 0, Rooms{{}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// The least cost of the dearest stage over all divisions that fit.
std::optional<int64_t> BestByTrying(const ModelSpec& spec, int stage, int pp,
                                    int64_t begin, StageFits fits) {
  const StageCosts costs = CostsOf(spec);
  const auto cost = [&](int64_t num_layers) {
    return num_layers * costs.layer + (stage == 0 ? costs.embedding : 0) +
           (stage == pp - 1 ? costs.head : 0);
  };
  std::optional<int64_t> best;
  for (int64_t end = begin + 1; end <= spec.num_layers; ++end) {
    if (!fits(stage, {begin, end})) break;
    std::optional<int64_t> rest = 0;
    if (stage < pp - 1) {
      rest = BestByTrying(spec, stage + 1, pp, end, fits);
    } else if (end < spec.num_layers) {
      rest.reset();
    }
    if (!rest.has_value()) continue;
    const int64_t dearest = std::max(cost(end - begin), *rest);
    if (!best.has_value() || dearest < *best) best = dearest;
  }
  return best;
}

int64_t Dearest(const ModelSpec& spec, const std::vector<Range>& stages) {
  const StageCosts costs = CostsOf(spec);
  int64_t dearest = 0;
  for (size_t i = 0; i < stages.size(); ++i) {
    dearest = std::max(dearest, stages[i].size() * costs.layer +
                                    (i == 0 ? costs.embedding : 0) +
                                    (i + 1 == stages.size() ? costs.head : 0));
  }
  return dearest;
}

TEST(FitLayersTest, NoOtherDivisionThatFitsIsFaster) {
  std::mt19937 random(7);
  int num_moved = 0;
  for (int i = 0; i < 600; ++i) {
    const int num_layers = 1 + static_cast<int>(random() % 10);
    const int pp = 1 + static_cast<int>(random() % std::min(num_layers, 4));
    const ModelSpec spec = SmallSpec(num_layers, 1 + random() % 1000);
    // Layers of unequal size, as mixed formats make them.
    std::vector<int64_t> sizes(num_layers);
    for (int64_t& size : sizes) size = 1 + random() % 3;
    std::vector<int64_t> rooms(pp);
    for (int64_t& room : rooms) room = random() % (3 * num_layers / pp + 3);
    const auto fits = [&](int stage, const Range& layers) {
      int64_t size = 0;
      for (int64_t l = layers.begin; l < layers.end; ++l) size += sizes[l];
      return size <= rooms[stage];
    };
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto stages, FitLayers(spec, pp, fits));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto even, ShardLayers(spec, pp));
    int64_t end = 0;
    bool all_fit = true;
    for (int stage = 0; stage < pp; ++stage) {
      EXPECT_EQ(stages[stage].begin, end);
      EXPECT_GT(stages[stage].size(), 0);
      end = stages[stage].end;
      all_fit = all_fit && fits(stage, stages[stage]);
    }
    EXPECT_EQ(end, num_layers);
    const std::optional<int64_t> best = BestByTrying(spec, 0, pp, 0, fits);
    EXPECT_EQ(all_fit, best.has_value());
    if (best.has_value()) {
      EXPECT_EQ(Dearest(spec, stages), *best);
    } else {
      EXPECT_EQ(stages, even);
    }
    if (stages != even) ++num_moved;
  }
  EXPECT_GT(num_moved, 50);
}

}  // namespace
}  // namespace caravan::partition
