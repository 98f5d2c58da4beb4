// One model laid over one cluster: which rank holds what, and what it costs.
#ifndef CARAVAN_PARTITION_PLAN_PLAN_H_
#define CARAVAN_PARTITION_PLAN_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "partition/model/model_spec.h"
#include "partition/plan/held_format.h"
#include "partition/plan/shard_map.h"

namespace caravan::partition {

inline constexpr int64_t kBlockTokens = 16;  // positions of one KV block

// Logits take rows x vocabulary floats: engines compute them for at most this
// many rows at once.
inline constexpr int64_t kMaxLogitRows = 64;

enum class DeviceKind {
  kCpu,  // a share of a node's cores and memory
  kGpu,
};

// Where a rank can run.
struct DeviceSpec {
  DeviceKind kind = DeviceKind::kCpu;
  std::string node;
  std::string name;
  int64_t memory_bytes = 0;  // what Caravan may use
  int num_cores = 1;
};

struct PlanOptions {
  int tp = 1;
  int pp = 1;
  // How matrices are held in memory: held_format.h.
  Quantization quantization = Quantization::kAuto;
  DType weight_dtype = DType::kBFloat16;
  // Of keys and values; nothing: as each device has it by default
  // (kv_cache_dtype.h).
  std::optional<DType> kv_cache_dtype;
  // In which activations travel between ranks: kFloat32 or kBFloat16.
  DType activation_dtype = DType::kFloat32;
  int64_t max_model_len = 0;  // 0: the model's max_positions
  int64_t max_sequences = 256;
  int64_t max_rows_per_step = 512;
  // Share of a device's memory that the plan may fill.
  double memory_utilization = 0.9;
  // KV blocks; 0: what fits, at most for max_sequences of max_model_len.
  int64_t num_blocks = 0;
  // GPUs run no steps as CUDA graphs, which take memory.
  bool enforce_eager = false;
  // GPUs keep the numerics contract to the bit, with no products of others.
  bool deterministic = false;

  HoldOptions hold() const { return {quantization, weight_dtype}; }
};

// Computed before a byte is loaded; the engine allocates exactly this at start,
// but for the reserve and for NCCL's part of communication, which are bounds.
struct RankMemory {
  int64_t weights = 0;
  int64_t kv_cache = 0;
  int64_t activations = 0;
  int64_t communication = 0;
  int64_t reserve = 0;  // of a GPU: what CUDA itself takes
  int64_t total() const {
    return weights + kv_cache + activations + communication + reserve;
  }
};

struct RankPlan {
  int rank = 0;  // stage * tp + tp_rank
  int stage = 0;
  int tp_rank = 0;
  DeviceSpec device;
  Range layers;
  TensorShard shard;
  DType kv_cache_dtype = DType::kFloat32;
  bool has_embedding = false;  // first stage
  bool has_head = false;       // last stage
  RankMemory memory;
};

struct Plan {
  ModelSpec spec;
  PlanOptions options;  // resolved: nothing is 0 that means "choose"
  std::vector<RankPlan> ranks;
  int64_t num_blocks = 0;  // of every rank: what the tightest one holds
  int64_t num_stages() const { return options.pp; }
};

// Lays `spec` over the first tp * pp devices, in their order. Stages have as
// many layers as makes the slowest one fast (ShardLayers), or, where a device
// is too small for that, as lets all of them fit. kInvalidArgument: a degree
// that the model does not allow, or too few devices. kResourceExhausted: it
// does not fit; the message says by how much, on which rank, and what would. A
// plan that chooses the number of blocks has room for one sequence of
// max_model_len at least.
absl::StatusOr<Plan> MakePlan(const ModelSpec& spec,
                              const std::vector<DeviceSpec>& devices,
                              const PlanOptions& options);

// Bytes of one KV block on one rank: keys and values of kBlockTokens positions.
int64_t KvBlockBytes(const ModelSpec& spec, const RankPlan& rank);

// The plan as a table to read: one line per rank and the totals.
std::string FormatPlan(const Plan& plan);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_PLAN_H_
