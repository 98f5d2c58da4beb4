// What the built-in chat templates are written with.
#ifndef CARAVAN_COORDINATOR_TEXT_CHAT_PIECES_H_
#define CARAVAN_COORDINATOR_TEXT_CHAT_PIECES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"

namespace caravan::coordinator {

// A conversation being laid out. One thread.
class ChatPieces final {
 public:
  void AddTemplateText(absl::string_view text);
  // What somebody wrote.
  void AddContent(absl::string_view text);
  // Takes white space off the end of all that was added since `piece_count()`
  // was `from`, as Python's rstrip would.
  void StripEnd(size_t from);

  size_t piece_count() const { return pieces_.size(); }
  std::vector<ChatPiece> Take() && { return std::move(pieces_); }

 private:
  std::vector<ChatPiece> pieces_;
};

// Python's str.strip() and str.rstrip(): Unicode's white space and U+001C to
// U+001F.
absl::string_view PythonStrip(absl::string_view text);
absl::string_view PythonStripEnd(absl::string_view text);

// kInvalidArgument: no message, or a role other than system, user and
// assistant.
absl::Status CheckRoles(absl::Span<const ChatMessage> messages);

// As CheckRoles; besides, but for a system message in front, user and assistant
// take turns and the user begins.
absl::Status CheckTurns(absl::Span<const ChatMessage> messages);

// Whether the first of `messages`, of which there is one, is the system's.
bool HasSystemMessage(absl::Span<const ChatMessage> messages);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_CHAT_PIECES_H_
