// Which nodes are in the cluster: those whose agent has joined and is heard.
#ifndef CARAVAN_COORDINATOR_CLUSTER_MEMBERSHIP_H_
#define CARAVAN_COORDINATOR_CLUSTER_MEMBERSHIP_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "caravan/v1/agent.pb.h"

namespace caravan::coordinator {

// What whoever dials must show: the cluster's secret and the same build.
struct Credentials {
  std::string token;
  std::string build_id;
};

// kPermissionDenied: another token, compared in constant time.
// kFailedPrecondition: another build; names `who`, its build and ours.
absl::Status CheckCredentials(const Credentials& ours,
                              const Credentials& theirs, absl::string_view who);

// A live node.
struct Node {
  std::string name;
  std::string incarnation;  // of its agent's process
  uint64_t stream = 0;      // by which its agent is reached
  std::vector<v1::Device> devices;
  int64_t memory_bytes = 0;
  std::string data_address;  // "10.0.0.2/24"
  std::string no_gpu_reason;
  absl::Time last_heard;
};

// A node that was live: why it no longer is.
struct LostNode {
  Node node;
  std::string reason;
};

// The register of live nodes. A node is live from Join until Leave or until it
// has not been heard for a lease. One thread.
class Membership final {
 public:
  struct Options {
    Credentials credentials;
    absl::Duration lease = absl::Seconds(3);
  };

  // `clock` outlives this.
  Membership(const Options& options, Clock* clock);

  // kPermissionDenied, kFailedPrecondition: see CheckCredentials.
  // kAlreadyExists: the name is that of a live node with another agent.
  // kInvalidArgument: a hello that no agent of ours would send. An agent that
  // comes back by a new stream before the old one is known to be gone replaces
  // it: look for the old one with FindByName first.
  absl::Status Join(uint64_t stream, const v1::AgentHello& hello);

  // The node was heard. Unknown streams are ignored.
  void Renew(uint64_t stream);

  // The stream has ended. Returns its node when it was live by this stream.
  std::vector<LostNode> Leave(uint64_t stream, absl::string_view reason);

  // Removes the nodes whose lease has run out.
  std::vector<LostNode> Expire();

  // When the next lease runs out; infinite future without nodes.
  absl::Time NextExpiry() const;

  const Node* FindByName(absl::string_view name) const;
  const Node* FindByStream(uint64_t stream) const;
  std::vector<Node> nodes() const;  // by name
  absl::Duration lease() const { return options_.lease; }

 private:
  const Options options_;
  Clock* const clock_;
  std::map<std::string, Node, std::less<>> nodes_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_MEMBERSHIP_H_
