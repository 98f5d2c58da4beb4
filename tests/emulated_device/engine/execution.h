// What a kernel running on the emulated device can do: who it is, barriers,
// warp collectives, shared memory, tensor cores. device.cuh's twin spells these
// as CUDA does; nothing else calls them.
//
// A kernel's threads are fibers of the operating system's thread that runs the
// grid (grid_run.h). A collective suspends its caller until all it needs have
// arrived. What CUDA leaves undefined ends the kernel with a fault that names
// block, thread, file and line, or yields poison (all bits set: NaN).
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_EXECUTION_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_EXECUTION_H_

#include <vector_types.h>

#include <cstddef>
#include <cstdint>

namespace caravan::emulated {

// Where in the kernel's source.
struct Site {
  const char* file = "?";
  int line = 0;
};

struct GridView {
  dim3 grid_dim;
  dim3 block_dim;
};
struct BlockView {
  const GridView* grid = nullptr;
  uint3 index = {};
};
struct ThreadView {
  uint3 index = {};
  BlockView* block = nullptr;
};
// The running thread of a kernel; null outside kernels.
extern thread_local ThreadView* current_thread;
int CurrentLane();

// ---- Barriers.
void BlockBarrier(Site site);
void GridBarrier(Site site);
void WarpBarrier(unsigned mask, Site site);
void Fence();
// Lets other threads of the grid run: inside loops that wait for one.
void Yield(Site site);
void WaitForPreviousKernel();
// Reads nothing, but what could not be read must not be asked for.
void Prefetch(const void* address);

// ---- Warp collectives.
struct WarpCall {
  unsigned mask;
  const char* name;  // for faults
  Site site;
};
// `bytes` (at most 32) at `in` go to whoever names this lane; receives those of
// lane `source` in `out`; poison if that lane is not in the mask.
void Exchange(const WarpCall& call, const void* in, size_t bytes, int source,
              void* out);
unsigned Ballot(const WarpCall& call, bool predicate);

// ---- Reductions, each one meeting, with the order of device.cuh's.
enum class Reduction { kSumFloat, kMaxFloat, kSumInt, kMaxInt, kMaxIndexed };
// `value` is a float, an int, or a float and an int; replaced by the result.
void WarpReduce(Reduction reduction, int width, void* value, Site site);
void BlockReduce(Reduction reduction, int threads, void* value, Site site);

// ---- Shared memory of the block. `tag` identifies a variable.
void* StaticShared(const void* tag, size_t bytes);
unsigned char* DynamicShared();

// ---- Asynchronous copies; the destination is poison until waited for.
void CopyAsync(void* shared, const void* global, size_t bytes, bool valid,
               Site site);
void CommitCopies();
void WaitForCopies(int groups);

// ---- Tensor cores.
void LoadMatrices(uint32_t* registers, int count, bool transposed,
                  const void* row, Site site);
enum class MatrixType { kHalf, kBfloat16, kInt8 };
// d is float[4], or int32_t[4] for kInt8.
void MultiplyMatrices(MatrixType type, void* d, const uint32_t (&a)[4],
                      const uint32_t (&b)[2], Site site);

// A fault if `address` is not a multiple of `bytes`.
void CheckAlignment(const void* address, size_t bytes, const char* what,
                    Site site);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_EXECUTION_H_
