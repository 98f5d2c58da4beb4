// Barriers of blocks, grids and warps, fences, and the order they make.
#include <string>

#include "tests/emulated_device/engine/grid_state.h"
#include "tests/emulated_device/engine/sanitizer.h"
#include "tests/emulated_device/engine/warp_meeting.h"

namespace caravan::emulated {

void CompleteBlockBarrier(BlockState& block) {
  if (block.arrived == 0 || block.arrived != block.live) return;
  block.arrived = 0;
  ++block.generation;
  Wake(block.barrier_waiters);
}

void CompleteGridBarrier() {
  GridState& state = State();
  if (state.grid_arrived == 0 || state.grid_arrived != state.alive) return;
  state.grid_arrived = 0;
  Wake(state.grid_waiters);
}

void ArriveAtBlockBarrier(const char* name, Site site) {
  Fiber* self = Self();
  BlockState& block = *self->block_state;
  if (block.arrived == 0) {
    block.barrier_name = name;
    block.barrier_site = site;
  } else if (!SamePlace(block.barrier_site, site)) {
    Fault(cudaErrorIllegalInstruction,
          std::string(name) + " in divergent code: others wait in " +
              block.barrier_name + " at line " +
              std::to_string(block.barrier_site.line),
          site);
  }
  ++block.arrived;
}

void AwaitBlockBarrier(const char* name, Site site) {
  Fiber* self = Self();
  BlockState& block = *self->block_state;
  if (block.arrived == block.live) {
    CompleteBlockBarrier(block);
    MaybeYield();
  } else {
    block.barrier_waiters.push_back(self);
    Suspend(name, site);
  }
}

void BlockBarrier(Site site) {
  char* order = Self()->block_state->order.get();
  Release(order);
  {
    EngineScope scope;
    ArriveAtBlockBarrier("__syncthreads", site);
    AwaitBlockBarrier("__syncthreads", site);
  }
  Acquire(order);
}

void GridBarrier(Site site) {
  GridState& state = State();
  Release(&state.grid_order);
  {
    EngineScope scope;
    if (!state.launch.cooperative) {
      Fault(cudaErrorLaunchFailure,
            "GridSync in a launch that is not cooperative", site);
    }
    if (++state.grid_arrived == state.alive) {
      CompleteGridBarrier();
      MaybeYield();
    } else {
      state.grid_waiters.push_back(Self());
      Suspend("GridSync", site);
    }
  }
  Acquire(&state.grid_order);
}

void WarpBarrier(unsigned mask, Site site) {
  Fiber* self = Self();
  char* order = &self->block_state
                     ->order[static_cast<size_t>(1 + self->linear / kWarpSize)];
  Release(order);
  {
    EngineScope scope;
    Meet({mask, "__syncwarp", site}, nullptr, 0);
  }
  Acquire(order);
}

void Fence() {
  GridState& state = State();
  Release(&state.fence_order);
  Acquire(&state.fence_order);
}

void WaitForPreviousKernel() {
  Self()->waited_for_previous = true;
  Acquire(&grid_ends);
}

}  // namespace caravan::emulated
