#include "cli/conversation.h"

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace caravan::cli {
namespace {

// One turn: the question is the last of `messages`; the answer is added.
absl::Status Answer(const HttpClient& client, const AnswerOptions& options,
                    const ConversationIo& io, std::vector<Message>* messages) {
  std::string answer;
  const absl::Status status =
      StreamChat(client, options, *messages, [&](absl::string_view text) {
        answer.append(text.data(), text.size());
        io.write(ForTerminal(text));
      });
  io.write("\n");
  if (status.ok() || absl::IsCancelled(status)) {
    messages->push_back({"assistant", answer});
  } else {
    messages->pop_back();
  }
  return status;
}

// Errors after which the next question is as hopeless as this one.
bool IsFinal(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsNotFound(status) ||
         absl::IsUnimplemented(status);
}

// The next question; nullopt: there is none.
absl::StatusOr<std::optional<std::string>> Ask(const ConversationIo& io) {
  for (;;) {
    io.write("> ");
    const absl::StatusOr<std::optional<std::string>> line = io.lines->Read();
    if (absl::IsCancelled(line.status()) || (line.ok() && !line->has_value())) {
      io.write("\n");  // the shell's prompt begins a line
      return std::nullopt;
    }
    if (!line.ok()) return line.status();
    std::string question(absl::StripAsciiWhitespace(**line));
    if (question == "/quit" || question == "/exit") return std::nullopt;
    if (!question.empty()) return question;
  }
}

}  // namespace

absl::Status Converse(const HttpClient& client, const AnswerOptions& options,
                      const ConversationIo& io, std::vector<Message> messages) {
  const std::vector<Message> beginning = messages;
  for (;;) {
    const absl::StatusOr<std::optional<std::string>> question = Ask(io);
    if (!question.ok()) return question.status();
    if (!question->has_value()) return absl::OkStatus();
    if (**question == "/clear") {
      messages = beginning;
      continue;
    }
    messages.push_back({"user", **question});
    const absl::Status status = Answer(client, options, io, &messages);
    if (!status.ok() && !io.is_interactive) return status;
    if (io.interrupt != nullptr) {
      if (io.interrupt->ends_process()) return absl::OkStatus();
      io.interrupt->Clear();
    }
    if (IsFinal(status)) return status;
    if (!status.ok() && !absl::IsCancelled(status)) {
      io.write(absl::StrCat("(", status.message(), ")\n"));
    }
  }
}

}  // namespace caravan::cli
