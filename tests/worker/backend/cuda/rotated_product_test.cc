// A product that ends with the rotation against one that is rotated afterwards:
// the same bits in the queries and in the cache.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"
#include "tests/worker/backend/cuda/product_matrices.h"
#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/rotate.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kHeads = 3;
constexpr int kKvHeads = 2;
constexpr int kBlocks = 6;
constexpr int kPositions = kBlocks * kBlockPositions;
constexpr int64_t kCols = 96;

struct Outcome {
  std::vector<float> queries;
  std::vector<uint32_t> cache;  // as words
};

// Row i stands at position i, in a block that is not the position's; every
// fourth is padding.
std::vector<RowPlace> Places(int64_t num_rows) {
  std::vector<RowPlace> places;
  for (int i = 0; i < num_rows; ++i) {
    const int block = kBlocks - 1 - i / kBlockPositions;
    places.push_back(i % 4 == 2 ? RowPlace{0, kNoBlock} : RowPlace{i, block});
  }
  return places;
}

class RotatedProductTest : public testing::TestWithParam<HeldFormat> {
 protected:
  // Of each position and pair.
  static std::vector<float> Angles(int head_dim, float (*function)(float)) {
    std::vector<float> values;
    for (int i = 0; i < kPositions * head_dim / 2; ++i) {
      values.push_back(function(0.37f * static_cast<float>(i)));
    }
    return values;
  }

  static Outcome Run(const HeldMatrix& weight, const std::vector<float>& x,
                     int group, const KvLayerView& shape, bool together) {
    const int head_dim = shape.head_dim;
    const int64_t width = kHeads * head_dim;
    const int64_t kv_width = 2 * kKvHeads * head_dim;
    const int64_t num_rows = static_cast<int64_t>(x.size()) / kCols;
    const PreparedRows rows(weight.view(), x, num_rows, group);
    const DeviceVector<float> cos(Angles(head_dim, std::cos));
    const DeviceVector<float> sin(Angles(head_dim, std::sin));
    const DeviceVector<RowPlace> places(Places(num_rows));
    const DeviceVector<float> queries(
        std::vector<float>(static_cast<size_t>(num_rows * width), -1));
    const DeviceVector<float> keys_values(
        static_cast<size_t>(num_rows * kv_width));
    const DeviceVector<uint32_t> cache(std::vector<uint32_t>(
        static_cast<size_t>(kBlocks * kKvHeads * shape.head_size() *
                            shape.element_bytes() / 4),
        0xffffffff));
    Rotation rotation = {.cos = cos.data(),
                         .sin = sin.data(),
                         .places = places.data(),
                         .cache = shape,
                         .num_heads = kHeads};
    rotation.cache.data = cache.data();
    ProductArguments product = {.weight = weight.view(),
                                .x = rows.input(),
                                .num_rows = num_rows,
                                .out = queries.data(),
                                .out_stride = width};
    if (together) {
      product.rotation = rotation;
      EXPECT_EQ(RotatedProduct(product, nullptr), cudaSuccess);
    } else {
      product.second = keys_values.data();
      product.second_stride = kv_width;
      product.split = width;
      EXPECT_EQ(Product(product, nullptr), cudaSuccess);
      EXPECT_EQ(RotateAndStore({.queries = queries.data(),
                                .keys_values = keys_values.data(),
                                .rotation = rotation,
                                .num_rows = num_rows},
                               nullptr),
                cudaSuccess);
    }
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    return {WithoutPadding(queries.Get(), width), cache.Get()};
  }

  static void ExpectSame(const KvLayerView& shape,
                         const std::vector<int64_t>& numbers_of_rows) {
    const HeldMatrix weight(GetParam(),
                            (kHeads + 2 * kKvHeads) * shape.head_dim, kCols);
    for (const int64_t num_rows : numbers_of_rows) {
      SCOPED_TRACE(testing::Message()
                   << "head_dim=" << shape.head_dim << " rows=" << num_rows);
      const std::vector<float> x = RandomFloats(num_rows * kCols);
      const int group = GroupFor(GetParam(), num_rows);
      const Outcome apart = Run(weight, x, group, shape, false);
      const Outcome together = Run(weight, x, group, shape, true);
      EXPECT_TRUE(SameBits(together.queries, apart.queries,
                           int64_t{kHeads} * shape.head_dim));
      EXPECT_EQ(together.cache, apart.cache);
    }
  }

  // What stands in the queries of padding means nothing.
  static std::vector<float> WithoutPadding(std::vector<float> queries,
                                           int64_t width) {
    for (size_t i = 0; i < queries.size(); ++i) {
      if (i / static_cast<size_t>(width) % 4 == 2) queries[i] = 0;
    }
    return queries;
  }
};
INSTANTIATE_TEST_SUITE_P(All, RotatedProductTest, AllFormats(), NameOfFormat);

TEST_P(RotatedProductTest, HasTheBitsOfAProductAndARotation) {
  for (const KvFormat format :
       {KvFormat::kFloat32, KvFormat::kHalf, KvFormat::kBFloat16}) {
    ExpectSame({nullptr, kKvHeads, 32, format}, {1, 7, 33});
  }
  ExpectSame({nullptr, kKvHeads, 96, KvFormat::kHalf}, {4, 16});
}

TEST_P(RotatedProductTest, TheRowsAreThoseOfTheHeads) {
  const HeldMatrix weight(GetParam(), (kHeads + 2 * kKvHeads) * 32, kCols);
  const PreparedRows rows(weight.view(), RandomFloats(kCols), 1,
                          GroupFor(GetParam(), 1));
  const DeviceVector<RowPlace> places(Places(1));
  ProductArguments product = {
      .weight = weight.view(),
      .x = rows.input(),
      .rotation = {.cache = {nullptr, kKvHeads, 32}, .num_heads = kHeads}};
  EXPECT_EQ(RotatedProduct(product, nullptr), cudaErrorInvalidValue);
  product.rotation.places = places.data();
  EXPECT_EQ(RotatedProduct(product, nullptr), cudaSuccess);  // of no rows
  product.rotation.num_heads = kHeads + 1;
  EXPECT_EQ(RotatedProduct(product, nullptr), cudaErrorInvalidValue);
  product.rotation.num_heads = kHeads;
  product.num_rows = kManyRows;
  EXPECT_EQ(RotatedProduct(product, nullptr), cudaErrorInvalidValue);
  product.num_rows = 0;
  // As many rows of the weight, but 14 heads of 16.
  product.rotation.num_heads = 14 - 2 * kKvHeads;
  product.rotation.cache.head_dim = 16;
  EXPECT_EQ(RotatedProduct(product, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace caravan::worker::cuda
