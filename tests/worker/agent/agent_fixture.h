// Agents in this process, each with a thread and folders of its own, for the
// tests of the whole agent.
#ifndef CARAVAN_TESTS_WORKER_AGENT_AGENT_FIXTURE_H_
#define CARAVAN_TESTS_WORKER_AGENT_AGENT_FIXTURE_H_

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"
#include "worker/agent/agent.h"
#include "worker/agent/mark.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {

// Runs until it goes or the agent ends by itself.
class RunningAgent final {
 public:
  explicit RunningAgent(std::unique_ptr<Agent> agent)
      : agent_(std::move(agent)), thread_([this] {
          status_ = agent_->Run();
          ended_.Notify();
        }) {}
  ~RunningAgent() { Stop().IgnoreError(); }  // tests that care call Stop()

  absl::Status Stop() {
    agent_->Stop();
    if (thread_.joinable()) thread_.join();
    return status_;
  }
  bool AwaitEnd(absl::Duration timeout) {
    return ended_.WaitForNotificationWithTimeout(timeout);
  }
  absl::Status status() const { return status_; }

 private:
  std::unique_ptr<Agent> agent_;
  absl::Status status_;
  absl::Notification ended_;
  std::thread thread_;
};

class AgentFixture : public ::testing::Test {
 protected:
  AgentOptions Options(const std::string& coordinator,
                       const std::string& node) {
    const std::string token = folder_.path() + "/token";
    EXPECT_THAT(WriteSmallFile(token, "secret\n"), testing::IsOk());
    return {.coordinator = coordinator,
            .token_file = token,
            .node = node,
            .runtime_folder = absl::StrCat(folder_.path(), "/", node),
            .caravan_program = RELAY_PROGRAM,
            .engine_program = TEST_ENGINE};
  }

  static std::unique_ptr<RunningAgent> StartAgent(AgentOptions options) {
    absl::StatusOr<std::unique_ptr<Agent>> agent =
        Agent::Create(std::move(options), RealClock());
    EXPECT_THAT(agent, testing::IsOk());
    if (!agent.ok()) return nullptr;
    return std::make_unique<RunningAgent>(*std::move(agent));
  }

  // The processes of the agents of this test that live now.
  std::vector<MarkedProcess> Marked(const std::string& node) {
    const absl::StatusOr<std::string> identity =
        ReadSmallFile(absl::StrCat(folder_.path(), "/", node, "/identity"), 64);
    EXPECT_THAT(identity, testing::IsOk());
    return FindMarked([&](const Mark& mark) {
      return identity.ok() && mark.identity() == *identity;
    });
  }

  TemporaryFolder folder_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_AGENT_AGENT_FIXTURE_H_
