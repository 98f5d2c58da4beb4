#include "cli/agent.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/agent/agent.h"

namespace caravan::cli {
namespace {

// Killing is bounded by 5 s; an agent that has not ended by then is stuck.
constexpr timespec kStopTimeout = {.tv_sec = 6, .tv_nsec = 0};

// The signals that ask this process to end.
sigset_t StopSignalSet() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  return signals;
}

// Turns the first of them, which are blocked in all threads, into a call.
class StopSignals final {
 public:
  explicit StopSignals(std::function<void()> on_stop)
      : thread_([on_stop = std::move(on_stop)] {
          const sigset_t signals = StopSignalSet();
          int signal = 0;
          sigwait(&signals, &signal);
          on_stop();
          // Either the destructor's signal or an impatient user's.
          if (sigtimedwait(&signals, nullptr, &kStopTimeout) < 0) {
            LogError("the agent does not end; giving up");
            _exit(1);
          }
        }) {}
  ~StopSignals() {
    // One for each wait that may last still.
    pthread_kill(thread_.native_handle(), SIGTERM);
    pthread_kill(thread_.native_handle(), SIGINT);
    thread_.join();
  }

 private:
  std::thread thread_;
};

// A descriptor that takes the place of a closed standard one would be handed to
// children as theirs.
void KeepStandardDescriptors() {
  while (true) {
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || fd > STDERR_FILENO) {
      if (fd >= 0) close(fd);
      return;
    }
  }
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "caravan agent: %s\n", status.ToString().c_str());
  return 1;
}

int RunAgent(worker::AgentOptions options, LogLevel log_level) {
  KeepStandardDescriptors();
  InitializeLog(
      options.node.empty() ? "agent" : absl::StrCat("agent ", options.node),
      log_level, /*replaces_last_line=*/true);
  // Before any thread is started, so that all have them blocked.
  const sigset_t stop_signals = StopSignalSet();
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  const absl::StatusOr<std::unique_ptr<worker::Agent>> agent =
      worker::Agent::Create(std::move(options), RealClock());
  if (!agent.ok()) return Fail(agent.status());
  const StopSignals signals([&agent] { (*agent)->Stop(); });
  const absl::Status status = (*agent)->Run();
  return status.ok() ? 0 : Fail(status);
}

}  // namespace

void AddAgentCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "agent", "Make this machine a node of a cluster, until it is stopped");
  command->footer(
      "Start one agent on each machine, in any order, before or after the "
      "coordinator:\n"
      "  caravan agent --join 10.0.0.1:7000 --token-file token --insecure\n"
      "It starts and kills engines as the coordinator says, and kills them all "
      "when it\nloses the coordinator or is stopped.");
  auto options = std::make_shared<worker::AgentOptions>();
  auto log_level = std::make_shared<LogLevel>(LogLevel::kInfo);
  command
      ->add_option("--join", options->coordinator,
                   "Where the coordinator listens, HOST:PORT")
      ->required();
  command
      ->add_option("--token-file", options->token_file,
                   "File with the cluster's secret, as the coordinator has it")
      ->required();
  command->add_option("--node-name", options->node,
                      "This node's name, unique in the cluster (default: the "
                      "host name)");
  command->add_flag("--insecure", options->insecure,
                    "Allow clear text to a coordinator on another machine");
  command->add_option("--runtime-dir", options->runtime_folder,
                      "Folder for sockets and progress pages, one per agent "
                      "(default: by node name under $XDG_RUNTIME_DIR, /run or "
                      "$TMPDIR)");
  command
      ->add_option("--device", options->device,
                   "What this node offers: auto (cores and, where there are "
                   "any, GPUs), cpu, cuda (GPUs only), or simulated")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "simulated"}))
      ->capture_default_str();
  CLI::Option* verbose = command->add_flag_callback(
      "--verbose", [log_level] { *log_level = LogLevel::kDebug; }, "Log more");
  command
      ->add_flag_callback(
          "--quiet", [log_level] { *log_level = LogLevel::kWarning; },
          "Log warnings and errors only, of engines too")
      ->excludes(verbose);
  command->callback([options, log_level, &exit_code] {
    exit_code = RunAgent(*options, *log_level);
  });
}

}  // namespace caravan::cli
