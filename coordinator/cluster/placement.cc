#include "coordinator/cluster/placement.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace caravan::coordinator {
namespace {

const v1::Device* FindDevice(const Node& node, absl::string_view kind) {
  for (const v1::Device& device : node.devices) {
    if (device.kind() == kind) return &device;
  }
  // Simulated engines compute nothing: any device is good for them.
  return kind == "simulated" ? &node.devices.front() : nullptr;
}

// On devices of one kind.
absl::StatusOr<std::vector<RankPlacement>> PlaceOnCores(
    const std::vector<Node>& nodes, const PlacementOptions& options) {
  const int64_t num_ranks = int64_t{options.tp} * options.pp;
  const int num_used = static_cast<int>(
      std::min<int64_t>(num_ranks, static_cast<int64_t>(nodes.size())));
  std::vector<RankPlacement> ranks;
  for (int i = 0; i < num_used; ++i) {
    const Node& node = nodes[i];
    const v1::Device* device = FindDevice(node, options.device);
    if (device == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("node ", node.name, " has no device of kind \"",
                       options.device, "\""));
    }
    const int64_t slots = partition::SplitEvenly(num_ranks, num_used, i).size();
    const int cores = std::max(1, device->num_cores());
    RankPlacement rank;
    rank.device_kind = options.device;
    rank.device.node = node.name;
    rank.device.name = device->name();
    rank.device.memory_bytes = device->memory_bytes() / slots;
    rank.device.num_cores =
        static_cast<int>(std::max<int64_t>(1, cores / slots));
    rank.num_threads = options.threads_per_rank > 0 ? options.threads_per_rank
                                                    : rank.device.num_cores;
    ranks.insert(ranks.end(), slots, rank);
  }
  return ranks;
}

struct NodeGpus {
  const Node* node;
  std::vector<const v1::Device*> gpus;
};

// Nodes with most GPUs first.
std::vector<NodeGpus> FindGpus(const std::vector<Node>& nodes) {
  std::vector<NodeGpus> found;
  for (const Node& node : nodes) {
    NodeGpus& entry = found.emplace_back(NodeGpus{&node, {}});
    for (const v1::Device& device : node.devices) {
      if (device.kind() == "cuda") entry.gpus.push_back(&device);
    }
  }
  std::sort(
      found.begin(), found.end(), [](const NodeGpus& a, const NodeGpus& b) {
        return a.gpus.size() != b.gpus.size() ? a.gpus.size() > b.gpus.size()
                                              : a.node->name < b.node->name;
      });
  return found;
}

absl::Status TooFewGpus(int64_t num_ranks, const std::vector<NodeGpus>& nodes) {
  std::vector<std::string> counts;
  for (const NodeGpus& entry : nodes) {
    std::string& text = counts.emplace_back(
        absl::StrCat(entry.node->name, " has ", entry.gpus.size()));
    if (entry.gpus.empty() && !entry.node->no_gpu_reason.empty()) {
      absl::StrAppend(&text, " (", entry.node->no_gpu_reason, ")");
    }
  }
  return absl::FailedPreconditionError(absl::StrCat(
      num_ranks,
      " GPUs are needed, one for each rank: ", absl::StrJoin(counts, ", ")));
}

absl::StatusOr<std::vector<RankPlacement>> PlaceOnGpus(
    const std::vector<Node>& nodes, const PlacementOptions& options) {
  const size_t num_ranks = static_cast<size_t>(options.tp) * options.pp;
  const std::vector<NodeGpus> found = FindGpus(nodes);
  std::vector<RankPlacement> ranks;
  for (const NodeGpus& entry : found) {
    for (const v1::Device* gpu : entry.gpus) {
      if (ranks.size() == num_ranks) return ranks;
      ranks.push_back({.device = {.kind = partition::DeviceKind::kGpu,
                                  .node = entry.node->name,
                                  .name = gpu->name(),
                                  .memory_bytes = gpu->memory_bytes()},
                       .device_kind = "cuda",
                       .device_uuid = gpu->uuid()});
    }
  }
  if (ranks.size() == num_ranks) return ranks;
  return TooFewGpus(static_cast<int64_t>(num_ranks), found);
}

