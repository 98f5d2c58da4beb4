#include "worker/backend/cuda/attention_operations.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <vector>

#include "gmock/gmock.h"
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
    blocks_.resize(90);
    for (int i = 0; i < 90; ++i) blocks_[i] = (i * 17 + 3) % 90;
    const std::vector<float> values =
        Random(cache_->bytes() / sizeof(float), 1);
    ASSERT_EQ(cudaMemcpy(cache_->Layer(0).data, values.data(), cache_->bytes(),
                         cudaMemcpyHostToDevice),
              cudaSuccess);
  }

  static StepLimits Limits() {
    return {.max_rows = 31,
            .max_sequences = 3,
            .max_positions = 711,
            .attention = Shape()};
  }
  static AttentionShape Shape() {
    return {kHeads, 2, kHeadDim, {0, 1, 1, 1, 0}};
  }
  // Rows of three sequences, of which two see several parts of their context.
  Batch ThreeSequences() const {
    const absl::Span<const int32_t> all = blocks_;
    return {{{0, 1, 300, all}, {1, 21, 690, all}, {22, 9, 0, all}}, 31};
  }

  absl::Status Attend(AttentionOperations& attention, const Batch& batch,
                      const DeviceVector<float>& queries,
                      const DeviceVector<float>& out) {
    const AttentionShape shape = Shape();
    const auto tensor = [&](const DeviceVector<float>& values) {
      return Tensor{values.data(), DType::kFloat32, batch.num_rows,
                    kHeads * kHeadDim};
    };
    return attention.Attend(tensor(queries),
                            {.shape = &shape, .cache = cache_.get()}, batch,
                            tensor(out));
  }

  std::vector<float> Run(int64_t partial_bytes) {
    const Batch batch = ThreeSequences();
    const size_t count = batch.num_rows * kHeads * kHeadDim;
    const DeviceVector<float> queries(Random(count, 2));
    const DeviceVector<float> out(count);
    LinearOperations linear(*context_, /*least_library_rows=*/0);
    AttentionOperations attention(*context_, linear,
                                  {.partial_bytes = partial_bytes});
    CARAVAN_EXPECT_OK(attention.Reserve(Limits()));
    CARAVAN_EXPECT_OK(Attend(attention, batch, queries, out));
    CARAVAN_EXPECT_OK(context_->Wait());
    return out.Get();
  }

  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<CudaKvCache> cache_;
  std::vector<int32_t> blocks_;
};

