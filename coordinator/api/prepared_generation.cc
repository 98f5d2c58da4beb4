#include "coordinator/api/prepared_generation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/api/errors.h"

namespace caravan::coordinator {
namespace {

constexpr char kTooLongCode[] = "context_length_exceeded";

absl::StatusOr<int64_t> ContextLength(const ServedModel& model) {
  const int64_t length = model.max_model_len ? model.max_model_len() : 0;
  if (length <= 0) return absl::UnavailableError("The model is not ready yet.");
  return length;
}

absl::Status PromptTooLong(absl::string_view param, int64_t context,
                           int64_t prompt_tokens) {
  return FieldError(
      param,
      absl::StrCat("This model's maximum context length is ", context,
                   " tokens. However, your request has at least ",
                   prompt_tokens,
                   " input tokens. Please reduce the length of the input."),
      kTooLongCode);
}

// Refuses what cannot fit however it is encoded, so that nobody pays for
// encoding it.
absl::Status CheckTextLength(absl::string_view param, int64_t bytes,
                             const ServedModel& model) {
  if (model.longest_token_bytes <= 0) return absl::OkStatus();
  CARAVAN_ASSIGN_OR_RETURN(const int64_t context, ContextLength(model));
  const int64_t least_tokens = bytes / model.longest_token_bytes;
  if (least_tokens > context) {
    return PromptTooLong(param, context, least_tokens);
  }
  return absl::OkStatus();
}

absl::Status NoTokenizerError(absl::string_view param) {
  return FieldError(param,
                    absl::StrCat(param,
                                 " must be token ids: the server runs without "
                                 "a tokenizer (--skip-tokenizer-init)"));
}

// Fills in prompt.max_tokens.
absl::Status ResolveLength(const GenerationParameters& parameters,
                           absl::string_view param, int64_t context,
                           PreparedPrompt* prompt) {
  const int64_t length = static_cast<int64_t>(prompt->ids.size());
  if (length == 0) {
    return FieldError(param, absl::StrCat(param, " must not be empty"));
  }
  if (length >= context) return PromptTooLong(param, context, length);
  prompt->max_tokens = parameters.max_tokens.value_or(context - length);
  if (prompt->max_tokens > context - length) {
    return FieldError(
        "max_tokens",
        absl::StrCat("'max_tokens' or 'max_completion_tokens' is too large: ",
                     prompt->max_tokens,
                     ". This model's maximum context length is ", context,
                     " tokens and your request has ", length, " input tokens (",
                     prompt->max_tokens, " > ", context, " - ", length, ")."),
        kTooLongCode);
  }
  return absl::OkStatus();
}

absl::Status CheckParameters(const GenerationParameters& parameters,
                             const ServedModel& model) {
  CARAVAN_RETURN_IF_ERROR(model.CheckName(parameters.model));
  CARAVAN_RETURN_IF_ERROR(
      CheckIds("stop_token_ids", parameters.stop_token_ids, model.vocab_size));
  if (model.tokenizer == nullptr && !parameters.stop.empty()) {
    return FieldError("stop",
                      "stop strings need a tokenizer; the server runs without "
                      "one (--skip-tokenizer-init): use stop_token_ids");
  }
  return absl::OkStatus();
}

absl::StatusOr<PreparedPrompt> EncodePrompt(const Prompt& prompt,
                                            const CompletionRequest& request,
                                            const ServedModel& model) {
  PreparedPrompt prepared;
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    CARAVAN_ASSIGN_OR_RETURN(
        prepared.ids, EncodeText(*text, request.add_special_tokens, model));
    if (request.echo) prepared.text = *text;
    return prepared;
  }
  prepared.ids = std::get<std::vector<int32_t>>(prompt);
  CARAVAN_RETURN_IF_ERROR(CheckIds("prompt", prepared.ids, model.vocab_size));
  if (request.echo && model.tokenizer != nullptr) {
    prepared.text = Decode(*model.tokenizer, prepared.ids);
  }
  return prepared;
}

}  // namespace

absl::Status CheckIds(absl::string_view param, const std::vector<int32_t>& ids,
                      int64_t vocab_size) {
  for (int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      return FieldError(param, absl::StrCat(param, " has token id ", id,
                                            ", which is out of vocabulary (",
                                            vocab_size, " tokens)"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> EncodeText(absl::string_view text,
                                                bool add_special_tokens,
                                                const ServedModel& model) {
  if (model.tokenizer == nullptr) return NoTokenizerError("prompt");
  CARAVAN_RETURN_IF_ERROR(
      CheckTextLength("prompt", static_cast<int64_t>(text.size()), model));
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                           model.tokenizer->Encode(text));
  if (add_special_tokens && model.tokenizer->adds_bos() &&
      model.tokenizer->bos_token() >= 0) {
    ids.insert(ids.begin(), model.tokenizer->bos_token());
  }
  return ids;
}

absl::StatusOr<std::vector<int32_t>> EncodeMessages(
    const std::vector<ChatMessage>& messages, bool add_generation_prompt,
    const ServedModel& model) {
  if (model.tokenizer == nullptr) {
    return FieldError("messages",
                      "chat needs a tokenizer; the server runs without one "
                      "(--skip-tokenizer-init)");
  }
  if (model.chat_template == nullptr) {
    return FieldError("messages",
                      "this model has no chat template; start the server with "
                      "--chat-template NAME, or use /v1/completions");
  }
  int64_t bytes = 0;
  for (const ChatMessage& message : messages) {
    bytes += static_cast<int64_t>(message.content.size());
  }
  CARAVAN_RETURN_IF_ERROR(CheckTextLength("messages", bytes, model));
  absl::StatusOr<std::vector<int32_t>> ids = EncodeChat(
      *model.chat_template, *model.tokenizer, messages, add_generation_prompt);
  if (absl::IsInvalidArgument(ids.status())) {
    return FieldError("messages", ids.status().message());
  }
  return ids;
}

absl::StatusOr<PreparedGeneration> PrepareCompletion(CompletionRequest request,
                                                     const ServedModel& model) {
  CARAVAN_RETURN_IF_ERROR(CheckParameters(request.parameters, model));
  CARAVAN_ASSIGN_OR_RETURN(const int64_t context, ContextLength(model));
  PreparedGeneration prepared;
  for (const Prompt& prompt : request.prompts) {
    CARAVAN_ASSIGN_OR_RETURN(PreparedPrompt encoded,
                             EncodePrompt(prompt, request, model));
    CARAVAN_RETURN_IF_ERROR(
        ResolveLength(request.parameters, "prompt", context, &encoded));
    prepared.prompts.push_back(std::move(encoded));
  }
  prepared.parameters = std::move(request.parameters);
  prepared.echo = request.echo;
  return prepared;
}

absl::StatusOr<PreparedGeneration> PrepareChat(ChatRequest request,
                                               const ServedModel& model) {
  CARAVAN_RETURN_IF_ERROR(CheckParameters(request.parameters, model));
  CARAVAN_ASSIGN_OR_RETURN(const int64_t context, ContextLength(model));
  PreparedPrompt prompt;
  CARAVAN_ASSIGN_OR_RETURN(
      prompt.ids,
      EncodeMessages(request.messages, request.add_generation_prompt, model));
  CARAVAN_RETURN_IF_ERROR(
      ResolveLength(request.parameters, "messages", context, &prompt));
  PreparedGeneration prepared;
  prepared.parameters = std::move(request.parameters);
  prepared.prompts.push_back(std::move(prompt));
  prepared.is_chat = true;
  return prepared;
}

}  // namespace caravan::coordinator
