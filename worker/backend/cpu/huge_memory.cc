#include "worker/backend/cpu/huge_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/checked_math.h"

namespace caravan::worker {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kSmallPage = 4096;
// No machine has more; above it the arithmetic below could overflow.
constexpr int64_t kLargest = int64_t{1} << 48;

// MemAvailable of /proc/meminfo, or -1 where it cannot be read.
int64_t AvailableBytes() {
  std::FILE* file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) return -1;
  char line[256];
  long long kibibytes = -1;
  while (kibibytes < 0 && std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::sscanf(line, "MemAvailable: %lld kB", &kibibytes) != 1) {
      kibibytes = -1;
    }
  }
  std::fclose(file);
  return kibibytes < 0 ? -1 : static_cast<int64_t>(kibibytes) * 1024;
}

absl::Status NotEnough(int64_t bytes, int64_t available) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "not enough memory: wanted_bytes=", bytes, " available_bytes=",
      available < 0 ? "unknown" : absl::StrCat(available)));
}

// Takes the physical pages. Before Linux 5.14 by writing to each.
void Populate(void* data, int64_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(data, bytes, MADV_POPULATE_WRITE) == 0) return;
#endif
  for (int64_t at = 0; at < bytes; at += kSmallPage) {
    static_cast<volatile char*>(data)[at] = 0;
  }
}

}  // namespace

absl::StatusOr<HugeMemory> HugeMemory::Create(int64_t bytes, Commit commit) {
  if (bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("negative size of memory: bytes=", bytes));
  }
  if (bytes > kLargest) return NotEnough(bytes, AvailableBytes());
  const bool huge = bytes >= kHugePage;
  if (huge && commit == Commit::kNow) {
    // The kernel overcommits: a mapping beyond what is there would succeed, and
    // the process be killed while it fills it.
    const int64_t available = AvailableBytes();
    if (available >= 0 && bytes > available) return NotEnough(bytes, available);
  }
  HugeMemory memory;
  memory.bytes_ = bytes;
  memory.mapping_bytes_ =
      huge ? RoundUp(bytes, kHugePage) + kHugePage
           : RoundUp(std::max<int64_t>(bytes, 1), kSmallPage);
  void* mapping =
      mmap(nullptr, memory.mapping_bytes_, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, /*fd=*/-1, 0);
  if (mapping == MAP_FAILED) return NotEnough(bytes, AvailableBytes());
  memory.mapping_ = mapping;
  memory.data_ = mapping;
  if (huge) {
    const uintptr_t start = reinterpret_cast<uintptr_t>(mapping);
    memory.data_ =
        reinterpret_cast<void*>((start + kHugePage - 1) & ~(kHugePage - 1));
    // Refused where the kernel has no huge pages: then small ones serve.
    (void)madvise(memory.data_, RoundUp(bytes, kHugePage), MADV_HUGEPAGE);
  }
  if (commit == Commit::kNow && bytes > 0) Populate(memory.data_, bytes);
  return memory;
}

HugeMemory& HugeMemory::operator=(HugeMemory&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

HugeMemory::~HugeMemory() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

}  // namespace caravan::worker
