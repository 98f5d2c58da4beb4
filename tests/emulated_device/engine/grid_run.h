// Runs one grid of a kernel on the calling thread.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_GRID_RUN_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_GRID_RUN_H_

#include <driver_types.h>
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace caravan::emulated {

struct GridLaunch {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  bool cooperative = false;
  bool overlap_previous = false;
};
struct GridResult {
  cudaError_t error = cudaSuccess;
  std::string fault;  // what, which block and thread, where
};

// Calls `body` once per thread of the grid. Blocks run one after the other, or
// a few at a time, or, in a cooperative launch, all at once. After a fault the
// rest of the grid is dropped, destructors included.
GridResult RunGrid(const GridLaunch& launch, const std::function<void()>& body);

// For ThreadSanitizer: all that grids did which have ended happened before what
// the caller does next. RunGrid does not say so: a host that has not waited
// must not count on it.
void SeeGridEnds();

// The order in which threads and blocks that could run do run: 0 ascending, 1
// descending, others random. For grids that start later.
void SetScheduleSeed(uint64_t seed);

// For a signal handler: turns a bad access of the running kernel into its
// fault and does not return; returns if no kernel runs on this thread.
void FaultFromSignal(const char* what, const void* address);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_GRID_RUN_H_
