// A server over simulated engines as a program, for clients in other
// languages. Prints its address; ends on SIGTERM.
#include <signal.h>

#include <cstdio>

#include "coordinator/api/api_server.h"
#include "tests/coordinator/api/simulated_backend.h"

int main() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  // Before any thread, so that none takes them.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  // Steps slower than a stream may be silent: clients see comments too.
  caravan::testing::SimulatedBackend backend(
      {.per_step = absl::Milliseconds(3)});
  caravan::coordinator::ApiServerOptions options;
  options.limits.longest_silence = absl::Milliseconds(1);
  options.port = 0;
  options.model = backend.model();
  options.scheduler = &backend.scheduler();
  auto server = caravan::coordinator::ApiServer::Start(options);
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    return 1;
  }
  std::printf("http://127.0.0.1:%d\n", (*server)->port());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  (*server)->Shutdown(absl::Seconds(2));
  return 0;
}
