// Causal attention of prompts on tensor cores, over caches in 16 bits.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PROMPT_ATTENTION_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PROMPT_ATTENTION_H_

#include <cuda_runtime.h>

#include "worker/backend/cuda/attention.h"

namespace caravan::worker::cuda {

// Queries, rows times heads, that one block lets attend: they share what is
// read of a KV head.
constexpr int kPromptTileQueries = 64;
// New rows of a sequence from which on they are worth it: an instruction takes
// 16 queries.
constexpr int kLeastPromptRows = 16;

// Whether there is a kernel for the cache: its type and its head_dim.
bool CanAttendPrompts(const KvLayerView& cache);

// Enqueues. As Attend, but tiles have up to kPromptTileQueries queries, which
// are rounded to the cache's type, and so are the weights of values. Contexts
// are not cut into parts: num_splits and partial sums are not looked at. A
// row's bits are the same in any tile, but not those of Attend. Positions of
// its tile after a row's own have weight 0, which hides no NaN among them.
[[nodiscard]] cudaError_t AttendPrompts(const AttentionArguments& arguments,
                                        cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PROMPT_ATTENTION_H_
