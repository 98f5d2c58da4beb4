#include "worker/backend/cuda/attention_operations.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/device_vector.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kHeadDim = 64;
constexpr int kHeads = 5;

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  }
  return values;
}

// Attention over a cache of random numbers; conformance tests compare with
// exact arithmetic.
class AttentionOperationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        cache_, CudaKvCache::Create(*context_, {.num_layers = 1,
                                                .num_blocks = 90,
                                                .num_kv_heads = 2,
                                                .head_dim = kHeadDim}));
    CARAVAN_ASSERT_OK(context_->Wait());
    const std::vector<float> values =
        Random(cache_->bytes() / sizeof(float), 1);
    ASSERT_EQ(cudaMemcpy(cache_->Layer(0).data, values.data(), cache_->bytes(),
                         cudaMemcpyHostToDevice),
              cudaSuccess);
  }

  // Rows of three sequences, of which two see several parts of their context.
  std::vector<float> Run(int64_t partial_bytes) {
    std::vector<int32_t> blocks(45);
    for (int i = 0; i < 45; ++i) blocks[i] = (i * 17 + 3) % 90;
    const absl::Span<const int32_t> all = blocks;
    const Batch batch = {{{0, 1, 300, all}, {1, 21, 690, all}, {22, 9, 0, all}},
                         31};
    const size_t count = batch.num_rows * kHeads * kHeadDim;
    const DeviceVector<float> queries(Random(count, 2));
    const DeviceVector<float> out(count);
    const auto tensor = [&](const DeviceVector<float>& values) {
      return Tensor{values.data(), DType::kFloat32, batch.num_rows,
                    kHeads * kHeadDim};
    };
    LinearOperations linear(*context_);
    AttentionOperations attention(*context_, linear, partial_bytes);
    const AttentionShape shape = {kHeads, 2, kHeadDim, {0, 1, 1, 1, 0}};
    CARAVAN_EXPECT_OK(attention.Attend(tensor(queries),
                                       {.shape = &shape, .cache = cache_.get()},
                                       batch, tensor(out)));
    CARAVAN_EXPECT_OK(context_->Wait());
    return out.Get();
  }

  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<CudaKvCache> cache_;
};

TEST_F(AttentionOperationsTest, LittleRoomForPartsChangesNoBit) {
  const std::vector<float> expected = Run(AttentionOperations::kPartialBytes);
  EXPECT_EQ(Run(1), expected);        // tile after tile
  EXPECT_EQ(Run(200'000), expected);  // a few at a time
}

}  // namespace
}  // namespace caravan::worker::cuda
