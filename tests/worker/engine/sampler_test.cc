#include "worker/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "partition/plan/shard_map.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

constexpr int64_t kVocabulary = 1003;

struct Outcome {
  std::vector<int32_t> ids;
  std::vector<std::string> logprobs;  // serialized
  std::vector<int64_t> choosable;     // rows
  std::vector<int32_t> chosen;        // of those
  absl::Status chosen_status;
  absl::Status status;
};

// The whole logits, (rows, kVocabulary), and what to do with them.
struct Case {
  std::vector<float> logits;
  std::vector<v1::SamplingParameters> sampling;  // of each row

  int64_t rows() const { return static_cast<int64_t>(sampling.size()); }
};

// What the devices choose alone, where they can: in the order of those rows.
absl::Status ChooseAhead(const Case& input, const Tensor& logits,
                         const VocabularyShard& shard, Backend& backend,
                         Sampler& sampler, Outcome* outcome) {
  std::vector<CandidateRequest> requests;
  for (int64_t row = 0; row < input.rows(); ++row) {
    if (!Sampler::CanChoose(input.sampling[row])) continue;
    outcome->choosable.push_back(row);
    requests.push_back(Sampler::ToChoice(
        {.row = row, .position = 10 + row, .sampling = &input.sampling[row]}));
  }
  absl::Status status = backend.Reserve({.max_rows = 20,
                                         .vocabulary_size = logits.cols,
                                         .vocabulary_ranks = shard.num_ranks});
  if (!status.ok()) return status;
  status = backend.ChooseTokens(logits, shard, requests, {.set = 1});
  if (!status.ok()) return status;
  status = backend.FetchTokens(1, std::ssize(requests));
  if (!status.ok()) return status;
  auto ids = sampler.ReadChosen(1, std::ssize(requests));
  if (!ids.ok()) return ids.status();
  outcome->chosen = *ids;
  return absl::OkStatus();
}

absl::Status RunShard(const Case& input, World* world, Outcome* outcome) {
  const partition::Range shard =
      partition::SplitEvenly(kVocabulary, world->size(), world->rank());
  std::vector<int> members;
  for (int i = 0; i < world->size(); ++i) members.push_back(i);
  auto group = world->CreateGroup({.name = "tp", .world_ranks = members});
  if (!group.ok()) return group.status();
  auto backend = CreateCpuBackend({});
  if (!backend.ok()) return backend.status();

  std::vector<float> mine;
  for (int64_t row = 0; row < input.rows(); ++row) {
    const float* begin = input.logits.data() + row * kVocabulary;
    mine.insert(mine.end(), begin + shard.begin, begin + shard.end);
  }
  const Tensor logits{mine.data(), DType::kFloat32, input.rows(), shard.size()};
  Sampler sampler({.vocabulary_begin = shard.begin,
                   .vocabulary_size = kVocabulary,
                   .backend = backend->get(),
                   .group = group->get()});
  std::vector<SampleRequest> requests;
  for (int64_t row = 0; row < input.rows(); ++row) {
    requests.push_back(
        {.row = row, .position = 10 + row, .sampling = &input.sampling[row]});
  }
  outcome->chosen_status =
      ChooseAhead(input, logits,
                  {.first_id = shard.begin,
                   .rank = world->rank(),
                   .num_ranks = world->size(),
                   .gather =
                       [&](const Tensor& parts) {
                         return (*group)->AllGatherTensor(parts);
                       }},
                  **backend, sampler, outcome);
  auto ids = sampler.Sample(logits, requests);
  if (!ids.ok()) return ids.status();
  outcome->ids = *ids;
  std::vector<LogprobRequest> scores;
  for (int64_t row = 0; row < input.rows(); ++row) {
    scores.push_back({.row = row, .id = (*ids)[row], .num_top = 5});
  }
  auto logprobs = sampler.Logprobs(logits, scores);
  if (!logprobs.ok()) return logprobs.status();
  for (const v1::TokenLogprobs& score : *logprobs) {
    outcome->logprobs.push_back(score.SerializeAsString());
  }
  return absl::OkStatus();
}

