#include "worker/agent/mpi_command.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/engine_environment.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

constexpr size_t kMaxHosts = 1024;
constexpr int kMaxSlots = 1024;

// Each epoch gets other ports than the one before it, below those that the
// kernel hands out by itself; a port that is taken is passed over.
constexpr uint64_t kPortBlock = 64;
constexpr uint64_t kFirstPort = 10240;
constexpr uint64_t kNumPortBlocks = 320;

uint64_t FirstPort(const EpochKey& key) {
  const uint64_t block =
      (key.epoch % kNumPortBlocks + (key.replica % kNumPortBlocks) * 17) %
      kNumPortBlocks;
  return kFirstPort + block * kPortBlock;
}

absl::Status CheckHosts(const MpiLaunch& launch) {
  if (launch.hosts.empty() || launch.hosts.size() > kMaxHosts) {
    return absl::InvalidArgumentError(absl::StrCat("an MPI launch needs 1 to ",
                                                   kMaxHosts, " hosts, not ",
                                                   launch.hosts.size()));
  }
  std::set<absl::string_view> seen;
  for (const MpiLaunchHost& host : launch.hosts) {
    if (!IsNodeName(host.node) || host.slots < 1 || host.slots > kMaxSlots) {
      return absl::InvalidArgumentError(
          absl::StrCat("bad MPI host '", host.node, "' with ", host.slots,
                       " slots (1 to ", kMaxSlots, ")"));
    }
    const bool clash =
        host.node != launch.lead_node && host.node == launch.lead_host_name;
    if (!seen.insert(host.node).second || clash) {
      return absl::InvalidArgumentError(
          absl::StrCat("two MPI hosts are called '", host.node, "'"));
    }
  }
  if (seen.count(launch.lead_node) == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "this node, '", launch.lead_node, "', is none of the MPI hosts"));
  }
  for (const std::string& subnet : launch.subnets) {
    if (!IsSubnet(subnet)) {
      return absl::InvalidArgumentError(
          absl::StrCat("not an IPv4 subnet like 10.0.0.0/24: '", subnet, "'"));
    }
  }
  return absl::OkStatus();
}

struct Setting {
  absl::string_view name;
  std::string value;
};

std::vector<Setting> CommonSettings(const MpiLaunch& launch,
                                    const std::string& networks) {
  return {
      // The one transport layer whose behaviour on errors we know.
      {"pml", "ob1"},
      // Reading another process's memory at once (cma) is forbidden in many
      // containers, and Open MPI then fails instead of doing without.
      {"btl_vader_single_copy_mechanism", "none"},
      {"btl_vader_backing_directory", launch.shared_memory_folder},
      {"orte_tmpdir_base", launch.session_folder},
      {"oob_tcp_if_include", networks},
      // Ranks that wait must not burn the core of those that work.
      {"mpi_yield_when_idle", "1"},
      // When a rank dies the others go at once: mpirun's last words, which say
      // how it died, come only when all are gone.
      {"odls_base_sigkill_timeout", "0"},
      // Node names are names, not addresses to be looked up or cut short.
      {"orte_keep_fqdn_hostnames", "1"},
      {"if_base_do_not_resolve", "1"},
  };
}

std::vector<Setting> NetworkSettings(const MpiLaunch& launch,
                                     const std::string& networks) {
  return {
      {"btl_tcp_if_include", networks},
      {"btl_tcp_disable_family", "6"},
      {"btl_tcp_port_min_v4", absl::StrCat(FirstPort(launch.epoch))},
      {"btl_tcp_port_range_v4", absl::StrCat(kPortBlock)},
      // A host that falls silent is noticed in 6 s, not in 8 minutes.
      {"oob_tcp_keepalive_time", "3"},
      {"oob_tcp_keepalive_intvl", "1"},
      {"oob_tcp_keepalive_probes", "3"},
      // Daemons are started by the agents, each asked from here.
      {"plm", "rsh"},
      {"plm_rsh_agent", launch.relay_command},
      {"plm_rsh_no_tree_spawn", "1"},
  };
}

}  // namespace

bool IsNodeName(absl::string_view name) {
  if (name.empty() || name.size() > 253 || !absl::ascii_isalnum(name[0])) {
    return false;
  }
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  });
}

bool IsSubnet(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '/');
  in_addr address;
  int prefix = 0;
  return parts.size() == 2 && parts[1].size() <= 2 &&
         inet_pton(AF_INET, parts[0].c_str(), &address) == 1 &&
         absl::SimpleAtoi(parts[1], &prefix) && prefix >= 1 && prefix <= 32;
}

absl::string_view WithoutMpirunTag(absl::string_view line) {
  const size_t bracket = line.find("]<std");
  const size_t colon = line.find(">:");
  const bool is_tagged = absl::StartsWith(line, "[") && bracket < colon &&
                         colon != absl::string_view::npos;
  return is_tagged ? line.substr(colon + 2) : line;
}

absl::StatusOr<std::vector<std::string>> MpirunArguments(
    const MpiLaunch& launch) {
  CARAVAN_RETURN_IF_ERROR(CheckHosts(launch));
  const bool several = launch.hosts.size() > 1;
  const std::string networks =
      launch.subnets.empty() ? "lo" : absl::StrJoin(launch.subnets, ",");
  // Engines pin their threads themselves; "[job,rank]<stderr>:" before each
  // line tells whose last words it is.
  std::vector<std::string> arguments = {"--bind-to", "none", "--oversubscribe",
                                        "--tag-output"};
  const auto add = [&](absl::string_view name, absl::string_view value) {
    arguments.insert(arguments.end(),
                     {"--mca", std::string(name), std::string(value)});
  };
  add("btl", several ? "self,vader,tcp" : "self,vader");
  for (const Setting& setting : CommonSettings(launch, networks)) {
    add(setting.name, setting.value);
  }
  if (several) {
    for (const Setting& setting : NetworkSettings(launch, networks)) {
      add(setting.name, setting.value);
    }
  }
  // One application context per host: ranks follow the order of the hosts,
  // whatever mpirun's mapping policy.
  for (size_t i = 0; i < launch.hosts.size(); ++i) {
    const MpiLaunchHost& host = launch.hosts[i];
    const std::string& name =
        host.node == launch.lead_node ? launch.lead_host_name : host.node;
    if (i > 0) arguments.push_back(":");
    arguments.insert(arguments.end(),
                     {"--host", absl::StrCat(name, ":", host.slots), "-np",
                      absl::StrCat(host.slots), kEngineName});
  }
  return arguments;
}

}  // namespace caravan::worker
