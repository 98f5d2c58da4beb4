#include "coordinator/schedule/simulated_pipeline.h"

#include <algorithm>

namespace caravan::coordinator {

SimulatedPipeline::SimulatedPipeline(int num_stages)
    : free_at_(std::max(num_stages, 1), absl::InfinitePast()) {}

absl::Time SimulatedPipeline::Finish(absl::Time arrival, absl::Duration work,
                                     uint64_t needs_step) {
  absl::Time time = arrival;
  // Older ones ended before this one arrived: at most num_stages + 1 steps are
  // in flight.
  const uint64_t first_kept = last_step_ + 1 - finished_.size();
  if (needs_step >= first_kept && needs_step <= last_step_) {
    time = std::max(time, finished_[needs_step - first_kept]);
  }
  for (absl::Time& free_at : free_at_) {
    time = std::max(time, free_at) + work;
    free_at = time;
  }
  ++last_step_;
  finished_.push_back(time);
  if (finished_.size() > free_at_.size() + 1) finished_.pop_front();
  return time;
}

}  // namespace caravan::coordinator
