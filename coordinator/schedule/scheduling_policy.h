// Decides what the next step runs.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_SCHEDULING_POLICY_H_
#define CARAVAN_COORDINATOR_SCHEDULE_SCHEDULING_POLICY_H_

#include <cstdint>
#include <memory>
#include <vector>

namespace caravan::coordinator {

// A sequence that has blocks.
struct RunningSequence {
  uint64_t sequence = 0;
  int64_t arrival = 0;     // order of arrival; smaller is older
  int64_t num_cached = 0;  // tokens in the cache once steps in flight are done
  int64_t num_prompt_left = 0;  // tokens still to prefill; 0: it decodes
  int64_t num_blocks = 0;       // it holds
  bool decodable = false;       // its next token may be computed in this step
  int group = 0;                // of the num_groups dealt ones
};

struct WaitingSequence {
  uint64_t sequence = 0;
  int64_t arrival = 0;
  int64_t num_tokens = 0;  // to prefill
};

struct ScheduleSnapshot {
  std::vector<RunningSequence> running;  // by arrival
  std::vector<WaitingSequence> waiting;  // by arrival
  int64_t free_blocks = 0;
  int64_t max_tokens = 0;     // of this step
  int64_t max_sequences = 0;  // that may run
  int num_groups = 1;         // pipeline stages
  int group = 0;              // whose turn it is
};

struct ScheduledSequence {
  uint64_t sequence = 0;
  int64_t num_tokens = 0;
  int64_t num_new_blocks = 0;
};

struct StepDecision {
  std::vector<ScheduledSequence> scheduled;
  std::vector<uint64_t> admitted;   // of `waiting`; now running in this group
  std::vector<uint64_t> preempted;  // of `running`; their blocks are free first
};

// Stateless and idempotent: equal snapshots give equal decisions. Knows no
// thread, lock, clock or RPC.
class SchedulingPolicy {
 public:
  virtual ~SchedulingPolicy() = default;
  virtual StepDecision Next(const ScheduleSnapshot& snapshot) const = 0;
};

// First come, first served: decode tokens of the group first, then prefill
// chunks up to the budget, then new sequences while blocks last. When blocks
// run out for a decode, the youngest running sequence is preempted; the
// youngest itself stands still. A sequence gets the blocks of its whole prompt
// when it is admitted, which needs a further free block for each running one to
// grow into. Groups get equal numbers of sequences. A chunk's rows count more
// the longer its prefix, as attention over it costs more
// (first_come_policy.cc).
std::unique_ptr<SchedulingPolicy> MakeFirstComePolicy();

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_SCHEDULING_POLICY_H_
