#include "worker/backend/candidate_order.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(CandidateOrder, IsThatOfValuesThenOfIds) {
  const std::vector<Candidate> in_order = {
      {9, kInfinity}, {1, 2.5f}, {0, 1e-40f}, {2, 0.0f},       {3, -0.0f},
      {4, -1e-40f},   {0, -3.f}, {7, -3.f},   {1, -kInfinity}, {2, kNan}};
  for (size_t i = 1; i < in_order.size(); ++i) {
    EXPECT_GT(KeyOf(in_order[i - 1].value, in_order[i - 1].id),
              KeyOf(in_order[i].value, in_order[i].id))
        << i;
  }
}

TEST(CandidateOrder, KeysTellTheId) {
  for (const int64_t id : {int64_t{0}, int64_t{1}, int64_t{0x7fffffff}}) {
    EXPECT_EQ(IdOf(KeyOf(-1.5f, id)), id);
  }
}

TEST(CandidateOrder, PiecesBecomeOne) {
  const std::vector<ShardCandidates> pieces = {
      {.top = {{1, 1.0f}, {0, 3.0f}}, .winner = {0, 4.0f}},
      {.top = {{5, 3.0f}, {4, 2.0f}}, .winner = {5, 4.0f}},
      {.top = {}, .winner = {8, kNan}}};
  const ShardCandidates merged = MergeCandidates(pieces, {.num_top = 3});
  ASSERT_EQ(merged.top.size(), 3u);
  EXPECT_EQ(merged.top[0].id, 0);
  EXPECT_EQ(merged.top[1].id, 5);
  EXPECT_EQ(merged.top[2].id, 4);
  EXPECT_EQ(merged.winner.id, 0);
}

TEST(CandidateOrder, ShardsChooseTogether) {
  // By the value, which need not be the largest logit; by the id among equals.
  const ChosenToken merged = MergeChosen({7, 2.0f, 1.5f}, {3, 2.5f, 1.0f});
  EXPECT_EQ(merged.id, 3);
  EXPECT_EQ(merged.value, 2.5f);
  EXPECT_EQ(merged.largest, 1.5f);
  EXPECT_EQ(MergeChosen({3, 2.5f, 1.0f}, {7, 2.5f, 1.0f}).id, 3);
  EXPECT_EQ(MergeChosen({7, 2.5f, 1.0f}, {3, 2.5f, 1.0f}).id, 3);
  // What is not a number is told only where nothing is one.
  EXPECT_EQ(MergeChosen({3, kNan, kNan}, {7, 1.0f, 1.0f}).id, 7);
  EXPECT_EQ(MergeChosen({3, kNan, kNan}, {7, 1.0f, 1.0f}).largest, 1.0f);
  EXPECT_TRUE(std::isnan(MergeChosen({3, 1, kNan}, {7, 1, kNan}).largest));
}

TEST(CandidateOrder, NoWinnerIsNone) {
  EXPECT_EQ(MergeCandidates({}, {.num_top = 1}).winner.id, -1);
  EXPECT_TRUE(MergeCandidates({}, {.num_top = 1}).top.empty());
}

}  // namespace
}  // namespace caravan::worker
