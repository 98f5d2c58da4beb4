// Rows as they are stored into the layout of weight_layout.h.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_REPACK_H_
#define CARAVAN_WORKER_BACKEND_CUDA_REPACK_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// On the device. `stored` is 2-byte aligned, rows in the weight's format
// without gaps.
struct RepackArguments {
  const std::byte* stored = nullptr;
  int64_t first_row = 0;
  int64_t num_rows = 0;
  WeightView to;
};

// Enqueues. Elements that fill up units become zeros; rows that fill up the
// last tile are not touched.
[[nodiscard]] cudaError_t Repack(const RepackArguments& arguments,
                                 cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_REPACK_H_
