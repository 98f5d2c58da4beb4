#include "worker/engine/step_loop.h"

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

// Whichever comes first, a step or a result, is looked for often at first, as
// most steps take milliseconds, then in pauses, which a step that comes ends.
// In the end only the result is waited for: that wait has a deadline.
constexpr absl::Duration kBusyTime = absl::Milliseconds(1);
constexpr absl::Duration kPause = absl::Microseconds(50);
constexpr absl::Duration kMostTime = absl::Milliseconds(100);

}  // namespace

absl::Status StepLoop::Run() {
  while (true) {
    absl::StatusOr<std::optional<v1::Step>> next = NextToBegin();
    if (!next.ok()) {
      while (!begun_.empty()) CARAVAN_RETURN_IF_ERROR(FinishOldest());
      return next.status();
    }
    CARAVAN_RETURN_IF_ERROR(next->has_value() ? Begin(**next) : FinishOldest());
  }
}

absl::StatusOr<std::optional<v1::Step>> StepLoop::NextToBegin() {
  if (begun_.empty()) {
    host_.OnIdle();
    return host_.NextStep(absl::InfiniteFuture());
  }
  const absl::Time start = absl::Now();
  while (executor_.CanBeginAhead()) {
    const absl::Time now = absl::Now();
    if (now - start > kMostTime) break;
    const bool busy = now - start < kBusyTime;
    absl::StatusOr<v1::Step> step =
        host_.NextStep(busy ? absl::InfinitePast() : now + kPause);
    if (!absl::IsDeadlineExceeded(step.status())) return step;
    if (busy) std::this_thread::yield();
  }
  return std::nullopt;
}

absl::Status StepLoop::Begin(const v1::Step& step) {
  host_.OnStep(step.number());
  CARAVAN_RETURN_IF_ERROR(executor_.Begin(step));
  ++num_begun_;
  if (!begun_.empty() && num_ahead_++ == 0) {
    LogInfo(absl::StrCat("begins steps while one runs: step=", step.number()));
  }
  begun_.push_back(step.number());
  return absl::OkStatus();
}

absl::Status StepLoop::FinishOldest() {
  host_.OnStep(begun_.front());
  begun_.pop_front();
  CARAVAN_ASSIGN_OR_RETURN(v1::StepResult result, executor_.Finish());
  host_.OnResult(std::move(result));
  return absl::OkStatus();
}

}  // namespace caravan::worker
