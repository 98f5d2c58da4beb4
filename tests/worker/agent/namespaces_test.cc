// Agents as processes on emulated hosts (tests/system/namespaces.sh), mpirun
// through the relay, real sockets between the hosts.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/worker/agent/agent_fixture.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "worker/agent/launch_environment.h"
#include "worker/agent/spawner.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOk;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace fs = std::filesystem;

struct ScriptResult {
  int exit_code = -1;
  std::string output;
};

ScriptResult Script(const std::string& arguments) {
  ScriptResult result;
  FILE* pipe =
      popen(absl::StrCat(NAMESPACES_SCRIPT, " ", arguments).c_str(), "re");
  if (pipe == nullptr) return result;
  std::array<char, 256> buffer;
  while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    result.output += buffer.data();
  }
  result.exit_code = WEXITSTATUS(pclose(pipe));
  return result;
}

class NamespacesTest : public AgentFixture {
 protected:
  static constexpr int kNumHosts = 2;

  void SetUp() override {
    const ScriptResult check = Script("check");
    if (check.exit_code != 0) {
      GTEST_SKIP() << "no namespaces here: " << check.output;
    }
    const ScriptResult up = Script(absl::StrCat("up ", lab_, " ", kNumHosts));
    ASSERT_EQ(up.exit_code, 0) << up.output;
    FakeCoordinator::Options options;
    bridge_ = std::string(absl::StripAsciiWhitespace(up.output));
    options.listen = absl::StrCat(bridge_, ":0");
    options.lease_ms = 1500;
    coordinator_.emplace(options);
    // As an installation has them: one folder, the engine beside `caravan`.
    programs_ = folder_.path() + "/bin";
    fs::create_directory(programs_);
    fs::copy_file(RELAY_PROGRAM, programs_ + "/caravan");
    fs::copy_file(MPI_TEST_ENGINE, programs_ + "/caravan-engine");
    CARAVAN_ASSERT_OK(WriteSmallFile(folder_.path() + "/token", "secret"));
    for (int host = 1; host <= kNumHosts; ++host) StartHost(host);
    for (int host = 1; host <= kNumHosts; ++host) {
      ASSERT_TRUE(coordinator_->AwaitHello(Node(host))) << Log(host);
    }
  }

  void TearDown() override {
    for (const SpawnedProcess& agent : agents_) kill(agent.pid, SIGTERM);
    for (const SpawnedProcess& agent : agents_) {
      waitpid(agent.pid, nullptr, 0);
    }
    Script(absl::StrCat("down ", lab_));
    if (HasFailure()) {
      for (int host = 1; host <= kNumHosts; ++host) {
        std::fprintf(stderr, "%s", Log(host).c_str());
      }
    }
  }

  std::string Node(int host) const { return absl::StrCat(lab_, "-", host); }
  std::string LogPath(int host) const {
    return absl::StrCat(folder_.path(), "/log", host);
  }
  std::string Log(int host) const {
    return ReadSmallFile(LogPath(host), 1 << 20).value_or("no log");
  }

  void StartHost(int host) {
    // Each host has a current folder that the other one does not have.
    const std::string homes = folder_.path() + "/homes";
    fs::create_directory(homes);
    const std::string agent_command = absl::StrCat(
        "mount -t tmpfs none ", homes, " && mkdir ", homes, "/", host,
        " && cd ", homes, "/", host, " && exec ", programs_,
        "/caravan agent --join ", coordinator_->address(), " --token-file ",
        folder_.path(), "/token --insecure --runtime-dir ", folder_.path(), "/",
        Node(host));
    absl::StatusOr<SpawnedProcess> agent = Spawn(
        {.program = "/bin/sh",
         .arguments = {"-c",
                       absl::StrCat("exec ", NAMESPACES_SCRIPT, " exec ", lab_,
                                    " ", host, " sh -c '", agent_command,
                                    "' >>", LogPath(host), " 2>&1")},
         .environment = InheritedEnvironment()});
    CARAVAN_ASSERT_OK(agent);
    agents_.push_back(*std::move(agent));
  }

