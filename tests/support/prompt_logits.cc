#include "tests/support/prompt_logits.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <utility>

#include "base/checked_math.h"
#include "base/status_macros.h"
#include "caravan/v1/step.pb.h"

namespace caravan::testing {
namespace {

constexpr int64_t kBlockPositions = 16;

v1::Step PromptStep(uint64_t number, const std::vector<int32_t>& prompt,
                    int32_t& next_block) {
  v1::Step step;
  step.set_epoch(1);
  step.set_number(number);
  v1::NewSequence* added = step.add_new_sequences();
  added->set_sequence(number);
  added->mutable_sampling()->set_top_p(1);
  added->mutable_sampling()->set_logprobs(-1);
  added->mutable_sampling()->set_prompt_logprobs(-1);
  v1::StepEntry* entry = step.add_entries();
  entry->set_sequence(number);
  for (int32_t id : prompt) entry->add_ids(id);
  entry->set_sample(true);
  const int64_t length = static_cast<int64_t>(prompt.size());
  for (int64_t i = 0; i < CeilDivide(length, kBlockPositions); ++i) {
    entry->add_new_blocks(next_block++);
  }
  return step;
}

double Mean(absl::Span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(values.size());
}

}  // namespace

absl::StatusOr<std::vector<std::vector<float>>> PromptLogits(
    const partition::ModelSource& source, const EnginePlanOptions& options,
    const std::vector<std::vector<int32_t>>& prompts,
    LocalRanks::MakeBackend make_backend) {
  CARAVAN_ASSIGN_OR_RETURN(const v1::EnginePlan plan,
                           MakeEnginePlan(source.spec(), options));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<LocalRanks> ranks,
      LocalRanks::Start(source, plan, std::move(make_backend)));
  std::vector<std::vector<float>> logits;
  int32_t next_block = 0;
  for (const std::vector<int32_t>& prompt : prompts) {
    ranks->Issue(PromptStep(logits.size() + 1, prompt, next_block));
    CARAVAN_RETURN_IF_ERROR(ranks->NextResult().status());
    logits.push_back(ranks->TakeLogits());
  }
  return logits;
}

std::vector<std::vector<int32_t>> RandomPrompts(int count, int longest,
                                                int64_t vocab_size) {
  std::mt19937 random(5);
  std::vector<std::vector<int32_t>> prompts(count);
  for (std::vector<int32_t>& prompt : prompts) {
    prompt.resize(1 + random() % longest);
    for (int32_t& id : prompt) {
      id = static_cast<int32_t>(random() % vocab_size);
    }
  }
  return prompts;
}

double RelativeRms(const std::vector<std::vector<float>>& a,
                   const std::vector<std::vector<float>>& b) {
  if (a.empty() || a.size() != b.size()) return INFINITY;
  double error = 0;
  double norm = 0;
  for (size_t row = 0; row < a.size(); ++row) {
    const size_t count = a[row].size();
    if (count == 0 || count > b[row].size()) return INFINITY;
    const double mean_a = Mean(a[row]);
    const double mean_b = Mean(absl::MakeConstSpan(b[row]).first(count));
    for (size_t i = 0; i < count; ++i) {
      const double difference = (a[row][i] - mean_a) - (b[row][i] - mean_b);
      error += difference * difference;
      norm += (b[row][i] - mean_b) * (b[row][i] - mean_b);
    }
  }
  return std::sqrt(error / norm);
}

double LogProbability(absl::Span<const float> logits, int32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - largest);
  return logits[id] - largest - std::log(sum);
}

}  // namespace caravan::testing
