// The chat templates that are compiled in, one file each.
#ifndef CARAVAN_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H_
#define CARAVAN_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H_

#include <memory>
#include <string>

#include "coordinator/text/chat_template.h"

namespace caravan::coordinator {

// OpenAI's ChatML. `default_system`: what the system says in a conversation
// that does not begin with it; empty: nothing. Only the first message is looked
// at, as SmolLM2's and Qwen's templates do.
std::unique_ptr<ChatTemplate> MakeChatMlTemplate(std::string default_system);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H_
