// Large pieces of zeroed memory in huge pages where the system grants them.
#ifndef CARAVAN_WORKER_BACKEND_CPU_HUGE_MEMORY_H_
#define CARAVAN_WORKER_BACKEND_CPU_HUGE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace caravan::worker {

// When physical memory is taken.
enum class Commit {
  kNow,      // so that a machine that is too small says so at start
  kOnTouch,  // by whoever writes a page first
};

// Owns one mapping. Move-only; empty when moved from.
class HugeMemory final {
 public:
  HugeMemory() = default;
  HugeMemory(HugeMemory&& other) noexcept { *this = std::move(other); }
  HugeMemory& operator=(HugeMemory&& other) noexcept;
  HugeMemory(const HugeMemory&) = delete;
  HugeMemory& operator=(const HugeMemory&) = delete;
  ~HugeMemory();

  // Begins at a multiple of 64 bytes, of 2 MiB from 2 MiB on.
  // kInvalidArgument: negative; kResourceExhausted: not that much memory left.
  static absl::StatusOr<HugeMemory> Create(int64_t bytes, Commit commit);

  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }
  int64_t bytes() const { return bytes_; }

 private:
  void* mapping_ = nullptr;
  int64_t mapping_bytes_ = 0;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_HUGE_MEMORY_H_
