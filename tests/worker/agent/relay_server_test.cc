#include "worker/agent/relay_server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/engine_environment.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"
#include "worker/agent/mark.h"
#include "worker/agent/relay_client.h"
#include "worker/agent/spawner.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RelayServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = RelayServer::Start({.socket_path = socket_,
                                      .incarnation = "a-b",
                                      .on_call = [this](RelayCall call) {
                                        absl::MutexLock lock(&mutex_);
                                        calls_.push_back(std::move(call));
                                      }});
    CARAVAN_ASSERT_OK(server);
    server_ = *std::move(server);
  }

  // `caravan relay ARGUMENTS...` as mpirun of `incarnation` starts it.
  SpawnedProcess StartRelay(std::vector<std::string> arguments,
                            const std::string& incarnation) {
    const Mark mark = {incarnation, {.replica = 4, .epoch = 9}};
    arguments.insert(arguments.begin(), "relay");
    absl::StatusOr<SpawnedProcess> process = Spawn(
        {.program = RELAY_PROGRAM,
         .arguments = std::move(arguments),
         .environment = {absl::StrCat(kMarkVariable, "=", FormatMark(mark)),
                         absl::StrCat(kRelaySocketVariable, "=", socket_)}});
    EXPECT_THAT(process, testing::IsOk());
    return process.ok() ? *std::move(process) : SpawnedProcess();
  }

  std::optional<RelayCall> AwaitCall() {
    absl::MutexLock lock(&mutex_);
    const auto some = [this] { return !calls_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&some), absl::Seconds(10))) {
      return std::nullopt;
    }
    return calls_.back();
  }

  static int ExitCode(const SpawnedProcess& process) {
    int status = -1;
    waitpid(process.pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static std::string Output(const SpawnedProcess& process) {
    std::string text(4096, '\0');
    const ssize_t count = read(process.output.get(), text.data(), text.size());
    text.resize(count < 0 ? 0 : count);
    return text;
  }

  TemporaryFolder folder_;
  const std::string socket_ = folder_.path() + "/socket";
  absl::Mutex mutex_;
  std::vector<RelayCall> calls_;
  std::unique_ptr<RelayServer> server_;
};

TEST_F(RelayServerTest, PassesTheCallOnAndTheAnswerBack) {
  const SpawnedProcess relay =
      StartRelay({"node-b", " orted", "-mca", "ess", "\"env\""}, "a-b");
  const std::optional<RelayCall> call = AwaitCall();
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->epoch, (EpochKey{4, 9}));
  EXPECT_EQ(call->daemon.target_node, "node-b");
  EXPECT_THAT(call->daemon.arguments, ElementsAre("-mca", "ess", "env"));
  server_->Answer(call->request, absl::OkStatus());
  EXPECT_EQ(ExitCode(relay), 0);
  server_->Answer(call->request, absl::OkStatus());  // gone: no matter
}

TEST_F(RelayServerTest, ARefusalIsPrinted) {
  const SpawnedProcess relay = StartRelay({"node-b", "orted"}, "a-b");
  const std::optional<RelayCall> call = AwaitCall();
  ASSERT_TRUE(call.has_value());
  server_->Answer(call->request, absl::NotFoundError("no node node-b"));
  EXPECT_EQ(ExitCode(relay), 1);
  EXPECT_THAT(Output(relay), HasSubstr("NOT_FOUND: no node node-b"));
}

TEST_F(RelayServerTest, ServesOnlyWhatItsAgentStarted) {
  const SpawnedProcess relay = StartRelay({"node-b", "orted"}, "a-c");
  EXPECT_EQ(ExitCode(relay), 1);
  EXPECT_THAT(Output(relay), HasSubstr("PERMISSION_DENIED"));
  // This process has no mark at all.
  EXPECT_THAT(RelayToAgent(socket_, {"node-b", "orted"}, absl::Seconds(10)),
              StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_TRUE(calls_.empty());
}

TEST_F(RelayServerTest, RefusesAnythingButADaemon) {
  const SpawnedProcess relay = StartRelay({"node-b", "rm", "-rf", "/"}, "a-b");
  EXPECT_EQ(ExitCode(relay), 1);
  EXPECT_THAT(Output(relay), HasSubstr("INVALID_ARGUMENT"));
}

TEST_F(RelayServerTest, OutlivesCallersThatHangUp) {
  for (int i = 0; i < 3; ++i) {
    const UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address = {.sun_family = AF_UNIX};
    socket_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                      sizeof(address)),
              0);
  }
  const SpawnedProcess relay = StartRelay({"node-b", "orted"}, "a-b");
  const std::optional<RelayCall> call = AwaitCall();
  ASSERT_TRUE(call.has_value());
  server_->Answer(call->request, absl::OkStatus());
  EXPECT_EQ(ExitCode(relay), 0);
}

TEST_F(RelayServerTest, ARelayWithoutAnAgentSaysSo) {
  EXPECT_THAT(
      RelayToAgent(folder_.path() + "/none", {"b", "orted"}, absl::Seconds(1)),
      StatusIs(absl::StatusCode::kNotFound));
  server_.reset();
  EXPECT_THAT(RelayToAgent(socket_, {"b", "orted"}, absl::Seconds(1)),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace caravan::worker
