// Sums and maxima over warps and blocks in one meeting, with the same order of
// additions as device.cuh: pairs at distance width / 2, width / 4, ..., 1; over
// a block, first the warps, then their results.
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "tests/emulated_device/engine/grid_state.h"
#include "tests/emulated_device/engine/sanitizer.h"
#include "tests/emulated_device/engine/warp_meeting.h"

namespace caravan::emulated {
namespace {

struct Indexed {
  float value;
  int index;
};
union Number {
  float f;
  int i;
  Indexed indexed;
};
static_assert(sizeof(Number) == 8);

size_t BytesOf(Reduction reduction) {
  return reduction == Reduction::kMaxIndexed ? sizeof(Indexed) : sizeof(float);
}

Number Combine(Reduction reduction, Number a, Number b) {
  switch (reduction) {
    case Reduction::kSumFloat:
      return {.f = a.f + b.f};
    case Reduction::kMaxFloat:
      return {.f = std::fmax(a.f, b.f)};
    case Reduction::kSumInt:  // wraps around
      return {.i = static_cast<int>(static_cast<unsigned>(a.i) +
                                    static_cast<unsigned>(b.i))};
    case Reduction::kMaxInt:
      return {.i = a.i > b.i ? a.i : b.i};
    case Reduction::kMaxIndexed: {
      const bool second = b.indexed.value > a.indexed.value ||
                          (b.indexed.value == a.indexed.value &&
                           b.indexed.index < a.indexed.index);
      return second ? b : a;
    }
  }
  __builtin_unreachable();
}

Number Identity(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSumFloat:
      return {.f = 0};
    case Reduction::kMaxFloat:
      return {.f = -INFINITY};
    case Reduction::kSumInt:
    case Reduction::kMaxInt:
      return {.i = 0};
    case Reduction::kMaxIndexed:
      return {.indexed = {-INFINITY, 0x7fffffff}};
  }
  __builtin_unreachable();
}

using Lanes = std::array<Number, kWarpSize>;

void Butterfly(Reduction reduction, int width, Lanes& lanes) {
  for (int offset = width / 2; offset > 0; offset /= 2) {
    const Lanes before = lanes;
    for (int i = 0; i < kWarpSize; ++i) {
      lanes[i] = Combine(reduction, before[i], before[i ^ offset]);
    }
  }
}

void CompleteWarp(Meeting& meeting, int buffer, int argument) {
  const auto reduction = static_cast<Reduction>(argument & 0xff);
  Lanes lanes;
  for (int i = 0; i < kWarpSize; ++i) {
    __builtin_memcpy(&lanes[i], meeting.slots[buffer][i], sizeof(Number));
  }
  Butterfly(reduction, argument >> 8, lanes);
  for (int i = 0; i < kWarpSize; ++i) {
    __builtin_memcpy(meeting.slots[buffer][i], &lanes[i], sizeof(Number));
  }
}

Number ReduceBlock(Reduction reduction, const BlockState& block) {
  Lanes warps;
  warps.fill(Identity(reduction));
  const size_t num_warps = block.fibers.size() / kWarpSize;
  for (size_t w = 0; w < num_warps; ++w) {
    Lanes lanes;
    for (size_t i = 0; i < kWarpSize; ++i) {
      __builtin_memcpy(&lanes[i], &block.contributions[w * kWarpSize + i],
                       sizeof(Number));
    }
    Butterfly(reduction, kWarpSize, lanes);
    warps[w] = lanes[0];
  }
  Butterfly(reduction, kWarpSize, warps);
  return warps[0];
}

}  // namespace

void WarpReduce(Reduction reduction, int width, void* value, Site site) {
  EngineScope scope;
  const size_t bytes = BytesOf(reduction);
  Number number = {};
  __builtin_memcpy(&number, value, bytes);
  const Met met =
      Meet({0xffffffffu, "a warp's reduction", site}, &number, sizeof(number),
           CompleteWarp, static_cast<int>(reduction) | width << 8);
  __builtin_memcpy(value, met.slot(Self()->lane), bytes);
}

void BlockReduce(Reduction reduction, int threads, void* value, Site site) {
  static constexpr char kName[] = "a block's reduction";
  Fiber* self = Self();
  BlockState& block = *self->block_state;
  char* order = block.order.get();
  Release(order);
  {
    EngineScope scope;
    if (threads != block.live ||
        static_cast<size_t>(threads) != block.fibers.size()) {
      Fault(cudaErrorIllegalInstruction,
            std::string(kName) + " over " + std::to_string(threads) + " of " +
                std::to_string(block.fibers.size()) + " threads, of which " +
                std::to_string(block.live) + " have not left",
            site);
    }
    const size_t bytes = BytesOf(reduction);
    ArriveAtBlockBarrier(kName, site);
    const unsigned buffer = block.generation & 1;
    __builtin_memcpy(&block.contributions[static_cast<size_t>(self->linear)],
                     value, bytes);
    if (block.arrived == block.live) {
      const Number result = ReduceBlock(reduction, block);
      __builtin_memcpy(&block.results[buffer], &result, sizeof(result));
    }
    AwaitBlockBarrier(kName, site);
    __builtin_memcpy(value, &block.results[buffer], bytes);
  }
  Acquire(order);
}

}  // namespace caravan::emulated
