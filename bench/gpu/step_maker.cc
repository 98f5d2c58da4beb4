#include "bench/gpu/step_maker.h"

#include <utility>

#include "base/checked_math.h"
#include "partition/plan/plan.h"

namespace caravan::bench {

StepMaker::StepMaker(int64_t vocab_size, int64_t max_positions)
    : vocab_size_(vocab_size),
      blocks_each_(CeilDivide(max_positions, partition::kBlockTokens)) {}

v1::Step StepMaker::Next() {
  v1::Step step;
  step.set_epoch(1);
  step.set_number(++last_step_);
  for (const uint64_t sequence : std::exchange(dropped_, {})) {
    step.add_dropped_sequences(sequence);
  }
  return step;
}

v1::Step StepMaker::Prompt(int64_t num_tokens) {
  v1::Step step = Next();
  const uint64_t sequence = ++last_sequence_;
  v1::NewSequence& added = *step.add_new_sequences();
  added.set_sequence(sequence);
  added.mutable_sampling()->set_top_p(1);
  added.mutable_sampling()->set_logprobs(-1);
  added.mutable_sampling()->set_prompt_logprobs(-1);
  v1::StepEntry& entry = *step.add_entries();
  entry.set_sequence(sequence);
  for (int64_t i = 0; i < num_tokens; ++i) {
    entry.add_ids(static_cast<int32_t>((i * 7 + 1) % vocab_size_));
  }
  // All at once: a decode step then says nothing but its sequences.
  const int64_t first_block =
      static_cast<int64_t>(sequences_.size()) * blocks_each_;
  for (int64_t i = 0; i < blocks_each_; ++i) {
    entry.add_new_blocks(static_cast<int32_t>(first_block + i));
  }
  entry.set_sample(true);
  sequences_.push_back(sequence);
  return step;
}

v1::Step StepMaker::Decode() {
  v1::Step step = Next();
  for (const uint64_t sequence : sequences_) {
    v1::StepEntry& entry = *step.add_entries();
    entry.set_sequence(sequence);
    entry.set_sample(true);
  }
  return step;
}

void StepMaker::DropAll() { dropped_ = std::exchange(sequences_, {}); }

}  // namespace caravan::bench
