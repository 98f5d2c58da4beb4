#include "coordinator/text/chat_template.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/builtin_templates.h"

namespace caravan::coordinator {

absl::StatusOr<std::unique_ptr<ChatTemplate>> MakeChatTemplate(
    absl::string_view name) {
  if (name == "llama-2") return MakeLlama2Template();
  if (name == "alpaca") return MakeAlpacaTemplate();
  if (name == "vicuna") return MakeVicunaTemplate();
  if (name == "chatml") return MakeChatMlTemplate(/*default_system=*/"");
  if (name == "llama-3") return MakeLlama3Template(/*always_prompts=*/false);
  return absl::NotFoundError(
      absl::StrCat("no chat template \"", absl::CHexEscape(name),
                   "\"; there are llama-2, alpaca, vicuna, chatml, llama-3"));
}

absl::StatusOr<std::vector<int32_t>> EncodeChat(
    const ChatTemplate& chat_template, const Tokenizer& tokenizer,
    absl::Span<const ChatMessage> messages, bool add_generation_prompt) {
  CARAVAN_ASSIGN_OR_RETURN(
      std::vector<ChatPiece> pieces,
      chat_template.Render(messages, add_generation_prompt));
  // TokenBytes is empty for -1: a checkpoint without such a token gets none.
  for (ChatPiece& piece : pieces) {
    if (!piece.from_template) continue;
    if (piece.text == kBosPiece) {
      piece.text = tokenizer.TokenBytes(tokenizer.bos_token());
    } else if (piece.text == kEosPiece) {
      piece.text = tokenizer.TokenBytes(tokenizer.eos_token());
    }
  }
  return tokenizer.EncodePieces(pieces);
}

}  // namespace caravan::coordinator
