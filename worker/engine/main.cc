// caravan-engine: one rank on CPU. Started by an agent, never by hand.

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

int Main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("caravan-engine %s\n", std::string(BuildId()).c_str());
    return 0;
  }
  const absl::StatusOr<EngineEnvironment> environment = ReadEnvironment();
  if (!environment.ok()) {
    std::fprintf(stderr, "caravan-engine: %s\n",
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
  return RunEngine(*environment).ok() ? 0 : 1;
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  const int code = caravan::worker::Main(argc, argv);
  // Not exit(): other ranks may be dead, and MPI's and gRPC's farewells wait
  // for peers. The coordinator has been told all there is to tell.
  std::fflush(nullptr);
  _exit(code);
}
