// The steps of a benchmark, as a scheduler would send them.
#ifndef CARAVAN_BENCH_GPU_STEP_MAKER_H_
#define CARAVAN_BENCH_GPU_STEP_MAKER_H_

#include <cstdint>
#include <vector>

#include "caravan/v1/step.pb.h"

namespace caravan::bench {

// Sequences of equal length, each with as many KV blocks as `max_positions`
// take, sampled greedily.
class StepMaker final {
 public:
  StepMaker(int64_t vocab_size, int64_t max_positions);

  // One more sequence, whose prompt is `num_tokens` long.
  v1::Step Prompt(int64_t num_tokens);
  // One more token of every sequence.
  v1::Step Decode();
  // Every sequence ends before the next step.
  void DropAll();

 private:
  v1::Step Next();

  const int64_t vocab_size_;
  const int64_t blocks_each_;
  uint64_t last_step_ = 0;
  uint64_t last_sequence_ = 0;
  std::vector<uint64_t> sequences_;
  std::vector<uint64_t> dropped_;
};

}  // namespace caravan::bench

#endif  // CARAVAN_BENCH_GPU_STEP_MAKER_H_
