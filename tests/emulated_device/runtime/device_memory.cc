#include "tests/emulated_device/runtime/device_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "tests/emulated_device/engine/sanitizer.h"
#include "tests/emulated_device/runtime/protected_arena.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kGuardBytes = 256;
constexpr unsigned char kCanary = 0xc5;

struct Memory {
  std::map<uintptr_t, Allocation> allocations;
  ProtectedArena arenas[kMaxDevices];
};
Memory& GetMemory() {
  static Memory* memory = new Memory;  // outlives detached threads
  return *memory;
}

unsigned char* Bytes(uintptr_t address) {
  return reinterpret_cast<unsigned char*>(address);
}
size_t Body(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

bool InArena(const Allocation& allocation) {
  return allocation.kind == MemoryKind::kDevice && GetSettings().protect_memory;
}

void* AllocateGuarded(size_t bytes) {
  const size_t body = Body(bytes);
  auto* memory = static_cast<unsigned char*>(
      std::aligned_alloc(kAlignment, body + 2 * kGuardBytes));
  if (memory == nullptr) return nullptr;
  std::memset(memory, kCanary, body + 2 * kGuardBytes);
  unsigned char* begin = memory + kGuardBytes;
  std::memset(begin, 0xff, bytes);
  Poison(memory, kGuardBytes);
  Poison(begin + bytes, body - bytes + kGuardBytes);
  return begin;
}

bool GuardsIntact(const Allocation& allocation) {
  if (HasAddressSanitizer()) return true;  // it has seen every write
  const auto is_canary = [](unsigned char c) { return c == kCanary; };
  const unsigned char* begin = Bytes(allocation.address);
  const unsigned char* end = begin + allocation.bytes;
  return std::all_of(begin - kGuardBytes, begin, is_canary) &&
         std::all_of(end, begin + Body(allocation.bytes) + kGuardBytes,
                     is_canary);
}

void ReportDamage(const Allocation& allocation) {
  Device& device = Runtime().devices[allocation.device];
  if (device.error != cudaSuccess) return;
  device.error = cudaErrorIllegalAddress;
  device.fault = "something wrote past a buffer of " +
                 std::to_string(allocation.bytes) + " bytes";
}

void* Record(void* address, size_t bytes, MemoryKind kind, int device) {
  if (address == nullptr) return nullptr;
  const auto key = reinterpret_cast<uintptr_t>(address);
  GetMemory().allocations[key] = {key, bytes, kind, device};
  return address;
}

void ReleaseGuarded(const Allocation& allocation) {
  unsigned char* begin = Bytes(allocation.address) - kGuardBytes;
  Unpoison(begin, Body(allocation.bytes) + 2 * kGuardBytes);
  std::free(begin);
}

}  // namespace

void* AllocateDevice(int device, size_t bytes) {
  Device& state = Runtime().devices[device];
  if (Body(bytes) > GetSettings().memory_bytes - state.allocated_bytes) {
    return nullptr;
  }
  void* memory = GetSettings().protect_memory
                     ? GetMemory().arenas[device].Allocate(bytes)
                     : AllocateGuarded(bytes);
  if (memory != nullptr) state.allocated_bytes += Body(bytes);
  return Record(memory, bytes, MemoryKind::kDevice, device);
}

void* AllocatePinned(int device, size_t bytes) {
  return Record(AllocateGuarded(bytes), bytes, MemoryKind::kPinned, device);
}

bool RegisterHost(void* address, size_t bytes, int device) {
  if (FindAllocation(address) != nullptr) return false;
  return Record(address, bytes, MemoryKind::kRegistered, device) != nullptr;
}

bool Free(void* address, MemoryKind kind) {
  Memory& memory = GetMemory();
  const auto found =
      memory.allocations.find(reinterpret_cast<uintptr_t>(address));
  if (found == memory.allocations.end() || found->second.kind != kind) {
    return false;
  }
  const Allocation allocation = found->second;
  memory.allocations.erase(found);
  if (kind == MemoryKind::kDevice) {
    Runtime().devices[allocation.device].allocated_bytes -=
        Body(allocation.bytes);
  }
  if (InArena(allocation)) {
    if (!memory.arenas[allocation.device].Free(address)) {
      ReportDamage(allocation);
    }
  } else if (kind != MemoryKind::kRegistered) {
    if (!GuardsIntact(allocation)) ReportDamage(allocation);
    ReleaseGuarded(allocation);
  }
  return true;
}

const Allocation* FindAllocation(const void* address) {
  const auto& allocations = GetMemory().allocations;
  const auto position = reinterpret_cast<uintptr_t>(address);
  auto after = allocations.upper_bound(position);
  if (after == allocations.begin()) return nullptr;
  const Allocation& allocation = std::prev(after)->second;
  return position < allocation.address + allocation.bytes ? &allocation
                                                          : nullptr;
}

size_t BytesOf(int device) {
  size_t bytes = 0;
  for (const auto& [address, allocation] : GetMemory().allocations) {
    if (allocation.kind == MemoryKind::kDevice && allocation.device == device) {
      bytes += allocation.bytes;
    }
  }
  return bytes;
}

void CheckGuards() {
  for (const auto& [address, allocation] : GetMemory().allocations) {
    if (InArena(allocation) || allocation.kind == MemoryKind::kRegistered) {
      continue;
    }
    if (!GuardsIntact(allocation)) ReportDamage(allocation);
  }
}

bool IsAllocated(const void* address, size_t bytes) {
  if (bytes == 0) return true;
  const std::lock_guard lock(RuntimeMutex());
  const Allocation* allocation = FindAllocation(address);
  return allocation != nullptr && allocation->kind == MemoryKind::kDevice &&
         reinterpret_cast<uintptr_t>(address) + bytes <=
             allocation->address + allocation->bytes;
}

bool IsProtectedMemory(const void* address) {
  return std::any_of(std::begin(GetMemory().arenas),
                     std::end(GetMemory().arenas),
                     [address](const ProtectedArena& arena) {
                       return arena.Contains(address);
                     });
}

DeviceMemoryScope::DeviceMemoryScope(int device) {
  if (!GetSettings().protect_memory) return;
  const std::lock_guard lock(RuntimeMutex());
  const std::set<int>& peers = Runtime().devices[device].peers;
  devices_.assign(peers.begin(), peers.end());
  devices_.push_back(device);
  for (const int open : devices_) GetMemory().arenas[open].Open();
}

DeviceMemoryScope::~DeviceMemoryScope() {
  if (devices_.empty()) return;
  const std::lock_guard lock(RuntimeMutex());
  for (const int open : devices_) GetMemory().arenas[open].Close();
}

MemoryScope::MemoryScope(int device) : device_(device) {
  if (!GetSettings().protect_memory) return;
  const std::lock_guard lock(RuntimeMutex());
  GetMemory().arenas[device_].Open();
}

MemoryScope::~MemoryScope() {
  if (!GetSettings().protect_memory) return;
  const std::lock_guard lock(RuntimeMutex());
  GetMemory().arenas[device_].Close();
}

}  // namespace caravan::emulated
