#include "partition/plan/gpu_memory.h"

#include <algorithm>

#include "base/checked_math.h"
#include "partition/plan/rank_memory.h"

namespace caravan::partition {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kMiB = int64_t{1} << 20;

// weight_layout.h, and units of it kv_layout.h
constexpr int64_t kTileRows = 32;
constexpr int64_t kUnitBytes = 16;
// linear_operations.h and prepare_rows.h: rows that are worked on at a time.
constexpr int64_t kRowsAtOnce = 512;
constexpr int64_t kHalfPiece = 16;
// library_product.h and linear_operations.h
constexpr int64_t kLibraryBytes = 32 * kMiB + 32 * kMiB;
// attention.h, attention_operations.h and batch_table.cc
constexpr int64_t kSplitPositions = 256;
constexpr int64_t kTileQueries = 16;
constexpr int64_t kSumPadding = 4;
constexpr int64_t kPartialBytes = 64 * kMiB;
constexpr int64_t kRowPlaceBytes = 8;
constexpr int64_t kQueryTileBytes = 16;
constexpr int64_t kHeadGroupBytes = 12;
constexpr int64_t kPackedAlignment = 16;
// shard_candidates.h and sampling_operations.h
constexpr int64_t kPieceLogits = 8192;
constexpr int64_t kCandidateBytes = 8;
constexpr int64_t kRequestBytes = 48;
constexpr int64_t kMostRequests = 256;
constexpr int64_t kResultBytes = kMiB;
// Slots of chosen tokens: backend.h and choose_tokens.h.
constexpr int64_t kTokenSets = 2;
constexpr int64_t kTokenBytes = 12;
// worker/comm/nccl/nccl_all_reduce.cc
constexpr int64_t kChunkThresholdBytes = int64_t{256} << 10;
constexpr int64_t kChunkAlignment = 16;

// ---- Assumed: no GPU has measured these for Caravan.
// The driver's context with the kernels' modules and the stacks of all threads
// that can be resident. It grows with the multiprocessors: users report 107 MiB
// on a card with 34 of them and 555 MiB on one with 188
// (github.com/ggml-org/llama.cpp/pull/23604).
constexpr int64_t kContextBytes = 512 * kMiB;
// Decode steps as CUDA graphs, as many as worker/backend/cuda/step_graphs.h
// keeps: a layer is up to 11 kernels and, with tensor parallelism, two sums,
// each of up to five operations (rounded values that are sent by chunks); each
// about a kilobyte, doubled for what the driver keeps.
constexpr int64_t kMostGraphs = 64;
constexpr int64_t kLayerOperations = 21;
// Where products are cuBLASLt's: two for one of ours for queries, keys and
// values and for the gated one, SiLU, and of each of the six a second kernel.
constexpr int64_t kLibraryLayerOperations = kLayerOperations + 9;
// The embedding with its sum; norm and head, candidates, choice, a gather and
// what ranks choose of it.
constexpr int64_t kStepOperations = 12;
constexpr int64_t kGraphOperationBytes = 2048;
// NCCL keeps, for each channel and neighbour, about 10 MiB of buffers for its
// three protocols and a page of state. A ring over PCIe or Ethernet has few
// channels; users report 544 MiB for two A100 with NVLink, which has most
// (github.com/NVIDIA/nccl/issues/964).
constexpr int64_t kNcclGroupBytes = 256 * kMiB;
// What cudaMalloc gives is made of such pages; smaller pieces share one.
constexpr int64_t kPageBytes = 2 * kMiB;
constexpr int64_t kSharesPageBytes = kMiB;
// Buffers beside the weights, each of which may leave most of a page unused.
constexpr int64_t kNumBuffers = 20;

// Of its KV heads the one that most of the rank's query heads read.
int64_t LargestGroup(const ModelSpec& spec, const TensorShard& shard) {
  const int64_t group = spec.heads_per_kv_head();
  int64_t largest = 1;
  for (int64_t kv = shard.kv_heads.begin; kv < shard.kv_heads.end; ++kv) {
    largest = std::max(largest, std::min((kv + 1) * group, shard.heads.end) -
                                    std::max(kv * group, shard.heads.begin));
  }
  return std::min(largest, kTileQueries);
}

// Tables of rows, tiles, blocks and heads; parts of long contexts.
int64_t AttentionScratch(const ModelSpec& spec, const TensorShard& shard,
                         const PlanOptions& options) {
  const int64_t rows = options.max_rows_per_step;
  const int64_t heads = shard.heads.size();
  const int64_t rows_per_tile =
      std::max<int64_t>(1, kTileQueries / LargestGroup(spec, shard));
  const int64_t tiles =
      std::min(rows, rows / rows_per_tile + options.max_sequences);
  int64_t bytes =
      RoundUp(heads * kFloat, kPackedAlignment) + heads * kHeadGroupBytes;
  bytes += RoundUp(rows * kRowPlaceBytes, kPackedAlignment) +
           tiles * kQueryTileBytes +
           options.max_sequences *
               CeilDivide(options.max_model_len, kBlockTokens) * kFloat;
  bytes += kRowsAtOnce * 2 * shard.kv_heads.size() * spec.head_dim * kFloat;
  const int64_t splits = CeilDivide(options.max_model_len, kSplitPositions);
  if (splits < 2) return bytes;
  const int64_t padded = RoundUp(spec.head_dim, kSumPadding);
  const int64_t tile = rows_per_tile * splits * heads * padded * kFloat;
  const int64_t sums = std::max(tile, std::min(kPartialBytes, tiles * tile));
  return bytes + sums + CeilDivide(sums, padded * kFloat) * 2 * kFloat;
}

int64_t SamplingScratch(int64_t vocabulary) {
  const int64_t whole = CeilDivide(vocabulary, kPieceLogits) *
                        (kPieceLogits + 1) * kCandidateBytes;
  return kMostRequests * kRequestBytes + std::max(kResultBytes, whole);
}

// What a group of ranks gathers to add it up in their order, and where it is
// rounded to be sent by chunks.
int64_t ReduceBytes(const PlanOptions& options, int64_t values) {
  const int64_t size = options.tp;
  const int64_t value_bytes = ByteSize(options.activation_dtype);
  if (size < 3 || values * value_bytes < kChunkThresholdBytes) {
    return size * values * value_bytes;
  }
  const int64_t chunk = RoundUp(CeilDivide(values, size), kChunkAlignment);
  const int64_t gathered =
      size * std::max(kChunkThresholdBytes, chunk * value_bytes);
  return options.activation_dtype == DType::kFloat32
             ? gathered
             : gathered + values * value_bytes;
}

// Whether products of many rows may be a library's.
bool UsesLibrary(const ModelSpec& spec, const RankPlan& rank,
                 const PlanOptions& options) {
  bool any = false;
  ForEachMatrix(spec, rank, options.hold(), [&any](const HeldMatrix& matrix) {
    any = any || matrix.format == WeightFormat::kFloat16 ||
          matrix.format == WeightFormat::kBFloat16;
  });
  return any && !options.deterministic;
}

int64_t GraphBytes(const ModelSpec& spec, const RankPlan& rank,
                   const PlanOptions& options) {
  if (options.enforce_eager) return 0;
  const int64_t operations = UsesLibrary(spec, rank, options)
                                 ? kLibraryLayerOperations
                                 : kLayerOperations;
  return kMostGraphs * (rank.layers.size() * operations + kStepOperations) *
         kGraphOperationBytes;
}

}  // namespace

