// The command line of mpirun for one epoch, as a pure function. The settings
// are those of Open MPI 4.1; why each is there stands beside it in the .cc.
#ifndef CARAVAN_WORKER_AGENT_MPI_COMMAND_H_
#define CARAVAN_WORKER_AGENT_MPI_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/agent/epoch_key.h"

namespace caravan::worker {

struct MpiLaunchHost {
  std::string node;
  int slots = 0;  // ranks on it, consecutive in the order of the hosts
};

struct MpiLaunch {
  EpochKey epoch;
  std::vector<MpiLaunchHost> hosts;
  // The node that runs mpirun, and the host name that it goes by there.
  std::string lead_node;
  std::string lead_host_name;
  // Where messages may travel, "10.0.0.0/24"; empty: loopback only.
  std::vector<std::string> subnets;
  // "<program> relay": what mpirun runs in place of ssh.
  std::string relay_command;
  std::string session_folder;
  std::string shared_memory_folder;
};

// The arguments after "mpirun". kInvalidArgument names what is wrong with the
// hosts or subnets, which come from outside.
absl::StatusOr<std::vector<std::string>> MpirunArguments(
    const MpiLaunch& launch);

// A line of mpirun's output without the "[job,rank]<stderr>:" that says which
// rank wrote it, if it begins so.
absl::string_view WithoutMpirunTag(absl::string_view line);

// Letters, digits, '.', '_' and '-', not at the start; at most 253.
bool IsNodeName(absl::string_view name);
// "10.0.0.0/24"; IPv4 only, as the data plane is.
bool IsSubnet(absl::string_view text);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_MPI_COMMAND_H_
