// The agent with the real mpirun.
#include <signal.h>

#include <cstdlib>
#include <map>
#include <set>

#include "tests/worker/agent/agent_fixture.h"
#include "tests/worker/agent/fake_coordinator.h"

namespace caravan::worker {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MpiLaunchTest : public AgentFixture {
 protected:
  AgentOptions MpiOptions(const std::string& coordinator,
                          const std::string& node) {
    AgentOptions options = Options(coordinator, node);
    options.engine_program = MPI_TEST_ENGINE;
    return options;
  }

  static void Launch(FakeCoordinator& coordinator, const std::string& lead,
                     const std::vector<std::pair<std::string, int>>& hosts) {
    v1::AgentCommand command;
    command.mutable_launch_mpi()->set_replica(0);
    command.mutable_launch_mpi()->set_epoch(1);
    for (const auto& [node, slots] : hosts) {
      v1::MpiHost& host = *command.mutable_launch_mpi()->add_hosts();
      host.set_node(node);
      host.set_slots(slots);
    }
    coordinator.Send(lead, command);
  }

  // The engines of a node once `count` of them have met all others.
  static std::map<int, v1::EngineProgress> AwaitEngines(
      FakeCoordinator& coordinator, const std::string& node, int count) {
    const auto report = coordinator.Await(node, [&](const v1::AgentReport& r) {
      int num_met = 0;
      for (const auto& engine : r.heartbeat().engines()) {
        num_met += engine.step() >= 1000;
      }
      return num_met == count;
    });
    std::map<int, v1::EngineProgress> engines;
    EXPECT_TRUE(report.has_value()) << count << " ranks on " << node;
    if (!report) return engines;
    for (const auto& engine : report->heartbeat().engines()) {
      engines[engine.rank()] = engine;
    }
    return engines;
  }

  // How many the agent had to kill.
  static int KillAndAwait(FakeCoordinator& coordinator,
                          const std::string& node) {
    v1::AgentCommand command;
    command.mutable_kill_epoch()->set_replica(0);
    command.mutable_kill_epoch()->set_epoch(1);
    coordinator.Send(node, command);
    const auto cleared = coordinator.Await(
        node, [](const v1::AgentReport& r) { return r.has_epoch_cleared(); });
    EXPECT_TRUE(cleared.has_value());
    if (!cleared) return -1;
    EXPECT_EQ(cleared->epoch_cleared().problem(), "");
    return cleared->epoch_cleared().num_killed();
  }
};

TEST_F(MpiLaunchTest, RunsRanksOnOneMachineAndClearsThem) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(MpiOptions(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  Launch(coordinator, "node-a", {{"node-a", 3}});
  const auto engines = AwaitEngines(coordinator, "node-a", 3);
  ASSERT_EQ(engines.size(), 3u);
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(engines.at(rank).step(), 1003u);
  }
  EXPECT_GT(KillAndAwait(coordinator, "node-a"), 0);
  EXPECT_THAT(Marked("node-a"), IsEmpty());
}

// Two agents on one machine: node-b's daemon is asked for through the relay.
TEST_F(MpiLaunchTest, ReachesTheOtherAgentThroughTheRelay) {
  FakeCoordinator coordinator({});
  auto agent_a = StartAgent(MpiOptions(coordinator.address(), "node-a"));
  auto agent_b = StartAgent(MpiOptions(coordinator.address(), "node-b"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-b"));
  Launch(coordinator, "node-a", {{"node-b", 1}, {"node-a", 2}});
  // Ranks follow the order of the hosts, not who leads.
  const auto on_a = AwaitEngines(coordinator, "node-a", 2);
  const auto on_b = AwaitEngines(coordinator, "node-b", 1);
  EXPECT_TRUE(on_b.count(0) == 1 && on_a.count(1) == 1 && on_a.count(2) == 1);
  EXPECT_GT(KillAndAwait(coordinator, "node-a"), 0);
  // Its daemon may have ended by itself when mpirun was gone.
  EXPECT_GE(KillAndAwait(coordinator, "node-b"), 0);
  EXPECT_THAT(Marked("node-a"), IsEmpty());
  EXPECT_THAT(Marked("node-b"), IsEmpty());
}

TEST_F(MpiLaunchTest, NamesTheRankThatDied) {
  FakeCoordinator coordinator({});
  auto agent = StartAgent(MpiOptions(coordinator.address(), "node-a"));
  ASSERT_TRUE(coordinator.AwaitHello("node-a"));
  Launch(coordinator, "node-a", {{"node-a", 2}});
  const auto engines = AwaitEngines(coordinator, "node-a", 2);
  ASSERT_EQ(engines.size(), 2u);
  ASSERT_EQ(kill(engines.at(1).pid(), SIGKILL), 0);
  // The first word is about the rank, long before mpirun ends.
  const auto report = coordinator.Await("node-a", [](const v1::AgentReport& r) {
    return r.has_process_exited();
  });
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->process_exited().role(), "engine");
  EXPECT_EQ(report->process_exited().rank(), 1);
  EXPECT_EQ(report->process_exited().pid(), engines.at(1).pid());
  const auto mpirun = coordinator.Await("node-a", [](const v1::AgentReport& r) {
    return r.process_exited().role() == "mpirun";
  });
  ASSERT_TRUE(mpirun.has_value());
  EXPECT_THAT(mpirun->process_exited().last_words(), HasSubstr("node-a"));
}

}  // namespace
}  // namespace caravan::worker
