#include "coordinator/text/chat_pieces.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

constexpr size_t kMaxRoleShown = 32;

bool IsPythonSpace(uint32_t code_point) {
  return IsWhiteSpace(code_point) || (code_point >= 0x1C && code_point <= 0x1F);
}

// The last character, or the last byte of what is not UTF-8.
absl::string_view LastCharacter(absl::string_view text) {
  for (size_t length = 1; length <= 4 && length <= text.size(); ++length) {
    const absl::string_view end = text.substr(text.size() - length);
    const Utf8Sequence front = FrontUtf8(end);
    if (front.kind == Utf8Sequence::Kind::kCharacter &&
        front.length == length) {
      return end;
    }
  }
  return text.substr(text.size() - 1);
}

}  // namespace

void ChatPieces::AddTemplateText(absl::string_view text) {
  pieces_.push_back({.text = std::string(text), .from_template = true});
}

void ChatPieces::AddContent(absl::string_view text) {
  pieces_.push_back({.text = std::string(text), .from_template = false});
}

void ChatPieces::StripEnd(size_t from) {
  while (pieces_.size() > from) {
    std::string& last = pieces_.back().text;
    last.resize(PythonStripEnd(last).size());
    if (!last.empty()) return;
    pieces_.pop_back();
  }
}

absl::string_view PythonStripEnd(absl::string_view text) {
  while (!text.empty()) {
    const absl::string_view last = LastCharacter(text);
    if (!IsPythonSpace(FrontUtf8(last).code_point)) break;
    text.remove_suffix(last.size());
  }
  return text;
}

absl::string_view PythonStrip(absl::string_view text) {
  text = PythonStripEnd(text);
  while (!text.empty()) {
    const Utf8Sequence front = FrontUtf8(text);
    if (!IsPythonSpace(front.code_point)) break;
    text.remove_prefix(front.length);
  }
  return text;
}

absl::Status CheckRoles(absl::Span<const ChatMessage> messages) {
  if (messages.empty()) return absl::InvalidArgumentError("no messages");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role == "system" || role == "user" || role == "assistant") continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "messages[", i, "] has the role \"",
        absl::CHexEscape(absl::string_view(role).substr(0, kMaxRoleShown)),
        "\"; this model knows system, user and assistant"));
  }
  return absl::OkStatus();
}

absl::Status CheckTurns(absl::Span<const ChatMessage> messages) {
  CARAVAN_RETURN_IF_ERROR(CheckRoles(messages));
  const size_t first = HasSystemMessage(messages) ? 1 : 0;
  for (size_t i = first; i < messages.size(); ++i) {
    const absl::string_view expected =
        (i - first) % 2 == 0 ? "user" : "assistant";
    if (messages[i].role == expected) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("messages[", i, "] has the role \"", messages[i].role,
                     "\" where \"", expected,
                     "\" is due: after an optional system message, user and "
                     "assistant take turns"));
  }
  return absl::OkStatus();
}

bool HasSystemMessage(absl::Span<const ChatMessage> messages) {
  return messages[0].role == "system";
}

}  // namespace caravan::coordinator
