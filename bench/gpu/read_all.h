// Reads memory as fast as it can be read.
#ifndef CARAVAN_BENCH_GPU_READ_ALL_H_
#define CARAVAN_BENCH_GPU_READ_ALL_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace caravan::bench {

struct ReadArguments {
  const uint4* values = nullptr;
  int64_t count = 0;
  // Gets something that depends on all values, so that none is left out.
  unsigned* sink = nullptr;
  int num_multiprocessors = 1;
};

[[nodiscard]] cudaError_t ReadAll(const ReadArguments& arguments,
                                  cudaStream_t stream);

}  // namespace caravan::bench

#endif  // CARAVAN_BENCH_GPU_READ_ALL_H_
