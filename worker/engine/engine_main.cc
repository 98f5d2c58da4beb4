#include "worker/engine/engine_main.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/version.h"
#include "worker/engine/engine.h"
#include "worker/engine/environment.h"

namespace caravan::worker {
namespace {

int RunOnPlatform(int argc, char** argv, Platform& platform) {
  if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("%s %s\n", argv[0], std::string(BuildId()).c_str());
    return 0;
  }
  const absl::StatusOr<EngineEnvironment> environment = ReadEnvironment();
  if (!environment.ok()) {
    std::fprintf(stderr, "%s: %s\n", argv[0],
                 std::string(environment.status().message()).c_str());
    return 2;
  }
  InitializeLog(absl::StrCat("engine r", environment->replica, " e",
                             environment->epoch, " rank ", environment->rank),
                LogLevel::kInfo);
  if (environment->agent_pid != 0) {
    const absl::Status status = FollowIntoDeath(environment->agent_pid);
    if (!status.ok()) {
      LogError(status.message());
      return 1;
    }
  }
  return RunEngine(*environment, platform).ok() ? 0 : 1;
}

}  // namespace

void EngineMain(int argc, char** argv, Platform& platform) {
  const int code = RunOnPlatform(argc, argv, platform);
  // The coordinator has been told all there is to tell.
  std::fflush(nullptr);
  _exit(code);
}

}  // namespace caravan::worker
