// The attention of a CudaBackend, from its kernels.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_ATTENTION_OPERATIONS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_ATTENTION_OPERATIONS_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/batch_table.h"
#include "worker/backend/cuda/cuda_kv_cache.h"
#include "worker/backend/cuda/cuda_weight.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/linear_operations.h"
#include "worker/backend/cuda/rotate.h"

namespace caravan::worker::cuda {

struct AttentionOptions {
  // For parts of contexts that are yet to be combined: less only costs more
  // kernels. There is room for a single tile of queries always, and for no more
  // than a step can have.
  int64_t partial_bytes = int64_t{64} << 20;
  // Whether prompts are attended to on tensor cores, where the cache allows it:
  // then a row's bits depend on whether it came with many of its sequence.
  bool prompts_on_tensor_cores = false;
};

// Enqueues on the context's stream. One thread.
class AttentionOperations final {
 public:
  AttentionOperations(DeviceContext& context, LinearOperations& linear,
                      const AttentionOptions& options = {})
      : context_(context),
        linear_(linear),
        options_(options),
        heads_(context),
        batch_(context) {}

  // Room to work on this cache.
  absl::Status Reserve(const CudaKvCache& cache);
  // Room for steps; each time more, or as much.
  absl::Status Reserve(const StepLimits& limits);

  struct InputOperands {
    const Tensor& x;
    const Norm& norm;
    const CudaWeight& qkv;
    const Tensor& queries;
  };
  absl::Status Input(const InputOperands& operands, const AttentionLayer& layer,
                     const Batch& batch);
  absl::Status Attend(const Tensor& queries, const AttentionLayer& layer,
                      const Batch& batch, const Tensor& out);

  // The rows that a graph has for a batch, or nothing: it is not one of single
  // rows within the limits.
  std::optional<int64_t> GraphRows(const Batch& batch, int64_t max_rows) const;
  // Brings the batch's table to the device before its operations are enqueued
  // or replayed. Returns the number of parts that all its contexts are taken to
  // have, rounded up for graphs; EndGraphStep ends that.
  absl::StatusOr<int> BeginGraphStep(const Batch& batch);
  void EndGraphStep() { least_splits_ = 1; }

 private:
  // Tables of the batch and the heads.
  absl::Status Prepare(const AttentionLayer& layer, const Batch& batch);
  absl::Status MultiplyAndRotate(const ProductRows& rows, const CudaWeight& qkv,
                                 const Rotation& rotation,
                                 const Tensor& queries);
  absl::Status AttendTiles(AttentionArguments arguments);
  absl::Status AttendPromptTiles(AttentionArguments arguments);
  absl::Status ReservePartials(const StepLimits& limits);
  // Gives the arguments their partials; returns how many tiles have room there.
  absl::StatusOr<int64_t> UsePartials(AttentionArguments& arguments) const;

  DeviceContext& context_;
  LinearOperations& linear_;
  const AttentionOptions options_;
  HeadTable heads_;
  BatchTable batch_;
  DeviceMemory keys_values_;  // of kRowsAtOnce rows, before they are rotated
  DeviceMemory partial_sums_;
  DeviceMemory partial_stats_;
  int64_t most_graph_rows_ = 0;
  int most_splits_ = 1;
  int least_splits_ = 1;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_ATTENTION_OPERATIONS_H_
