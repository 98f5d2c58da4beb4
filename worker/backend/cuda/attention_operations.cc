#include "worker/backend/cuda/attention_operations.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/attention.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/step_graphs.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);
constexpr int64_t kMostTilesAtOnce = 65535;  // of a grid

const CudaKvCache& CacheOf(const AttentionLayer& layer) {
  CARAVAN_CHECK(layer.shape != nullptr && layer.cache != nullptr);
  const auto* cache = dynamic_cast<const CudaKvCache*>(layer.cache);
  CARAVAN_CHECK(cache != nullptr);
  const AttentionShape& shape = *layer.shape;
  CARAVAN_CHECK(shape.num_kv_heads == cache->shape().num_kv_heads);
  CARAVAN_CHECK(shape.head_dim == cache->shape().head_dim);
  CARAVAN_CHECK(shape.num_heads > 0 &&
                static_cast<int>(shape.kv_head_of.size()) == shape.num_heads);
  for (const int kv_head : shape.kv_head_of) {
    CARAVAN_CHECK(kv_head >= 0 && kv_head < shape.num_kv_heads);
  }
  return *cache;
}

void CheckBatch(const Batch& batch, const KvCacheShape& cache) {
  int64_t num_rows = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    CARAVAN_CHECK(sequence.first_row == num_rows && sequence.num_rows > 0);
    num_rows += sequence.num_rows;
    CARAVAN_CHECK(sequence.first_position >= 0);
    const int64_t num_blocks =
        CeilDivide(sequence.first_position + sequence.num_rows, kKvBlockTokens);
    CARAVAN_CHECK(num_blocks <= static_cast<int64_t>(sequence.blocks.size()));
    for (int64_t b = 0; b < num_blocks; ++b) {
      CARAVAN_CHECK(sequence.blocks[b] >= 0 &&
                    sequence.blocks[b] < cache.num_blocks);
    }
  }
  CARAVAN_CHECK(num_rows <= batch.num_rows);
}

int NumSplits(int64_t positions) {
  return static_cast<int>(CeilDivide(positions, kSplitPositions));
}

absl::Status Grow(DeviceContext& context, int64_t bytes, DeviceMemory& memory) {
  if (bytes <= memory.bytes()) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(context.Wait());
  memory = DeviceMemory();  // before there is more
  CARAVAN_ASSIGN_OR_RETURN(memory, DeviceMemory::Create(bytes));
  return absl::OkStatus();
}

}  // namespace

absl::Status AttentionOperations::Reserve(const CudaKvCache& cache) {
  const int64_t bytes = kRowsAtOnce * 2 * cache.shape().num_kv_heads *
                        cache.shape().head_dim * kFloatBytes;
  return Grow(context_, bytes, keys_values_);
}

absl::Status AttentionOperations::Reserve(const StepLimits& limits) {
  CARAVAN_RETURN_IF_ERROR(heads_.Reserve(limits.attention));
  CARAVAN_RETURN_IF_ERROR(heads_.Set(limits.attention));
  CARAVAN_RETURN_IF_ERROR(batch_.Reserve(limits, heads_.rows_per_tile()));
  // A row of padding is a tile, as that of a sequence is.
  most_graph_rows_ = std::max(
      most_graph_rows_,
      std::min({limits.max_rows, limits.max_sequences, kMostGraphRows}));
  most_splits_ = std::max(most_splits_, NumSplits(limits.max_positions));
  return ReservePartials(limits);
}

std::optional<int64_t> AttentionOperations::GraphRows(const Batch& batch,
                                                      int64_t max_rows) const {
  const int64_t most = std::min(most_graph_rows_, max_rows);
  if (batch.num_rows < 1 || batch.num_rows > most) return std::nullopt;
  for (const BatchSequence& sequence : batch.sequences) {
    if (sequence.num_rows != 1) return std::nullopt;
  }
  return RowsOfGraph(batch.num_rows, most);
}

