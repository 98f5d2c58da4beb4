#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_pieces.h"

namespace caravan::coordinator {
namespace {

// https://github.com/tatsu-lab/stanford_alpaca, "prompt_no_input".
constexpr absl::string_view kSystem =
    "Below is an instruction that describes a task. Write a response that "
    "appropriately completes the request.";

class AlpacaTemplate final : public ChatTemplate {
 public:
  absl::string_view name() const override { return "alpaca"; }

  absl::StatusOr<std::vector<ChatPiece>> Render(
      absl::Span<const ChatMessage> messages,
      bool add_generation_prompt) const override {
    CARAVAN_RETURN_IF_ERROR(CheckTurns(messages));
    ChatPieces pieces;
    pieces.AddTemplateText(kBosPiece);
    if (!HasSystemMessage(messages)) pieces.AddTemplateText(kSystem);
    for (const ChatMessage& message : messages) {
      if (message.role == "user") {
        pieces.AddTemplateText("\n\n### Instruction:\n");
      } else if (message.role == "assistant") {
        // The answers that it was trained on follow the colon at once.
        pieces.AddTemplateText("\n\n### Response:");
      }
      pieces.AddContent(message.content);
      if (message.role == "assistant") pieces.AddTemplateText(kEosPiece);
    }
    if (add_generation_prompt) pieces.AddTemplateText("\n\n### Response:");
    return std::move(pieces).Take();
  }
};

}  // namespace

std::unique_ptr<ChatTemplate> MakeAlpacaTemplate() {
  return std::make_unique<AlpacaTemplate>();
}

}  // namespace caravan::coordinator
