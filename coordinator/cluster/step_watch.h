// How long steps take, and whether the ones in flight take too long.
#ifndef CARAVAN_COORDINATOR_CLUSTER_STEP_WATCH_H_
#define CARAVAN_COORDINATOR_CLUSTER_STEP_WATCH_H_

#include <array>
#include <cstdint>
#include <deque>

#include "absl/time/time.h"

namespace caravan::coordinator {

// What is done and what is in flight.
struct StepView {
  int64_t completed = 0;  // so far
  int64_t in_flight = 0;
  uint64_t oldest_step = 0;
  // When the oldest step began to be waited for: its issue or the completion of
  // the one before, whatever came later.
  absl::Time since = absl::InfiniteFuture();
  // Waiting longer than this is a stall.
  absl::Duration allowance = absl::InfiniteDuration();
};

// Learns the duration of steps by their number of rows (a decode step has one
// per sequence, a prefill chunk one per token) and allows each ten times as
// long, and a least time. Pure; one thread.
class StepWatch final {
 public:
  // `first_seconds_per_row`: what a row is allowed to take while nothing is
  // known yet. `least_allowance`: of any step.
  StepWatch(double first_seconds_per_row, absl::Duration least_allowance)
      : first_seconds_per_row_(first_seconds_per_row),
        least_allowance_(least_allowance) {}

  void OnIssued(uint64_t number, int64_t rows, absl::Time now);
  // Numbers that are not in flight are ignored.
  void OnCompleted(uint64_t number, absl::Time now);

  StepView View() const;

 private:
  struct InFlight {
    uint64_t number;
    int64_t rows;
    absl::Time issued;
  };
  // Steps of [2^i, 2^(i+1)) rows.
  struct Bucket {
    double seconds_per_row = 0;
    bool known = false;
  };
  static constexpr int kNumBuckets = 24;

  static int BucketOf(int64_t rows);
  absl::Duration Allowance(int64_t rows) const;

  const double first_seconds_per_row_;
  const absl::Duration least_allowance_;
  std::array<Bucket, kNumBuckets> buckets_;
  std::deque<InFlight> in_flight_;
  int64_t num_completed_ = 0;
  absl::Time last_completed_ = absl::InfinitePast();
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_STEP_WATCH_H_
