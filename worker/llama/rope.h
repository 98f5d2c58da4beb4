// Angles of rotary position embedding for every position, with the ways to
// stretch them beyond the trained context.
#ifndef CARAVAN_WORKER_LLAMA_ROPE_H_
#define CARAVAN_WORKER_LLAMA_ROPE_H_

#include <cstdint>
#include <vector>

namespace caravan::worker {

// The parameters as the checkpoint states them; the names are Hugging Face's
// rope types.
struct RopeParameters {
  enum class Scaling { kNone, kLinear, kDynamic, kLlama3 };
  int64_t head_dim = 0;
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  int64_t original_max_positions = 0;
};

// Row-major (num_positions, head_dim / 2), in float32 arithmetic as
// transformers computes them: angle = position * inverse frequency, both
// float32.
//
// kDynamic (NTK-aware) stretches the base with the length of the text. Here a
// position's base is that of a text that ends with it, so that a token's key
// depends on its own prefix only; it is what token-by-token decoding gives in
// transformers.
struct RopeAngles {
  std::vector<float> cos;
  std::vector<float> sin;
};
RopeAngles ComputeRopeAngles(const RopeParameters& parameters,
                             int64_t num_positions);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_LLAMA_ROPE_H_
