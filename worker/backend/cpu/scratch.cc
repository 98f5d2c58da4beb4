#include "worker/backend/cpu/scratch.h"

#include <utility>

#include "absl/status/statusor.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

absl::Status Grow(int64_t num_floats, HugeMemory* memory) {
  const int64_t bytes = num_floats * static_cast<int64_t>(sizeof(float));
  if (memory->bytes() >= bytes) return absl::OkStatus();
  CARAVAN_ASSIGN_OR_RETURN(HugeMemory larger,
                           HugeMemory::Create(bytes, Commit::kOnTouch));
  *memory = std::move(larger);
  return absl::OkStatus();
}

}  // namespace

absl::Status Scratch::ReserveWeight(int64_t rows, int64_t cols) {
  CARAVAN_RETURN_IF_ERROR(Grow(cpu::kMostRows * cols, &normed_));
  CARAVAN_RETURN_IF_ERROR(Grow(cpu::kMostRows * cols, &packed_));
  CARAVAN_RETURN_IF_ERROR(Grow(cpu::kMostRows * rows, &product_));
  for (HugeMemory& thread : threads_) {
    CARAVAN_RETURN_IF_ERROR(Grow(cpu::kMultiplyScratch, &thread));
  }
  return absl::OkStatus();
}

absl::Status Scratch::ReserveHeads(int64_t head_dim) {
  for (HugeMemory& thread : threads_) {
    CARAVAN_RETURN_IF_ERROR(Grow(cpu::AttendScratch(head_dim), &thread));
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker
