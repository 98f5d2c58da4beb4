// What bfloat16 between ranks does to logits, and what it leaves as it is.

#include <string>

#include "gtest/gtest.h"
#include "tests/support/model_golden.h"
#include "tests/support/prompt_logits.h"
#include "tests/worker/engine/small_model_logits.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::RelativeRms;

struct Degrees {
  int tp;
  int pp;
};

// Under tensor parallelism each layer rounds twice; without it only the
// boundaries of stages do. Here 0.0076 to 0.0106 and 0.0028 to 0.0044.
constexpr double kReduceTolerance = 0.015;
constexpr double kBoundaryTolerance = 0.006;

class ActivationDTypeTest : public SmallModelLogits {
 protected:
  Logits LogitsOf(Degrees degrees, const std::string& dtype) {
    return SmallModelLogits::LogitsOf({.tp = degrees.tp,
                                       .pp = degrees.pp,
                                       .quantization = "none",
                                       .activation_dtype = dtype});
  }

  void ExpectSmallError(Degrees degrees) {
    const double error = RelativeRms(LogitsOf(degrees, "bfloat16"),
                                     LogitsOf(degrees, "float32"));
    EXPECT_LT(error, degrees.tp > 1 ? kReduceTolerance : kBoundaryTolerance)
        << "tp=" << degrees.tp << " pp=" << degrees.pp;
    EXPECT_GT(error, 0) << "tp=" << degrees.tp << " pp=" << degrees.pp;
  }
};

TEST_P(ActivationDTypeTest, BFloat16ChangesLogitsByLittle) {
  ExpectSmallError({2, 1});
  ExpectSmallError({3, 1});
  ExpectSmallError({1, 3});
  ExpectSmallError({2, 2});
}

// All-reduces leave the residual stream in bfloat16, so that handing it on
// rounds nothing more.
TEST_P(ActivationDTypeTest, UnderTensorParallelStagesChangeNoBit) {
  const Logits one = LogitsOf({2, 1}, "bfloat16");
  ASSERT_FALSE(one.empty());
  EXPECT_EQ(LogitsOf({2, 2}, "bfloat16"), one);
  EXPECT_EQ(LogitsOf({2, 3}, "bfloat16"), one);
}

TEST_P(ActivationDTypeTest, AloneNothingIsRounded) {
  EXPECT_EQ(LogitsOf({1, 1}, "bfloat16"), LogitsOf({1, 1}, "float32"));
}

INSTANTIATE_TEST_SUITE_P(SmallModels, ActivationDTypeTest,
                         ::testing::ValuesIn(testing::SmallGoldenModels()),
                         [](const auto& info) { return info.param; });

TEST(ActivationDType, UnknownNamesAreRefused) {
  for (const char* name : {"float16", "int8", ""}) {
    SCOPED_TRACE(name);
    ExpectRefused({.activation_dtype = name});
  }
}

}  // namespace
}  // namespace caravan::worker
