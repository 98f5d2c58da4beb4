// Rows of a matrix, widened to float32.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_EMBED_H_
#define CARAVAN_WORKER_BACKEND_CUDA_EMBED_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/choose_tokens.h"
#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

struct EmbedArguments {
  WeightView table;
  int64_t first_id = 0;
  const int32_t* ids = nullptr;
  int64_t num_ids = 0;
  // An id below 0 stands for the one in slot -1 - id; null: there are none.
  const DeviceToken* slots = nullptr;
  float* out = nullptr;  // (num_ids, table.cols)
};

// Enqueues out[i] = row ids[i] - first_id of the table, or zeros where it does
// not hold it: exactly the values that base/weight_format.h decodes to. All is
// on the device.
[[nodiscard]] cudaError_t Embed(const EmbedArguments& arguments,
                                cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_EMBED_H_