// What each rank gets when the vocabulary is sharded over `num_ranks`.
std::vector<Outcome> RunShards(const Case& input, int num_ranks) {
  auto worlds = CreateLocalWorlds(num_ranks);
  std::vector<Outcome> outcomes(worlds.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < worlds.size(); ++i) {
    threads.emplace_back([&, i] {
      outcomes[i].status = RunShard(input, worlds[i].get(), &outcomes[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

v1::SamplingParameters Sampling(float temperature, int top_k, float top_p,
                                float min_p) {
  v1::SamplingParameters sampling;
  sampling.set_temperature(temperature);
  sampling.set_top_k(top_k);
  sampling.set_top_p(top_p);
  sampling.set_min_p(min_p);
  sampling.set_seed(77);
  return sampling;
}

Case RandomCase(float spread) {
  Case result;
  result.sampling = {
      Sampling(0, 0, 1, 0),        Sampling(1, 0, 1, 0),
      Sampling(0.7f, 40, 1, 0),    Sampling(1.3f, 0, 0.95f, 0),
      Sampling(1, 0, 1, 0.05f),    Sampling(1, 1000, 0.9f, 0.001f),
      Sampling(2, 2000, 0.99f, 0), Sampling(1, 0, 0.9999f, 0)};
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, spread);
  for (int64_t i = 0; i < result.rows() * kVocabulary; ++i) {
    result.logits.push_back(normal(random));
  }
  return result;
}

TEST(SamplerTest, ShardsGiveWhatTheWholeGives) {
  // Peaked, middling and so flat that filters need nearly all tokens.
  for (float spread : {8.0f, 2.0f, 0.05f}) {
    const Case input = RandomCase(spread);
    const Outcome whole = RunShards(input, 1)[0];
    CARAVAN_ASSERT_OK(whole.status);
    for (int num_ranks : {2, 3, 5}) {
      for (const Outcome& shard : RunShards(input, num_ranks)) {
        CARAVAN_ASSERT_OK(shard.status);
        EXPECT_EQ(shard.ids, whole.ids) << "spread=" << spread;
        EXPECT_EQ(shard.logprobs, whole.logprobs) << "spread=" << spread;
      }
    }
  }
}

TEST(SamplerTest, DevicesChooseWhatSampleGives) {
  for (float spread : {8.0f, 0.05f}) {
    for (int num_ranks : {1, 2, 3, 5}) {
      for (const Outcome& outcome : RunShards(RandomCase(spread), num_ranks)) {
        CARAVAN_ASSERT_OK(outcome.status);
        CARAVAN_ASSERT_OK(outcome.chosen_status);
        // The others have filters.
        EXPECT_EQ(outcome.choosable, (std::vector<int64_t>{0, 1}));
        EXPECT_EQ(outcome.chosen,
                  (std::vector<int32_t>{outcome.ids[0], outcome.ids[1]}));
      }
    }
  }
}

TEST(SamplerTest, GreedyTakesTheLowestIdAmongEquals) {
  Case input;
  input.sampling = {Sampling(0, 0, 1, 0)};
  input.logits.assign(kVocabulary, -1);
  for (int id : {900, 501, 400}) input.logits[id] = 3;
  for (int num_ranks : {1, 2, 4}) {
    const Outcome outcome = RunShards(input, num_ranks)[0];
    CARAVAN_ASSERT_OK(outcome.status);
    EXPECT_EQ(outcome.ids[0], 400) << "ranks=" << num_ranks;
  }
}

TEST(SamplerTest, LogprobsAreThoseOfTheSoftmax) {
  const Case input = RandomCase(3);
  const Outcome outcome = RunShards(input, 2)[0];
  CARAVAN_ASSERT_OK(outcome.status);
  for (int64_t row = 0; row < input.rows(); ++row) {
    const float* logits = input.logits.data() + row * kVocabulary;
    double total = 0;
    for (int64_t i = 0; i < kVocabulary; ++i) total += std::exp(logits[i]);
    v1::TokenLogprobs score;
    ASSERT_TRUE(score.ParseFromString(outcome.logprobs[row]));
    EXPECT_EQ(score.id(), outcome.ids[row]);
    EXPECT_NEAR(score.logprob(), logits[score.id()] - std::log(total), 1e-5);
    ASSERT_EQ(score.top_ids_size(), 5);
    for (int i = 0; i < 5; ++i) {
      EXPECT_NEAR(score.top_logprobs(i),
                  logits[score.top_ids(i)] - std::log(total), 1e-5);
      if (i == 0) continue;
      EXPECT_LE(score.top_logprobs(i), score.top_logprobs(i - 1));
    }
  }
}

TEST(SamplerTest, RefusesLogitsThatAreNotFinite) {
  // What a NaN anywhere before the head leaves: a whole row of them.
  Case input = RandomCase(1);
  std::fill_n(input.logits.begin() + kVocabulary, kVocabulary,
              std::numeric_limits<float>::quiet_NaN());
  for (const Outcome& outcome : RunShards(input, 2)) {
    EXPECT_THAT(outcome.status,
                StatusIs(absl::StatusCode::kInternal, HasSubstr("not finite")));
  }
  for (int num_ranks : {1, 3}) {
    for (const Outcome& outcome : RunShards(input, num_ranks)) {
      EXPECT_THAT(
          outcome.chosen_status,
          StatusIs(absl::StatusCode::kInternal,
                   HasSubstr("logits are not finite: row=1 largest=nan")));
    }
  }
  input = RandomCase(1);
  input.logits[kVocabulary + 70] = std::numeric_limits<float>::infinity();
  for (const Outcome& outcome : RunShards(input, 2)) {
    EXPECT_THAT(outcome.status,
                StatusIs(absl::StatusCode::kInternal, HasSubstr("not finite")));
  }
}

}  // namespace
}  // namespace caravan::worker
