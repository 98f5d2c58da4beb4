// Logits of small checkpoints, computed in one way or another.
#ifndef CARAVAN_TESTS_WORKER_ENGINE_SMALL_MODEL_LOGITS_H_
#define CARAVAN_TESTS_WORKER_ENGINE_SMALL_MODEL_LOGITS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "partition/model/model_source.h"
#include "tests/support/model_golden.h"
#include "tests/support/prompt_logits.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {

using Logits = std::vector<std::vector<float>>;

// The parameter names one of testing::SmallGoldenModels().
class SmallModelLogits : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        source_,
        partition::OpenModel({.path = testing::GoldenFolder(GetParam())}));
    prompts_ = testing::RandomPrompts(12, 40, source_->spec().vocab_size);
  }

  // Of the same prompts always; empty where the test has failed.
  Logits LogitsOf(const testing::EnginePlanOptions& options) {
    auto logits = testing::PromptLogits(*source_, options, prompts_);
    EXPECT_THAT(logits, testing::IsOk());
    return logits.ok() ? *logits : Logits{};
  }

 private:
  std::unique_ptr<partition::ModelSource> source_;
  std::vector<std::vector<int32_t>> prompts_;
};

// What no release of Caravan knows is an error and no silent default.
inline void ExpectRefused(const testing::EnginePlanOptions& options) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto source,
      partition::OpenModel({.path = testing::GoldenFolder("multi_head")}));
  EXPECT_THAT(testing::PromptLogits(*source, options, {{1}}),
              testing::StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_ENGINE_SMALL_MODEL_LOGITS_H_
