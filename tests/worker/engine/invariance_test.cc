// The numerics contract: what a sequence gets depends on nothing around it.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "partition/model/model_source.h"
#include "tests/support/engine_plan.h"
#include "tests/support/local_ranks.h"
#include "tests/support/model_golden.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::EnginePlanOptions;
using ::caravan::testing::GoldenFolder;
using ::caravan::testing::LocalRanks;

constexpr int kNumTokens = 12;

struct Request {
  std::vector<int32_t> prompt;
  v1::SamplingParameters sampling;
};

struct Outcome {
  std::vector<std::vector<int32_t>> tokens;  // of each request
  std::vector<float> logits;                 // of each sampled row, in order
};

// Sixteen prompts of 1 to 40 tokens: greedy, and seeded with every filter.
std::vector<Request> MakeRequests(int64_t vocab_size) {
  std::mt19937 random(11);
  std::vector<Request> requests(16);
  for (size_t i = 0; i < requests.size(); ++i) {
    const int length = 1 + static_cast<int>(random() % 40);
    for (int j = 0; j < length; ++j) {
      requests[i].prompt.push_back(static_cast<int32_t>(random() % vocab_size));
    }
    v1::SamplingParameters& sampling = requests[i].sampling;
    sampling.set_temperature(i % 4 == 0 ? 0 : 0.5f + 0.1f * i);
    sampling.set_top_k(i % 4 == 1 ? 20 : 0);
    sampling.set_top_p(i % 4 >= 2 ? 0.9f : 1);
    sampling.set_min_p(i % 8 == 3 ? 0.02f : 0);
    sampling.set_seed(100 + i);
    sampling.set_logprobs(-1);
    sampling.set_prompt_logprobs(-1);
  }
  return requests;
}

// Runs `requests` together. In each step a random set of them takes part, with
// random chunks, at most `max_rows` rows; two steps are in flight.
class MixedRun {
 public:
  MixedRun(LocalRanks& ranks, const std::vector<Request>& requests,
           uint32_t seed)
      : ranks_(ranks), requests_(requests), random_(seed) {
    states_.resize(requests.size());
    outcome_.tokens.resize(requests.size());
  }

  absl::StatusOr<Outcome> Run() {
    while (true) {
      v1::Step step = MakeStep();
      if (step.entries().empty()) break;
      ranks_.Issue(step);
      if (++in_flight_ == 2) {
        absl::Status status = Collect();
        if (!status.ok()) return status;
      }
    }
    while (in_flight_ > 0) {
      absl::Status status = Collect();
      if (!status.ok()) return status;
    }
    outcome_.logits = ranks_.TakeLogits();
    return outcome_;
  }

 private:
  struct State {
    int64_t num_prefilled = 0;
    int num_sampled = 0;  // issued
    int64_t num_blocks = 0;
  };

  v1::Step MakeStep() {
    v1::Step step;
    step.set_epoch(1);
    step.set_number(++number_);
    int64_t room = 48;
    // At least one of those that are not done takes part.
    for (int attempt = 0; attempt < 2 && step.entries().empty(); ++attempt) {
      for (size_t i = 0; i < requests_.size() && room > 0; ++i) {
        if (states_[i].num_sampled == kNumTokens) continue;
        if (attempt == 0 && requests_.size() > 1 && random_() % 2 == 0)
          continue;
        AddEntry(i, &room, &step);
      }
    }
    return step;
  }

  void AddEntry(size_t i, int64_t* room, v1::Step* step) {
    const Request& request = requests_[i];
    State& state = states_[i];
    const int64_t prompt = static_cast<int64_t>(request.prompt.size());
    if (state.num_prefilled == 0) {
      v1::NewSequence* added = step->add_new_sequences();
      added->set_sequence(1 + i);
      *added->mutable_sampling() = request.sampling;
    }
    v1::StepEntry* entry = step->add_entries();
    entry->set_sequence(1 + i);
    int64_t length;
    if (state.num_prefilled < prompt) {
      const int64_t chunk =
          std::min({prompt - state.num_prefilled, *room,
                    static_cast<int64_t>(1 + random_() % 20)});
      for (int64_t j = 0; j < chunk; ++j) {
        entry->add_ids(request.prompt[state.num_prefilled++]);
      }
      *room -= chunk;
      length = state.num_prefilled;
    } else {
      *room -= 1;
      length = prompt + state.num_sampled;
    }
    if (state.num_prefilled == prompt) {
      entry->set_sample(true);
      ++state.num_sampled;
    }
    for (; state.num_blocks * 16 < length; ++state.num_blocks) {
      entry->add_new_blocks(next_block_++);
    }
  }

  absl::Status Collect() {
    absl::StatusOr<v1::StepResult> result = ranks_.NextResult();
    if (!result.ok()) return result.status();
    --in_flight_;
    for (const v1::SequenceResult& sequence : result->sequences()) {
      outcome_.tokens[sequence.sequence() - 1].push_back(sequence.id());
    }
    return absl::OkStatus();
  }

  LocalRanks& ranks_;
  const std::vector<Request>& requests_;
  std::mt19937 random_;
  std::vector<State> states_;
  Outcome outcome_;
  uint64_t number_ = 0;
  int32_t next_block_ = 0;
  int in_flight_ = 0;
};

