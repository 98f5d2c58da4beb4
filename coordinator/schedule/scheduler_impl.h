// The scheduler's state. Its methods are divided by operation:
//   scheduler.cc          the public methods, epochs, sinks
//   scheduler_steps.cc    from state to the next step
//   scheduler_results.cc  from a result to state
#ifndef CARAVAN_COORDINATOR_SCHEDULE_SCHEDULER_IMPL_H_
#define CARAVAN_COORDINATOR_SCHEDULE_SCHEDULER_IMPL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "caravan/v1/step.pb.h"
#include "coordinator/schedule/block_allocator.h"
#include "coordinator/schedule/engine_group.h"
#include "coordinator/schedule/generation_request.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/schedule/scheduling_policy.h"

namespace caravan::coordinator {

// Locking: one mutex over all state. Two things happen without it: handing
// steps to the group and calling sinks. Both go through a queue filled under
// the lock and emptied by one thread at a time, so that their order is the
// order of the decisions.
class Scheduler::Impl {
 public:
  explicit Impl(const SchedulerOptions& options);
  ~Impl();

  absl::StatusOr<RequestId> Submit(GenerationRequest request,
                                   std::shared_ptr<TokenSink> sink);
  void Cancel(RequestId id);
  void OnEpochStarted(EngineGroup* group);
  absl::Status OnStepResult(const v1::StepResult& result);
  void OnEpochEnded(const absl::Status& cause);
  SchedulerStats Stats() const;

 private:
  // A request, from Submit to its end. Prompt, resolved sampling and generated
  // ids are all that a replay needs, after preemption as after an epoch.
  struct Request {
    RequestId id = 0;
    GenerationRequest request;
    std::shared_ptr<TokenSink> sink;
    int64_t max_new_tokens = 0;  // of max_tokens and the model's length
    std::vector<int32_t> generated;
    std::vector<TokenLogprob> prompt_logprobs;  // until they are delivered
    bool prefilled = false;                     // once, in any life

    // Its life on the engines, from admission to finish or preemption.
    uint64_t sequence = 0;  // the engines' name for it; 0: it waits
    int group = 0;
    std::vector<int32_t> blocks;
    int64_t num_prefill = 0;  // tokens to prefill: prompt and generated
    // Once the steps in flight are done:
    int64_t num_cached = 0;
    int64_t num_generated = 0;

    int64_t num_known() const {
      return static_cast<int64_t>(request.prompt.size() + generated.size());
    }
    int32_t TokenAt(int64_t position) const {
      const int64_t num_prompt = static_cast<int64_t>(request.prompt.size());
      return position < num_prompt ? request.prompt[position]
                                   : generated[position - num_prompt];
    }
    // No token is known, so they have not been delivered.
    bool WantsPromptLogprobs() const {
      return request.sampling.prompt_logprobs >= 0 && !prefilled;
    }
  };

  // What a step in flight will answer.
  struct EntryRecord {
    RequestId request = 0;
    uint64_t sequence = 0;
    bool sample = false;
    bool ends_prefill = false;
    int64_t num_prompt_logprobs = 0;
    bool logprobs = false;
  };
  struct StepRecord {
    uint64_t number = 0;
    std::vector<EntryRecord> entries;
  };

  struct PromptLogprobsEvent {
    std::vector<TokenLogprob> logprobs;
  };
  struct FinishedEvent {
    FinishReason reason = FinishReason::kError;
    absl::Status status;
  };
  // A call to a sink that is to be made.
  struct Delivery {
    RequestId request = 0;
    std::shared_ptr<TokenSink> sink;
    std::variant<PromptLogprobsEvent, GeneratedToken, FinishedEvent> event;
  };

  // scheduler.cc
  absl::Status CheckRequest(const GenerationRequest& request) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void IssueSteps() ABSL_LOCKS_EXCLUDED(mutex_);
  void CallSinks() ABSL_LOCKS_EXCLUDED(mutex_);
  // Frees its blocks here, and on the engines with the next step.
  void LeaveEngines(Request* request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t MaxSteps() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // scheduler_steps.cc
  // Fills the outbox while there is work and room for steps in flight.
  void PlanSteps() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<v1::Step> NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BalanceGroups() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ScheduleSnapshot Snapshot(int group) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::Step MakeStep(const StepDecision& decision, int group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Preempt(RequestId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Admit(RequestId id, int group, v1::Step* step)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddEntry(const ScheduledSequence& scheduled, v1::Step* step,
                StepRecord* record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // scheduler_results.cc
  absl::Status CheckResult(const v1::StepResult& result) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyResult(const v1::StepResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyEntry(const EntryRecord& entry, const v1::SequenceResult* result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(Request* request, FinishReason reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SchedulerOptions options_;
  const std::unique_ptr<SchedulingPolicy> default_policy_;
  const SchedulingPolicy& policy_;

  mutable absl::Mutex mutex_;
  // Every request that has not ended, by arrival; `waiting_` and `running_`
  // divide them. Ids rise with arrival.
  std::map<RequestId, std::unique_ptr<Request>> requests_
      ABSL_GUARDED_BY(mutex_);
  std::map<RequestId, Request*> waiting_ ABSL_GUARDED_BY(mutex_);
  std::map<RequestId, Request*> running_ ABSL_GUARDED_BY(mutex_);
  RequestId last_id_ ABSL_GUARDED_BY(mutex_) = 0;

  // Of the epoch.
  EngineGroup* group_ ABSL_GUARDED_BY(mutex_) = nullptr;  // null: none runs
  EngineGroupInfo info_ ABSL_GUARDED_BY(mutex_);
  int64_t max_step_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t max_running_ ABSL_GUARDED_BY(mutex_) = 0;
  BlockAllocator allocator_ ABSL_GUARDED_BY(mutex_){0};
  uint64_t last_step_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t last_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  int next_group_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> to_drop_ ABSL_GUARDED_BY(mutex_);
  std::deque<StepRecord> in_flight_ ABSL_GUARDED_BY(mutex_);

  std::deque<v1::Step> outbox_ ABSL_GUARDED_BY(mutex_);
  bool issuing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread::id issuing_thread_ ABSL_GUARDED_BY(mutex_);

  std::deque<Delivery> deliveries_ ABSL_GUARDED_BY(mutex_);
  bool calling_ ABSL_GUARDED_BY(mutex_) = false;  // a thread empties them
  RequestId called_request_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread::id calling_thread_ ABSL_GUARDED_BY(mutex_);

  SchedulerStats totals_ ABSL_GUARDED_BY(mutex_);  // its counters only
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_SCHEDULER_IMPL_H_