absl::StatusOr<std::vector<RankPlacement>> PlaceUniform(
    const std::vector<Node>& nodes, const PlacementOptions& options) {
  return options.device == "cuda" ? PlaceOnGpus(nodes, options)
                                  : PlaceOnCores(nodes, options);
}

absl::Status BadDevices(absl::string_view text, int num_stages) {
  return absl::InvalidArgumentError(absl::StrCat(
      "devices must be cpu, cuda or simulated, or one of cpu and cuda for each "
      "of the ",
      num_stages, " pipeline stages, as \"cuda,cpu\": \"", text, "\""));
}

}  // namespace

absl::StatusOr<std::vector<std::string>> StageDevices(absl::string_view text,
                                                      int num_stages) {
  std::vector<std::string> devices = absl::StrSplit(text, ',');
  for (const std::string& device : devices) {
    const bool is_known = device == "cpu" || device == "cuda" ||
                          (device == "simulated" && devices.size() == 1);
    if (!is_known) return BadDevices(text, num_stages);
  }
  if (devices.size() == 1) devices.resize(num_stages, devices[0]);
  if (static_cast<int>(devices.size()) != num_stages) {
    return BadDevices(text, num_stages);
  }
  return devices;
}

absl::StatusOr<std::vector<RankPlacement>> PlaceRanks(
    const std::vector<Node>& nodes, const PlacementOptions& options) {
  if (options.tp < 1 || options.pp < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor and pipeline parallel sizes are at least 1: tp=", options.tp,
        " pp=", options.pp));
  }
  if (nodes.empty()) {
    return absl::FailedPreconditionError("no node is in the cluster");
  }
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<std::string> devices,
                           StageDevices(options.device, options.pp));
  std::map<std::string, std::vector<RankPlacement>> placed;
  for (const std::string& device : devices) {
    if (placed.contains(device)) continue;
    PlacementOptions uniform = options;
    uniform.device = device;
    uniform.pp =
        static_cast<int>(std::count(devices.begin(), devices.end(), device));
    CARAVAN_ASSIGN_OR_RETURN(placed[device], PlaceUniform(nodes, uniform));
  }
  // Stage after stage the next ranks of its kind.
  std::map<std::string, size_t> taken;
  std::vector<RankPlacement> ranks;
  for (const std::string& device : devices) {
    for (int i = 0; i < options.tp; ++i) {
      ranks.push_back(placed[device][taken[device]++]);
    }
  }
  return ranks;
}

absl::StatusOr<std::string> SubnetOf(absl::string_view address) {
  const std::vector<std::string> parts = absl::StrSplit(address, '/');
  in_addr parsed = {};
  int bits = 0;
  if (parts.size() != 2 || inet_pton(AF_INET, parts[0].c_str(), &parsed) != 1 ||
      !absl::SimpleAtoi(parts[1], &bits) || bits < 0 || bits > 32) {
    return absl::InvalidArgumentError(
        absl::StrCat("not an IPv4 address with its subnet: \"", address, "\""));
  }
  const uint32_t mask = bits == 0 ? 0 : ~uint32_t{0} << (32 - bits);
  parsed.s_addr = htonl(ntohl(parsed.s_addr) & mask);
  char text[INET_ADDRSTRLEN] = {};
  inet_ntop(AF_INET, &parsed, text, sizeof(text));
  return absl::StrCat(text, "/", bits);
}

absl::StatusOr<std::vector<std::string>> DataSubnets(
    absl::Span<const Node> nodes) {
  std::vector<std::string> subnets;
  if (nodes.size() < 2) return subnets;
  for (const Node& node : nodes) {
    if (absl::StartsWith(node.data_address, "127.")) {
      return absl::FailedPreconditionError(absl::StrCat(
          "node ", node.name, " joined by loopback (", node.data_address,
          ") and cannot be reached by the others: give its agent the "
          "coordinator's --listen address"));
    }
    absl::StatusOr<std::string> subnet = SubnetOf(node.data_address);
    if (!subnet.ok()) {
      return Annotate(subnet.status(), absl::StrCat("node ", node.name));
    }
    if (std::find(subnets.begin(), subnets.end(), *subnet) == subnets.end()) {
      subnets.push_back(*std::move(subnet));
    }
  }
  return subnets;
}

}  // namespace caravan::coordinator
