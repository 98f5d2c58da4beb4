// Attention of a Backend against plain double arithmetic, and its independence
// of chunks, batch and threads.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_ATTENTION_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_ATTENTION_SUITE_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "tests/conformance/attention_model.h"
#include "tests/conformance/backend_fixture.h"

namespace caravan::worker {

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
    const std::vector<int32_t> blocks = ScatteredBlocks(6, 5);
    for (const DType dtype : kCacheDTypes) {
      SCOPED_TRACE(std::string(Name(dtype)));
      const HostMatrix x = RandomMatrix(dtype == DType::kFloat32 ? 83 : 35,
                                        AttentionModel::kHidden, 23);
      DeviceAttention device(*backend_, model, dtype);
      const HostMatrix out = RunChunks(device, x, {x.rows}, blocks);
      const ExactAttention exact(model, x, dtype);
      for (int64_t row = 0; row < x.rows; ++row) ExpectRow(out, row, exact);
    }
  }
}

// The first position attends to itself alone: its outcome is its value.
TEST_P(BackendAttention, CachedValuesAreRoundedOnceToNearestEven) {
  const HostMatrix x = RandomMatrix(1, AttentionModel::kHidden, 30);
  const std::vector<int32_t> blocks = {7};
  // Among them subnormal ones of float16, and some beyond its range.
  for (const float scale : {1.0f, 1e-6f, 30000.0f}) {
    AttentionModel model(2, {0, 1}, 34);
    for (int64_t row = 4 * 34; row < model.qkv.rows; ++row) {
      for (int64_t i = 0; i < model.qkv.cols; ++i) {
        model.qkv.Row(row)[i] *= scale;
      }
    }
    DeviceAttention wide(*backend_, model);
    const HostMatrix values = RunChunks(wide, x, {1}, blocks);
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      HostMatrix expected = values;
      for (float& value : expected.values) {
        const float most = dtype == DType::kFloat16 ? 65504.0f : INFINITY;
        value = std::clamp(value, -most, most);
        value = static_cast<float>(RoundToCache(value, dtype));
      }
      DeviceAttention narrow(*backend_, model, dtype);
      EXPECT_THAT(RunChunks(narrow, x, {1}, blocks), SameBitsAs(expected))
          << Name(dtype) << " scale=" << scale;
    }
  }
}

TEST_P(BackendAttention, BitsDoNotDependOnChunks) {
  const AttentionModel model(3, {0, 0, 0, 0, 1, 2, 2, 2, 2}, 80);
  const HostMatrix x = RandomMatrix(150, AttentionModel::kHidden, 24);
  const std::vector<int32_t> blocks = ScatteredBlocks(10, 0);
  const std::vector<std::vector<int64_t>> cuts = {{1, 15, 16, 17, 100, 1},
                                                  {97, 53},
                                                  {149, 1},
                                                  std::vector<int64_t>(22, 7),
                                                  std::vector<int64_t>(10, 16),
                                                  std::vector<int64_t>(150, 1)};
  for (const DType dtype : kCacheDTypes) {
    DeviceAttention whole(*backend_, model, dtype);
    const HostMatrix expected = RunChunks(whole, x, {150}, blocks);
    for (const std::vector<int64_t>& chunks : cuts) {
      // What is true of the first cuts of all types is of the others too.
      if (dtype != DType::kFloat32 && chunks.size() > 6) continue;
      DeviceAttention other(*backend_, model, dtype);
      EXPECT_THAT(RunChunks(other, x, chunks, ScatteredBlocks(10, 33)),
                  SameBitsAs(expected))
          << Name(dtype) << " chunks=" << ::testing::PrintToString(chunks);
    }
  }
}

// Longer than what any backend attends to in one go.
TEST_P(BackendAttention, LongContexts) {
  const AttentionModel model(2, {0, 1, 0}, 64);
  constexpr int64_t kRows = 560;
  const HostMatrix x = RandomMatrix(kRows, AttentionModel::kHidden, 29);
  const std::vector<int32_t> blocks = ScatteredBlocks(35, 11);
  for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
    DeviceAttention whole(*backend_, model, dtype);
    const HostMatrix out = RunChunks(whole, x, {kRows}, blocks);
    const ExactAttention exact(model, x, dtype);
    for (int64_t row : {0, 15, 255, 256, 257, 300, 511, 512, 559}) {
      ExpectRow(out, row, exact);
    }
    for (const std::vector<int64_t>& chunks :
         {std::vector<int64_t>{255, 1, 1, 303}, {513, 47}, {100, 400, 59, 1}}) {
      DeviceAttention other(*backend_, model, dtype);
      EXPECT_THAT(RunChunks(other, x, chunks, ScatteredBlocks(35, 3)),
                  SameBitsAs(out))
          << Name(dtype) << " chunks=" << ::testing::PrintToString(chunks);
      if (dtype != DType::kFloat32) break;
    }
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

inline void ExpectSequencesDoNotMeet(Backend& backend,
                                     const AttentionModel& model, DType dtype) {
  DeviceAttention together(backend, model, dtype);
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
    DeviceAttention alone(backend, model, dtype);
    const HostMatrix expected =
        RunChunks(alone, part.x, {part.x.rows}, ScatteredBlocks(5, 7));
    EXPECT_THAT(out.Rows(row, part.num_rows),
                SameBitsAs(expected.Rows(part.before, part.num_rows)))
        << "before=" << part.before << " num_rows=" << part.num_rows;
    row += part.num_rows;
  }
}

TEST_P(BackendAttention, SequencesOfABatchDoNotMeet) {
  const AttentionModel model(2, {0, 0, 1}, 48);
  for (const DType dtype : kCacheDTypes) {
    SCOPED_TRACE(std::string(Name(dtype)));
    ExpectSequencesDoNotMeet(*backend_, model, dtype);
  }
}

TEST_P(BackendAttention, WhatABlockHeldBeforeHarmsNobody) {
  const AttentionModel model(1, {0, 0}, 32);
  const HostMatrix x = RandomMatrix(21, AttentionModel::kHidden, 27);
  const std::vector<int32_t> blocks = {3, 1};
  HostMatrix broken = RandomMatrix(32, AttentionModel::kHidden, 28);
  for (float& value : broken.values) {
    value = std::numeric_limits<float>::quiet_NaN();
  }
  for (const DType dtype : kCacheDTypes) {
    DeviceAttention fresh(*backend_, model, dtype);
    const HostMatrix expected = RunChunks(fresh, x, {20, 1}, blocks);
    DeviceAttention used(*backend_, model, dtype);
    RunChunks(used, broken, {32}, blocks);
    EXPECT_THAT(RunChunks(used, x, {20, 1}, blocks), SameBitsAs(expected))
        << Name(dtype);
  }
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_ATTENTION_SUITE_H_
