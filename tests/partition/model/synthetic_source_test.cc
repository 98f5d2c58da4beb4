#include "partition/model/synthetic_source.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "partition/model/tensor_names.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::Each;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

ModelSpec Small(DType dtype) {
  ModelSpec spec;
  spec.vocab_size = 301;
  spec.hidden_size = 50;  // not a multiple of four
  spec.intermediate_size = 70;
  spec.num_layers = 2;
  spec.num_heads = 5;
  spec.num_kv_heads = 5;
  spec.head_dim = 10;
  spec.max_positions = 64;
  spec.dtype = dtype;
  return spec;
}

std::unique_ptr<ModelSource> Make(DType dtype, uint64_t seed) {
  auto source = MakeSyntheticSource(Small(dtype), seed);
  EXPECT_THAT(source, ::caravan::testing::IsOk());
  return *std::move(source);
}

std::vector<float> ReadFloats(const ModelSource& source,
                              const std::string& name,
                              const TensorSlice& slice) {
  const DType dtype = source.spec().dtype;
  std::vector<std::byte> bytes(slice.count() * ByteSize(dtype));
  CARAVAN_EXPECT_OK(source.Read(name, slice, absl::MakeSpan(bytes)));
  std::vector<float> values(slice.count());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto* narrow = reinterpret_cast<const uint16_t*>(bytes.data());
    switch (dtype) {
      case DType::kFloat32:
        values[i] = reinterpret_cast<const float*>(bytes.data())[i];
        break;
      case DType::kFloat16:
        values[i] = Float16ToFloat(narrow[i]);
        break;
      case DType::kBFloat16:
        values[i] = BFloat16ToFloat(narrow[i]);
        break;
    }
  }
  return values;
}

const std::string kMatrix = LayerTensor(1, kDown);  // (50, 70)
constexpr TensorSlice kWhole = {0, 50, 0, 70};

TEST(SyntheticSourceTest, EverySliceAgreesWithTheWhole) {
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    const auto source = Make(dtype, 7);
    const std::vector<float> whole = ReadFloats(*source, kMatrix, kWhole);
    for (const TensorSlice& slice :
         std::vector<TensorSlice>{{3, 9, 0, 70},
                                  {0, 50, 1, 6},
                                  {49, 50, 69, 70},
                                  {7, 7, 0, 70},
                                  {10, 12, 5, 5},
                                  {20, 31, 13, 66}}) {
      const std::vector<float> part = ReadFloats(*source, kMatrix, slice);
      std::vector<std::byte> stored(slice.count() * ByteSize(dtype));
      std::vector<std::byte> read(stored.size());
      CARAVAN_EXPECT_OK(
          source->ReadStored(kMatrix, slice, absl::MakeSpan(stored)));
      CARAVAN_EXPECT_OK(source->Read(kMatrix, slice, absl::MakeSpan(read)));
      EXPECT_EQ(stored, read);
      size_t at = 0;
      for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
        for (int64_t col = slice.col_begin; col < slice.col_end; ++col) {
          ASSERT_EQ(part[at++], whole[row * 70 + col]) << row << " " << col;
        }
      }
    }
  }
}

TEST(SyntheticSourceTest, ValuesHaveTheDistributionOfAnInitializedModel) {
  const auto source = Make(DType::kBFloat16, 0);
  const std::vector<float> values =
      ReadFloats(*source, std::string(kEmbedding), {0, 301, 0, 50});
  double sum = 0, squares = 0;
  for (float value : values) {
    sum += value;
    squares += value * value;
  }
  const double count = static_cast<double>(values.size());
  EXPECT_NEAR(sum / count, 0.0, 0.0006);
  EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.0004);
  // Neighbours are independent.
  double product = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    product += values[i] * values[i - 1];
  }
  EXPECT_NEAR(product / squares, 0.0, 0.03);
  EXPECT_THAT(ReadFloats(*source, LayerTensor(0, kMlpNorm), {0, 1, 0, 50}),
              Each(1.0f));
  EXPECT_THAT(ReadFloats(*source, std::string(kFinalNorm), {0, 1, 0, 50}),
              Each(1.0f));
}

TEST(SyntheticSourceTest, SeedAndNameDecide) {
  const auto a = Make(DType::kFloat32, 1);
  const auto again = Make(DType::kFloat32, 1);
  const auto b = Make(DType::kFloat32, 2);
  const std::vector<float> values = ReadFloats(*a, kMatrix, kWhole);
  EXPECT_EQ(ReadFloats(*again, kMatrix, kWhole), values);
  EXPECT_NE(ReadFloats(*b, kMatrix, kWhole), values);
  EXPECT_NE(ReadFloats(*a, LayerTensor(0, kDown), kWhole), values);
  EXPECT_EQ(a->Fingerprint(), again->Fingerprint());
  EXPECT_NE(a->Fingerprint(), b->Fingerprint());
  EXPECT_NE(a->Fingerprint(), Make(DType::kBFloat16, 1)->Fingerprint());
  EXPECT_EQ(a->Fingerprint().size(), 64u);
}

// Written down: engines of different builds must make the same weights.
TEST(SyntheticSourceTest, ValuesNeverChange) {
  const auto source = Make(DType::kFloat32, 42);
  EXPECT_THAT(
      ReadFloats(*source, kMatrix, {1, 2, 0, 3}),
      ::testing::ElementsAre(-0.01809064857661724f, -0.002848517382517457f,
                             0.008108945563435555f));
}

TEST(SyntheticSourceTest, HoldsWhatTheSpecCallsFor) {
  const auto source = Make(DType::kFloat16, 0);
  for (const NamedShape& shape : ExpectedTensors(source->spec())) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const TensorInfo info,
                                 source->Find(shape.name));
    EXPECT_EQ(info.rows, shape.rows);
    EXPECT_EQ(info.cols, shape.cols);
    EXPECT_EQ(info.dtype(), DType::kFloat16);
  }
  EXPECT_EQ(source->BytesRead(), 0);
}

TEST(SyntheticSourceTest, RefusesMisuse) {
  const auto source = Make(DType::kFloat32, 0);
  std::vector<std::byte> out(4);
  const auto read = [&](absl::string_view name, const TensorSlice& slice) {
    return source->Read(name, slice, absl::MakeSpan(out));
  };
  EXPECT_THAT(read("none", {0, 1, 0, 1}),
              StatusIs(Code::kNotFound, HasSubstr("none")));
  EXPECT_THAT(source->Find("none"), StatusIs(Code::kNotFound));
  for (const TensorSlice& slice : std::vector<TensorSlice>{{-1, 0, 0, 1},
                                                           {0, 51, 0, 1},
                                                           {2, 1, 0, 1},
                                                           {0, 1, 0, 71},
                                                           {0, 1, -1, 0},
                                                           {0, 1, 5, 4}}) {
    EXPECT_THAT(read(kMatrix, slice),
                StatusIs(Code::kInvalidArgument, HasSubstr("not inside")));
  }
  EXPECT_THAT(read(kMatrix, {0, 1, 0, 2}),
              StatusIs(Code::kInvalidArgument, HasSubstr("8 bytes")));
  ModelSpec spec = Small(DType::kFloat32);
  spec.head_dim = 3;
  EXPECT_THAT(MakeSyntheticSource(spec, 0), StatusIs(Code::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::partition
