// Turns a request as sent into sequences to generate: texts encoded, defaults
// filled in, lengths checked.
#ifndef CARAVAN_COORDINATOR_API_PREPARED_GENERATION_H_
#define CARAVAN_COORDINATOR_API_PREPARED_GENERATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/api/chat_request.h"
#include "coordinator/api/completion_request.h"
#include "coordinator/api/generation_parameters.h"
#include "coordinator/api/served_model.h"

namespace caravan::coordinator {

struct PreparedPrompt {
  std::vector<int32_t> ids;
  std::string text;        // for echo only
  int64_t max_tokens = 0;  // 0: the prompt is only echoed
};

struct PreparedGeneration {
  GenerationParameters parameters;
  std::vector<PreparedPrompt> prompts;
  bool echo = false;
  bool is_chat = false;

  // Choice i continues prompt i / parameters.num_choices.
  int num_choices() const {
    return static_cast<int>(prompts.size()) * parameters.num_choices;
  }
  const PreparedPrompt& prompt_of(int choice) const {
    return prompts[choice / parameters.num_choices];
  }
};

// kNotFound: another model. kInvalidArgument: by field; the prompt and what is
// to follow do not fit the model's context. kUnavailable: no engine has said
// yet how long the context is.
absl::StatusOr<PreparedGeneration> PrepareCompletion(CompletionRequest request,
                                                     const ServedModel& model);
absl::StatusOr<PreparedGeneration> PrepareChat(ChatRequest request,
                                               const ServedModel& model);

// kInvalidArgument, by the field `param`: an id is not in the vocabulary.
absl::Status CheckIds(absl::string_view param, const std::vector<int32_t>& ids,
                      int64_t vocab_size);

// The ids of a plain text with the checkpoint's bos, if it has one and
// `add_special_tokens`.
absl::StatusOr<std::vector<int32_t>> EncodeText(absl::string_view text,
                                                bool add_special_tokens,
                                                const ServedModel& model);

// The ids of a conversation. kInvalidArgument: the model has no tokenizer or
// template, or the template has no place for a role.
absl::StatusOr<std::vector<int32_t>> EncodeMessages(
    const std::vector<ChatMessage>& messages, bool add_generation_prompt,
    const ServedModel& model);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_PREPARED_GENERATION_H_
