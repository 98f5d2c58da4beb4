// When a pipeline of stages would be done with its steps.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_PIPELINE_H_
#define CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_PIPELINE_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/time/time.h"

namespace caravan::coordinator {

// Every stage works on one step at a time, in order. One thread.
class SimulatedPipeline final {
 public:
  explicit SimulatedPipeline(int num_stages);

  // The end of the next step, the first being number 1. It arrives at
  // `arrival`, keeps each stage busy for `work`, and begins only when step
  // `needs_step` is through the last stage (0: none).
  absl::Time Finish(absl::Time arrival, absl::Duration work,
                    uint64_t needs_step);

 private:
  std::vector<absl::Time> free_at_;  // of each stage
  uint64_t last_step_ = 0;
  std::deque<absl::Time> finished_;  // the latest steps, up to last_step_
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_PIPELINE_H_
