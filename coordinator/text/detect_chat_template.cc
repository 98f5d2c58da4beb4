#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/folder.h"
#include "coordinator/text/jinja_text.h"
#include "coordinator/text/tokenizer_config.h"
#include "partition/model/gguf_file.h"

namespace caravan::coordinator {
namespace {

// Meta's own, of Llama-2-7b-chat-hf.
constexpr absl::string_view kLlama2 =
    R"({% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %})";

// Meta's own, of Meta-Llama-3-8B-Instruct: what both releases begin with, and
// how each ends.
constexpr absl::string_view kLlama3 =
    R"({% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %})";
constexpr absl::string_view kLlama3Always =
    R"({{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }})";
constexpr absl::string_view kLlama3IfAsked =
    R"({% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";

// ChatML's parts: some originals set a default, some have a system message for
// conversations without one.
constexpr absl::string_view kChatMlDefault =
    R"({% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %})";
constexpr absl::string_view kChatMlLoop = R"({% for message in messages %})";
constexpr absl::string_view kChatMlSystemBegin =
    R"({% if loop.first and messages[0]['role'] != 'system' %}{{ "<|im_start|>system)"
    "\n";
constexpr absl::string_view kChatMlSystemEnd = R"(<|im_end|>
" }}{% endif %})";
constexpr absl::string_view kChatMlMessages[] = {
    R"({{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})",
    R"({{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})",
};

// The original has the sentences that our template has.
constexpr absl::string_view kAlpaca =
    R"({{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% set loop_messages = messages[1:] %}{% else %}{{ 'Below is an instruction that describes a task. Write a response that appropriately completes the request.' }}{% set loop_messages = messages %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '\n\n### Instruction:\n' + message['content'] }}{% elif message['role'] == 'assistant' %}{{ '\n\n### Response:' + message['content'] + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '\n\n### Response:' }}{% endif %})";
constexpr absl::string_view kVicuna =
    R"({{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + ' ' }}{% set loop_messages = messages[1:] %}{% else %}{{ 'A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user\'s questions. ' }}{% set loop_messages = messages %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %})";

// nullptr: not ChatML as we know it.
std::unique_ptr<ChatTemplate> DetectChatMl(absl::string_view form) {
  absl::ConsumePrefix(&form, CanonicalJinja(kChatMlDefault));
  if (!absl::ConsumePrefix(&form, CanonicalJinja(kChatMlLoop))) return nullptr;
  std::string default_system;
  const std::string system_begin =
      CanonicalJinja(absl::StrCat(kChatMlSystemBegin, kChatMlSystemEnd));
  const size_t middle = system_begin.find("<|im_end|>");
  const absl::string_view begin =
      absl::string_view(system_begin).substr(0, middle);
  const absl::string_view end = absl::string_view(system_begin).substr(middle);
  if (absl::ConsumePrefix(&form, begin)) {
    const size_t length = form.find(end);
    if (length == form.npos) return nullptr;
    default_system = std::string(form.substr(0, length));
    // A quote or another escape: the literal is not what it looks like.
    if (default_system.find_first_of("\\\"") != std::string::npos) {
      return nullptr;
    }
    form.remove_prefix(length + end.size());
  }
  for (const absl::string_view messages : kChatMlMessages) {
    if (form == CanonicalJinja(messages)) {
      return MakeChatMlTemplate(std::move(default_system));
    }
  }
  return nullptr;
}

// nullptr: none of ours.
std::unique_ptr<ChatTemplate> Detect(absl::string_view jinja) {
  const std::string form = CanonicalJinja(jinja);
  if (form == CanonicalJinja(kLlama2)) return MakeLlama2Template();
  if (form == CanonicalJinja(absl::StrCat(kLlama3, kLlama3IfAsked))) {
    return MakeLlama3Template(/*always_prompts=*/false);
  }
  if (form == CanonicalJinja(absl::StrCat(kLlama3, kLlama3Always))) {
    return MakeLlama3Template(/*always_prompts=*/true);
  }
  if (form == CanonicalJinja(kAlpaca)) return MakeAlpacaTemplate();
  if (form == CanonicalJinja(kVicuna)) return MakeVicunaTemplate();
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
