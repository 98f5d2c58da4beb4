#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_originals.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/folder.h"
#include "coordinator/text/jinja_text.h"
#include "coordinator/text/tokenizer_config.h"
#include "partition/model/gguf_file.h"

namespace caravan::coordinator {
namespace {

// nullptr: not ChatML as we know it.
std::unique_ptr<ChatTemplate> DetectChatMl(absl::string_view form) {
  absl::ConsumePrefix(&form, CanonicalJinja(kChatMlDefault));
  if (!absl::ConsumePrefix(&form, CanonicalJinja(kChatMlLoop))) return nullptr;
  std::string default_system;
  // The one string literal in here is split where the message's text stands.
  const std::string around =
      CanonicalJinja(absl::StrCat(kChatMlSystemBegin, kChatMlSystemEnd));
  const size_t middle = around.find("<|im_end|>");
  if (absl::ConsumePrefix(&form, around.substr(0, middle))) {
    const std::string end = around.substr(middle);
    const size_t length = form.find(end);
    if (length == form.npos) return nullptr;
    default_system = std::string(form.substr(0, length));
    // A quote or an escape that is left: the literal is not what it looks like.
    if (default_system.find_first_of("\\\"") != std::string::npos) {
      return nullptr;
    }
    form.remove_prefix(length + end.size());
  }
  for (const absl::string_view message :
       {kChatMlMessage, kChatMlShorterMessage}) {
    if (form == CanonicalJinja(absl::StrCat(message, kChatMlEnd))) {
      return MakeChatMlTemplate(std::move(default_system));
    }
  }
  return nullptr;
}

// nullptr: none of ours.
std::unique_ptr<ChatTemplate> Detect(absl::string_view jinja) {
  const std::string form = CanonicalJinja(jinja);
  const auto is = [&](absl::string_view original) {
    return form == CanonicalJinja(original);
  };
  if (is(kLlama2Original)) return MakeLlama2Template();
  if (is(absl::StrCat(kLlama3Begin, kLlama3PromptIfAsked))) {
    return MakeLlama3Template(/*always_prompts=*/false);
  }
  if (is(absl::StrCat(kLlama3Begin, kLlama3Prompt))) {
    return MakeLlama3Template(/*always_prompts=*/true);
  }
  if (is(kAlpacaOriginal)) return MakeAlpacaTemplate();
  if (is(kVicunaOriginal)) return MakeVicunaTemplate();
  return DetectChatMl(form);
}

absl::StatusOr<std::optional<std::string>> ReadOriginal(
    absl::string_view model_path) {
  if (IsFolder(model_path)) {
    CARAVAN_ASSIGN_OR_RETURN(TokenizerConfig config,
                             ReadTokenizerConfig(model_path));
    return std::move(config.chat_template);
  }
  CARAVAN_ASSIGN_OR_RETURN(const auto file,
                           partition::GgufFile::Open(model_path));
  if (!file->Has("tokenizer.chat_template")) return std::nullopt;
  CARAVAN_ASSIGN_OR_RETURN(const absl::string_view original,
                           file->String("tokenizer.chat_template"));
  return std::string(original);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChatTemplate>> DetectChatTemplate(
    absl::string_view model_path) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::string> original,
                           ReadOriginal(model_path));
  constexpr absl::string_view kAdvice =
      "; name one with --chat-template: llama-2, alpaca, vicuna, chatml or "
      "llama-3";
  if (!original.has_value()) {
    return absl::NotFoundError(
        absl::StrCat(model_path, " has no chat template", kAdvice));
  }
  std::unique_ptr<ChatTemplate> detected = Detect(*original);
  if (detected == nullptr) {
    return absl::NotFoundError(absl::StrCat(
        model_path, " has a chat template that is none of those built in",
        kAdvice));
  }
  return detected;
}

}  // namespace caravan::coordinator
