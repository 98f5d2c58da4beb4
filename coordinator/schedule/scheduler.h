// Owns the sequences of one replica and drives its engines.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_SCHEDULER_H_
#define CARAVAN_COORDINATOR_SCHEDULE_SCHEDULER_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "caravan/v1/step.pb.h"
#include "coordinator/schedule/engine_group.h"
#include "coordinator/schedule/generation_request.h"
#include "coordinator/schedule/scheduling_policy.h"

namespace caravan::coordinator {

using RequestId = uint64_t;

struct SchedulerOptions {
  int64_t max_queued_requests = 1024;
  // Of both, the smaller of these and the engine group's own bounds holds.
  int64_t max_batched_tokens = 512;
  int64_t max_sequences = 256;
  // Outlives the scheduler. Null: MakeFirstComePolicy().
  const SchedulingPolicy* policy = nullptr;
};

struct SchedulerStats {
  bool ready = false;  // an epoch is running
  uint64_t epoch = 0;
  int64_t num_waiting = 0;
  int64_t num_running = 0;
  int64_t blocks_total = 0;
  int64_t blocks_used = 0;
  int64_t steps_in_flight = 0;
  uint64_t steps_completed = 0;
  int64_t prompt_tokens = 0;     // since the start
  int64_t generated_tokens = 0;  // since the start
  int64_t preemptions = 0;
};

// The mechanism: queue, sequences, blocks, steps in flight. What runs next is
// the policy's decision. All methods are thread-safe and do not block; sinks
// are called without the scheduler's lock held, one call at a time per request.
//
// Life: between OnEpochStarted and OnEpochEnded steps are issued whenever there
// is work and fewer than num_stages + 1 (at least 2) are in flight. Before and
// after, requests are refused with kUnavailable. The destructor ends the epoch;
// nothing may call the scheduler then.
//
// Sinks are called by whatever thread brings a result or an epoch's end, never
// by Submit or Cancel, and may call all methods.
class Scheduler final {
 public:
  explicit Scheduler(const SchedulerOptions& options);
  ~Scheduler();

  // kUnavailable: no epoch is running. kResourceExhausted: the queue is full,
  // or the request could never fit the cache. kInvalidArgument: prompt empty or
  // longer than the model allows. `sink` outlives the request or its Cancel.
  absl::StatusOr<RequestId> Submit(GenerationRequest request,
                                   std::shared_ptr<TokenSink> sink);

  // Forgets the request: its blocks are free on all ranks with the next step.
  // No call to its sink begins after this returns. For that it waits for a call
  // to this sink that another thread is making: never call it with a lock held
  // that the sink takes. From within a sink it returns at once (of its own
  // request, the call that it is in is the last). Unknown ids are ignored.
  void Cancel(RequestId id);

  // `group` is used until OnEpochEnded returns. An epoch that still runs ends.
  void OnEpochStarted(EngineGroup* group);
  // kInternal: a result that the protocol does not allow; the epoch must end.
  absl::Status OnStepResult(const v1::StepResult& result);
  // Every request in flight and in the queue ends with kUnavailable and the
  // text of `cause`, in this call or, while another thread calls sinks, there.
  void OnEpochEnded(const absl::Status& cause);

  SchedulerStats Stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_SCHEDULER_H_