class InvarianceTest : public ::testing::Test {
 protected:
  void Open(const std::string& name) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        source_, partition::OpenModel({.path = GoldenFolder(name)}));
    requests_ = MakeRequests(source_->spec().vocab_size);
  }

  Outcome Generate(const std::vector<Request>& requests,
                   EnginePlanOptions options, uint32_t seed) {
    auto plan = testing::MakeEnginePlan(source_->spec(), options);
    EXPECT_THAT(plan, testing::IsOk());
    if (!plan.ok()) return {};
    auto ranks = LocalRanks::Start(*source_, *plan);
    EXPECT_THAT(ranks, testing::IsOk());
    if (!ranks.ok()) return {};
    auto outcome = MixedRun(**ranks, requests, seed).Run();
    EXPECT_THAT(outcome, testing::IsOk());
    return outcome.ok() ? *outcome : Outcome{};
  }

  std::vector<std::vector<int32_t>> EachAlone(EnginePlanOptions options) {
    std::vector<std::vector<int32_t>> tokens;
    for (const Request& request : requests_) {
      tokens.push_back(Generate({request}, options, 0).tokens[0]);
    }
    return tokens;
  }

  std::unique_ptr<partition::ModelSource> source_;
  std::vector<Request> requests_;
};

TEST_F(InvarianceTest, EachOfSixteenGetsWhatItGetsAlone) {
  Open("heads_6_kv_3");
  const auto alone = EachAlone({});
  for (uint32_t seed : {1, 2, 3}) {
    EXPECT_EQ(Generate(requests_, {}, seed).tokens, alone) << "seed=" << seed;
  }
}

TEST_F(InvarianceTest, EachOfSixteenGetsWhatItGetsAloneUnderTensorParallel) {
  Open("heads_6_kv_3");
  const EnginePlanOptions plan{.tp = 2, .pp = 2};
  const auto alone = EachAlone(plan);
  for (uint32_t seed : {1, 2}) {
    EXPECT_EQ(Generate(requests_, plan, seed).tokens, alone) << "seed=" << seed;
  }
}

TEST_F(InvarianceTest, EachOfSixteenGetsWhatItGetsAloneInBFloat16) {
  Open("heads_6_kv_3");
  for (const auto& [tp, pp] : {std::pair(1, 3), std::pair(2, 2)}) {
    EnginePlanOptions plan{.tp = tp, .pp = pp, .activation_dtype = "bfloat16"};
    const auto alone = EachAlone(plan);
    const Outcome together = Generate(requests_, plan, 1);
    EXPECT_EQ(together.tokens, alone) << "tp=" << tp << " pp=" << pp;
    ASSERT_FALSE(together.logits.empty());
    plan.num_threads = 3;
    EXPECT_EQ(Generate(requests_, plan, 1).logits, together.logits)
        << "tp=" << tp << " pp=" << pp;
    plan.activation_dtype = "float32";
    EXPECT_NE(Generate(requests_, plan, 1).logits, together.logits);
  }
}

TEST_F(InvarianceTest, EachOfSixteenGetsWhatItGetsAloneWithCachesOf16Bits) {
  Open("heads_6_kv_3");
  for (const char* dtype : {"float16", "bfloat16"}) {
    const auto alone = EachAlone({.kv_cache_dtype = dtype});
    const Outcome together = Generate(requests_, {.kv_cache_dtype = dtype}, 1);
    EXPECT_EQ(together.tokens, alone) << dtype;
    ASSERT_FALSE(together.logits.empty());
    EXPECT_EQ(Generate(requests_,
                       {.pp = 3, .num_threads = 3, .kv_cache_dtype = dtype}, 1)
                  .logits,
              together.logits)
        << dtype;
    EXPECT_NE(Generate(requests_, {}, 1).logits, together.logits) << dtype;
  }
}

TEST_F(InvarianceTest, EachOfSixteenGetsWhatItGetsAloneOnQuantizedWeights) {
  Open("multi_head");  // its widths are whole blocks but for the MLP's
  for (const char* quantization : {"q8", "q4"}) {
    const EnginePlanOptions plan{.pp = 2, .quantization = quantization};
    const auto alone = EachAlone(plan);
    for (uint32_t seed : {1, 2}) {
      EXPECT_EQ(Generate(requests_, plan, seed).tokens, alone)
          << quantization << " seed=" << seed;
    }
    const Outcome one = Generate(requests_, {.quantization = quantization}, 5);
    ASSERT_FALSE(one.logits.empty());
    EXPECT_EQ(Generate(requests_, plan, 5).logits, one.logits) << quantization;
    EXPECT_NE(Generate(requests_, {}, 5).logits, one.logits) << quantization;
  }
}

TEST_F(InvarianceTest, PipelineStagesAndThreadsChangeNoBit) {
  for (const char* name : {"grouped_8_to_1", "vocabulary_32001_tied"}) {
    Open(name);
    const Outcome one = Generate(requests_, {}, 5);
    ASSERT_FALSE(one.logits.empty());
    EXPECT_EQ(Generate(requests_, {.pp = 2}, 5).logits, one.logits) << name;
    EXPECT_EQ(Generate(requests_, {.pp = 3}, 5).logits, one.logits) << name;
    EXPECT_EQ(Generate(requests_, {.num_threads = 3}, 5).logits, one.logits)
        << name;
  }
}

TEST_F(InvarianceTest, ShardingTheVocabularyChangesNoChoice) {
  // Sampling from the shards of two ranks is as from the whole: the logits of
  // tp 2 and tp 1 differ in their last bits only, and no choice here is so
  // close.
  Open("llama3_scaling");
  EXPECT_EQ(Generate(requests_, {.tp = 2}, 1).tokens,
            Generate(requests_, {}, 1).tokens);
}

}  // namespace
}  // namespace caravan::worker
