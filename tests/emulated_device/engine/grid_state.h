// The engine's state: the grid that a thread runs, its blocks, warps, fibers.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_GRID_STATE_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_GRID_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/emulated_device/engine/execution.h"
#include "tests/emulated_device/engine/fiber_context.h"
#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/engine/sanitizer.h"

namespace caravan::emulated {

constexpr int kWarpSize = 32;
constexpr int kMaxBlockThreads = 1024;
constexpr size_t kSlotBytes = 32;  // what a lane can bring to a meeting

struct BlockState;
struct Warp;

struct PendingCopy {
  void* shared;
  const void* global;
  size_t bytes;
  bool valid;
};

struct Fiber final : ThreadView {
  BlockState* block_state = nullptr;
  Warp* warp = nullptr;
  int linear = 0;  // index in the block
  int lane = 0;
  bool done = false;
  bool waited_for_previous = false;
  const char* waiting_in = "";
  Site waiting_at;
  // The last group is open, those before are committed.
  std::vector<std::vector<PendingCopy>> copies{1};
  FiberContext context;
};

// Where the lanes of one mask of one warp meet. The results of two successive
// meetings are kept: a lane may read one while others arrive at the next.
struct Meeting {
  unsigned mask = 0;
  unsigned arrived = 0;
  unsigned generation = 0;
  const char* name = "";
  Site site;
  unsigned present[2] = {0, 0};
  alignas(16) unsigned char slots[2][kWarpSize][kSlotBytes];
  std::vector<Fiber*> waiters;
};

struct Warp final {
  unsigned exists = 0;  // lanes
  unsigned exited = 0;
  std::vector<std::unique_ptr<Meeting>> meetings;
};

struct SharedVariable {
  const void* tag;
  void* memory;
  size_t bytes;
};

struct BlockState final : BlockView {
  std::vector<Fiber*> fibers;
  std::vector<Warp> warps;
  int live = 0;  // threads that have not left

  // The barrier of the block, and what a reduction brings to it.
  int arrived = 0;
  unsigned generation = 0;
  const char* barrier_name = "";
  Site barrier_site;
  std::vector<Fiber*> barrier_waiters;
  std::vector<std::array<unsigned char, 8>> contributions;
  std::array<unsigned char, 8> results[2];

  std::vector<SharedVariable> shared;
  unsigned char* dynamic_shared = nullptr;
  // Its addresses stand for the barriers of this block (the first) and of its
  // warps in ThreadSanitizer; new for every block.
  std::unique_ptr<char[]> order;
};

// One per thread of the operating system.
struct GridState final {
  GridState() = default;
  ~GridState() { Acquire(&end_order); }  // its threads used what goes now
  GridState(const GridState&) = delete;
  GridState& operator=(const GridState&) = delete;

  FiberContext thread;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<std::unique_ptr<BlockState>> blocks;

  GridLaunch launch;
  GridView view;
  const std::function<void()>* body = nullptr;
  std::vector<Fiber*> ready;
  size_t ready_begin = 0;
  std::vector<Fiber*> grid_waiters;
  int grid_arrived = 0;
  int alive = 0;        // threads in resident blocks
  int idle_yields = 0;  // since anything else happened
  GridResult result;
  std::minstd_rand random;

  // Stand for a grid's begin, end, fences and grid barriers in
  // ThreadSanitizer.
  char begin_order = 0, end_order = 0, fence_order = 0, grid_order = 0;
  Witness witness;
};

// Stands there for the ends of all grids that have ended: whoever acquires it
// comes after them.
extern char grid_ends;

GridState& State();
inline Fiber* Self() { return static_cast<Fiber*>(current_thread); }
uint64_t ScheduleSeed();

// ---- Scheduling (scheduler.cc); called by the running fiber.
// Makes waiters runnable and forgets them.
void Wake(std::vector<Fiber*>& waiters);
// Runs others until someone wakes the caller.
void Suspend(const char* waiting_in, Site site);
// Lets a random schedule run others before the caller goes on.
void MaybeYield();
// Leaves for good, or to the thread's own context if nothing can run.
void RunNext(Fiber* self, bool ended);
Fiber* TakeReady();
// Ends the grid.
[[noreturn]] void Fault(cudaError_t error, std::string what, Site site);
[[noreturn]] void LeaveFaulted();
std::string Describe(const Fiber& fiber, Site site);

// ---- Whether a thread that left completes what others wait in (barrier.cc).
void CompleteBlockBarrier(BlockState& block);
void CompleteGridBarrier();

// ---- Shared memory (shared_memory.cc).
void FreeShared(BlockState& block);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_GRID_STATE_H_
