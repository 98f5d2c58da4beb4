#include "partition/model/tensor_table.h"

#include <limits>

#include "gtest/gtest.h"
#include "tests/partition/model/checkpoint_builder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(TensorTableTest, TensorsMustBeExactlyTheExpectedOnes) {
  const std::vector<NamedShape> expected = {{"a", 2, 3}, {"b", 1, 4}};
  TensorTable table = {{"a", {WeightFormat::kFloat32, 2, 3}},
                       {"b", {WeightFormat::kFloat16, 1, 4}}};
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
  const TensorInfo info = {WeightFormat::kFloat16, 5, 7};
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

TEST(TensorTableTest, StoredSlicesMustBeWholeBlocks) {
  const TensorInfo info = {WeightFormat::kQ4, 5, 64};
  CARAVAN_EXPECT_OK(CheckStoredSlice("t", info, {0, 5, 0, 64}, 5 * 36));
  CARAVAN_EXPECT_OK(CheckStoredSlice("t", info, {1, 3, 32, 64}, 2 * 18));
  CARAVAN_EXPECT_OK(CheckStoredSlice("t", info, {1, 3, 32, 32}, 0));
  EXPECT_THAT(CheckStoredSlice("t", info, {0, 1, 0, 33}, 36),
              StatusIs(kInvalid, HasSubstr("cut blocks of 32 (q4)")));
  EXPECT_THAT(CheckStoredSlice("t", info, {0, 1, 1, 32}, 18),
              StatusIs(kInvalid, HasSubstr("columns 1 to 32 cut")));
  EXPECT_THAT(CheckStoredSlice("t", info, {0, 6, 0, 32}, 18 * 6),
              StatusIs(kInvalid, HasSubstr("are not inside (5, 64)")));
  EXPECT_THAT(CheckStoredSlice("t", info, {0, 1, 0, 32}, 64),
              StatusIs(kInvalid, HasSubstr("18 bytes, there is room for 64")));
  CARAVAN_EXPECT_OK(
      CheckStoredSlice("t", {WeightFormat::kFloat16, 5, 7}, {0, 1, 3, 4}, 2));
}

TEST(TensorTableTest, FindsWhatIsQuantized) {
  const ModelSpec spec = SmallSpec();
  TensorTable table;
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    table[shape.name] = {WeightFormat::kFloat16, shape.rows, shape.cols};
  }
  EXPECT_TRUE(FindStoredFormats(spec, table).layers.empty());
  table[LayerTensor(1, kUp)].stored = WeightFormat::kQ4;
  table[std::string(kHead)].stored = WeightFormat::kQ8;
  const StoredFormats stored = FindStoredFormats(spec, table);
  ASSERT_EQ(stored.layers.size(), 2u);
  EXPECT_EQ(stored.layers[1].up, WeightFormat::kQ4);
  EXPECT_EQ(stored.layers[0].up, WeightFormat::kFloat16);
  EXPECT_EQ(stored.layers[1].down, WeightFormat::kFloat16);
  EXPECT_EQ(stored.embedding, WeightFormat::kFloat16);
  EXPECT_EQ(stored.head, WeightFormat::kQ8);
}

TEST(TensorTableTest, TiedHeadsAreStoredAsTheEmbedding) {
  ModelSpec spec = SmallSpec();
  spec.tied_embeddings = true;
  TensorTable table;
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    table[shape.name] = {WeightFormat::kQ8, shape.rows, shape.cols};
  }
  EXPECT_EQ(FindStoredFormats(spec, table).head, WeightFormat::kQ8);
}

TEST(TensorTableTest, MostElementsDecideTheType) {
  EXPECT_EQ(MostCommonDType({{"vector", {WeightFormat::kFloat32, 1, 1000}},
                             {"a", {WeightFormat::kFloat16, 2, 10}},
                             {"b", {WeightFormat::kFloat16, 2, 10}},
                             {"c", {WeightFormat::kBFloat16, 3, 10}}}),
            DType::kFloat16);
}

}  // namespace
}  // namespace caravan::partition