int64_t GpuMatrixBytes(WeightFormat format, int64_t rows, int64_t cols) {
  int64_t row_bytes = ByteSize(format, cols);  // whole blocks
  if (!IsQuantized(format)) row_bytes = RoundUp(row_bytes, kUnitBytes);
  return RoundUp(rows, kTileRows) * row_bytes;
}

int64_t GpuKvBlockBytes(const ModelSpec& spec, const RankPlan& rank) {
  const int64_t head_bytes =
      RoundUp(spec.head_dim * ByteSize(rank.kv_cache_dtype), kUnitBytes);
  return rank.layers.size() * rank.shard.kv_heads.size() * kBlockTokens * 2 *
         head_bytes;
}

int64_t GpuActivationBytes(const ModelSpec& spec, const RankPlan& rank,
                           const PlanOptions& options) {
  const int64_t rows = options.max_rows_per_step;
  const int64_t logit_rows = std::min(rows, kMaxLogitRows);
  const int64_t query_size = rank.shard.heads.size() * spec.head_dim;
  const int64_t columns = rank.shard.mlp_columns.size();
  int64_t floats = rows * (2 * spec.hidden_size + 2 * query_size + columns);
  floats += options.max_model_len * spec.head_dim;  // RoPE: cos and sin
  floats += rows + 2 * logit_rows;  // ids, and which rows have logits
  const int64_t most_cols = std::max({spec.hidden_size, query_size, columns});
  floats += kRowsAtOnce * (RoundUp(most_cols, kHalfPiece) + 1);  // prepared
  int64_t bytes = floats * kFloat;
  if (UsesLibrary(spec, rank, options)) bytes += kLibraryBytes;
  if (rank.has_head) {
    bytes += logit_rows * rank.shard.vocabulary.size() * kFloat +
             SamplingScratch(rank.shard.vocabulary.size()) +
             kTokenSets * rows * kTokenBytes;
    // What each rank has found, gathered.
    if (options.tp > 1) bytes += options.tp * rows * kTokenBytes;
  }
  return bytes + AttentionScratch(spec, rank.shard, options);
}

int64_t GpuCommunicationBytes(const ModelSpec& spec,
                              const PlanOptions& options) {
  const int64_t values = options.max_rows_per_step * spec.hidden_size;
  int64_t bytes = 0;
  if (options.pp > 1) {
    bytes += kNcclGroupBytes;
    // Stages round in memory beside the activations.
    if (options.activation_dtype != DType::kFloat32) {
      bytes += values * ByteSize(options.activation_dtype);
    }
  }
  if (options.tp > 1) bytes += kNcclGroupBytes + ReduceBytes(options, values);
  return bytes;
}

int64_t GpuReserveBytes(const ModelSpec& spec, const RankPlan& rank,
                        const PlanOptions& options) {
  int64_t bytes = kContextBytes + GraphBytes(spec, rank, options) +
                  kNumBuffers * kPageBytes;
  ForEachMatrix(spec, rank, options.hold(), [&bytes](const HeldMatrix& matrix) {
    const int64_t each =
        GpuMatrixBytes(matrix.format, matrix.rows, matrix.cols);
    if (each >= kSharesPageBytes) {
      bytes += matrix.count * (RoundUp(each, kPageBytes) - each);
    }
  });
  return bytes;
}

}  // namespace caravan::partition
