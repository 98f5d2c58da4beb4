// Attention of a Backend against plain double arithmetic, and its independence
// of chunks, batch and threads.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_ATTENTION_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_ATTENTION_SUITE_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/backend_products_suite.h"

namespace caravan::worker {

// One layer of attention with random weights.
struct AttentionModel {
  AttentionModel(int num_kv_heads, std::vector<int> kv_head_of,
                 int64_t head_dim)
      : shape{static_cast<int>(kv_head_of.size()), num_kv_heads, head_dim,
              kv_head_of},
        qkv(RandomMatrix((shape.num_heads + 2 * num_kv_heads) * head_dim,
                         kHidden, 21, 0.5f)),
        norm(RandomMatrix(1, kHidden, 22)),
        cos{kPositions, head_dim / 2, {}},
        sin{kPositions, head_dim / 2, {}} {
    for (int64_t position = 0; position < kPositions; ++position) {
      for (int64_t i = 0; i < head_dim / 2; ++i) {
        const double angle = position * std::pow(10000.0, -2.0 * i / head_dim);
        cos.values.push_back(static_cast<float>(std::cos(angle)));
        sin.values.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }

  static constexpr int64_t kHidden = 44;
  static constexpr int64_t kPositions = 640;
  static constexpr float kEpsilon = 1e-5f;

  AttentionShape shape;
  HostMatrix qkv;
  HostMatrix norm;
  HostMatrix cos;
  HostMatrix sin;
};

// The model's second of two layers on a backend, with a cache.
class DeviceAttention final {
 public:
  static constexpr int64_t kNumBlocks = 64;

  DeviceAttention(Backend& backend, const AttentionModel& model)
      : backend_(backend),
        model_(model),
        norm_(backend, model.norm),
        cos_(backend, model.cos),
        sin_(backend, model.sin),
        rope_{cos_.tensor(), sin_.tensor()} {
    auto qkv = backend.LoadWeight(ReaderOf(model.qkv, WeightFormat::kFloat32),
                                  WeightFormat::kFloat32);
    EXPECT_THAT(qkv, testing::IsOk());
    qkv_ = *std::move(qkv);
    auto cache =
        backend.CreateKvCache({.num_layers = 2,
                               .num_blocks = kNumBlocks,
                               .num_kv_heads = model.shape.num_kv_heads,
                               .head_dim = model.shape.head_dim});
    EXPECT_THAT(cache, testing::IsOk());
    cache_ = *std::move(cache);
    CARAVAN_EXPECT_OK(
        backend.Reserve({.max_rows = AttentionModel::kPositions,
                         .max_sequences = 16,
                         .max_positions = AttentionModel::kPositions,
                         .attention = model.shape}));
    EXPECT_GE(cache_->bytes(), 2 * 2 * kNumBlocks * kKvBlockTokens *
                                   model.shape.num_kv_heads *
                                   model.shape.head_dim * int64_t{4});
  }

  HostMatrix Step(const HostMatrix& x, const Batch& batch) {
    const AttentionLayer layer = {.shape = &model_.shape,
                                  .rope = &rope_,
                                  .cache = cache_.get(),
                                  .layer = 1};
    const int64_t width = model_.shape.num_heads * model_.shape.head_dim;
    const DeviceMatrix device_x(backend_, x);
    const DeviceMatrix queries(backend_, x.rows, width);
    const DeviceMatrix out(backend_, x.rows, width);
    CARAVAN_EXPECT_OK(backend_.AttentionInput(
        device_x.tensor(), {norm_.tensor(), AttentionModel::kEpsilon}, *qkv_,
        layer, batch, queries.tensor()));
    CARAVAN_EXPECT_OK(
        backend_.Attention(queries.tensor(), layer, batch, out.tensor()));
    return out.Read();
  }

 private:
  Backend& backend_;
  const AttentionModel& model_;
  const DeviceMatrix norm_;
  const DeviceMatrix cos_;
  const DeviceMatrix sin_;
  const RopeTables rope_;
  std::unique_ptr<Weight> qkv_;
  std::unique_ptr<KvCache> cache_;
};

// The same in double arithmetic for one sequence from position 0 on.
class ExactAttention final {
 public:
  ExactAttention(const AttentionModel& model, const HostMatrix& x)
      : model_(model) {
    for (int64_t row = 0; row < x.rows; ++row) {
      const std::vector<double> normed =
          ExactNorm(x.Row(row), model.norm, AttentionModel::kEpsilon);
      std::vector<double> qkv;
      for (int64_t n = 0; n < model.qkv.rows; ++n) {
        qkv.push_back(
            Dot(model.qkv.Row(n), normed.data(), model.qkv.cols).value);
      }
      const int num_rotated = model.shape.num_heads + model.shape.num_kv_heads;
      for (int head = 0; head < num_rotated; ++head) {
        Rotate(qkv.data() + head * model.shape.head_dim, row);
      }
      qkv_.push_back(std::move(qkv));
    }
  }

  std::vector<double> Row(int64_t row) const {
    const AttentionShape& shape = model_.shape;
    std::vector<double> out;
    for (int head = 0; head < shape.num_heads; ++head) {
      const int64_t key =
          (shape.num_heads + shape.kv_head_of[head]) * shape.head_dim;
      const int64_t value = key + shape.num_kv_heads * shape.head_dim;
      const double* query = qkv_[row].data() + head * shape.head_dim;
      std::vector<double> weights;
      double sum = 0;
      for (int64_t position = 0; position <= row; ++position) {
        double score = 0;
        for (int64_t d = 0; d < shape.head_dim; ++d) {
          score += query[d] * qkv_[position][key + d];
        }
        weights.push_back(
            std::exp(score / std::sqrt(static_cast<double>(shape.head_dim))));
        sum += weights.back();
      }
      for (int64_t d = 0; d < shape.head_dim; ++d) {
        double result = 0;
        for (int64_t position = 0; position <= row; ++position) {
          result += weights[position] / sum * qkv_[position][value + d];
        }
        out.push_back(result);
      }
    }
    return out;
  }

 private:
  void Rotate(double* head, int64_t position) const {
    const int64_t half = model_.shape.head_dim / 2;
    for (int64_t i = 0; i < half; ++i) {
      const double cos = model_.cos.At(position, i);
      const double sin = model_.sin.At(position, i);
      const double first = head[i];
      const double second = head[i + half];
      head[i] = first * cos - second * sin;
      head[i + half] = second * cos + first * sin;
    }
  }

  const AttentionModel& model_;
  std::vector<std::vector<double>> qkv_;
};

// Blocks in an order that is not that of memory.
inline std::vector<int32_t> ScatteredBlocks(int64_t count, int32_t first) {
  std::vector<int32_t> blocks;
  for (int64_t i = 0; i < count; ++i) {
    blocks.push_back(
        static_cast<int32_t>((first + i * 29) % DeviceAttention::kNumBlocks));
  }
  return blocks;
}

// One sequence alone, its prompt cut at the given lengths.
inline HostMatrix RunChunks(DeviceAttention& attention, const HostMatrix& x,
                            const std::vector<int64_t>& chunks,
                            absl::Span<const int32_t> blocks) {
  HostMatrix all{0, 0, {}};
  int64_t position = 0;
  for (int64_t chunk : chunks) {
    const int64_t num_rows = std::min(chunk, x.rows - position);
    Batch batch{{{.first_row = 0,
                  .num_rows = num_rows,
                  .first_position = position,
                  .blocks = blocks}},
                num_rows};
    const HostMatrix part = attention.Step(x.Rows(position, num_rows), batch);
    all.cols = part.cols;
    all.rows += part.rows;
    all.values.insert(all.values.end(), part.values.begin(), part.values.end());
    position += num_rows;
  }
  EXPECT_EQ(all.rows, x.rows);
  return all;
}

class BackendAttention : public BackendSuite {};

TEST_P(BackendAttention, IsSoftmaxOverCachedPositions) {
  const std::vector<AttentionModel> models = {
      AttentionModel(1, {0}, 2),
      AttentionModel(2, {0, 1}, 32),
      AttentionModel(3, {0, 0, 0, 1, 1, 1, 2, 2, 2}, 48),
      AttentionModel(3, {0, 0, 0, 0, 1, 2, 2, 2, 2}, 64),
      AttentionModel(1, {0, 0, 0, 0, 0, 0, 0, 0}, 80),
      AttentionModel(2, {1, 0, 1}, 128),
      AttentionModel(1, std::vector<int>(16, 0), 256),
      AttentionModel(1, std::vector<int>(35, 0), 10)};
  for (const AttentionModel& model : models) {
    SCOPED_TRACE(::testing::Message() << "heads=" << model.shape.num_heads
                                      << " head_dim=" << model.shape.head_dim);
    DeviceAttention device(*backend_, model);
    const HostMatrix x = RandomMatrix(83, AttentionModel::kHidden, 23);
    const std::vector<int32_t> blocks = ScatteredBlocks(6, 5);
    const HostMatrix out = RunChunks(device, x, {x.rows}, blocks);
    const ExactAttention exact(model, x);
    for (int64_t row = 0; row < x.rows; ++row) {
      const std::vector<double> expected = exact.Row(row);
      for (int64_t i = 0; i < out.cols; ++i) {
        ASSERT_NEAR(out.At(row, i), expected[i], 2e-5)
            << "row=" << row << " i=" << i;
      }
    }
  }
}

TEST_P(BackendAttention, BitsDoNotDependOnChunks) {
  const AttentionModel model(3, {0, 0, 0, 0, 1, 2, 2, 2, 2}, 80);
  const HostMatrix x = RandomMatrix(150, AttentionModel::kHidden, 24);
  DeviceAttention whole(*backend_, model);
  const std::vector<int32_t> blocks = ScatteredBlocks(10, 0);
  const HostMatrix expected = RunChunks(whole, x, {150}, blocks);
  const std::vector<std::vector<int64_t>> cuts = {std::vector<int64_t>(150, 1),
                                                  std::vector<int64_t>(10, 16),
                                                  std::vector<int64_t>(22, 7),
                                                  {1, 15, 16, 17, 100, 1},
                                                  {97, 53},
                                                  {149, 1}};
  for (const std::vector<int64_t>& chunks : cuts) {
    DeviceAttention other(*backend_, model);
    EXPECT_THAT(RunChunks(other, x, chunks, ScatteredBlocks(10, 33)),
                SameBitsAs(expected))
        << "chunks=" << ::testing::PrintToString(chunks);
  }
}

// Longer than what any backend attends to in one go.
TEST_P(BackendAttention, LongContexts) {
  const AttentionModel model(2, {0, 1, 0}, 64);
  constexpr int64_t kRows = 560;
  const HostMatrix x = RandomMatrix(kRows, AttentionModel::kHidden, 29);
  const std::vector<int32_t> blocks = ScatteredBlocks(35, 11);
  DeviceAttention whole(*backend_, model);
  const HostMatrix out = RunChunks(whole, x, {kRows}, blocks);
  const ExactAttention exact(model, x);
  for (int64_t row : {0, 15, 255, 256, 257, 300, 511, 512, 559}) {
    const std::vector<double> expected = exact.Row(row);
    for (int64_t i = 0; i < out.cols; ++i) {
      ASSERT_NEAR(out.At(row, i), expected[i], 2e-5)
          << "row=" << row << " i=" << i;
    }
  }
  for (const std::vector<int64_t>& chunks :
       {std::vector<int64_t>{255, 1, 1, 303}, {513, 47}, {100, 400, 59, 1}}) {
    DeviceAttention other(*backend_, model);
    EXPECT_THAT(RunChunks(other, x, chunks, ScatteredBlocks(35, 3)),
                SameBitsAs(out))
        << "chunks=" << ::testing::PrintToString(chunks);
  }
}

TEST_P(BackendAttention, BitsDoNotDependOnTheThreads) {
  const AttentionModel model(3, {0, 0, 0, 1, 1, 1, 2, 2, 2}, 64);
  const HostMatrix x = RandomMatrix(120, AttentionModel::kHidden, 25);
  const std::vector<int32_t> blocks = ScatteredBlocks(8, 0);
  const auto one = Make(1);
  DeviceAttention alone(*one, model);
  const HostMatrix expected = RunChunks(alone, x, {100, 20}, blocks);
  for (int num_threads : {2, 3}) {
    const auto backend = Make(num_threads);
    DeviceAttention shared(*backend, model);
    EXPECT_THAT(RunChunks(shared, x, {100, 20}, blocks), SameBitsAs(expected))
        << "num_threads=" << num_threads;
  }
}

TEST_P(BackendAttention, SequencesOfABatchDoNotMeet) {
  const AttentionModel model(2, {0, 0, 1}, 48);
  DeviceAttention together(*backend_, model);
  struct Part {
    int64_t before;  // positions that are in the cache already
    int64_t num_rows;
    std::vector<int32_t> blocks;
    HostMatrix x;
  };
  std::vector<Part> parts;
  int32_t first_block = 0;
  for (const auto& [before, num_rows] :
       std::vector<std::pair<int64_t, int64_t>>{
           {0, 33}, {15, 1}, {16, 1}, {40, 20}, {0, 1}}) {
    std::vector<int32_t> blocks(5);
    std::iota(blocks.rbegin(), blocks.rend(), first_block);
    first_block += 5;
    parts.push_back({before, num_rows, blocks,
                     RandomMatrix(before + num_rows, AttentionModel::kHidden,
                                  26 + first_block)});
  }
  Batch batch;
  HostMatrix x{0, AttentionModel::kHidden, {}};
  for (const Part& part : parts) {
    if (part.before > 0) {
      RunChunks(together, part.x.Rows(0, part.before), {part.before},
                part.blocks);
    }
    batch.sequences.push_back({.first_row = batch.num_rows,
                               .num_rows = part.num_rows,
                               .first_position = part.before,
                               .blocks = part.blocks});
    batch.num_rows += part.num_rows;
    const HostMatrix rows = part.x.Rows(part.before, part.num_rows);
    x.values.insert(x.values.end(), rows.values.begin(), rows.values.end());
  }
  x.rows = batch.num_rows;
  const HostMatrix out = together.Step(x, batch);
  int64_t row = 0;
  for (const Part& part : parts) {
    DeviceAttention alone(*backend_, model);
    const HostMatrix expected =
        RunChunks(alone, part.x, {part.x.rows}, ScatteredBlocks(5, 7));
    EXPECT_THAT(out.Rows(row, part.num_rows),
                SameBitsAs(expected.Rows(part.before, part.num_rows)))
        << "before=" << part.before << " num_rows=" << part.num_rows;
    row += part.num_rows;
  }
}

TEST_P(BackendAttention, WhatABlockHeldBeforeHarmsNobody) {
  const AttentionModel model(1, {0, 0}, 32);
  const HostMatrix x = RandomMatrix(21, AttentionModel::kHidden, 27);
  const std::vector<int32_t> blocks = {3, 1};
  DeviceAttention fresh(*backend_, model);
  const HostMatrix expected = RunChunks(fresh, x, {20, 1}, blocks);
  DeviceAttention used(*backend_, model);
  HostMatrix broken = RandomMatrix(32, AttentionModel::kHidden, 28);
  for (float& value : broken.values) {
    value = std::numeric_limits<float>::quiet_NaN();
  }
  RunChunks(used, broken, {32}, blocks);
  EXPECT_THAT(RunChunks(used, x, {20, 1}, blocks), SameBitsAs(expected));
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_ATTENTION_SUITE_H_
