// A conversation on a terminal, turn by turn.
#ifndef CARAVAN_CLI_CONVERSATION_H_
#define CARAVAN_CLI_CONVERSATION_H_

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cli/answers.h"
#include "cli/http_client.h"
#include "cli/interrupt.h"

namespace caravan::cli {

struct ConversationIo {
  LineReader* lines = nullptr;
  Interrupt* interrupt = nullptr;  // null: there is none
  OnText write;
  // Whether a person types the lines, who sees that an answer failed.
  bool is_interactive = true;
};

// Reads lines and has them answered until the input ends; `messages` is the
// conversation so far, to which each turn is added. An answer that was
// interrupted stays in it as far as it came; a turn that failed is taken back,
// and the error is shown. Without a person the first answer that fails or is
// interrupted ends the conversation with its error. "/quit" ends it, and so
// does an interrupt while nothing is being answered; "/clear" forgets what was
// said.
absl::Status Converse(const HttpClient& client, const AnswerOptions& options,
                      const ConversationIo& io, std::vector<Message> messages);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_CONVERSATION_H_
