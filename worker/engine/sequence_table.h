// What an engine knows of the sequences: where their keys and values lie, and
// what was sampled last.
#ifndef CARAVAN_WORKER_ENGINE_SEQUENCE_TABLE_H_
#define CARAVAN_WORKER_ENGINE_SEQUENCE_TABLE_H_

#include <cstdint>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "caravan/v1/step.pb.h"

namespace caravan::worker {

struct EngineSequence {
  uint64_t number = 0;  // as steps name it
  v1::SamplingParameters sampling;
  int64_t length = 0;  // tokens in the cache
  std::vector<int32_t> blocks;
  int32_t last_id = -1;
  // The step whose tokens hold what was sampled last, in this slot, while the
  // host does not know it; 0: last_id is known.
  uint64_t chosen_in_step = 0;
  int32_t slot = 0;
  // Ids that the last stage has sampled or will sample for it and that this
  // stage has not received.
  int num_unreceived = 0;
};

// Follows the steps. Every refusal is kInternal: coordinator and engine
// disagree, and the epoch must end. One thread.
class SequenceTable final {
 public:
  SequenceTable(int64_t num_blocks, int64_t max_positions);

  // Forgets and meets the sequences that `step` says.
  absl::Status Begin(const v1::Step& step);

  // Appends the entry's blocks and tokens; returns the sequence, whose length
  // counts them from now on.
  absl::StatusOr<EngineSequence*> Extend(const v1::StepEntry& entry);

  // `id` is what the device has chosen for the sequence in `step`. Nothing
  // happens where it is dropped, or a later step chooses, by now.
  void Learn(uint64_t sequence, uint64_t step, int32_t id);

  // Null: dropped in the meantime.
  EngineSequence* Find(uint64_t sequence);

  int64_t size() const { return static_cast<int64_t>(sequences_.size()); }

 private:
  const int64_t num_blocks_;
  const int64_t max_positions_;
  // Values do not move while a step runs: batches point into them.
  absl::node_hash_map<uint64_t, EngineSequence> sequences_;
};

// Tokens that the entry adds.
inline int64_t NumTokens(const v1::StepEntry& entry) {
  return entry.ids().empty() ? 1 : entry.ids_size();
}

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_SEQUENCE_TABLE_H_
