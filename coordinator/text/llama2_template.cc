#include <cstddef>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_pieces.h"

namespace caravan::coordinator {
namespace {

class Llama2Template final : public ChatTemplate {
 public:
  absl::string_view name() const override { return "llama-2"; }

  // "[/INST]" asks for the answer already: there is no other prompt.
  absl::StatusOr<std::vector<ChatPiece>> Render(
      absl::Span<const ChatMessage> messages,
      bool /*add_generation_prompt*/) const override {
    CARAVAN_RETURN_IF_ERROR(CheckTurns(messages));
    ChatPieces pieces;
    const ChatMessage* system =
        HasSystemMessage(messages) ? &messages[0] : nullptr;
    for (const ChatMessage& message : messages) {
      if (message.role == "user") {
        AddUser(message, std::exchange(system, nullptr), &pieces);
      } else if (message.role == "assistant") {
        pieces.AddTemplateText(" ");
        pieces.AddContent(PythonStrip(message.content));
        pieces.AddTemplateText(" ");
        pieces.AddTemplateText(kEosPiece);
      }
    }
    return std::move(pieces).Take();
  }

 private:
  static void AddUser(const ChatMessage& user, const ChatMessage* system,
                      ChatPieces* pieces) {
    pieces->AddTemplateText(kBosPiece);
    pieces->AddTemplateText("[INST] ");
    if (system == nullptr) {
      pieces->AddContent(PythonStrip(user.content));
    } else {
      // The original strips system and user message as one text.
      const size_t from = pieces->piece_count();
      pieces->AddTemplateText("<<SYS>>\n");
      pieces->AddContent(system->content);
      pieces->AddTemplateText("\n<</SYS>>\n\n");
      pieces->AddContent(user.content);
      pieces->StripEnd(from);
    }
    pieces->AddTemplateText(" [/INST]");
  }
};

}  // namespace

std::unique_ptr<ChatTemplate> MakeLlama2Template() {
  return std::make_unique<Llama2Template>();
}

}  // namespace caravan::coordinator
