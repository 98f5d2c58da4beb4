#include "worker/backend/cpu/attention_operations.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/checked_math.h"
#include "worker/backend/cpu/linear_operations.h"
#include "worker/backend/cpu/paged_kv_cache.h"

namespace caravan::worker {
namespace {

// A layer with its parts looked at once.
struct Layer {
  const AttentionShape& shape;
  const PagedKvCache& cache;
  int index;
};

Layer Look(const AttentionLayer& layer) {
  CARAVAN_CHECK(layer.shape != nullptr && layer.cache != nullptr);
  const auto* cache = dynamic_cast<const PagedKvCache*>(layer.cache);
  CARAVAN_CHECK(cache != nullptr);
  const AttentionShape& shape = *layer.shape;
  CARAVAN_CHECK(shape.num_kv_heads == cache->shape().num_kv_heads);
  CARAVAN_CHECK(shape.head_dim == cache->shape().head_dim);
  CARAVAN_CHECK(static_cast<int>(shape.kv_head_of.size()) == shape.num_heads);
  CARAVAN_CHECK(layer.layer >= 0 && layer.layer < cache->shape().num_layers);
  for (int kv_head : shape.kv_head_of) {
    CARAVAN_CHECK(kv_head >= 0 && kv_head < shape.num_kv_heads);
  }
  return {shape, *cache, layer.layer};
}

void CheckBatch(const Batch& batch, const PagedKvCache& cache) {
  int64_t num_rows = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    CARAVAN_CHECK(sequence.first_row == num_rows && sequence.num_rows > 0);
    num_rows += sequence.num_rows;
    const int64_t positions = sequence.first_position + sequence.num_rows;
    CARAVAN_CHECK(sequence.first_position >= 0);
    const int64_t num_blocks = CeilDivide(positions, kKvBlockTokens);
    CARAVAN_CHECK(num_blocks <= static_cast<int64_t>(sequence.blocks.size()));
    for (int64_t b = 0; b < num_blocks; ++b) {
      CARAVAN_CHECK(sequence.blocks[b] >= 0 &&
                    sequence.blocks[b] < cache.shape().num_blocks);
    }
  }
  CARAVAN_CHECK(num_rows == batch.num_rows);
}

struct RowPlace {
  int64_t position;
  int32_t block;
};

std::vector<RowPlace> PlaceRows(const Batch& batch) {
  std::vector<RowPlace> places;
  places.reserve(batch.num_rows);
  for (const BatchSequence& sequence : batch.sequences) {
    for (int64_t i = 0; i < sequence.num_rows; ++i) {
      const int64_t position = sequence.first_position + i;
      places.push_back({position, sequence.blocks[position / kKvBlockTokens]});
    }
  }
  return places;
}

// Rotates one row's queries and keys and puts keys and values into the cache.
void FinishRow(const cpu::Kernels& kernels, const Layer& layer,
               const RopeTables& rope, const RowPlace& place, float* qkv,
               float* queries) {
  const AttentionShape& shape = layer.shape;
  const int64_t head_dim = shape.head_dim;
  const int64_t half = head_dim / 2;
  const float* cos = rope.cos.Rows(place.position, 1).floats();
  const float* sin = rope.sin.Rows(place.position, 1).floats();
  for (int head = 0; head < shape.num_heads; ++head) {
    kernels.rotate(qkv + head * head_dim, cos, sin, half,
                   queries + head * head_dim);
  }
  float* keys = qkv + shape.num_heads * head_dim;
  const float* values = keys + shape.num_kv_heads * head_dim;
  for (int head = 0; head < shape.num_kv_heads; ++head) {
    float* key = keys + head * head_dim;
    kernels.rotate(key, cos, sin, half, key);
    layer.cache.Write({.layer = layer.index,
                       .kv_head = head,
                       .block = place.block,
                       .position = place.position % kKvBlockTokens},
                      key, values + head * head_dim);
  }
}

// Queries of some rows of one sequence and some heads that share a KV head.
struct AttentionTask {
  const BatchSequence* sequence;
  int64_t first_row;  // within the sequence
  int64_t num_rows;
  int kv_head;
  absl::Span<const int> heads;
};

// Query heads by the KV head that they read.
std::vector<std::vector<int>> GroupHeads(const AttentionShape& shape) {
  std::vector<std::vector<int>> groups(shape.num_kv_heads);
  for (int head = 0; head < shape.num_heads; ++head) {
    groups[shape.kv_head_of[head]].push_back(head);
  }
  return groups;
}

std::vector<AttentionTask> DivideAttention(
    const std::vector<std::vector<int>>& groups, const Batch& batch) {
  std::vector<AttentionTask> tasks;
  for (const BatchSequence& sequence : batch.sequences) {
    for (size_t kv_head = 0; kv_head < groups.size(); ++kv_head) {
      const absl::Span<const int> group = groups[kv_head];
      for (size_t first = 0; first < group.size(); first += cpu::kMostQueries) {
        const absl::Span<const int> heads =
            group.subspan(first, cpu::kMostQueries);
        const int64_t rows_at_once = std::max<int64_t>(
            1, cpu::kMostQueries / static_cast<int64_t>(heads.size()));
        for (int64_t row = 0; row < sequence.num_rows; row += rows_at_once) {
          tasks.push_back({&sequence, row,
                           std::min(rows_at_once, sequence.num_rows - row),
                           static_cast<int>(kv_head), heads});
        }
      }
    }
  }
  return tasks;
}

cpu::Format CacheFormat(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return cpu::Format::kFloat32;
    case DType::kFloat16:
      return cpu::Format::kFloat16;
    case DType::kBFloat16:
      return cpu::Format::kBFloat16;
  }
  return cpu::Format::kFloat32;
}

