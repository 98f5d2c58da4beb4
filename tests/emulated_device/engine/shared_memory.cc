// A block's shared memory: made when a thread first names it, full of NaN, gone
// with the block. Each variable is memory of its own, so that running past one
// does not quietly hit the next.
#include <cstdlib>
#include <cstring>

#include "tests/emulated_device/engine/grid_state.h"
#include "tests/emulated_device/engine/sanitizer.h"

namespace caravan::emulated {
namespace {

constexpr size_t kAlignment = 128;
constexpr size_t kMaxStaticBytes = 48 * 1024;
constexpr unsigned char kCanary = 0xc5;

size_t Reserved(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
}

unsigned char* Allocate(size_t bytes) {
  const size_t reserved = Reserved(bytes);
  auto* memory =
      static_cast<unsigned char*>(std::aligned_alloc(kAlignment, reserved));
  std::memset(memory, 0xff, bytes);
  std::memset(memory + bytes, kCanary, reserved - bytes);
  Poison(memory + bytes, reserved - bytes);
  return memory;
}

// Past the end of a variable nothing may have been written.
void Free(unsigned char* memory, size_t bytes) {
  const size_t reserved = Reserved(bytes);
  Unpoison(memory, reserved);
  GridState& state = State();
  for (size_t i = bytes; i < reserved; ++i) {
    if (memory[i] == kCanary || state.result.error != cudaSuccess) continue;
    state.result = {
        cudaErrorIllegalAddress,
        "written past " + std::to_string(bytes) + " bytes of shared memory"};
  }
  std::free(memory);
}

}  // namespace

void* StaticShared(const void* tag, size_t bytes) {
  EngineScope scope;
  BlockState& block = *Self()->block_state;
  size_t total = bytes;
  for (const SharedVariable& variable : block.shared) {
    if (variable.tag == tag) return variable.memory;
    total += variable.bytes;
  }
  if (total > kMaxStaticBytes) {
    Fault(cudaErrorInvalidValue, "more than 48 KiB of static shared memory",
          {});
  }
  unsigned char* memory = Allocate(bytes);
  block.shared.push_back({tag, memory, bytes});
  return memory;
}

unsigned char* DynamicShared() {
  EngineScope scope;
  BlockState& block = *Self()->block_state;
  if (block.dynamic_shared == nullptr) {
    block.dynamic_shared = Allocate(State().launch.shared_bytes);
  }
  return block.dynamic_shared;
}

void FreeShared(BlockState& block) {
  for (const SharedVariable& variable : block.shared) {
    Free(static_cast<unsigned char*>(variable.memory), variable.bytes);
  }
  block.shared.clear();
  if (block.dynamic_shared != nullptr) {
    Free(block.dynamic_shared, State().launch.shared_bytes);
  }
  block.dynamic_shared = nullptr;
}

}  // namespace caravan::emulated
