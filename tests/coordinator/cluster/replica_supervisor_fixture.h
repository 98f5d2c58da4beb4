// A replica's supervisor with a fake clock, and what it wants done.
#ifndef CARAVAN_TESTS_COORDINATOR_CLUSTER_REPLICA_SUPERVISOR_FIXTURE_H_
#define CARAVAN_TESTS_COORDINATOR_CLUSTER_REPLICA_SUPERVISOR_FIXTURE_H_

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/cluster/placement.h"
#include "coordinator/cluster/replica_supervisor.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {

inline Node MakeNode(const std::string& name, const std::string& address) {
  Node node;
  node.name = name;
  node.data_address = address;
  v1::Device device;
  device.set_kind("cpu");
  device.set_num_cores(4);
  node.devices.push_back(device);
  return node;
}

// Ranks dealt over the nodes in contiguous blocks, as if on such devices.
inline v1::EnginePlan Spread(const std::vector<Node>& nodes, int tp, int pp,
                             const std::string& devices) {
  v1::EnginePlan plan;
  plan.set_tp(tp);
  plan.set_pp(pp);
  const std::vector<RankPlacement> placement =
      *PlaceRanks(nodes, {.tp = tp, .pp = pp});
  for (size_t i = 0; i < placement.size(); ++i) {
    v1::RankPlan* rank = plan.add_ranks();
    rank->set_rank(static_cast<int>(i));
    rank->set_node(placement[i].device.node);
    rank->set_device((*StageDevices(devices, pp))[i / tp]);
    if (rank->device() == "cuda") {
      rank->set_device_uuid(absl::StrCat("GPU-", i));
    }
  }
  return plan;
}

// What the supervisor wanted done, sorted by kind.
struct Wishes {
  std::vector<ToAgent> agents;
  std::vector<ToEngine> engines;
  std::vector<EpochStarted> started;
  std::vector<EpochEnded> ended;
  std::vector<std::string> errors;
  std::vector<std::string> lines;  // below error
  std::vector<absl::Status> gave_up;

  void operator()(ToAgent action) { agents.push_back(std::move(action)); }
  void operator()(ToEngine action) { engines.push_back(std::move(action)); }
  void operator()(EpochStarted action) { started.push_back(action); }
  void operator()(EpochEnded action) { ended.push_back(action); }
  void operator()(LogLine line) {
    (line.level == LogLevel::kError ? errors : lines).push_back(line.text);
  }
  void operator()(GiveUp action) { gave_up.push_back(action.status); }

  // Nodes that got KillEpoch of this epoch.
  std::vector<std::string> Killed(uint64_t epoch) const {
    std::vector<std::string> nodes;
    for (const ToAgent& action : agents) {
      if (action.command.has_kill_epoch() &&
          action.command.kill_epoch().epoch() == epoch) {
        nodes.push_back(action.node);
      }
    }
    return nodes;
  }
};

class ReplicaSupervisorTest : public ::testing::Test {
 protected:
  void Make(int tp, int pp, int num_nodes) {
    SupervisorOptions options;
    options.num_nodes = num_nodes;
    options.max_start_failures = max_start_failures_;
    options.draw_secret = [this]() -> absl::StatusOr<std::string> {
      return absl::StrCat("secret ", ++num_secrets_);
    };
    options.plan =
        [this, tp,
         pp](const std::vector<Node>& nodes) -> absl::StatusOr<v1::EnginePlan> {
      if (!plan_status_.ok()) return plan_status_;
      return Spread(nodes, tp, pp, device_);
    };
    supervisor_ = std::make_unique<ReplicaSupervisor>(options, &clock_);
  }

  Wishes Take() {
    Wishes wishes;
    for (SupervisorAction& action : supervisor_->TakeActions()) {
      std::visit(wishes, std::move(action));
    }
    return wishes;
  }

  void Join(const std::string& name) {
    supervisor_->OnNodeJoined(
        MakeNode(name, absl::StrCat("10.0.0.", name.back() - 'a' + 1, "/24")));
  }

  void Lose(const std::string& name, const std::string& reason) {
    supervisor_->OnNodeLost({.node = MakeNode(name, ""), .reason = reason});
  }

  v1::EngineReport Report(int rank) {
    v1::EngineReport report;
    report.set_epoch(supervisor_->epoch());
    report.set_rank(rank);
    return report;
  }

  absl::Status Hello(int rank) {
    v1::EngineReport report = Report(rank);
    report.mutable_hello()->set_pid(100 + rank);
    report.mutable_hello()->set_node(supervisor_->ranks()[rank].node);
    if (device_ == "cuda") {
      report.mutable_hello()->set_endpoint(absl::StrCat("10.0.0.1:", rank));
    }
    return supervisor_->OnEngineHello(report);
  }

  void Ready(int rank) {
    v1::EngineReport report = Report(rank);
    report.mutable_ready();
    supervisor_->OnEngineReport(report);
  }

  void Fail(int rank, absl::StatusCode code, const std::string& message) {
    v1::EngineReport report = Report(rank);
    report.mutable_failure()->set_code(static_cast<int>(code));
    report.mutable_failure()->set_message(message);
    supervisor_->OnEngineReport(report);
  }

  void Exit(const std::string& node, const std::string& role, int rank,
            const std::string& reason) {
    v1::AgentReport report;
    v1::ProcessExited* exited = report.mutable_process_exited();
    exited->set_epoch(supervisor_->epoch());
    exited->set_role(role);
    exited->set_rank(rank);
    exited->set_reason(reason);
    supervisor_->OnAgentReport(node, report);
  }

  void Cleared(const std::string& node, uint64_t epoch,
               const std::string& problem = "") {
    v1::AgentReport report;
    report.mutable_epoch_cleared()->set_epoch(epoch);
    report.mutable_epoch_cleared()->set_problem(problem);
    supervisor_->OnAgentReport(node, report);
  }

  void Heartbeat(const std::string& node, int rank, uint64_t step,
                 const std::string& phase, uint64_t ticks) {
    v1::AgentReport report;
    v1::EngineProgress* engine = report.mutable_heartbeat()->add_engines();
    engine->set_epoch(supervisor_->epoch());
    engine->set_rank(rank);
    engine->set_step(step);
    engine->set_phase(phase);
    engine->set_ticks(ticks);
    supervisor_->OnAgentReport(node, report);
  }

  void RunToReady(int num_ranks) {
    for (int rank = 0; rank < num_ranks; ++rank) {
      CARAVAN_ASSERT_OK(Hello(rank));
    }
    for (int rank = 0; rank < num_ranks; ++rank) Ready(rank);
    ASSERT_EQ(supervisor_->state(), ReplicaState::kRunning);
  }

  void PassDiagnosis() {
    clock_.Advance(absl::Milliseconds(500));
    supervisor_->Tick({});
  }

  testing::FakeClock clock_;
  std::string device_ = "cpu";
  int max_start_failures_ = 0;
  int num_secrets_ = 0;
  absl::Status plan_status_;
  std::unique_ptr<ReplicaSupervisor> supervisor_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_TESTS_COORDINATOR_CLUSTER_REPLICA_SUPERVISOR_FIXTURE_H_