void RunAttentionTask(const ProductContext& context, const Layer& layer,
                      const AttentionOperands& operands,
                      const AttentionTask& task, float* scratch) {
  const float* queries[cpu::kMostQueries];
  float* outs[cpu::kMostQueries];
  int64_t num_keys[cpu::kMostQueries];
  int count = 0;
  const int64_t head_dim = layer.shape.head_dim;
  for (int64_t i = 0; i < task.num_rows; ++i) {
    const int64_t row = task.sequence->first_row + task.first_row + i;
    for (int head : task.heads) {
      queries[count] = operands.queries.Rows(row, 1).floats() + head * head_dim;
      outs[count] = operands.out.Rows(row, 1).floats() + head * head_dim;
      num_keys[count] = task.sequence->first_position + task.first_row + i + 1;
      ++count;
    }
  }
  const auto format = CacheFormat(layer.cache.shape().dtype);
  context.kernels.attend[static_cast<int>(format)](
      {.num_queries = count,
       .queries = queries,
       .outs = outs,
       .num_keys = num_keys,
       .cache = layer.cache.Head(layer.index, task.kv_head),
       .blocks = task.sequence->blocks.data(),
       .block_stride = layer.cache.block_stride(),
       .head_dim = head_dim,
       .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
       .scratch = scratch});
}

}  // namespace

void ApplyAttentionInput(const ProductContext& context,
                         const AttentionInputOperands& operands,
                         const AttentionLayer& attention, const Batch& batch) {
  const Layer layer = Look(attention);
  CheckBatch(batch, layer.cache);
  const AttentionShape& shape = layer.shape;
  const PanelWeight& qkv = *operands.qkv;
  const RopeTables& rope = *attention.rope;
  CheckFloats(operands.x, batch.num_rows, qkv.cols());
  CheckFloats(operands.queries, batch.num_rows,
              shape.num_heads * shape.head_dim);
  CARAVAN_CHECK(qkv.rows() ==
                (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim);
  CheckFloats(rope.cos, rope.sin.rows, shape.head_dim / 2);
  CheckFloats(rope.sin, rope.cos.rows, shape.head_dim / 2);
  const std::vector<RowPlace> places = PlaceRows(batch);
  for (int64_t first = 0; first < batch.num_rows; first += cpu::kMostRows) {
    const int64_t num_rows =
        std::min<int64_t>(cpu::kMostRows, batch.num_rows - first);
    NormalizeRows(context, operands.x.Rows(first, num_rows), *operands.norm);
    float* product = context.scratch.product();
    Multiply(context, {.x = context.scratch.normed(),
                       .num_rows = static_cast<int>(num_rows),
                       .weight = &qkv,
                       .out = product});
    ForEachRow(context.pool, num_rows, qkv.rows(), [&](int64_t row) {
      const RowPlace& place = places[first + row];
      CARAVAN_CHECK(place.position < rope.cos.rows);
      FinishRow(context.kernels, layer, rope, place, product + row * qkv.rows(),
                operands.queries.Rows(first + row, 1).floats());
    });
  }
}

void ApplyAttention(const ProductContext& context,
                    const AttentionOperands& operands,
                    const AttentionLayer& attention, const Batch& batch) {
  const Layer layer = Look(attention);
  CheckBatch(batch, layer.cache);
  const int64_t width = layer.shape.num_heads * layer.shape.head_dim;
  CheckFloats(operands.queries, batch.num_rows, width);
  CheckFloats(operands.out, batch.num_rows, width);
  const std::vector<std::vector<int>> groups = GroupHeads(layer.shape);
  const std::vector<AttentionTask> tasks = DivideAttention(groups, batch);
  context.pool.Run(static_cast<int64_t>(tasks.size()),
                   [&](int64_t index, int thread) {
                     RunAttentionTask(context, layer, operands, tasks[index],
                                      context.scratch.Thread(thread));
                   });
}

}  // namespace caravan::worker
