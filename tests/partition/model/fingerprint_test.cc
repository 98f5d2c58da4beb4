#include "partition/model/fingerprint.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;

TEST(FingerprintTest, IsSha256OfLabelledParts) {
  // printf '' | sha256sum
  EXPECT_THAT(FingerprintBuilder().Finish(),
              IsOkAndHolds("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca49"
                           "5991b7852b855"));
  // printf 'name:3:abc\n' | sha256sum
  FingerprintBuilder builder;
  builder.Add("name", "abc");
  EXPECT_THAT(
      builder.Finish(),
      IsOkAndHolds(
          "eb2b84808448afeb53e632bc7ddef1d61aa72e178f9600514752b149242903e8"));
}

TEST(FingerprintTest, PartsDoNotRunIntoEachOther) {
  FingerprintBuilder a, b;
  a.Add("x", "1\nx:1:2");
  b.Add("x", "1");
  b.Add("x", "2");
  EXPECT_NE(*a.Finish(), *b.Finish());
}

TEST(FingerprintTest, EveryFieldOfASpecCounts) {
  const std::vector<std::function<void(ModelSpec&)>> changes = {
      [](ModelSpec&) {},
      [](ModelSpec& s) { ++s.vocab_size; },
      [](ModelSpec& s) { ++s.hidden_size; },
      [](ModelSpec& s) { ++s.intermediate_size; },
      [](ModelSpec& s) { ++s.num_layers; },
      [](ModelSpec& s) { ++s.num_heads; },
      [](ModelSpec& s) { ++s.num_kv_heads; },
      [](ModelSpec& s) { ++s.head_dim; },
      [](ModelSpec& s) { ++s.max_positions; },
      [](ModelSpec& s) { s.rms_norm_epsilon += 1e-12; },
      [](ModelSpec& s) { s.rope.theta += 1e-9; },
      [](ModelSpec& s) { s.rope.scaling = RopeScaling::kLinear; },
      [](ModelSpec& s) { s.rope.factor = 2; },
      [](ModelSpec& s) { s.rope.low_frequency_factor = 2; },
      [](ModelSpec& s) { s.rope.high_frequency_factor = 5; },
      [](ModelSpec& s) { ++s.rope.original_max_positions; },
      [](ModelSpec& s) { s.tied_embeddings = true; },
      [](ModelSpec& s) { s.dtype = DType::kFloat16; },
      [](ModelSpec& s) { ++s.bos_token; },
      [](ModelSpec& s) { s.eos_tokens = {1}; },
      [](ModelSpec& s) { s.eos_tokens = {1, 2}; },
  };
  std::set<std::string> seen;
  for (const auto& change : changes) {
    ModelSpec spec;
    change(spec);
    FingerprintBuilder builder;
    builder.Add(spec);
    CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string hash, builder.Finish());
    seen.insert(hash);
  }
  EXPECT_EQ(seen.size(), changes.size());
}

}  // namespace
}  // namespace caravan::partition
