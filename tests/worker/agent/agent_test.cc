#include "worker/agent/agent.h"

#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_split.h"
#include "base/version.h"
#include "tests/worker/agent/agent_fixture.h"
#include "tests/worker/agent/fake_coordinator.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

class AgentTest : public AgentFixture {
 protected:
  // Launches the test engine as rank 0 and waits for its page in a heartbeat.
  static v1::EngineProgress LaunchEngine(FakeCoordinator& coordinator,
                                         const std::string& node,
                                         uint64_t epoch) {
    v1::LaunchEngine launch;
    launch.set_epoch(epoch);
    launch.set_device("simulated");
    return LaunchEngine(coordinator, node, launch);
  }

  static v1::EngineProgress LaunchEngine(FakeCoordinator& coordinator,
                                         const std::string& node,
                                         const v1::LaunchEngine& launch) {
    const uint64_t epoch = launch.epoch();
    v1::AgentCommand command;
    *command.mutable_launch_engine() = launch;
    command.mutable_launch_engine()->set_replica(3);
    coordinator.Send(node, command);
    v1::EngineProgress found;
    const auto report = coordinator.Await(node, [&](const v1::AgentReport& r) {
      for (const v1::EngineProgress& engine : r.heartbeat().engines()) {
        if (engine.epoch() == epoch && engine.step() > 0) found = engine;
      }
      return found.step() > 0;
    });
    EXPECT_TRUE(report.has_value()) << "no heartbeat tells of the engine";
    return found;
  }

  static void KillEpoch(FakeCoordinator& coordinator, const std::string& node,
                        uint64_t epoch) {
    v1::AgentCommand command;
    command.mutable_kill_epoch()->set_replica(3);
    command.mutable_kill_epoch()->set_epoch(epoch);
    coordinator.Send(node, command);
  }

  static std::optional<v1::ProcessExited> AwaitExit(
      FakeCoordinator& coordinator, const std::string& node) {
    const auto report = coordinator.Await(
        node, [](const v1::AgentReport& r) { return r.has_process_exited(); });
    if (!report) return std::nullopt;
    return report->process_exited();
  }
};

TEST_F(AgentTest, SaysWhoItIs) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  const auto report = coordinator.Await(
      "node-a", [](const v1::AgentReport& r) { return r.has_hello(); });
  ASSERT_TRUE(report.has_value());
  const v1::AgentHello& hello = report->hello();
  EXPECT_EQ(hello.token(), "secret");
  EXPECT_EQ(hello.build_id(), std::string(BuildId()));
  EXPECT_EQ(hello.data_address(), "127.0.0.1/8");
  EXPECT_THAT(hello.incarnation(), SizeIs(33));
  ASSERT_THAT(hello.devices(), SizeIs(1));
  EXPECT_EQ(hello.devices(0).kind(), "cpu");
  EXPECT_GT(hello.devices(0).num_cores(), 0);
  EXPECT_GT(hello.devices(0).memory_bytes(), 1 << 20);
  EXPECT_THAT(hello.no_gpu_reason(), HasSubstr("no caravan-engine-cuda"));
  EXPECT_THAT(agent->Stop(), IsOk());
}

TEST_F(AgentTest, TellsOfItsGpus) {
  FakeCoordinator coordinator({});
  AgentOptions options = Options(coordinator.address(), "node-a");
  options.cuda_engine_program = TEST_ENGINE;
  auto agent = StartAgent(options);
  const auto report = coordinator.Await(
      "node-a", [](const v1::AgentReport& r) { return r.has_hello(); });
  ASSERT_TRUE(report.has_value());
  const v1::AgentHello& hello = report->hello();
  ASSERT_THAT(hello.devices(), SizeIs(3));
  EXPECT_EQ(hello.devices(0).kind(), "cpu");
  const v1::Device& gpu = hello.devices(2);
  EXPECT_EQ(gpu.kind(), "cuda");
  EXPECT_EQ(gpu.uuid(), "GPU-2");
  EXPECT_EQ(gpu.name(), "Test GPU");
  EXPECT_EQ(gpu.pci_address(), "0000:02:00.0");
  EXPECT_EQ(gpu.compute_capability(), "9.0");
  EXPECT_EQ(gpu.driver(), "13.0");
  EXPECT_EQ(gpu.memory_bytes(), int64_t{80} << 30);
  EXPECT_THAT(gpu.peers(), ElementsAre("GPU-1"));
  EXPECT_THAT(hello.no_gpu_reason(), IsEmpty());
}

