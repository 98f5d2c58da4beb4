// What is to be generated, validated and resolved: no text, no HTTP, no
// defaults left to choose.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_GENERATION_REQUEST_H_
#define CARAVAN_COORDINATOR_SCHEDULE_GENERATION_REQUEST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace caravan::coordinator {

struct SamplingParameters {
  float temperature = 1;  // 0: greedy
  int32_t top_k = 0;      // 0: no limit
  float top_p = 1;
  float min_p = 0;
  uint64_t seed = 0;      // drawn by the API when the client gave none
  int32_t logprobs = -1;  // -1: none; n: with the n likeliest
  int32_t prompt_logprobs = -1;
};

// One sequence to continue.
struct GenerationRequest {
  std::string id;  // for logs: "cmpl-..."
  std::vector<int32_t> prompt;
  SamplingParameters sampling;
  int64_t max_tokens = 16;
  std::vector<int32_t> stop_tokens;  // ends with reason kStop, token included
};

struct TokenLogprob {
  int32_t id = -1;
  float logprob = 0;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
};

struct GeneratedToken {
  int32_t id = -1;
  TokenLogprob logprob;  // when asked for
};

enum class FinishReason {
  kStop,    // a stop token
  kLength,  // max_tokens or the model's length
  kError,   // see the status
};

// Where the tokens of one request go. Called by the scheduler's thread, in
// order; implementations return at once.
class TokenSink {
 public:
  virtual ~TokenSink() = default;

  // Once before the first token, when prompt log-probabilities were asked for:
  // one for each prompt token but the first.
  virtual void OnPromptLogprobs(std::vector<TokenLogprob> logprobs) = 0;
  virtual void OnToken(const GeneratedToken& token) = 0;
  // The last call. kError: kUnavailable when the replica was lost (safe to try
  // again). Not called after Cancel.
  virtual void OnFinished(FinishReason reason, const absl::Status& status) = 0;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_GENERATION_REQUEST_H_
