// Steps for a loop whose device stands still at first.
#ifndef CARAVAN_TESTS_WORKER_ENGINE_GATED_HOST_H_
#define CARAVAN_TESTS_WORKER_ENGINE_GATED_HOST_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/worker/backend/cuda/gate.h"
#include "tests/worker/engine/mixed_steps.h"
#include "worker/engine/step_loop.h"

namespace caravan::worker {

// Has all steps at once, then stops. Opens the gate before which the device
// stands when a step is to be finished behind which another is begun.
class GatedHost final : public StepHost {
 public:
  // `gate` may be null: nothing stands still.
  GatedHost(const std::vector<v1::Step>& steps, cuda::Gate* gate)
      : steps_(steps), gate_(gate) {}

  absl::StatusOr<v1::Step> NextStep(absl::Time) override {
    if (next_ == steps_.size()) return absl::CancelledError("stop");
    return steps_[next_++];
  }
  void OnIdle() override {}
  void OnStep(uint64_t number) override {
    if (gate_ != nullptr && !order.empty() && number < order.back()) {
      gate_->Open();
    }
    order.push_back(number);
  }
  void OnResult(v1::StepResult result) override {
    results.push_back(result.SerializeAsString());
  }

  std::vector<uint64_t> order;
  StepResults results;

 private:
  const std::vector<v1::Step>& steps_;
  cuda::Gate* const gate_;
  size_t next_ = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_ENGINE_GATED_HOST_H_
