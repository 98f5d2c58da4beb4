#include "partition/model/named_models.h"

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(NamedModelSpecTest, KnowsLlama2) {
  // Parameters as in the published checkpoints.
  EXPECT_EQ(CountParameters(*NamedModelSpec("llama-2-7b")), 6738415616);
  EXPECT_EQ(CountParameters(*NamedModelSpec("llama-2-13b")), 13015864320);
  EXPECT_EQ(CountParameters(*NamedModelSpec("llama-2-70b")), 68976648192);
  for (const char* name : {"llama-2-7b", "llama-2-13b", "llama-2-70b"}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec spec, NamedModelSpec(name));
    CARAVAN_EXPECT_OK(Validate(spec));
    EXPECT_EQ(spec.attention_size(), spec.hidden_size);
  }
  EXPECT_EQ(NamedModelSpec("llama-2-70b")->heads_per_kv_head(), 8);
}

TEST(NamedModelSpecTest, UnknownNameListsTheKnownOnes) {
  EXPECT_THAT(NamedModelSpec("llama-9"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("llama-9"), HasSubstr("llama-2-7b"),
                             HasSubstr("llama-2-70b"))));
}

TEST(NamedModelSpecTest, TakesOverrides) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const ModelSpec spec,
      NamedModelSpec("llama-2-13b", R"({"num_hidden_layers": 3})"));
  EXPECT_EQ(spec.num_layers, 3);
  EXPECT_EQ(spec.hidden_size, 5120);
  EXPECT_THAT(
      NamedModelSpec("llama-2-13b", R"({"num_hidden_layers": 0})"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("num_layers")));
}

}  // namespace
}  // namespace caravan::partition
