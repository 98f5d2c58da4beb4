#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_pieces.h"

namespace caravan::coordinator {
namespace {

class Llama3Template final : public ChatTemplate {
 public:
  explicit Llama3Template(bool always_prompts)
      : always_prompts_(always_prompts) {}

  absl::string_view name() const override { return "llama-3"; }

  absl::StatusOr<std::vector<ChatPiece>> Render(
      absl::Span<const ChatMessage> messages,
      bool add_generation_prompt) const override {
    CARAVAN_RETURN_IF_ERROR(CheckRoles(messages));
    ChatPieces pieces;
    pieces.AddTemplateText("<|begin_of_text|>");
    for (const ChatMessage& message : messages) {
      pieces.AddTemplateText(absl::StrCat("<|start_header_id|>", message.role,
                                          "<|end_header_id|>\n\n"));
      pieces.AddContent(PythonStrip(message.content));
      pieces.AddTemplateText("<|eot_id|>");
    }
    if (add_generation_prompt || always_prompts_) {
      pieces.AddTemplateText(
          "<|start_header_id|>assistant<|end_header_id|>\n\n");
    }
    return std::move(pieces).Take();
  }

 private:
  const bool always_prompts_;
};

}  // namespace

std::unique_ptr<ChatTemplate> MakeLlama3Template(bool always_prompts) {
  return std::make_unique<Llama3Template>(always_prompts);
}

}  // namespace caravan::coordinator
