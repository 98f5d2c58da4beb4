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
  EXPECT_THAT(FormatFromGgufNumber(0), IsOkAndHolds(WeightFormat::kFloat32));
  EXPECT_THAT(FormatFromGgufNumber(1), IsOkAndHolds(WeightFormat::kFloat16));
  EXPECT_THAT(FormatFromGgufNumber(2), IsOkAndHolds(WeightFormat::kQ4));
  EXPECT_THAT(FormatFromGgufNumber(3), IsOkAndHolds(WeightFormat::kQ4Minimum));
  EXPECT_THAT(FormatFromGgufNumber(8), IsOkAndHolds(WeightFormat::kQ8));
  EXPECT_THAT(FormatFromGgufNumber(30), IsOkAndHolds(WeightFormat::kBFloat16));
  for (const auto& [number, name] : {std::pair(6u, "Q5_0"),
                                     {12u, "Q4_K"},
                                     {14u, "Q6_K"},
                                     {20u, "IQ4_NL"},
                                     {28u, "F64"},
                                     {34u, "TQ1_0"},
                                     {39u, "MXFP4"}}) {
    EXPECT_THAT(FormatFromGgufNumber(number),
                StatusIs(Code::kUnimplemented, HasSubstr(name)));
  }
  EXPECT_THAT(FormatFromGgufNumber(1000), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(FormatFromGgufNumber(~0u), StatusIs(Code::kInvalidArgument));
}

TEST(GgufTypesTest, NamesThemAsGgmlDoes) {
  for (uint32_t number : {0, 1, 2, 3, 8, 30}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const WeightFormat format,
                                 FormatFromGgufNumber(number));
    EXPECT_EQ(GgufTypeName(format), number == 0   ? "F32"
                                    : number == 1 ? "F16"
                                    : number == 2 ? "Q4_0"
                                    : number == 3 ? "Q4_1"
                                    : number == 8 ? "Q8_0"
                                                  : "BF16");
  }
}

}  // namespace
}  // namespace caravan::partition
