// One generation request while it runs.
#ifndef CARAVAN_COORDINATOR_API_GENERATION_SESSION_H_
#define CARAVAN_COORDINATOR_API_GENERATION_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/api/choice_stream.h"
#include "coordinator/api/prepared_generation.h"
#include "coordinator/api/served_model.h"
#include "coordinator/api/token_inbox.h"
#include "coordinator/schedule/scheduler.h"

namespace caravan::coordinator {

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

// Owns the request's sequences in the scheduler: one for each choice. Used by
// one thread at a time; `wake` is called from the scheduler's. Deleting it
// cancels what has not ended, whatever the phase.
class GenerationSession final {
 public:
  struct Options {
    Scheduler* scheduler = nullptr;      // outlives this
    const ServedModel* model = nullptr;  // outlives this
    std::string id;                      // for logs
    uint64_t seed = 0;                   // when the client gave none
    int64_t max_pending_bytes = 0;
    // There is something for Advance; must return at once.
    std::function<void()> wake;
  };

  // Submits all sequences or none. Codes of Scheduler::Submit.
  static absl::StatusOr<std::unique_ptr<GenerationSession>> Start(
      const Options& options, PreparedGeneration generation);
  ~GenerationSession();
  GenerationSession(const GenerationSession&) = delete;
  GenerationSession& operator=(const GenerationSession&) = delete;

  // Works off what came and returns what is new, by choice. An error ends the
  // request; what was returned before stays true.
  absl::StatusOr<std::vector<ChoiceDelta>> Advance();

  bool done() const { return num_running_ == 0; }
  Usage usage() const;
  const PreparedGeneration& generation() const { return generation_; }

 private:
  struct Choice {
    std::unique_ptr<ChoiceStream> stream;
    RequestId request = 0;
    bool is_running = false;  // in the scheduler
  };

  GenerationSession(const Options& options, PreparedGeneration generation);
  absl::Status Submit(const Options& options);
  absl::Status Handle(TokenEvent event);
  void Stop(Choice* choice);

  Scheduler* const scheduler_;
  const ServedModel& model_;
  const PreparedGeneration generation_;
  const std::shared_ptr<TokenInbox> inbox_;
  std::vector<Choice> choices_;
  int num_running_ = 0;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_GENERATION_SESSION_H_
