#include "coordinator/cluster/step_watch.h"

#include <algorithm>
#include <bit>

namespace caravan::coordinator {
namespace {

constexpr double kPatience = 10;
// While nothing is known, more: page faults, cold caches, first touches.
constexpr absl::Duration kFirstAllowance = absl::Seconds(2);
constexpr double kWeightOfNew = 0.2;

}  // namespace

int StepWatch::BucketOf(int64_t rows) {
  const auto positive = static_cast<uint64_t>(std::max<int64_t>(1, rows));
  return std::min<int>(kNumBuckets, std::bit_width(positive)) - 1;
}

void StepWatch::OnIssued(uint64_t number, int64_t rows, absl::Time now) {
  in_flight_.push_back({.number = number, .rows = rows, .issued = now});
}

void StepWatch::OnCompleted(uint64_t number, absl::Time now) {
  while (!in_flight_.empty() && in_flight_.front().number <= number) {
    const InFlight& step = in_flight_.front();
    const absl::Time began = std::max(step.issued, last_completed_);
    const double seconds = std::max(0.0, absl::ToDoubleSeconds(now - began));
    const double per_row =
        seconds / static_cast<double>(std::max<int64_t>(1, step.rows));
    Bucket& bucket = buckets_[BucketOf(step.rows)];
    bucket.seconds_per_row = bucket.known
                                 ? (1 - kWeightOfNew) * bucket.seconds_per_row +
                                       kWeightOfNew * per_row
                                 : per_row;
    bucket.known = true;
    last_completed_ = now;
    ++num_completed_;
    in_flight_.pop_front();
  }
}

absl::Duration StepWatch::Allowance(int64_t rows) const {
  const auto num_rows = static_cast<double>(std::max<int64_t>(1, rows));
  // The nearest smaller size that is known: more rows cost at most in
  // proportion.
  for (int i = BucketOf(rows); i >= 0; --i) {
    if (!buckets_[i].known) continue;
    return std::max(
        least_allowance_,
        absl::Seconds(kPatience * num_rows * buckets_[i].seconds_per_row));
  }
  return least_allowance_ + kFirstAllowance +
         absl::Seconds(num_rows * first_seconds_per_row_);
}

StepView StepWatch::View() const {
  if (in_flight_.empty()) return {.completed = num_completed_};
  const InFlight& oldest = in_flight_.front();
  return {.completed = num_completed_,
          .in_flight = static_cast<int64_t>(in_flight_.size()),
          .oldest_step = oldest.number,
          .since = std::max(oldest.issued, last_completed_),
          .allowance = Allowance(oldest.rows)};
}

}  // namespace caravan::coordinator
