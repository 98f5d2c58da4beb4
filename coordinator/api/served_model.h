// The model that the server answers for.
#ifndef CARAVAN_COORDINATOR_API_SERVED_MODEL_H_
#define CARAVAN_COORDINATOR_API_SERVED_MODEL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"

namespace caravan::coordinator {

// Plain data; what it points to outlives the server.
struct ServedModel {
  std::vector<std::string> names;  // at least one; the first is the main one
  std::string path;                // shown as "root" by /v1/models
  const Tokenizer* tokenizer = nullptr;         // null: token ids only
  const ChatTemplate* chat_template = nullptr;  // null: no chat
  int64_t vocab_size = 0;
  std::vector<int32_t> eos_tokens;
  // How many tokens a sequence may have; 0 while no engine has said. Called
  // from the server's threads.
  std::function<int64_t()> max_model_len;
  // Of the tokenizer's tokens the longest, so that a text that cannot fit is
  // refused before it is encoded. 0: unknown.
  int64_t longest_token_bytes = 0;

  // kNotFound when `name` is given (not empty) and not one of `names`.
  absl::Status CheckName(absl::string_view name) const;
};

// The longest of the tokenizer's tokens, in bytes.
int64_t LongestTokenBytes(const Tokenizer& tokenizer);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_SERVED_MODEL_H_
