// What stands beside the tokenizer in a Hugging Face folder.
#ifndef CARAVAN_COORDINATOR_TEXT_TOKENIZER_CONFIG_H_
#define CARAVAN_COORDINATOR_TEXT_TOKENIZER_CONFIG_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/added_tokens.h"

namespace caravan::coordinator {

struct TokenizerConfig {
  std::string tokenizer_class;  // empty: not said
  std::optional<bool> adds_bos;
  std::optional<bool> legacy;
  std::string bos;  // spellings; empty: not said
  std::string eos;
  // added_tokens_decoder and added_tokens.json; by rising id.
  std::vector<AddedToken> added_tokens;
  std::optional<std::string> chat_template;
};

// From tokenizer_config.json, special_tokens_map.json, added_tokens.json and
// chat_template.jinja, each of which may be absent; where two say the same
// thing, the first of them counts, and for the chat template the last.
// kInvalidArgument names file and field.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(absl::string_view folder);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_TOKENIZER_CONFIG_H_
