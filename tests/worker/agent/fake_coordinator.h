// The coordinator's side of AgentControl for tests of the agent: it welcomes or
// refuses, keeps what agents report, and says what a test tells it to.
#ifndef CARAVAN_TESTS_WORKER_AGENT_FAKE_COORDINATOR_H_
#define CARAVAN_TESTS_WORKER_AGENT_FAKE_COORDINATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "caravan/v1/agent.pb.h"

namespace caravan::worker {

// Thread-safe. Relay requests are routed between the attached agents, as the
// real one does.
class FakeCoordinator final {
 public:
  struct Options {
    int64_t lease_ms = 3000;
    std::string listen = "127.0.0.1:0";
    absl::Status refusal;  // of every Hello, unless OK
  };
  using Predicate = std::function<bool(const v1::AgentReport&)>;

  explicit FakeCoordinator(Options options);
  ~FakeCoordinator();

  std::string address() const;  // "127.0.0.1:PORT"

  void Send(const std::string& node, v1::AgentCommand command);
  // From now on heartbeats get no answer.
  void FallSilent();
  // Ends the stream of a node.
  void Drop(const std::string& node);
  // Of a node, counting all its streams.
  int num_hellos(const std::string& node) const;

  // Takes the first report of the node that fits, once it is there; nullopt
  // when none comes within `timeout`.
  std::optional<v1::AgentReport> Await(
      const std::string& node, const Predicate& fits,
      absl::Duration timeout = absl::Seconds(20));
  bool AwaitHello(const std::string& node);
  // Waits for the end of the node's stream.
  bool AwaitGone(const std::string& node, absl::Duration timeout);

 private:
  class Service;
  std::unique_ptr<Service> service_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_AGENT_FAKE_COORDINATOR_H_