TEST_F(AttentionOperationsTest, LittleRoomForPartsChangesNoBit) {
  const std::vector<float> expected = Run(AttentionOptions().partial_bytes);
  EXPECT_EQ(Run(1), expected);        // tile after tile
  EXPECT_EQ(Run(200'000), expected);  // a few at a time
}

TEST_F(AttentionOperationsTest, GraphsHaveRowsOfALadderWithinTheLimits) {
  LinearOperations linear(*context_, /*least_library_rows=*/0);
  AttentionOperations attention(*context_, linear);
  Batch batch;
  const auto rows = [&](int64_t count, int64_t max_rows) {
    batch.sequences.clear();
    for (int64_t i = 0; i < count; ++i) {
      batch.sequences.push_back({i, 1, 0, blocks_});
    }
    batch.num_rows = count;
    return attention.GraphRows(batch, max_rows);
  };
  EXPECT_EQ(rows(1, 40), std::nullopt);  // nothing is reserved
  StepLimits limits = Limits();
  limits.max_sequences = 11;
  CARAVAN_ASSERT_OK(attention.Reserve(limits));
  EXPECT_EQ(rows(3, 40), 4);
  EXPECT_EQ(rows(9, 40), 11);
  EXPECT_EQ(rows(5, 6), 6);
  EXPECT_EQ(rows(0, 40), std::nullopt);
  EXPECT_EQ(rows(12, 40), std::nullopt);
  EXPECT_EQ(rows(7, 6), std::nullopt);
  rows(3, 40);
  batch.sequences[2].num_rows = 2;  // of a prompt
  batch.num_rows = 4;
  EXPECT_EQ(attention.GraphRows(batch, 40), std::nullopt);
}

TEST_F(AttentionOperationsTest, PaddingAndMorePartsChangeNoBit) {
  constexpr size_t kWidth = kHeads * kHeadDim;
  LinearOperations linear(*context_, /*least_library_rows=*/0);
  AttentionOperations attention(*context_, linear);
  StepLimits limits = Limits();
  limits.max_sequences = 8;
  CARAVAN_ASSERT_OK(attention.Reserve(limits));
  const absl::Span<const int32_t> all = blocks_;
  Batch batch = {{{0, 1, 600, all}, {1, 1, 2, all}, {2, 1, 256, all}}, 3};
  const DeviceVector<float> queries(Random(8 * kWidth, 2));
  const DeviceVector<float> expected(8 * kWidth);
  CARAVAN_ASSERT_OK(Attend(attention, batch, queries, expected));
  batch.num_rows = 8;
  EXPECT_THAT(attention.BeginGraphStep(batch),
              testing::IsOkAndHolds(3));  // not 4: the limit's
  const DeviceVector<float> out(8 * kWidth);
  CARAVAN_ASSERT_OK(Attend(attention, batch, queries, out));
  // Short contexts as in a graph of long ones.
  batch.sequences[0].first_position = 300;
  EXPECT_THAT(attention.BeginGraphStep(batch), testing::IsOkAndHolds(2));
  attention.EndGraphStep();
  CARAVAN_ASSERT_OK(context_->Wait());
  std::vector<float> values = out.Get();
  EXPECT_TRUE(std::all_of(values.begin() + 3 * kWidth, values.end(),
                          [](float value) { return std::isnan(value); }));
  values.resize(3 * kWidth);
  std::vector<float> wanted = expected.Get();
  wanted.resize(3 * kWidth);
  EXPECT_EQ(values, wanted);
}

TEST_F(AttentionOperationsTest, RefusesWhatIsBeyondTheLimits) {
  LinearOperations linear(*context_, /*least_library_rows=*/0);
  AttentionOperations attention(*context_, linear);
  const DeviceVector<float> queries(Random(40 * kHeads * kHeadDim, 2));
  const DeviceVector<float> out(40 * kHeads * kHeadDim);
  const auto attend = [&](const Batch& batch) {
    return Attend(attention, batch, queries, out);
  };
  const absl::Span<const int32_t> all = blocks_;
  const auto refused = [](const char* text) {
    return testing::StatusIs(absl::StatusCode::kResourceExhausted,
                             ::testing::HasSubstr(text));
  };
  EXPECT_THAT(attend(ThreeSequences()), refused("reserved=0"));
  CARAVAN_ASSERT_OK(attention.Reserve(Limits()));
  CARAVAN_EXPECT_OK(attend(ThreeSequences()));
  Batch many;
  for (int64_t i = 0; i < 7; ++i) many.sequences.push_back({i, 1, 710, all});
  many.num_rows = 7;
  EXPECT_THAT(attend(many), refused("a table is larger than what was"));
  CARAVAN_ASSERT_OK(attention.Reserve({.max_rows = 1,
                                       .max_sequences = 1,
                                       .max_positions = 1400,
                                       .attention = Shape()}));
  CARAVAN_EXPECT_OK(attend({{{0, 1, 1399, all}}, 1}));
  CARAVAN_EXPECT_OK(attend(ThreeSequences()));
  AttentionOperations shorter(*context_, linear, {.partial_bytes = 1});
  CARAVAN_ASSERT_OK(shorter.Reserve(Limits()));
  EXPECT_THAT(Attend(shorter, {{{0, 1, 1399, all}}, 1}, queries, out),
              refused("a longer context than was reserved: parts=6"));
  CARAVAN_EXPECT_OK(context_->Wait());
}

}  // namespace
}  // namespace caravan::worker::cuda
