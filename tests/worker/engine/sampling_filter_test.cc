#include "worker/engine/sampling_filter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/backend/sampling.h"

namespace caravan::worker {
namespace {

using ::testing::ElementsAre;

v1::SamplingParameters Sampling(float top_p, int top_k, float min_p) {
  v1::SamplingParameters sampling;
  sampling.set_temperature(1);
  sampling.set_top_p(top_p);
  sampling.set_top_k(top_k);
  sampling.set_min_p(min_p);
  return sampling;
}

// Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625 as logits.
std::vector<Candidate> Halves() {
  std::vector<Candidate> top;
  for (float p : {0.5f, 0.25f, 0.125f, 0.0625f, 0.0625f}) {
    top.push_back({static_cast<int32_t>(top.size()), std::log(p)});
  }
  return top;
}

// Every token that some seed takes.
std::set<int32_t> Survivors(const FilterInput& input,
                            v1::SamplingParameters sampling) {
  std::set<int32_t> taken;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    sampling.set_seed(seed);
    const auto id = ChooseFiltered(input, sampling);
    if (!id.has_value()) return {-1};
    taken.insert(*id);
  }
  return taken;
}

uint64_t Mass(const std::vector<Candidate>& top) {
  uint64_t mass = 0;
  for (const Candidate& c : top)
    mass += ProbabilityMass(c.value, top[0].value, 1);
  return mass;
}

TEST(SamplingFilterTest, TopKKeepsTheLikeliest) {
  const std::vector<Candidate> top = Halves();
  EXPECT_THAT(Survivors({.top = top}, Sampling(1, 2, 0)), ElementsAre(0, 1));
  EXPECT_THAT(Survivors({.top = top, .complete = true}, Sampling(1, 9, 0)),
              ElementsAre(0, 1, 2, 3, 4));
}

TEST(SamplingFilterTest, TopPKeepsTheSmallestSetThatReachesIt) {
  const std::vector<Candidate> top = Halves();
  const FilterInput input{
      .top = top, .complete = true, .total_mass = Mass(top)};
  EXPECT_THAT(Survivors(input, Sampling(0.4f, 0, 0)), ElementsAre(0));
  EXPECT_THAT(Survivors(input, Sampling(0.6f, 0, 0)), ElementsAre(0, 1));
  EXPECT_THAT(Survivors(input, Sampling(0.8f, 0, 0)), ElementsAre(0, 1, 2));
  EXPECT_THAT(Survivors(input, Sampling(0, 0, 0)), ElementsAre(0));
}

TEST(SamplingFilterTest, TopPCountsOnlyWhatTopKLeaves) {
  const std::vector<Candidate> top = Halves();
  // Of the first two the first holds 2/3.
  EXPECT_THAT(Survivors({.top = top}, Sampling(0.6f, 2, 0)), ElementsAre(0));
  EXPECT_THAT(Survivors({.top = top}, Sampling(0.7f, 2, 0)), ElementsAre(0, 1));
}

TEST(SamplingFilterTest, MinPIsRelativeToTheLikeliest) {
  const std::vector<Candidate> top = Halves();
  const FilterInput input{
      .top = top, .complete = true, .total_mass = Mass(top)};
  EXPECT_THAT(Survivors(input, Sampling(1, 0, 0.2f)), ElementsAre(0, 1, 2));
  EXPECT_THAT(Survivors(input, Sampling(1, 0, 1)), ElementsAre(0));
}

TEST(SamplingFilterTest, AsksForMoreWhenTheListIsTooShort) {
  const std::vector<Candidate> top = Halves();
  const uint64_t much = 10 * Mass(top);
  EXPECT_EQ(
      ChooseFiltered({.top = top, .total_mass = much}, Sampling(0.9f, 0, 0)),
      std::nullopt);
  EXPECT_EQ(ChooseFiltered({.top = top}, Sampling(1, 6, 0)), std::nullopt);
  EXPECT_EQ(ChooseFiltered({.top = top}, Sampling(1, 0, 0.001f)), std::nullopt);
}

TEST(SamplingFilterTest, DrawsByProbability) {
  const std::vector<Candidate> top = Halves();
  v1::SamplingParameters sampling = Sampling(1, 5, 0);
  std::vector<int> counts(5);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    sampling.set_seed(1000 + i);
    ++counts[*ChooseFiltered({.top = top, .position = i % 7}, sampling)];
  }
  // Five standard deviations of a binomial count are below 0.018 of the draws.
  EXPECT_NEAR(counts[0] / double{kDraws}, 0.5, 0.018);
  EXPECT_NEAR(counts[1] / double{kDraws}, 0.25, 0.018);
  EXPECT_NEAR(counts[2] / double{kDraws}, 0.125, 0.018);
}

TEST(SamplingFilterTest, EqualSeedAndPositionDrawEqually) {
  const std::vector<Candidate> top = Halves();
  v1::SamplingParameters sampling = Sampling(1, 5, 0);
  sampling.set_seed(42);
  for (int64_t position = 0; position < 50; ++position) {
    const FilterInput input{.top = top, .position = position};
    EXPECT_EQ(ChooseFiltered(input, sampling), ChooseFiltered(input, sampling));
  }
}

}  // namespace
}  // namespace caravan::worker
