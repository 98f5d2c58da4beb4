// Memory of the devices and pinned memory of the host: what is allocated, its
// guards, and who may touch it.
//
// New memory is full of NaN and lies between guard bytes. In protected mode
// (settings.h) each device has a range of addresses of its own that is open
// only while that device works, each buffer with pages of its own that are
// never used again; under AddressSanitizer the guards are poisoned.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_DEVICE_MEMORY_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_DEVICE_MEMORY_H_

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace caravan::emulated {

enum class MemoryKind { kDevice, kPinned, kRegistered };

struct Allocation {
  uintptr_t address = 0;
  size_t bytes = 0;
  MemoryKind kind = MemoryKind::kDevice;
  int device = 0;  // that it is of, or that was current
};

// ---- With RuntimeMutex held.
void* AllocateDevice(int device, size_t bytes);
void* AllocatePinned(int device, size_t bytes);
// Host memory that was allocated elsewhere.
bool RegisterHost(void* address, size_t bytes, int device);
// False if `address` does not begin an allocation of that kind. What guards it
// is checked first: damage fails the device.
bool Free(void* address, MemoryKind kind);
// The allocation that holds `address`; null for other memory.
const Allocation* FindAllocation(const void* address);
// Of all allocations of the device's memory, as they were asked for.
size_t BytesOf(int device);
// Fails devices whose buffers were written past their ends.
void CheckGuards();

// ---- Without it.
// Whether a range lies in one allocation of a device. An empty one does.
bool IsAllocated(const void* address, size_t bytes);
// Whether an address belongs to device memory, allocated or not.
bool IsProtectedMemory(const void* address);

// Opens the memory of a device and of its peers.
class DeviceMemoryScope final {
 public:
  explicit DeviceMemoryScope(int device);
  ~DeviceMemoryScope();
  DeviceMemoryScope(const DeviceMemoryScope&) = delete;
  DeviceMemoryScope& operator=(const DeviceMemoryScope&) = delete;

 private:
  std::vector<int> devices_;
};

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_DEVICE_MEMORY_H_
