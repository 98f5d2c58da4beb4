// Lays a conversation out as the token ids that a chat model was trained on.
#ifndef CARAVAN_COORDINATOR_TEXT_CHAT_TEMPLATE_H_
#define CARAVAN_COORDINATOR_TEXT_CHAT_TEMPLATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/text/tokenizer.h"

namespace caravan::coordinator {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// The templates are compiled in, never taken from a client; each renders the
// same text as the original's Jinja. Const and thread-safe.
class ChatTemplate {
 public:
  virtual ~ChatTemplate() = default;

  virtual absl::string_view name() const = 0;  // "chatml"

  // kInvalidArgument: a role or an order of roles that the template has no
  // place for, by the index of the message.
  virtual absl::StatusOr<std::vector<ChatPiece>> Render(
      absl::Span<const ChatMessage> messages,
      bool add_generation_prompt) const = 0;
};

// "llama-2", "alpaca", "vicuna", "chatml", "llama-3". kNotFound lists them.
absl::StatusOr<std::unique_ptr<ChatTemplate>> MakeChatTemplate(
    absl::string_view name);

// The one that fits the checkpoint's own template (tokenizer_config.json,
// chat_template.jinja or GGUF's tokenizer.chat_template). kNotFound: the
// checkpoint has none or one that none of ours equals; names --chat-template.
absl::StatusOr<std::unique_ptr<ChatTemplate>> DetectChatTemplate(
    absl::string_view model_path);

// The conversation's ids: template pieces with their control tokens, the rest
// as plain text.
absl::StatusOr<std::vector<int32_t>> EncodeChat(
    const ChatTemplate& chat_template, const Tokenizer& tokenizer,
    absl::Span<const ChatMessage> messages, bool add_generation_prompt);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_CHAT_TEMPLATE_H_
