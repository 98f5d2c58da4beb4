// The chat templates that are compiled in, one file each.
#ifndef CARAVAN_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H_
#define CARAVAN_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/text/chat_template.h"

namespace caravan::coordinator {

// Where a template puts the tokenizer's first and last token. EncodeChat puts
// in what the checkpoint calls them.
inline constexpr absl::string_view kBosPiece = "<s>";
inline constexpr absl::string_view kEosPiece = "</s>";

// OpenAI's ChatML. `default_system`: what the system says in a conversation
// that does not begin with it; empty: nothing. Only the first message is looked
// at, as SmolLM2's and Qwen's templates do.
std::unique_ptr<ChatTemplate> MakeChatMlTemplate(std::string default_system);

// Llama 2 Chat's: the system's message goes into the user's first.
std::unique_ptr<ChatTemplate> MakeLlama2Template();

// Llama 3 Instruct's, without the dates and tools of 3.1. `always_prompts`: the
// first release's asks for an answer whether told to or not.
std::unique_ptr<ChatTemplate> MakeLlama3Template(bool always_prompts);

// Stanford Alpaca's prompt without input, carried on over several turns. A
// system message takes the place of its first sentence.
std::unique_ptr<ChatTemplate> MakeAlpacaTemplate();

// Vicuna 1.1's and 1.5's, as FastChat lays it out. A system message takes the
// place of its own.
std::unique_ptr<ChatTemplate> MakeVicunaTemplate();

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H_
