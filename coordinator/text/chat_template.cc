#include "coordinator/text/chat_template.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"

namespace caravan::coordinator {

absl::StatusOr<std::unique_ptr<ChatTemplate>> MakeChatTemplate(
    absl::string_view name) {
  if (name == "chatml") return MakeChatMlTemplate(/*default_system=*/"");
  return absl::NotFoundError(absl::StrCat(
      "no chat template \"", absl::CHexEscape(name), "\"; there is chatml"));
}

absl::StatusOr<std::vector<int32_t>> EncodeChat(
    const ChatTemplate& chat_template, const Tokenizer& tokenizer,
    absl::Span<const ChatMessage> messages, bool add_generation_prompt) {
  CARAVAN_ASSIGN_OR_RETURN(
      const std::vector<ChatPiece> pieces,
      chat_template.Render(messages, add_generation_prompt));
  return tokenizer.EncodePieces(pieces);
}

}  // namespace caravan::coordinator