  // One rank on each host, led by the second.
  void Launch() {
    v1::AgentCommand command;
    v1::LaunchMpi& launch = *command.mutable_launch_mpi();
    launch.set_epoch(1);
    for (int host = 1; host <= kNumHosts; ++host) {
      v1::MpiHost& mpi_host = *launch.add_hosts();
      mpi_host.set_node(Node(host));
      mpi_host.set_slots(1);
    }
    launch.add_subnets(
        absl::StrCat(bridge_.substr(0, bridge_.rfind('.')), ".0/24"));
    coordinator_->Send(Node(2), command);
    for (int host = 1; host <= kNumHosts; ++host) {
      const auto report =
          coordinator_->Await(Node(host), [&](const v1::AgentReport& r) {
            return r.heartbeat().engines_size() == 1 &&
                   r.heartbeat().engines(0).step() == 1001;
          });
      ASSERT_TRUE(report.has_value()) << "no rank on " << Node(host);
      engines_[host] = report->heartbeat().engines(0);
    }
  }

  // Bytes that a host has received.
  int64_t ReceivedBytes(int host) const {
    const std::vector<std::string> counts = absl::StrSplit(
        Script(absl::StrCat("bytes ", lab_, " ", host)).output, ' ');
    int64_t bytes = -1;
    EXPECT_TRUE(absl::SimpleAtoi(counts[0], &bytes));
    return bytes;
  }

  const std::string lab_ = absl::StrCat("ag", getpid() % 100000);
  std::string bridge_;
  std::string programs_;
  std::optional<FakeCoordinator> coordinator_;
  std::vector<SpawnedProcess> agents_;
  std::map<int, v1::EngineProgress> engines_;
};

TEST_F(NamespacesTest, RanksMeetAcrossHostsAndAreCleared) {
  Launch();
  ASSERT_THAT(engines_, SizeIs(2));
  EXPECT_EQ(engines_.at(1).rank(), 0);
  EXPECT_EQ(engines_.at(2).rank(), 1);
  // The test engine's megabytes crossed the wires, not shared memory.
  EXPECT_GT(ReceivedBytes(1), 4 << 20);
  EXPECT_GT(ReceivedBytes(2), 4 << 20);
  for (int host = 1; host <= kNumHosts; ++host) {
    v1::AgentCommand command;
    command.mutable_kill_epoch()->set_epoch(1);
    coordinator_->Send(Node(host), command);
    const auto cleared = coordinator_->Await(
        Node(host),
        [](const v1::AgentReport& r) { return r.has_epoch_cleared(); });
    ASSERT_TRUE(cleared.has_value());
    // mpirun on the second host may have ended its own before it is told to.
    if (host == 1) {
      EXPECT_GT(cleared->epoch_cleared().num_killed(), 0);
    }
    EXPECT_EQ(cleared->epoch_cleared().problem(), "");
    EXPECT_THAT(Marked(Node(host)), IsEmpty());
  }
}

TEST_F(NamespacesTest, AHostWithoutItsCableKillsItsEnginesAndComesBack) {
  Launch();
  ASSERT_THAT(engines_, SizeIs(2));
  ASSERT_EQ(Script(absl::StrCat("link ", lab_, " 1 down")).exit_code, 0);
  // The host's own lease: nobody can tell it anything.
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (kill(engines_.at(1).pid(), 0) == 0 && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_THAT(Marked(Node(1)), IsEmpty());
  ASSERT_EQ(Script(absl::StrCat("link ", lab_, " 1 up")).exit_code, 0);
  EXPECT_TRUE(coordinator_->AwaitHello(Node(1)));
}

TEST_F(NamespacesTest, AnAgentEndsWithinTwoSecondsOfSigterm) {
  Launch();
  ASSERT_THAT(engines_, SizeIs(2));
  const absl::Time begin = absl::Now();
  ASSERT_EQ(kill(agents_[0].pid, SIGTERM), 0);
  int status = -1;
  ASSERT_EQ(waitpid(agents_[0].pid, &status, 0), agents_[0].pid);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(2));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_THAT(Marked(Node(1)), IsEmpty());
  agents_.erase(agents_.begin());
}

TEST_F(NamespacesTest, ANewAgentKillsWhatAKilledOneLeft) {
  Launch();
  ASSERT_THAT(engines_, SizeIs(2));
  // The daemon dies with its agent; the rank below it is stopped, so that it
  // cannot notice. (Often: the kernel may hang up an orphaned stopped group,
  // and then there is nothing left to find.)
  ASSERT_EQ(kill(engines_.at(1).pid(), SIGSTOP), 0);
  ASSERT_EQ(kill(agents_[0].pid, SIGKILL), 0);
  ASSERT_EQ(waitpid(agents_[0].pid, nullptr, 0), agents_[0].pid);
  agents_.erase(agents_.begin());
  StartHost(1);
  ASSERT_TRUE(coordinator_->AwaitHello(Node(1)));
  EXPECT_THAT(Marked(Node(1)), IsEmpty());
}

}  // namespace
}  // namespace caravan::worker
