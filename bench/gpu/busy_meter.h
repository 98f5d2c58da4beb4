// Whether a GPU always has work.
#ifndef CARAVAN_BENCH_GPU_BUSY_METER_H_
#define CARAVAN_BENCH_GPU_BUSY_METER_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_context.h"

namespace caravan::bench {

// Marks where steps begin and end in the context's stream: between the end of
// one and the beginning of the next the GPU waits for the host. How long the
// host needs from a beginning to the step's first operation it does not see,
// nor pauses within a step. One thread, that of the context.
class BusyMeter final {
 public:
  // For so many steps.
  static absl::StatusOr<std::unique_ptr<BusyMeter>> Create(
      worker::cuda::DeviceContext& context, int64_t num_steps);
  ~BusyMeter();
  BusyMeter(const BusyMeter&) = delete;
  BusyMeter& operator=(const BusyMeter&) = delete;

  // Before and after a step's operations are enqueued.
  absl::Status MarkBegin() { return Mark(begins_); }
  absl::Status MarkEnd() { return Mark(ends_); }

  // Of the time from the first step's beginning to the last one's end, the part
  // that lies within steps. Waits for the last, of at least one.
  absl::StatusOr<double> Share() const;

 private:
  explicit BusyMeter(worker::cuda::DeviceContext& context)
      : context_(context) {}
  absl::Status Mark(std::vector<cudaEvent_t>& marks);

  worker::cuda::DeviceContext& context_;
  std::vector<cudaEvent_t> free_;
  std::vector<cudaEvent_t> begins_;
  std::vector<cudaEvent_t> ends_;
};

}  // namespace caravan::bench

#endif  // CARAVAN_BENCH_GPU_BUSY_METER_H_
