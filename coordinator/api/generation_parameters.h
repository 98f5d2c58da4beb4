// The fields that completions and chat have in common.
#ifndef CARAVAN_COORDINATOR_API_GENERATION_PARAMETERS_H_
#define CARAVAN_COORDINATOR_API_GENERATION_PARAMETERS_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/api/limits.h"

namespace caravan::coordinator {

// What the client asked for; what it left out has OpenAI's default or, where
// that depends on the prompt or on chance, is nullopt.
struct GenerationParameters {
  std::string model;  // empty: not given
  int num_choices = 1;
  std::optional<int64_t> max_tokens;

  float temperature = 1;
  float top_p = 1;
  int32_t top_k = 0;  // 0: no limit
  float min_p = 0;
  std::optional<int64_t> seed;

  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop_text = false;
  bool skip_special_tokens = true;

  int logprobs = -1;  // -1: none; n: with the n likeliest
  bool return_token_ids = false;

  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
};

// Everything but logprobs, which the endpoints spell differently.
// kInvalidArgument by the name of the field; so is a field that asks for what
// is not supported.
absl::StatusOr<GenerationParameters> ParseGenerationParameters(
    const nlohmann::json& body, const ApiLimits& limits);

// Token ids: integers in [0, 2^31). Whether they are in the vocabulary is
// checked where it is known.
absl::StatusOr<std::vector<int32_t>> ParseTokenIds(const nlohmann::json& value,
                                                   absl::string_view name);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_GENERATION_PARAMETERS_H_
