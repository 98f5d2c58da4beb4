// An engine without arithmetic: it keeps what every engine keeps, refuses
// whatever the step protocol does not allow, and "samples" SimulatedToken.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_ENGINE_H_
#define CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_ENGINE_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "caravan/v1/step.pb.h"
#include "coordinator/schedule/engine_group.h"

namespace caravan::coordinator {

// Log-probabilities that it reports for `id`, with the `num_top` likeliest:
// made up, but a function of the id alone.
v1::TokenLogprobs SimulatedLogprobs(int32_t id, int32_t num_top,
                                    int32_t vocabulary_size);

// What a step costs and waits for.
struct StepShape {
  int64_t num_rows = 0;
  // The step that sampled an id which this one takes as input; 0: none.
  uint64_t needs_step = 0;
};

// One thread. After an error it is good for nothing more.
class SimulatedEngine final {
 public:
  SimulatedEngine(const EngineGroupInfo& info, int32_t vocabulary_size);

  // kInternal: what in the step breaks the protocol: numbers out of order,
  // unknown, repeated or unused sequences, blocks out of range or used twice,
  // tokens without room, ids where none may be or none where some must be, more
  // rows or sequences than agreed.
  absl::StatusOr<v1::StepResult> Execute(const v1::Step& step,
                                         StepShape* shape);

  int64_t num_sequences() const {
    return static_cast<int64_t>(sequences_.size());
  }
  int64_t num_blocks_used() const { return num_blocks_used_; }

 private:
  struct Sequence {
    v1::SamplingParameters sampling;
    int64_t length = 0;  // tokens in the cache
    std::vector<int32_t> blocks;
    int32_t last_id = -1;
    uint64_t sampled_in = 0;      // the step; 0: last_id was given
    uint64_t last_step = 0;       // 0: not run yet
    int32_t announced_next = -1;  // next_id of the chunk before
  };

  absl::Status Begin(const v1::Step& step);
  absl::Status Extend(const v1::Step& step, const v1::StepEntry& entry,
                      Sequence* sequence);
  absl::Status TakeBlocks(const v1::StepEntry& entry, Sequence* sequence);
  absl::Status CheckIds(const v1::StepEntry& entry, const Sequence& sequence);
  void Report(const v1::StepEntry& entry, const Sequence& sequence,
              v1::StepResult* result) const;

  const EngineGroupInfo info_;
  const int32_t vocabulary_size_;
  uint64_t last_number_ = 0;
  uint64_t last_new_sequence_ = 0;
  absl::flat_hash_map<uint64_t, Sequence> sequences_;
  std::vector<uint64_t> block_owner_;  // 0: free
  int64_t num_blocks_used_ = 0;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_ENGINE_H_
