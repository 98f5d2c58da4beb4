// Steps with requests of all kinds, as a scheduler sends them that works ahead.
#ifndef CARAVAN_TESTS_WORKER_ENGINE_MIXED_STEPS_H_
#define CARAVAN_TESTS_WORKER_ENGINE_MIXED_STEPS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "caravan/v1/plan.pb.h"
#include "caravan/v1/step.pb.h"

namespace caravan::worker {

class MixedSteps final {
 public:
  static v1::SamplingParameters Greedy() {
    v1::SamplingParameters sampling;
    sampling.set_top_p(1);
    sampling.set_logprobs(-1);
    sampling.set_prompt_logprobs(-1);
    return sampling;
  }
  static v1::SamplingParameters Random(uint64_t seed) {
    v1::SamplingParameters sampling = Greedy();
    sampling.set_temperature(1.5f);
    sampling.set_seed(seed);
    return sampling;
  }

  // What follows belongs to a new step.
  MixedSteps& Step() {
    steps_.emplace_back().set_epoch(1);
    steps_.back().set_number(steps_.size());
    return *this;
  }
  MixedSteps& New(uint64_t sequence, const v1::SamplingParameters& sampling) {
    v1::NewSequence* added = steps_.back().add_new_sequences();
    added->set_sequence(sequence);
    *added->mutable_sampling() = sampling;
    return *this;
  }
  MixedSteps& Drop(uint64_t sequence) {
    steps_.back().add_dropped_sequences(sequence);
    return *this;
  }
  MixedSteps& Prompt(uint64_t sequence, int count, bool sample = true) {
    v1::StepEntry& entry = Extend(sequence, count);
    for (int i = 0; i < count; ++i) {
      entry.add_ids(static_cast<int32_t>((sequence * 13 + i * 7) % 90));
    }
    entry.set_sample(sample);
    return *this;
  }
  MixedSteps& Decode(const std::vector<uint64_t>& sequences) {
    for (const uint64_t sequence : sequences) {
      Extend(sequence, 1).set_sample(true);
    }
    return *this;
  }

  const std::vector<v1::Step>& steps() const { return steps_; }

 private:
  v1::StepEntry& Extend(uint64_t sequence, int count) {
    v1::StepEntry& entry = *steps_.back().add_entries();
    entry.set_sequence(sequence);
    lengths_[sequence] += count;
    while (num_blocks_[sequence] * 16 < lengths_[sequence]) {
      entry.add_new_blocks(next_block_++);
      ++num_blocks_[sequence];
    }
    return entry;
  }

  std::vector<v1::Step> steps_;
  std::map<uint64_t, int64_t> lengths_;
  std::map<uint64_t, int64_t> num_blocks_;
  int32_t next_block_ = 0;
};

// For vocabularies of 90 tokens and more.
inline constexpr int kMostMixedRows = 16;
inline std::vector<v1::Step> StepsOfAllKinds() {
  v1::SamplingParameters filtered = MixedSteps::Random(9);
  filtered.set_top_k(5);
  v1::SamplingParameters explained = MixedSteps::Greedy();
  explained.set_logprobs(2);
  v1::SamplingParameters scored = MixedSteps::Greedy();
  scored.set_prompt_logprobs(1);
  MixedSteps mixed;
  mixed.Step()
      .New(1, MixedSteps::Greedy())
      .New(2, MixedSteps::Random(7))
      .Prompt(1, 5)
      .Prompt(2, 3);
  mixed.Step().Decode({1, 2});
  // Slots beside known ids, first of a prompt that is cut in two.
  mixed.Step()
      .New(3, MixedSteps::Greedy())
      .Decode({1, 2})
      .Prompt(3, 6, /*sample=*/false);
  mixed.Step().Prompt(3, 4).Decode({2, 1});
  // One is dropped whose token is on its way; one is left out.
  mixed.Step().Drop(2).Decode({1, 3});
  mixed.Step().Decode({1});
  mixed.Step().Decode({3, 1});
  // The host must choose.
  mixed.Step().New(4, filtered).Decode({1, 3}).Prompt(4, 2);
  mixed.Step().Decode({4, 1, 3});
  mixed.Step().Drop(4).Decode({1, 3});
  mixed.Step().Decode({1, 3});
  // Preempted: what it had is prefilled again, under another number.
  mixed.Step().Drop(3).Decode({1});
  mixed.Step().New(5, MixedSteps::Random(7)).Decode({1}).Prompt(5, 9);
  mixed.Step().Decode({5, 1});
  mixed.Step().Drop(1);
  mixed.Step().New(6, explained).Decode({5}).Prompt(6, 1);
  mixed.Step().Decode({5, 6});
  mixed.Step().New(7, scored).Drop(6).Decode({5}).Prompt(7, 3, false);
  mixed.Step().Decode({5}).Prompt(7, 2);
  mixed.Step().Drop(7).Decode({5});
  // As many rows as a step can have.
  mixed.Step()
      .New(8, MixedSteps::Greedy())
      .Decode({5})
      .Prompt(8, kMostMixedRows - 1);
  for (int i = 0; i < 4; ++i) mixed.Step().Decode({8, 5});
  return mixed.steps();
}

// A token of a prompt and two more of more sequences than have logits at
// once. With log-probabilities, from 0 on, the hosts take the tokens.
inline constexpr int kManySequences = 70;
inline std::vector<v1::Step> StepsOfManySequences(int num_logprobs) {
  MixedSteps many;
  many.Step();
  std::vector<uint64_t> sequences;
  for (uint64_t i = 1; i <= kManySequences; ++i) {
    v1::SamplingParameters sampling =
        i % 3 == 0 ? MixedSteps::Greedy() : MixedSteps::Random(i);
    sampling.set_logprobs(num_logprobs);
    many.New(i, sampling).Prompt(i, 1);
    sequences.push_back(i);
  }
  for (int i = 0; i < 2; ++i) many.Step().Decode(sequences);
  return many.steps();
}
inline void MakeRoomForManySequences(v1::EnginePlan& plan) {
  plan.set_max_rows_per_step(kManySequences);
  plan.set_max_sequences(kManySequences);
  plan.set_num_blocks(kManySequences);
}

// Of StepsOfAllKinds, the steps whose tokens a device cannot choose alone, or
// that have none: nothing is begun behind them.
inline const std::set<uint64_t>& StepsOfTheHost() {
  static const auto* const steps =
      new std::set<uint64_t>{8, 9, 15, 16, 17, 18, 19};
  return *steps;
}

// What an executor gave for each step, serialized.
using StepResults = std::vector<std::string>;

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_ENGINE_MIXED_STEPS_H_
