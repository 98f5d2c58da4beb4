#include "cli/chat.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "cli/conversation.h"
#include "cli/interrupt.h"
#include "cli/server_choice.h"

namespace caravan::cli {
namespace {

constexpr char kExamples[] =
    R"(While talking: Ctrl-C stops an answer, /clear forgets what was said, /quit
ends. With questions from a pipe, the first answer that fails ends it with an
error.
Examples:
  caravan chat ./SmolLM2-135M-Instruct.Q4_1.gguf
  caravan chat --url http://127.0.0.1:8000 --system "You are a pirate.")";

struct ChatCommand {
  ServerChoice choice;
  std::string system;
};

absl::Status Run(const ChatCommand& command) {
  if (command.choice.url.empty() == command.choice.serve.model.empty()) {
    return absl::InvalidArgumentError(
        "give a model or the address of a server: caravan chat MODEL, or "
        "caravan chat --url URL");
  }
  CARAVAN_ASSIGN_OR_RETURN(const auto interrupt, Interrupt::Create());
  CARAVAN_ASSIGN_OR_RETURN(const ConnectedServer connected,
                           ConnectServer(command.choice, *interrupt));
  LineReader lines(STDIN_FILENO, interrupt->fd());
  ConversationIo io;
  io.lines = &lines;
  io.interrupt = interrupt.get();
  io.write = WriteToTerminal;
  io.is_interactive = isatty(STDIN_FILENO) != 0;
  std::vector<Message> messages;
  if (!command.system.empty()) messages.push_back({"system", command.system});
  return Converse(*connected.client, command.choice.answer, io,
                  std::move(messages));
}

}  // namespace

void AddChatCommand(CLI::App& app, int& exit_code) {
  CLI::App* subcommand = app.add_subcommand(
      "chat", "Talk with a model on the terminal, starting a server for it");
  auto command = std::make_shared<ChatCommand>();
  AddServerChoice(*subcommand, command->choice);
  AddAnswerOptions(*subcommand, command->choice);
  subcommand->add_option("--system", command->system,
                         "What the model is told before the conversation");
  subcommand->footer(kExamples);
  subcommand->callback([command, &exit_code] {
    exit_code = ExitCodeOf(Run(*command), "caravan chat");
  });
}

}  // namespace caravan::cli
