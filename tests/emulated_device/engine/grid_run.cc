#include "tests/emulated_device/engine/grid_run.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "tests/emulated_device/engine/grid_state.h"
#include "tests/emulated_device/engine/sanitizer.h"

namespace caravan::emulated {
namespace {

// How many blocks a random schedule keeps resident at once.
constexpr size_t kMaxResident = 4;
// Under ThreadSanitizer successive blocks run on distinct fibers, else it would
// see them in program order. Their number is limited: each costs it memory.
constexpr size_t kPoolFibers = 1024;

size_t BlockThreads(const GridLaunch& launch) {
  return size_t{launch.block.x} * launch.block.y * launch.block.z;
}
size_t NumBlocks(const GridLaunch& launch) {
  return size_t{launch.grid.x} * launch.grid.y * launch.grid.z;
}

void LeaveKernel() {
  EngineScope scope;
  Fiber* self = Self();
  GridState& state = State();
  if (state.launch.overlap_previous && !self->waited_for_previous) {
    Fault(
        cudaErrorLaunchFailure,
        "a thread of an overlapping launch never waited for the kernel before",
        {});
  }
  self->done = true;
  --self->block_state->live;
  --state.alive;
  self->warp->exited |= 1u << self->lane;
  for (const std::unique_ptr<Meeting>& meeting : self->warp->meetings) {
    if (meeting->arrived != 0 && (meeting->mask >> self->lane & 1) != 0) {
      Fault(cudaErrorIllegalInstruction,
            std::string("a lane leaves the kernel while its warp waits in ") +
                meeting->name,
            meeting->site);
    }
  }
  CompleteBlockBarrier(*self->block_state);
  CompleteGridBarrier();
}

void FiberMain() {
  GridState& state = State();
  FiberContext::Enter(state.thread);
  // An overlapping kernel knows until it waits only what whoever launched it
  // knew, so that what it reads or writes too early is a race.
  Acquire(&state.begin_order);
  if (!state.launch.overlap_previous) Acquire(&grid_ends);
  (*state.body)();
  LeaveKernel();
  RunNext(Self(), /*ended=*/true);
  __builtin_trap();
}

void PrepareBlock(BlockState& block, uint3 index) {
  const GridLaunch& launch = State().launch;
  const int threads = static_cast<int>(BlockThreads(launch));
  const size_t warps =
      static_cast<size_t>((threads + kWarpSize - 1) / kWarpSize);
  block.grid = &State().view;
  block.index = index;
  block.live = threads;
  block.arrived = 0;
  block.barrier_waiters.clear();
  block.contributions.resize(static_cast<size_t>(threads));
  block.fibers.resize(static_cast<size_t>(threads));
  block.order.reset(new char[1 + warps]);
  block.warps.resize(warps);
  for (Warp& warp : block.warps) {
    warp.exists = warp.exited = 0;
    for (const std::unique_ptr<Meeting>& meeting : warp.meetings) {
      meeting->arrived = 0;
      meeting->waiters.clear();
    }
  }
}

void PrepareFiber(Fiber& fiber, BlockState& block, int linear) {
  const dim3& dim = State().launch.block;
  const unsigned t = static_cast<unsigned>(linear);
  fiber.index = {t % dim.x, t / dim.x % dim.y, t / dim.x / dim.y};
  fiber.block = fiber.block_state = &block;
  fiber.linear = linear;
  fiber.lane = linear % kWarpSize;
  fiber.warp = &block.warps[static_cast<size_t>(linear / kWarpSize)];
  fiber.warp->exists |= 1u << fiber.lane;
  fiber.done = false;
  fiber.waited_for_previous = false;
  fiber.copies.assign(1, {});
  fiber.context.Prepare(FiberMain);
  block.fibers[static_cast<size_t>(linear)] = &fiber;
  State().ready.push_back(&fiber);
}

// What waits when nothing can run.
void ReportDeadlock(size_t resident) {
  GridState& state = State();
  const Fiber* first = nullptr;
  int waiting = 0;
  for (size_t k = 0; k < resident; ++k) {
    for (const Fiber* fiber : state.blocks[k]->fibers) {
      if (fiber->done) continue;
      if (first == nullptr) first = fiber;
      ++waiting;
    }
  }
  if (first == nullptr) return;
  state.result = {cudaErrorLaunchTimeout,
                  "deadlock: " + std::to_string(waiting) +
                      " threads wait, the first in " +
                      std::string(first->waiting_in) + ", " +
                      Describe(*first, first->waiting_at)};
}

// Runs blocks [begin, begin + resident) of `order`.
void RunBlocks(const std::vector<size_t>& order, size_t begin,
               size_t resident) {
  GridState& state = State();
  const GridLaunch& launch = state.launch;
  const size_t threads = BlockThreads(launch);
  {
    EngineScope scope;
    state.ready.clear();
    state.ready_begin = 0;
    state.grid_waiters.clear();
    state.grid_arrived = 0;
    state.idle_yields = 0;
    state.alive = static_cast<int>(resident * threads);
    for (size_t k = 0; k < resident; ++k) {
      const unsigned i = static_cast<unsigned>(order[begin + k]);
      PrepareBlock(*state.blocks[k],
                   {i % launch.grid.x, i / launch.grid.x % launch.grid.y,
                    i / launch.grid.x / launch.grid.y});
      for (size_t t = 0; t < threads; ++t) {
        const size_t slot = ((begin + k) * threads + t) % state.fibers.size();
        PrepareFiber(*state.fibers[slot], *state.blocks[k],
                     static_cast<int>(t));
      }
    }
  }
  Fiber* first = TakeReady();
  current_thread = first;
  state.thread.SwitchTo(first->context, /*ended=*/false);
  current_thread = nullptr;
  EngineScope scope;
  if (state.result.error == cudaSuccess && state.alive > 0) {
    ReportDeadlock(resident);
  }
  for (size_t k = 0; k < resident; ++k) {
    if (state.result.error != cudaSuccess) {
      for (Fiber* fiber : state.blocks[k]->fibers) fiber->context.Discard();
    }
    FreeShared(*state.blocks[k]);
  }
}

size_t Resident(const GridLaunch& launch, std::minstd_rand& random) {
  const size_t blocks = NumBlocks(launch);
  if (launch.cooperative) return blocks;
  if (ScheduleSeed() < 2) return 1;
  return std::min<size_t>(blocks, 1 + random() % kMaxResident);
}

std::vector<size_t> BlockOrder(size_t blocks, std::minstd_rand& random) {
  std::vector<size_t> order(blocks);
  std::iota(order.begin(), order.end(), size_t{0});
  if (ScheduleSeed() == 1) std::reverse(order.begin(), order.end());
  if (ScheduleSeed() > 1) std::shuffle(order.begin(), order.end(), random);
  return order;
}

}  // namespace

GridResult RunGrid(const GridLaunch& launch,
                   const std::function<void()>& body) {
  GridState& state = State();
  state.launch = launch;
  state.view = {launch.grid, launch.block};
  state.body = &body;
  state.result = {};
  state.random.seed(static_cast<unsigned>(ScheduleSeed() * 2654435761u + 1));
  const size_t blocks = NumBlocks(launch);
  const size_t resident = Resident(launch, state.random);
  size_t fibers = resident * BlockThreads(launch);
  if (HasThreadSanitizer()) {
    fibers =
        std::max(fibers, std::min(kPoolFibers, blocks * BlockThreads(launch)));
  }
  while (state.blocks.size() < resident) {
    state.blocks.push_back(std::make_unique<BlockState>());
  }
  while (state.fibers.size() < fibers) {
    state.fibers.push_back(std::make_unique<Fiber>());
  }
  const std::vector<size_t> order = BlockOrder(blocks, state.random);
  state.thread.BindToThread();
  Release(&state.begin_order);
  for (size_t begin = 0; begin < blocks && state.result.error == cudaSuccess;
       begin += resident) {
    RunBlocks(order, begin, std::min(resident, blocks - begin));
  }
  state.witness.PassOn(&state.end_order, &grid_ends);
  if (state.result.error != cudaSuccess) SeeGridEnds();  // its text
  return state.result;
}

void SeeGridEnds() { Acquire(&grid_ends); }

}  // namespace caravan::emulated
