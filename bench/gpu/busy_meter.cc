#include "bench/gpu/busy_meter.h"

#include <cstddef>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::bench {
namespace {

using worker::cuda::CudaStatus;

absl::StatusOr<double> Between(cudaEvent_t begin, cudaEvent_t end) {
  float milliseconds = 0;
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime"));
  return milliseconds;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BusyMeter>> BusyMeter::Create(
    worker::cuda::DeviceContext& context, int64_t num_steps) {
  std::unique_ptr<BusyMeter> meter(new BusyMeter(context));
  for (int64_t i = 0; i < 2 * num_steps; ++i) {
    cudaEvent_t event = nullptr;
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(cudaEventCreate(&event), "cudaEventCreate"));
    meter->free_.push_back(event);
  }
  return meter;
}

BusyMeter::~BusyMeter() {
  for (const auto* events : {&free_, &begins_, &ends_}) {
    for (const cudaEvent_t event : *events) {
      static_cast<void>(cudaEventDestroy(event));
    }
  }
}

absl::Status BusyMeter::Mark(std::vector<cudaEvent_t>& marks) {
  CARAVAN_CHECK(!free_.empty());
  marks.push_back(free_.back());
  free_.pop_back();
  return CudaStatus(cudaEventRecord(marks.back(), context_.stream()),
                    "cudaEventRecord");
}

absl::StatusOr<double> BusyMeter::Share() const {
  CARAVAN_CHECK(!begins_.empty() && begins_.size() == ends_.size());
  CARAVAN_RETURN_IF_ERROR(context_.WaitFor(ends_.back()));
  CARAVAN_ASSIGN_OR_RETURN(const double whole,
                           Between(begins_.front(), ends_.back()));
  double waits = 0;
  for (size_t i = 1; i < begins_.size(); ++i) {
    CARAVAN_ASSIGN_OR_RETURN(const double wait,
                             Between(ends_[i - 1], begins_[i]));
    waits += wait;
  }
  return whole > 0 ? 1 - waits / whole : 1;
}

}  // namespace caravan::bench
