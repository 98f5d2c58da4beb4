#include "worker/engine/sequence_table.h"

#include "absl/strings/str_cat.h"
#include "worker/backend/batch.h"

namespace caravan::worker {

SequenceTable::SequenceTable(int64_t num_blocks, int64_t max_positions)
    : num_blocks_(num_blocks), max_positions_(max_positions) {}

absl::Status SequenceTable::Begin(const v1::Step& step) {
  for (uint64_t sequence : step.dropped_sequences()) {
    if (sequences_.erase(sequence) == 0) {
      return absl::InternalError(
          absl::StrCat("step drops an unknown sequence: step=", step.number(),
                       " sequence=", sequence));
    }
  }
  for (const v1::NewSequence& added : step.new_sequences()) {
    const auto [place, is_new] = sequences_.try_emplace(added.sequence());
    if (!is_new) {
      return absl::InternalError(
          absl::StrCat("step adds a known sequence: step=", step.number(),
                       " sequence=", added.sequence()));
    }
    place->second.number = added.sequence();
    place->second.sampling = added.sampling();
  }
  return absl::OkStatus();
}

absl::StatusOr<EngineSequence*> SequenceTable::Extend(
    const v1::StepEntry& entry) {
  EngineSequence* sequence = Find(entry.sequence());
  if (sequence == nullptr) {
    return absl::InternalError(absl::StrCat(
        "step names an unknown sequence: sequence=", entry.sequence()));
  }
  for (int32_t block : entry.new_blocks()) {
    if (block < 0 || block >= num_blocks_) {
      return absl::InternalError(
          absl::StrCat("block out of range: sequence=", entry.sequence(),
                       " block=", block, " blocks=", num_blocks_));
    }
    sequence->blocks.push_back(block);
  }
  sequence->length += NumTokens(entry);
  const int64_t room =
      static_cast<int64_t>(sequence->blocks.size()) * kKvBlockTokens;
  if (sequence->length > room || sequence->length > max_positions_) {
    return absl::InternalError(absl::StrCat(
        "sequence outgrows its blocks: sequence=", entry.sequence(), " tokens=",
        sequence->length, " room=", room, " positions=", max_positions_));
  }
  return sequence;
}

void SequenceTable::Learn(uint64_t sequence, uint64_t step, int32_t id) {
  EngineSequence* const known = Find(sequence);
  if (known == nullptr || known->chosen_in_step != step) return;
  known->last_id = id;
  known->chosen_in_step = 0;
}

EngineSequence* SequenceTable::Find(uint64_t sequence) {
  const auto place = sequences_.find(sequence);
  return place == sequences_.end() ? nullptr : &place->second;
}

}  // namespace caravan::worker
