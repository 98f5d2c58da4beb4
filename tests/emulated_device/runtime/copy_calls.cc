// Copies and fills. A range must lie in one allocation; what the direction says
// of a pointer must be true.
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "tests/emulated_device/control.h"
#include "tests/emulated_device/runtime/device_memory.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

// A rectangle of bytes; a plain copy has one row.
struct Rectangle {
  size_t width = 0;
  size_t height = 1;
};
struct Side {
  char* address = nullptr;
  size_t pitch = 0;  // between rows

  size_t Span(const Rectangle& shape) const {
    return shape.height == 0 ? 0 : (shape.height - 1) * pitch + shape.width;
  }
};

enum class Place { kDevice, kPinned, kPageable };
struct Located {
  Place place = Place::kPageable;
  int device = 0;
};

// Nothing if the range leaves its allocation.
std::optional<Located> Locate(const void* address, size_t bytes) {
  const Allocation* allocation = FindAllocation(address);
  if (allocation == nullptr) {
    if (IsProtectedMemory(address)) return std::nullopt;
    return Located{};
  }
  const auto begin = reinterpret_cast<uintptr_t>(address);
  if (begin + bytes > allocation->address + allocation->bytes) {
    return std::nullopt;
  }
  return Located{
      allocation->kind == MemoryKind::kDevice ? Place::kDevice : Place::kPinned,
      allocation->device};
}

bool Agrees(cudaMemcpyKind kind, bool to_device, bool from_device) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

// From which device to which copies do not arrive; -1: all arrive.
std::atomic<int> broken_from = -1;
std::atomic<int> broken_to = -1;

bool IsBroken(int from, int to) {
  return from == broken_from && to == broken_to;
}

void CopyRows(Side to, Side from, Rectangle shape) {
  for (size_t row = 0; row < shape.height; ++row) {
    std::memmove(to.address + row * to.pitch, from.address + row * from.pitch,
                 shape.width);
  }
}

// `synchronous`: returns when the copy is done.
cudaError_t Copy(Side to, Side from, Rectangle shape, cudaMemcpyKind kind,
                 cudaStream_t stream, bool synchronous) {
  std::optional<Located> target, source;
  bool capturing = false;
  {
    const RuntimeLock lock(RuntimeMutex());
    const cudaStream_t resolved = ResolveStream(stream);
    if (resolved == nullptr) return Remember(cudaErrorInvalidResourceHandle);
    capturing = resolved->capture != nullptr;
    if (synchronous) {
      const cudaError_t error = CheckNoCapture();
      if (error != cudaSuccess) return error;
    }
    target = Locate(to.address, to.Span(shape));
    source = Locate(from.address, from.Span(shape));
  }
  if (shape.width == 0 || shape.height == 0) return cudaSuccess;
  if (!target || !source || to.pitch < shape.width ||
      from.pitch < shape.width ||
      !Agrees(kind, target->place == Place::kDevice,
              source->place == Place::kDevice)) {
    return Remember(cudaErrorInvalidValue);
  }
  const bool pageable =
      target->place == Place::kPageable || source->place == Place::kPageable;
  if (capturing && pageable) {
    return Remember(cudaErrorStreamCaptureUnsupported);
  }
  std::function<void()> copy = [=] {
    const MemoryScope target_scope(target->device);
    const MemoryScope source_scope(source->device);
    CopyRows(to, from, shape);
  };
  if (source->place == Place::kPageable) {  // read before the call returns
    auto staged = std::make_shared<std::vector<char>>(
        from.address, from.address + from.Span(shape));
    copy = [=] {
      const MemoryScope target_scope(target->device);
      CopyRows(to, {staged->data(), from.pitch}, shape);
    };
  }
  const cudaError_t error = EnqueueFunction(stream, copy);
  if (error != cudaSuccess) return error;
  // Into pageable memory no copy is asynchronous.
  if (!synchronous && target->place != Place::kPageable) return cudaSuccess;
  return cudaStreamSynchronize(stream);
}

char* Pointer(const void* address) {
  return static_cast<char*>(const_cast<void*>(address));
}

cudaError_t Fill(void* address, int value, size_t bytes, cudaStream_t stream) {
  std::optional<Located> target;
  {
    const RuntimeLock lock(RuntimeMutex());
    target = Locate(address, bytes);
  }
  if (bytes == 0) return cudaSuccess;
  if (!target || target->place == Place::kPageable) {
    return Remember(cudaErrorInvalidValue);
  }
  return EnqueueFunction(stream, [=] {
    const MemoryScope scope(target->device);
    std::memset(address, value, bytes);
  });
}

}  // namespace

void BreakPeerCopies(int device, int peer) {
  broken_from = device;
  broken_to = peer;
}
void MendPeerCopies() { BreakPeerCopies(-1, -1); }

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  return Copy({Pointer(to), bytes}, {Pointer(from), bytes}, {bytes, 1}, kind,
              stream, /*synchronous=*/false);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes,
                       cudaMemcpyKind kind) {
  return Copy({Pointer(to), bytes}, {Pointer(from), bytes}, {bytes, 1}, kind,
              nullptr, /*synchronous=*/true);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from,
                              size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  return Copy({Pointer(to), to_pitch}, {Pointer(from), from_pitch},
              {width, height}, kind, stream, /*synchronous=*/false);
}
cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from,
                         size_t from_pitch, size_t width, size_t height,
                         cudaMemcpyKind kind) {
  return Copy({Pointer(to), to_pitch}, {Pointer(from), from_pitch},
              {width, height}, kind, nullptr, /*synchronous=*/true);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int,
                                size_t bytes, cudaStream_t stream) {
  return Copy({Pointer(to), bytes}, {Pointer(from), bytes}, {bytes, 1},
              cudaMemcpyDeviceToDevice, stream, /*synchronous=*/false);
}
cudaError_t cudaMemcpyPeer(void* to, int to_device, const void* from,
                           int from_device, size_t bytes) {
  const size_t arrives = IsBroken(from_device, to_device) ? 0 : 1;
  return Copy({Pointer(to), bytes}, {Pointer(from), bytes}, {bytes, arrives},
              cudaMemcpyDeviceToDevice, nullptr, /*synchronous=*/true);
}
cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes,
                            cudaStream_t stream) {
  return Fill(address, value, bytes, stream);
}
// Asynchronous with respect to the host, as the real one is.
cudaError_t cudaMemset(void* address, int value, size_t bytes) {
  return Fill(address, value, bytes, nullptr);
}

}  // extern "C"
