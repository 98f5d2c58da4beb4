#include "partition/model/tensor_table.h"

#include <limits>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(TensorTableTest, TensorsMustBeExactlyTheExpectedOnes) {
  const std::vector<NamedShape> expected = {{"a", 2, 3}, {"b", 1, 4}};
  TensorTable table = {{"a", {DType::kFloat32, 2, 3}},
                       {"b", {DType::kFloat16, 1, 4}}};
  CARAVAN_EXPECT_OK(CheckTensors(table, expected));
  table["a"].rows = 6;
  EXPECT_THAT(CheckTensors(table, expected),
              StatusIs(kInvalid, HasSubstr("\"a\" has the shape (6, 3), must "
                                           "be (2, 3)")));
  table["a"].rows = 2;
  table["d"] = {};
  table["c\n"] = {};
  EXPECT_THAT(CheckTensors(table, expected),
              StatusIs(kInvalid, HasSubstr("\"c\\n\" is not part of such a "
                                           "model; 2 tensors")));
  table.erase("b");
  EXPECT_THAT(CheckTensors(table, expected),
              StatusIs(kInvalid, HasSubstr("\"b\" is missing")));
}

TEST(TensorTableTest, SlicesMustLieInside) {
  const TensorInfo info = {DType::kFloat16, 5, 7};
  CARAVAN_EXPECT_OK(CheckSlice("t", info, {0, 5, 0, 7}, 70));
  CARAVAN_EXPECT_OK(CheckSlice("t", info, {5, 5, 7, 7}, 0));
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  for (const TensorSlice& slice : std::vector<TensorSlice>{{-1, 1, 0, 1},
                                                           {0, 6, 0, 1},
                                                           {3, 2, 0, 1},
                                                           {0, 1, -1, 1},
                                                           {0, 1, 0, 8},
                                                           {0, 1, 3, 2},
                                                           {0, kMax, 0, kMax},
                                                           {-kMax, 0, 0, 1}}) {
    EXPECT_THAT(CheckSlice("t", info, slice, 2),
                StatusIs(kInvalid, HasSubstr("\"t\"")));
  }
  EXPECT_THAT(CheckSlice("t", info, {0, 1, 0, 1}, 4),
              StatusIs(kInvalid, HasSubstr("2 bytes, there is room for 4")));
}

TEST(TensorTableTest, MostElementsDecideTheType) {
  EXPECT_EQ(MostCommonDType({{"vector", {DType::kFloat32, 1, 1000}},
                             {"a", {DType::kFloat16, 2, 10}},
                             {"b", {DType::kFloat16, 2, 10}},
                             {"c", {DType::kBFloat16, 3, 10}}}),
            DType::kFloat16);
}

}  // namespace
}  // namespace caravan::partition
