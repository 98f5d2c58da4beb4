#include "coordinator/schedule/simulated_engine.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/simulated_token.h"
#include "base/status_macros.h"
#include "partition/plan/plan.h"

namespace caravan::coordinator {
namespace {

template <typename... Values>
absl::Status Refuse(const v1::Step& step, const Values&... what) {
  return absl::InternalError(absl::StrCat(
      "step breaks the protocol: step=", step.number(), ": ", what...));
}

template <typename... Values>
absl::Status RefuseEntry(const v1::StepEntry& entry, const Values&... what) {
  return absl::InternalError(
      absl::StrCat("sequence=", entry.sequence(), ": ", what...));
}

int64_t NumTokens(const v1::StepEntry& entry) {
  return entry.ids().empty() ? 1 : entry.ids_size();
}

}  // namespace

v1::TokenLogprobs SimulatedLogprobs(int32_t id, int32_t num_top,
                                    int32_t vocabulary_size) {
  v1::TokenLogprobs logprobs;
  logprobs.set_id(id);
  logprobs.set_logprob(-0.125f * static_cast<float>(1 + id % 5));
  for (int32_t i = 0; i < std::min(num_top, vocabulary_size); ++i) {
    logprobs.add_top_ids((id + i) % vocabulary_size);
    logprobs.add_top_logprobs(logprobs.logprob() - static_cast<float>(i));
  }
  return logprobs;
}

SimulatedEngine::SimulatedEngine(const EngineGroupInfo& info,
                                 int32_t vocabulary_size)
    : info_(info),
      vocabulary_size_(vocabulary_size),
      block_owner_(std::max<int64_t>(info.num_blocks, 0)) {}

absl::StatusOr<v1::StepResult> SimulatedEngine::Execute(const v1::Step& step,
                                                        StepShape* shape) {
  *shape = StepShape();
  CARAVAN_RETURN_IF_ERROR(Begin(step));
  v1::StepResult result;
  result.set_epoch(step.epoch());
  result.set_number(step.number());
  for (const v1::StepEntry& entry : step.entries()) {
    const auto place = sequences_.find(entry.sequence());
    if (place == sequences_.end()) {
      return Refuse(step, "unknown sequence=", entry.sequence());
    }
    Sequence& sequence = place->second;
    if (entry.ids().empty()) {
      shape->needs_step = std::max(shape->needs_step, sequence.sampled_in);
    }
    shape->num_rows += NumTokens(entry);
    CARAVAN_RETURN_IF_ERROR(Annotate(
        Extend(step, entry, &sequence),
        absl::StrCat("step breaks the protocol: step=", step.number())));
    Report(entry, sequence, &result);
  }
  if (shape->num_rows > info_.max_rows_per_step) {
    return Refuse(step, "rows=", shape->num_rows,
                  " max=", info_.max_rows_per_step);
  }
  for (const v1::NewSequence& added : step.new_sequences()) {
    if (sequences_[added.sequence()].last_step == 0) {
      return Refuse(step,
                    "new sequence without entry: sequence=", added.sequence());
    }
  }
  return result;
}

absl::Status SimulatedEngine::Begin(const v1::Step& step) {
  if (step.epoch() != info_.epoch) {
    return Refuse(step, "epoch=", step.epoch(), " expected=", info_.epoch);
  }
  if (step.number() != last_number_ + 1) {
    return Refuse(step, "expected number=", last_number_ + 1);
  }
  last_number_ = step.number();
  if (step.entries().empty() && step.dropped_sequences().empty()) {
    return Refuse(step, "nothing to do");
  }
  for (const uint64_t dropped : step.dropped_sequences()) {
    const auto place = sequences_.find(dropped);
    if (place == sequences_.end()) {
      return Refuse(step, "drops unknown sequence=", dropped);
    }
    for (const int32_t block : place->second.blocks) block_owner_[block] = 0;
    num_blocks_used_ -= static_cast<int64_t>(place->second.blocks.size());
    sequences_.erase(place);
  }
  for (const v1::NewSequence& added : step.new_sequences()) {
    // Rising numbers: none is used twice in an epoch.
    if (added.sequence() <= last_new_sequence_) {
      return Refuse(step, "number used before: sequence=", added.sequence());
    }
    last_new_sequence_ = added.sequence();
    sequences_[added.sequence()].sampling = added.sampling();
  }
  if (num_sequences() > info_.max_sequences) {
    return Refuse(step, "sequences=", num_sequences(),
                  " max=", info_.max_sequences);
  }
  return absl::OkStatus();
}

absl::Status SimulatedEngine::Extend(const v1::Step& step,
                                     const v1::StepEntry& entry,
                                     Sequence* sequence) {
  if (sequence->last_step == step.number()) {
    return RefuseEntry(entry, "two entries in one step");
  }
  CARAVAN_RETURN_IF_ERROR(CheckIds(entry, *sequence));
  CARAVAN_RETURN_IF_ERROR(TakeBlocks(entry, sequence));
  sequence->last_step = step.number();
  sequence->length += NumTokens(entry);
  const int64_t room =
      static_cast<int64_t>(sequence->blocks.size()) * partition::kBlockTokens;
  if (sequence->length > room || sequence->length > info_.max_model_len) {
    return RefuseEntry(entry, "tokens=", sequence->length, " room=", room,
                       " max_model_len=", info_.max_model_len);
  }
  if (!entry.ids().empty()) {
    sequence->last_id = *entry.ids().rbegin();
    sequence->sampled_in = 0;
    sequence->announced_next = entry.has_next_id() ? entry.next_id() : -1;
  }
  if (entry.sample()) {
    sequence->last_id =
        SimulatedToken(sequence->last_id, sequence->length, vocabulary_size_);
    sequence->sampled_in = step.number();
  }
  return absl::OkStatus();
}

absl::Status SimulatedEngine::CheckIds(const v1::StepEntry& entry,
                                       const Sequence& sequence) {
  if (entry.ids().empty()) {
    if (sequence.sampled_in == 0) {
      return RefuseEntry(entry, "no ids, and none was sampled");
    }
    if (!entry.sample()) return RefuseEntry(entry, "decodes without sampling");
    if (entry.has_next_id()) return RefuseEntry(entry, "next_id in a decode");
    return absl::OkStatus();
  }
  if (sequence.sampled_in != 0) {
    return RefuseEntry(entry, "ids where the sampled one comes next");
  }
  for (const int32_t id : entry.ids()) {
    if (id < 0 || id >= vocabulary_size_) {
      return RefuseEntry(entry, "id=", id, " vocabulary=", vocabulary_size_);
    }
  }
  if (sequence.announced_next >= 0 && sequence.announced_next != entry.ids(0)) {
    return RefuseEntry(entry, "id=", entry.ids(0),
                       " announced=", sequence.announced_next);
  }
  if (entry.has_next_id() && sequence.sampling.prompt_logprobs() < 0) {
    return RefuseEntry(entry, "next_id without prompt log-probabilities");
  }
  return absl::OkStatus();
}

absl::Status SimulatedEngine::TakeBlocks(const v1::StepEntry& entry,
                                         Sequence* sequence) {
  for (const int32_t block : entry.new_blocks()) {
    if (block < 0 || block >= static_cast<int64_t>(block_owner_.size())) {
      return RefuseEntry(entry, "block=", block,
                         " num_blocks=", block_owner_.size());
    }
    if (block_owner_[block] != 0) {
      return RefuseEntry(entry, "block=", block,
                         " belongs to sequence=", block_owner_[block]);
    }
    block_owner_[block] = entry.sequence();
    ++num_blocks_used_;
    sequence->blocks.push_back(block);
  }
  return absl::OkStatus();
}

void SimulatedEngine::Report(const v1::StepEntry& entry,
                             const Sequence& sequence,
                             v1::StepResult* result) const {
  const v1::SamplingParameters& sampling = sequence.sampling;
  const bool prompt_logprobs =
      sampling.prompt_logprobs() >= 0 && !entry.ids().empty();
  if (!entry.sample() && !prompt_logprobs) return;
  v1::SequenceResult* report = result->add_sequences();
  report->set_sequence(entry.sequence());
  if (entry.sample()) {
    report->set_id(sequence.last_id);
    if (sampling.logprobs() >= 0) {
      *report->mutable_logprobs() = SimulatedLogprobs(
          sequence.last_id, sampling.logprobs(), vocabulary_size_);
    }
  }
  if (!prompt_logprobs) return;
  for (int i = 1; i < entry.ids_size(); ++i) {
    *report->add_prompt_logprobs() = SimulatedLogprobs(
        entry.ids(i), sampling.prompt_logprobs(), vocabulary_size_);
  }
  if (entry.has_next_id()) {
    *report->add_prompt_logprobs() = SimulatedLogprobs(
        entry.next_id(), sampling.prompt_logprobs(), vocabulary_size_);
  }
}

}  // namespace caravan::coordinator
