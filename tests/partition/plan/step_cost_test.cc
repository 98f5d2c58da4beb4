#include "partition/plan/step_cost.h"

#include "gtest/gtest.h"
#include "partition/model/named_models.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

// Without what no product reads: norms and the embedding.
int64_t ProductParameters(const ModelSpec& spec) {
  const int64_t norms = (2 * spec.num_layers + 1) * spec.hidden_size;
  return CountParameters(spec) - norms - spec.vocab_size * spec.hidden_size;
}

TEST(StepCostTest, CountsWhatATokenReads) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec spec,
                               NamedModelSpec("llama-2-7b"));
  const int64_t read = ProductParameters(spec);
  EXPECT_EQ(BytesPerToken(spec, {}), 2 * read);
  EXPECT_EQ(BytesPerToken(spec, {.quantization = Quantization::kQ4}),
            read / 32 * 18);
}

TEST(StepCostTest, CountsWhatAPromptMultiplies) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec spec,
                               NamedModelSpec("llama-2-70b"));
  const auto all = static_cast<double>(ProductParameters(spec));
  const auto head = static_cast<double>(spec.vocab_size * spec.hidden_size);
  EXPECT_EQ(PromptOperations(spec, 1), 2 * all);
  EXPECT_EQ(PromptOperations(spec, 512), 2 * (512 * (all - head) + head));
}

}  // namespace
}  // namespace caravan::partition
