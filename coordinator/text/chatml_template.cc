#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_pieces.h"

namespace caravan::coordinator {
namespace {

class ChatMlTemplate final : public ChatTemplate {
 public:
  explicit ChatMlTemplate(std::string default_system)
      : default_system_(std::move(default_system)) {}

  absl::string_view name() const override { return "chatml"; }

  absl::StatusOr<std::vector<ChatPiece>> Render(
      absl::Span<const ChatMessage> messages,
      bool add_generation_prompt) const override {
    CARAVAN_RETURN_IF_ERROR(CheckRoles(messages));
    ChatPieces pieces;
    if (!default_system_.empty() && !HasSystemMessage(messages)) {
      pieces.AddTemplateText(absl::StrCat("<|im_start|>system\n",
                                          default_system_, "<|im_end|>\n"));
    }
    for (const ChatMessage& message : messages) {
      pieces.AddTemplateText(absl::StrCat("<|im_start|>", message.role, "\n"));
      pieces.AddContent(message.content);
      pieces.AddTemplateText("<|im_end|>\n");
    }
    if (add_generation_prompt) {
      pieces.AddTemplateText("<|im_start|>assistant\n");
    }
    return std::move(pieces).Take();
  }

 private:
  const std::string default_system_;
};

}  // namespace

std::unique_ptr<ChatTemplate> MakeChatMlTemplate(std::string default_system) {
  return std::make_unique<ChatMlTemplate>(std::move(default_system));
}

}  // namespace caravan::coordinator
