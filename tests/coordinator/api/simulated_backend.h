// A scheduler over simulated engines, and what they must generate.
#ifndef CARAVAN_TESTS_COORDINATOR_API_SIMULATED_BACKEND_H_
#define CARAVAN_TESTS_COORDINATOR_API_SIMULATED_BACKEND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/api/served_model.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/schedule/simulated_engine_group.h"
#include "tests/support/byte_tokenizer.h"

namespace caravan::testing {

struct SimulatedBackendOptions {
  int64_t max_model_len = 2048;
  int64_t num_blocks = 1024;
  int64_t max_queued_requests = 1024;
  int64_t max_sequences = 256;
  absl::Duration per_step;
  bool start = true;
};

// One epoch of a replica of two stages.
class SimulatedBackend final {
 public:
  explicit SimulatedBackend(SimulatedBackendOptions options = {});
  ~SimulatedBackend();

  void StartEpoch();
  void EndEpoch(const absl::Status& cause);
  void SetStalled(bool stalled) { group_->SetStalled(stalled); }

  coordinator::Scheduler& scheduler() { return scheduler_; }
  // Named "test-model"; byte tokenizer and chatml-like template.
  coordinator::ServedModel model();

  // Whether nothing is left of any request, on the scheduler and the engines,
  // waiting for it up to ten seconds.
  bool IsIdleSoon();
  // Waits up to ten seconds for that many running or waiting sequences.
  bool HasRunningSoon(int64_t num_running);
  bool HasWaitingSoon(int64_t num_waiting);
  int64_t generated_tokens() { return scheduler_.Stats().generated_tokens; }

  // What the engines generate after `prompt`, as ids and as text.
  static std::vector<int32_t> ExpectedIds(std::vector<int32_t> prompt,
                                          int num_tokens);
  std::string ExpectedText(const std::string& prompt, int num_tokens) const;
  static std::vector<int32_t> PromptIds(const std::string& prompt);

 private:
  const SimulatedBackendOptions options_;
  ByteTokenizer tokenizer_;
  std::unique_ptr<coordinator::ChatTemplate> chat_template_;
  coordinator::Scheduler scheduler_;
  std::unique_ptr<coordinator::SimulatedEngineGroup> group_;
  uint64_t epoch_ = 0;
};

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_COORDINATOR_API_SIMULATED_BACKEND_H_