absl::StatusOr<int> AttentionOperations::BeginGraphStep(const Batch& batch) {
  CARAVAN_RETURN_IF_ERROR(batch_.Set(batch, {heads_.rows_per_tile()}));
  const int num_splits = NumSplits(batch_.most_positions());
  if (num_splits > most_splits_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a longer context than was reserved: parts=", num_splits,
                     " reserved=", most_splits_));
  }
  least_splits_ = PartsOfGraph(num_splits, most_splits_);
  return least_splits_;
}

absl::Status AttentionOperations::Prepare(const AttentionLayer& layer,
                                          const Batch& batch) {
  CheckBatch(batch, CacheOf(layer).shape());
  CARAVAN_RETURN_IF_ERROR(heads_.Set(*layer.shape));
  const bool on_tensor_cores =
      options_.prompts_on_tensor_cores &&
      CanAttendPrompts(CacheOf(layer).Layer(layer.layer));
  return batch_.Set(batch,
                    {heads_.rows_per_tile(),
                     on_tensor_cores ? heads_.rows_per_prompt_tile() : 0});
}

absl::Status AttentionOperations::Input(const InputOperands& operands,
                                        const AttentionLayer& layer,
                                        const Batch& batch) {
  CARAVAN_RETURN_IF_ERROR(Prepare(layer, batch));
  const AttentionShape& shape = *layer.shape;
  const RopeTables& rope = *layer.rope;
  const int64_t width = shape.num_heads * shape.head_dim;
  const int64_t kv_width = 2 * shape.num_kv_heads * shape.head_dim;
  CheckFloats(operands.x, batch.num_rows, operands.qkv.cols());
  CheckFloats(operands.queries, batch.num_rows, width);
  CARAVAN_CHECK(operands.qkv.rows() == width + kv_width);
  CheckFloats(rope.cos, rope.sin.rows, shape.head_dim / 2);
  CheckFloats(rope.sin, rope.cos.rows, shape.head_dim / 2);
  CARAVAN_CHECK(batch_.most_positions() <= rope.cos.rows);
  for (int64_t first = 0; first < batch.num_rows; first += kRowsAtOnce) {
    const int64_t num_rows = std::min(kRowsAtOnce, batch.num_rows - first);
    CARAVAN_RETURN_IF_ERROR(MultiplyAndRotate(
        {.x = operands.x.Rows(first, num_rows), .norm = &operands.norm},
        operands.qkv,
        {.cos = rope.cos.floats(),
         .sin = rope.sin.floats(),
         .places = batch_.places() + first,
         .cache = CacheOf(layer).Layer(layer.layer),
         .num_heads = shape.num_heads},
        operands.queries.Rows(first, num_rows)));
  }
  return absl::OkStatus();
}

absl::Status AttentionOperations::MultiplyAndRotate(const ProductRows& rows,
                                                    const CudaWeight& qkv,
                                                    const Rotation& rotation,
                                                    const Tensor& queries) {
  if (linear_.CanRotate(qkv, rows.x.rows, rotation.cache.head_dim)) {
    return linear_.MultiplyRotated(rows, qkv,
                                   {.out = queries.floats(),
                                    .out_stride = queries.cols,
                                    .rotation = rotation});
  }
  float* const keys_values = keys_values_.As<float>();
  CARAVAN_RETURN_IF_ERROR(
      linear_.Multiply(rows, qkv,
                       {.out = queries.floats(),
                        .out_stride = queries.cols,
                        .second = keys_values,
                        .second_stride = qkv.rows() - queries.cols,
                        .split = queries.cols}));
  return CudaStatus(RotateAndStore({.queries = queries.floats(),
                                    .keys_values = keys_values,
                                    .rotation = rotation,
                                    .num_rows = rows.x.rows},
                                   context_.stream()),
                    "RotateAndStore");
}

