// `caravan status`: what a server is doing.
#ifndef CARAVAN_CLI_STATUS_H_
#define CARAVAN_CLI_STATUS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

// The answer to GET /status as text to read: nodes, ranks with their layers and
// memory, requests. kInvalidArgument: not such an answer.
absl::StatusOr<std::string> FormatStatus(absl::string_view json);

// Adds the subcommand to `app`; `exit_code` must outlive it.
void AddStatusCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_STATUS_H_
