// Which node runs which rank. Pure functions.
#ifndef CARAVAN_COORDINATOR_CLUSTER_PLACEMENT_H_
#define CARAVAN_COORDINATOR_CLUSTER_PLACEMENT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/cluster/membership.h"
#include "partition/plan/plan.h"

namespace caravan::coordinator {

struct PlacementOptions {
  int tp = 1;
  int pp = 1;
  // Threads of each rank; 0: the node's cores divided among its ranks.
  int threads_per_rank = 0;
  // As StageDevices takes it.
  std::string device = "cpu";
};

// Where one rank runs: index = rank = stage * tp + tp_rank.
struct RankPlacement {
  partition::DeviceSpec device;  // its share of the node
  int num_threads = 1;
  std::string device_kind;  // "cpu", "cuda" or "simulated"
  std::string device_uuid;  // of a GPU
};

// What the ranks of each stage compute on. `text`: "cpu", "cuda" or
// "simulated" (which runs on any node) for all stages, or one of "cpu" and
// "cuda" for each, as "cuda,cpu". kInvalidArgument: anything else.
absl::StatusOr<std::vector<std::string>> StageDevices(absl::string_view text,
                                                      int num_stages);

// Lays tp * pp ranks over `nodes` in the order of their names, as evenly as can
// be and in contiguous blocks, so that the ranks of a stage stay together; the
// first nodes take one more where it does not divide. Fewer nodes than ranks is
// fine, and nodes beyond the number of ranks stay unused. Memory and cores of a
// node are shared evenly by its ranks, with at least one thread each.
//
// Stages on GPUs and stages on CPUs are laid out each by themselves.
//
// A GPU runs one rank. GPUs are taken node by node, those with most first, so
// that ranks that talk much are near each other: by name where they are equal.
// kInvalidArgument: a degree below 1, or no such devices. kFailedPrecondition:
// no node, or one without such a device, by name; too few GPUs, with what each
// node has.
absl::StatusOr<std::vector<RankPlacement>> PlaceRanks(
    const std::vector<Node>& nodes, const PlacementOptions& options);

// "10.0.0.0/24" of "10.0.0.2/24"; IPv4 only. kInvalidArgument when it is not
// such an address.
absl::StatusOr<std::string> SubnetOf(absl::string_view address);

// The subnets that the data plane between `nodes` uses, each once, in order;
// empty for one node. kFailedPrecondition: one of several nodes joined by
// loopback and cannot be reached by the others.
absl::StatusOr<std::vector<std::string>> DataSubnets(
    absl::Span<const Node> nodes);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_PLACEMENT_H_