absl::Status AttentionOperations::ReservePartials(const StepLimits& limits) {
  const AttentionShape& shape = limits.attention;
  const AttentionArguments longest = {
      .num_heads = shape.num_heads,
      .cache = {.head_dim = static_cast<int>(shape.head_dim)},
      .rows_per_tile = heads_.rows_per_tile(),
      .num_splits = NumSplits(limits.max_positions)};
  if (longest.num_splits < 2) return absl::OkStatus();
  const int64_t tile_bytes = PartialFloats(longest) * kFloatBytes;
  const int64_t bytes =
      std::max(tile_bytes,
               std::min(options_.partial_bytes,
                        MostTiles(limits, longest.rows_per_tile) * tile_bytes));
  // A pair of floats for as many sums as a row of the cache has.
  const int64_t stats_bytes =
      CeilDivide(bytes, SumFloats(longest) * kFloatBytes) *
      static_cast<int64_t>(sizeof(float2));
  CARAVAN_RETURN_IF_ERROR(Grow(context_, bytes, partial_sums_));
  return Grow(context_, stats_bytes, partial_stats_);
}

absl::StatusOr<int64_t> AttentionOperations::UsePartials(
    AttentionArguments& arguments) const {
  arguments.partial_sums = partial_sums_.As<float>();
  arguments.partial_stats = partial_stats_.As<float2>();
  const int64_t tile_floats = PartialFloats(arguments);
  const int64_t tile_stats = tile_floats / SumFloats(arguments);
  const int64_t num_tiles =
      std::min(partial_sums_.bytes() / (tile_floats * kFloatBytes),
               partial_stats_.bytes() /
                   (tile_stats * static_cast<int64_t>(sizeof(float2))));
  if (num_tiles > 0) return num_tiles;
  return absl::ResourceExhaustedError(absl::StrCat(
      "a longer context than was reserved: parts=", arguments.num_splits,
      " heads=", arguments.num_heads, " bytes=", tile_floats * kFloatBytes,
      " reserved=", partial_sums_.bytes()));
}

absl::Status AttentionOperations::Attend(const Tensor& queries,
                                         const AttentionLayer& layer,
                                         const Batch& batch,
                                         const Tensor& out) {
  CARAVAN_RETURN_IF_ERROR(Prepare(layer, batch));
  const AttentionShape& shape = *layer.shape;
  const int64_t width = shape.num_heads * shape.head_dim;
  CheckFloats(queries, batch.num_rows, width);
  CheckFloats(out, batch.num_rows, width);
  const AttentionArguments arguments = {
      .queries = queries.floats(),
      .out = out.floats(),
      .num_heads = shape.num_heads,
      .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim)),
      .cache = CacheOf(layer).Layer(layer.layer),
      .blocks = batch_.blocks(),
      .rows_per_tile = heads_.rows_per_tile(),
      .heads = heads_.heads(),
      .groups = heads_.groups(),
      .num_groups = heads_.num_groups(),
      .num_splits =
          std::max(least_splits_, NumSplits(batch_.most_positions()))};
  CARAVAN_RETURN_IF_ERROR(AttendTiles(arguments));
  return AttendPromptTiles(arguments);
}

absl::Status AttentionOperations::AttendTiles(AttentionArguments arguments) {
  if (batch_.num_tiles() == 0) return absl::OkStatus();
  int64_t tiles_at_once = kMostTilesAtOnce;
  if (arguments.num_splits > 1) {
    CARAVAN_ASSIGN_OR_RETURN(const int64_t room, UsePartials(arguments));
    tiles_at_once = std::min(tiles_at_once, room);
  }
  for (int64_t first = 0; first < batch_.num_tiles(); first += tiles_at_once) {
    arguments.tiles = batch_.tiles() + first;
    arguments.num_tiles =
        static_cast<int>(std::min(tiles_at_once, batch_.num_tiles() - first));
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(cuda::Attend(arguments, context_.stream()), "Attend"));
  }
  return absl::OkStatus();
}

absl::Status AttentionOperations::AttendPromptTiles(
    AttentionArguments arguments) {
  arguments.rows_per_tile = heads_.rows_per_prompt_tile();
  for (int64_t first = 0; first < batch_.num_prompt_tiles();
       first += kMostTilesAtOnce) {
    arguments.tiles = batch_.prompt_tiles() + first;
    arguments.num_tiles = static_cast<int>(
        std::min(kMostTilesAtOnce, batch_.num_prompt_tiles() - first));
    CARAVAN_RETURN_IF_ERROR(CudaStatus(
        AttendPrompts(arguments, context_.stream()), "AttendPrompts"));
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker::cuda