TEST_F(AgentTest, AGpuEngineSeesItsGpuAndItsInterface) {
  FakeCoordinator coordinator({});
  AgentOptions options = Options(coordinator.address(), "node-a");
  options.cuda_engine_program = TEST_ENGINE;
  options.device = "cuda";
  auto agent = StartAgent(options);
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  v1::LaunchEngine launch;
  launch.set_epoch(1);
  launch.set_device("cuda");
  launch.set_device_uuid("GPU-2");
  const v1::EngineProgress engine = LaunchEngine(coordinator, "node-a", launch);
  const absl::StatusOr<std::string> environment =
      ReadSmallFile(absl::StrCat("/proc/", engine.pid(), "/environ"), 1 << 20);
  CARAVAN_ASSERT_OK(environment);
  const std::vector<std::string> variables = absl::StrSplit(*environment, '\0');
  EXPECT_THAT(
      variables,
      IsSupersetOf({"CUDA_VISIBLE_DEVICES=GPU-2", "NCCL_SOCKET_IFNAME==lo",
                    "NCCL_COMM_BLOCKING=0", "CARAVAN_DEVICE=cuda"}));
  std::error_code error;
  EXPECT_EQ(std::filesystem::read_symlink(
                absl::StrCat("/proc/", engine.pid(), "/exe"), error),
            TEST_ENGINE);
}

TEST_F(AgentTest, ABrokenLinkBetweenGpusIsNotUsed) {
  FakeCoordinator coordinator({});
  AgentOptions options = Options(coordinator.address(), "node-a");
  options.cuda_engine_program = TEST_ENGINE;
  setenv("TEST_ENGINE_BROKEN_PEER", "1", 1);
  auto agent = StartAgent(options);
  unsetenv("TEST_ENGINE_BROKEN_PEER");
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  v1::LaunchEngine launch;
  launch.set_epoch(1);
  launch.set_device("cuda");
  launch.set_device_uuid("GPU-1");
  const v1::EngineProgress engine = LaunchEngine(coordinator, "node-a", launch);
  const absl::StatusOr<std::string> environment =
      ReadSmallFile(absl::StrCat("/proc/", engine.pid(), "/environ"), 1 << 20);
  CARAVAN_ASSERT_OK(environment);
  const std::vector<std::string> variables = absl::StrSplit(*environment, '\0');
  EXPECT_THAT(variables, Contains("NCCL_P2P_DISABLE=1"));
}

TEST_F(AgentTest, WithoutAGpuItSaysWhyWhereOneIsWanted) {
  AgentOptions options = Options("127.0.0.1:1", "node-a");
  options.device = "cuda";
  options.cuda_engine_program = "/bin/false";
  EXPECT_THAT(Agent::Create(options, RealClock()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("/bin/false --devices exited with code 1")));
}

TEST_F(AgentTest, DialsUntilTheCoordinatorIsThere) {
  std::string address;
  {
    address = FakeCoordinator({}).address();
  }
  auto agent = StartAgent(Options(address, "node-a"));
  EXPECT_FALSE(agent->AwaitEnd(absl::Milliseconds(300)));
  FakeCoordinator coordinator({.listen = address});
  EXPECT_TRUE(coordinator.AwaitHello("node-a"));
}

TEST_F(AgentTest, GivesUpWhenItIsRefused) {
  FakeCoordinator coordinator(
      {.refusal = absl::PermissionDeniedError("wrong token of node-a")});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(agent->AwaitEnd(absl::Seconds(10)));
  EXPECT_THAT(agent->status(), StatusIs(absl::StatusCode::kPermissionDenied,
                                        HasSubstr("wrong token of node-a")));
}

TEST_F(AgentTest, KeepsDialingAfterOtherErrors) {
  FakeCoordinator coordinator(
      {.refusal = absl::AlreadyExistsError("node-a is here")});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  EXPECT_FALSE(agent->AwaitEnd(absl::Milliseconds(500)));
  EXPECT_THAT(agent->Stop(), IsOk());
}

TEST_F(AgentTest, TellsTheProgressOfItsEngine) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  const v1::EngineProgress engine = LaunchEngine(coordinator, "node-a", 1);
  EXPECT_EQ(engine.replica(), 3u);
  EXPECT_EQ(engine.rank(), 0);
  EXPECT_EQ(engine.step(), 42u);
  EXPECT_EQ(engine.phase(), "compute");
  EXPECT_GT(engine.ticks(), 0u);
  EXPECT_GT(engine.resident_bytes(), 0);
  EXPECT_EQ(getpgid(engine.pid()), engine.pid());
}

TEST_F(AgentTest, TellsHowAnEngineEnded) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  const v1::EngineProgress engine = LaunchEngine(coordinator, "node-a", 1);
  ASSERT_EQ(kill(engine.pid(), SIGKILL), 0);
  const auto exited = AwaitExit(coordinator, "node-a");
  ASSERT_TRUE(exited.has_value());
  EXPECT_EQ(exited->replica(), 3u);
  EXPECT_EQ(exited->epoch(), 1u);
  EXPECT_EQ(exited->rank(), 0);
  EXPECT_EQ(exited->role(), "engine");
  EXPECT_EQ(exited->pid(), engine.pid());
  EXPECT_EQ(exited->reason(), "killed by signal 9 (Killed)");
  EXPECT_EQ(exited->last_words(), "the test engine works\n");
  // Once only, though its page is still there: the next word is a heartbeat
  // without engines.
  EXPECT_TRUE(coordinator.Await("node-a", [](const v1::AgentReport& r) {
    EXPECT_FALSE(r.has_process_exited());
    return r.has_heartbeat() && r.heartbeat().engines_size() == 0;
  }));
}

