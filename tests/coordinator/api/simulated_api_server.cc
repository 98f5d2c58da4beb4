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

  caravan::testing::SimulatedBackend backend;
  caravan::coordinator::ApiServerOptions options;
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
