// What one rank's engine allocates on a GPU, from the plan alone. Mirrors the
// decoder (worker/llama) on the CUDA backend (worker/backend/cuda), which may
// not be included here: tests/worker/engine/gpu_memory_test.cc loads real
// engines and compares to the byte. Pure functions.
#ifndef CARAVAN_PARTITION_PLAN_GPU_MEMORY_H_
#define CARAVAN_PARTITION_PLAN_GPU_MEMORY_H_

#include <cstdint>

#include "base/weight_format.h"
#include "partition/model/model_spec.h"
#include "partition/plan/plan.h"

namespace caravan::partition {

// A matrix in the layout of worker/backend/cuda/weight_layout.h: tiles of 32
// rows of units of 16 bytes of values, and scales beside them.
int64_t GpuMatrixBytes(WeightFormat format, int64_t rows, int64_t cols);

// Keys and values of kBlockTokens positions (kv_layout.h).
int64_t GpuKvBlockBytes(const ModelSpec& spec, const RankPlan& rank);

// The decoder's buffers and what the backend's operations need beside them:
// prepared rows, keys and values, parts of long contexts, results of sampling,
// tables.
int64_t GpuActivationBytes(const ModelSpec& spec, const RankPlan& rank,
                           const PlanOptions& options);

// For the groups that the rank is in: what NCCL takes, which is assumed and not
// measured, and what their members gather to add it up.
int64_t GpuCommunicationBytes(const ModelSpec& spec,
                              const PlanOptions& options);

// What CUDA itself takes: its context, modules and graphs, which are assumed
// and not measured, and what is lost to whole pages.
int64_t GpuReserveBytes(const ModelSpec& spec, const RankPlan& rank,
                        const PlanOptions& options);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_GPU_MEMORY_H_