TEST_F(AgentTest, ClearsAnEpochAndTheEarlierOnes) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  LaunchEngine(coordinator, "node-a", 1);
  LaunchEngine(coordinator, "node-a", 2);
  LaunchEngine(coordinator, "node-a", 5);
  KillEpoch(coordinator, "node-a", 4);
  const auto report = coordinator.Await(
      "node-a", [](const v1::AgentReport& r) { return r.has_epoch_cleared(); });
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->epoch_cleared().epoch(), 4u);
  EXPECT_EQ(report->epoch_cleared().num_killed(), 2);
  EXPECT_EQ(report->epoch_cleared().problem(), "");
  const std::vector<MarkedProcess> left = Marked("node-a");
  ASSERT_THAT(left, SizeIs(1));
  EXPECT_EQ(left[0].mark.epoch.epoch, 5u);
  namespace fs = std::filesystem;
  EXPECT_FALSE(fs::exists(folder_.path() + "/node-a/r3.e1"));
  EXPECT_TRUE(fs::exists(folder_.path() + "/node-a/r3.e5"));
}

TEST_F(AgentTest, StartsNothingOfAnEpochThatIsOver) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  KillEpoch(coordinator, "node-a", 4);
  v1::AgentCommand late;
  late.mutable_launch_engine()->set_replica(3);
  late.mutable_launch_engine()->set_epoch(4);
  late.mutable_launch_engine()->set_device("cpu");
  coordinator.Send("node-a", late);
  const auto report = coordinator.Await(
      "node-a", [](const v1::AgentReport& r) { return r.has_launch_failed(); });
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->launch_failed().code(),
            static_cast<int>(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(report->launch_failed().message(), HasSubstr("r3 e4 is over"));
  EXPECT_THAT(Marked("node-a"), IsEmpty());
}

TEST_F(AgentTest, SaysWhyALaunchFailed) {
  FakeCoordinator coordinator({});
  AgentOptions options = Options(coordinator.address(), "node-a");
  options.engine_program = "/nowhere/caravan-engine";
  auto agent = StartAgent(options);
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  v1::AgentCommand command;
  command.mutable_launch_engine()->set_device("cpu");
  coordinator.Send("node-a", command);
  const auto report = coordinator.Await(
      "node-a", [](const v1::AgentReport& r) { return r.has_launch_failed(); });
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->launch_failed().code(),
            static_cast<int>(absl::StatusCode::kNotFound));
  EXPECT_THAT(report->launch_failed().message(), HasSubstr("node node-a: "));
}

TEST_F(AgentTest, KillsAllWhenTheCoordinatorFallsSilent) {
  FakeCoordinator coordinator({.lease_ms = 700});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  LaunchEngine(coordinator, "node-a", 1);
  coordinator.FallSilent();
  // It kills first and dials again after that.
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  EXPECT_THAT(Marked("node-a"), IsEmpty());
}

TEST_F(AgentTest, KillsAllWhenTheStreamEndsAndJoinsAgain) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  LaunchEngine(coordinator, "node-a", 7);
  coordinator.Drop("node-a");
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  EXPECT_THAT(Marked("node-a"), IsEmpty());
  // The fences of the old membership do not bind the new one.
  EXPECT_EQ(LaunchEngine(coordinator, "node-a", 1).epoch(), 1u);
}

TEST_F(AgentTest, StopsWithAllItsProcesses) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  LaunchEngine(coordinator, "node-a", 1);
  const absl::Time begin = absl::Now();
  EXPECT_THAT(agent->Stop(), IsOk());
  EXPECT_LT(absl::Now() - begin, absl::Seconds(2));
  EXPECT_THAT(Marked("node-a"), IsEmpty());
  EXPECT_TRUE(coordinator.AwaitGone("node-a", absl::Seconds(5)));
}

TEST_F(AgentTest, ShutsDownOnCommand) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  v1::AgentCommand command;
  command.mutable_shutdown();
  coordinator.Send("node-a", command);
  ASSERT_TRUE(agent->AwaitEnd(absl::Seconds(5)));
  EXPECT_THAT(agent->status(), IsOk());
}

TEST_F(AgentTest, OneFolderHasOneAgent) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(Options(coordinator.address(), "node-a"));
  EXPECT_THAT(
      Agent::Create(Options(coordinator.address(), "node-a"), RealClock()),
      StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("--runtime-dir")));
}

TEST_F(AgentTest, RefusesBadOptions) {
  AgentOptions options = Options("10.1.2.3:7000", "node-a");
  EXPECT_THAT(
      Agent::Create(options, RealClock()),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--insecure")));
  options = Options("127.0.0.1", "node-a");
  EXPECT_THAT(Agent::Create(options, RealClock()),
              StatusIs(absl::StatusCode::kInvalidArgument));
  options = Options("127.0.0.1:7000", "no/de");
  EXPECT_THAT(
      Agent::Create(options, RealClock()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--node-name")));
  options = Options("127.0.0.1:7000", "node-a");
  options.token_file = "/nowhere/token";
  EXPECT_THAT(
      Agent::Create(options, RealClock()),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/token")));
}

}  // namespace
}  // namespace caravan::worker
