#include "cli/run.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "cli/answers.h"
#include "cli/interrupt.h"
#include "cli/server_choice.h"

namespace caravan::cli {
namespace {

constexpr char kExamples[] = R"(Examples:
  caravan run ./llama-2-7b "Once upon a time"
  caravan run --url http://127.0.0.1:8000 "Once upon a time" --max-tokens 50)";

struct RunCommand {
  ServerChoice choice;
  std::string prompt;
};

absl::Status Run(RunCommand command) {
  std::string& model = command.choice.serve.model;
  if (!command.choice.url.empty()) {
    if (!command.prompt.empty()) {
      return absl::InvalidArgumentError(
          "give the prompt alone: caravan run --url URL PROMPT");
    }
    // The first argument is the prompt then.
    command.prompt = std::exchange(model, std::string());
  } else if (model.empty()) {
    return absl::InvalidArgumentError(
        "give a model and a prompt: caravan run MODEL PROMPT");
  }
  if (command.prompt.empty()) {
    return absl::InvalidArgumentError("give a prompt");
  }
  CARAVAN_ASSIGN_OR_RETURN(const auto interrupt, Interrupt::Create());
  CARAVAN_ASSIGN_OR_RETURN(const ConnectedServer connected,
                           ConnectServer(command.choice, *interrupt));
  const absl::Status status = StreamCompletion(
      *connected.client, command.choice.answer, command.prompt,
      [](absl::string_view text) { WriteToTerminal(ForTerminal(text)); });
  WriteToTerminal("\n");
  return status;
}

}  // namespace

void AddRunCommand(CLI::App& app, int& exit_code) {
  CLI::App* subcommand = app.add_subcommand(
      "run", "Continue a prompt on the terminal, starting a server for it");
  auto command = std::make_shared<RunCommand>();
  command->choice.answer.max_tokens = 256;
  AddServerChoice(*subcommand, command->choice);
  AddAnswerOptions(*subcommand, command->choice);
  subcommand->add_option("prompt", command->prompt, "What to continue")
      ->type_name("PROMPT");
  subcommand->footer(kExamples);
  subcommand->callback([command, &exit_code] {
    exit_code = ExitCodeOf(Run(*command), "caravan run");
  });
}

}  // namespace caravan::cli
