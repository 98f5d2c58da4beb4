// The normalizer and the pre-tokenizer of a tokenizer.json.
#ifndef CARAVAN_COORDINATOR_TEXT_TOKENIZER_JSON_STEPS_H_
#define CARAVAN_COORDINATOR_TEXT_TOKENIZER_JSON_STEPS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/bpe_segment_encoder.h"
#include "coordinator/text/pre_tokenizer.h"
#include "nlohmann/json_fwd.hpp"

namespace caravan::coordinator {

// Both take null for "none". kUnimplemented: a kind that is not read, by name;
// kInvalidArgument: malformed.
absl::StatusOr<BpeNormalizer> ReadNormalizer(const nlohmann::json& normalizer);

struct PreTokenizerPlan {
  std::vector<PreTokenizerStep> steps;
  bool byte_level = false;  // words are bytes to the model
  bool metaspace = false;   // spaces became U+2581
  bool prefixes = false;    // a dummy prefix is put in front
};
absl::StatusOr<PreTokenizerPlan> ReadPreTokenizer(
    const nlohmann::json& pre_tokenizer);

// Small readers that the parts of tokenizer.json share.

// The field "type"; empty when there is none.
std::string TypeOf(const nlohmann::json& part);

// kInvalidArgument: the field is there and of another kind.
absl::StatusOr<bool> BoolField(const nlohmann::json& part, const char* name,
                               bool otherwise);
absl::StatusOr<std::string> StringField(const nlohmann::json& part,
                                        const char* name,
                                        absl::string_view otherwise);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_TOKENIZER_JSON_STEPS_H_
