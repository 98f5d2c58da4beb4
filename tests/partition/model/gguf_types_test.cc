#include "partition/model/gguf_types.h"

#include <utility>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

// enum ggml_type of ggml.h.
TEST(GgufTypesTest, KnowsGgmlsNumbers) {
  EXPECT_THAT(GgufTensorTypeFromNumber(0), IsOkAndHolds(GgufTensorType::kF32));
  EXPECT_THAT(GgufTensorTypeFromNumber(1), IsOkAndHolds(GgufTensorType::kF16));
  EXPECT_THAT(GgufTensorTypeFromNumber(2), IsOkAndHolds(GgufTensorType::kQ4_0));
  EXPECT_THAT(GgufTensorTypeFromNumber(3), IsOkAndHolds(GgufTensorType::kQ4_1));
  EXPECT_THAT(GgufTensorTypeFromNumber(8), IsOkAndHolds(GgufTensorType::kQ8_0));
  EXPECT_THAT(GgufTensorTypeFromNumber(30),
              IsOkAndHolds(GgufTensorType::kBF16));
  for (const auto& [number, name] : {std::pair(6u, "Q5_0"),
                                     {12u, "Q4_K"},
                                     {14u, "Q6_K"},
                                     {20u, "IQ4_NL"},
                                     {28u, "F64"},
                                     {34u, "TQ1_0"},
                                     {39u, "MXFP4"}}) {
    EXPECT_THAT(GgufTensorTypeFromNumber(number),
                StatusIs(Code::kUnimplemented, HasSubstr(name)));
  }
  EXPECT_THAT(GgufTensorTypeFromNumber(1000), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(GgufTensorTypeFromNumber(~0u), StatusIs(Code::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::partition
