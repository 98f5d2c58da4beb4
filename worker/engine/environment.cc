#include "worker/engine/environment.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/engine_environment.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

absl::StatusOr<std::string> Required(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') {
    return absl::FailedPreconditionError(absl::StrCat(
        "engines are started by `caravan serve` or `caravan agent`, not by "
        "hand: the environment lacks ",
        variable));
  }
  return std::string(value);
}

template <typename T>
absl::StatusOr<T> RequiredNumber(const char* variable) {
  CARAVAN_ASSIGN_OR_RETURN(std::string text, Required(variable));
  T value;
  if (!absl::SimpleAtoi(text, &value)) {
    return absl::FailedPreconditionError(
        absl::StrCat("not a number: ", variable, "=", text));
  }
  return value;
}

std::string Optional(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read the token file: ", path));
  }
  return std::string(absl::StripAsciiWhitespace(text.str()));
}

}  // namespace

absl::StatusOr<EngineEnvironment> ReadEnvironment() {
  EngineEnvironment result;
  CARAVAN_ASSIGN_OR_RETURN(result.coordinator, Required(kCoordinatorVariable));
  CARAVAN_ASSIGN_OR_RETURN(std::string token_file,
                           Required(kTokenFileVariable));
  CARAVAN_ASSIGN_OR_RETURN(result.token, ReadToken(token_file));
  CARAVAN_ASSIGN_OR_RETURN(result.node, Required(kNodeVariable));
  CARAVAN_ASSIGN_OR_RETURN(result.replica,
                           RequiredNumber<uint64_t>(kReplicaVariable));
  CARAVAN_ASSIGN_OR_RETURN(result.epoch,
                           RequiredNumber<uint64_t>(kEpochVariable));
  result.under_mpi = std::getenv("OMPI_COMM_WORLD_RANK") != nullptr;
  CARAVAN_ASSIGN_OR_RETURN(
      result.rank, RequiredNumber<int>(result.under_mpi ? "OMPI_COMM_WORLD_RANK"
                                                        : kRankVariable));
  CARAVAN_ASSIGN_OR_RETURN(result.device, Required(kDeviceVariable));
  result.data_address = Optional(kDataAddressVariable);
  result.progress_folder = Optional(kProgressFolderVariable);
  if (!Optional(kAgentPidVariable).empty()) {
    CARAVAN_ASSIGN_OR_RETURN(result.agent_pid,
                             RequiredNumber<int64_t>(kAgentPidVariable));
  }
  return result;
}

absl::Status FollowIntoDeath(int64_t pid) {
  const int descriptor =
      static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
  if (descriptor < 0) {
    const int error = errno;
    return absl::ErrnoToStatus(
        error, absl::StrCat("cannot watch the agent's process: pid=", pid));
  }
  std::thread([descriptor, pid] {
    pollfd watched{.fd = descriptor, .events = POLLIN, .revents = 0};
    while (poll(&watched, 1, -1) < 0 && errno == EINTR) {
    }
    LogError(absl::StrCat("the agent is gone, so this engine ends: pid=", pid));
    _exit(1);
  }).detach();
  return absl::OkStatus();
}

}  // namespace caravan::worker
