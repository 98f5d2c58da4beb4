// `caravan chat`: a conversation on the terminal.
#ifndef CARAVAN_CLI_CHAT_H_
#define CARAVAN_CLI_CHAT_H_

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

// Adds the subcommand to `app`; `exit_code` must outlive it. Ctrl-C stops an
// answer; while nothing is being answered, it ends the conversation, as the end
// of the input does. Call it before any thread is started.
void AddChatCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_CHAT_H_
