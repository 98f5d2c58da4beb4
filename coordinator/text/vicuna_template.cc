#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_pieces.h"

namespace caravan::coordinator {
namespace {

// https://github.com/lm-sys/FastChat, conversation "vicuna_v1.1".
constexpr absl::string_view kSystem =
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's "
    "questions.";

class VicunaTemplate final : public ChatTemplate {
 public:
  absl::string_view name() const override { return "vicuna"; }

  absl::StatusOr<std::vector<ChatPiece>> Render(
      absl::Span<const ChatMessage> messages,
      bool add_generation_prompt) const override {
    CARAVAN_RETURN_IF_ERROR(CheckTurns(messages));
    ChatPieces pieces;
    pieces.AddTemplateText(kBosPiece);
    if (!HasSystemMessage(messages)) {
      pieces.AddTemplateText(kSystem);
      pieces.AddTemplateText(" ");
    }
    for (const ChatMessage& message : messages) {
      const bool from_assistant = message.role == "assistant";
      if (message.role == "user") pieces.AddTemplateText("USER: ");
      if (from_assistant) pieces.AddTemplateText("ASSISTANT: ");
      pieces.AddContent(message.content);
      pieces.AddTemplateText(from_assistant ? kEosPiece : " ");
    }
    if (add_generation_prompt) pieces.AddTemplateText("ASSISTANT:");
    return std::move(pieces).Take();
  }
};

}  // namespace

std::unique_ptr<ChatTemplate> MakeVicunaTemplate() {
  return std::make_unique<VicunaTemplate>();
}

}  // namespace caravan::coordinator
