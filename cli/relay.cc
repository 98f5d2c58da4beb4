#include "cli/relay.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "worker/agent/relay_client.h"

namespace caravan::cli {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(25);

}  // namespace

bool IsRelayCommand(int argc, char** argv) {
  return argc >= 2 && absl::string_view(argv[1]) == "relay";
}

int RunRelay(int argc, char** argv) {
  const char* socket = std::getenv(worker::kRelaySocketVariable);
  if (socket == nullptr) {
    std::fprintf(stderr,
                 "caravan relay: only for mpirun that an agent has started "
                 "(%s is not set)\n",
                 worker::kRelaySocketVariable);
    return 1;
  }
  const std::vector<std::string> arguments(argv + 2, argv + argc);
  const absl::Status status = worker::RelayToAgent(socket, arguments, kTimeout);
  if (status.ok()) return 0;
  std::fprintf(stderr, "caravan relay: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace caravan::cli
