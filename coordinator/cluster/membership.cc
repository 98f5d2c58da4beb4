#include "coordinator/cluster/membership.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "openssl/crypto.h"

namespace caravan::coordinator {
namespace {

constexpr size_t kMaxNameLength = 253;  // of a host name (RFC 1123)
constexpr int kMaxDevices = 64;
constexpr int kMaxCores = 4096;

bool IsNodeName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxNameLength) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
           c == '_' || c == '.';
  });
}

absl::Status CheckHello(const v1::AgentHello& hello) {
  if (!IsNodeName(hello.node())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a node's name has 1 to ", kMaxNameLength,
        " letters, digits, dots, dashes and underscores; this one has ",
        hello.node().size(), " characters"));
  }
  if (hello.devices_size() < 1 || hello.devices_size() > kMaxDevices) {
    return absl::InvalidArgumentError(
        absl::StrCat("node ", hello.node(), " reports ", hello.devices_size(),
                     " devices; 1 to ", kMaxDevices, " are possible"));
  }
  for (const v1::Device& device : hello.devices()) {
    if (device.num_cores() < 0 || device.num_cores() > kMaxCores ||
        device.memory_bytes() < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "node ", hello.node(), " reports a device with ", device.num_cores(),
          " cores and ", device.memory_bytes(), " bytes of memory"));
    }
  }
  return absl::OkStatus();
}

bool SecretsEqual(absl::string_view a, absl::string_view b) {
  return a.size() == b.size() &&
         CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

absl::Status CheckCredentials(const Credentials& ours,
                              const Credentials& theirs,
                              absl::string_view who) {
  if (!SecretsEqual(ours.token, theirs.token)) {
    return absl::PermissionDeniedError(absl::StrCat(
        who, " showed a wrong token: give it the coordinator's --token-file"));
  }
  if (ours.build_id != theirs.build_id) {
    return absl::FailedPreconditionError(absl::StrCat(
        who, " runs build ", theirs.build_id, ", the coordinator runs build ",
        ours.build_id, ": install the same build on every node"));
  }
  return absl::OkStatus();
}

Membership::Membership(const Options& options, Clock* clock)
    : options_(options), clock_(clock) {}

absl::Status Membership::Join(uint64_t stream, const v1::AgentHello& hello) {
  // The token first: a stranger learns nothing else.
  CARAVAN_RETURN_IF_ERROR(CheckCredentials(
      options_.credentials,
      {.token = hello.token(), .build_id = hello.build_id()},
      absl::StrCat("node ", IsNodeName(hello.node()) ? hello.node() : "?")));
  CARAVAN_RETURN_IF_ERROR(CheckHello(hello));
  const auto known = nodes_.find(hello.node());
  if (known != nodes_.end() &&
      known->second.incarnation != hello.incarnation()) {
    return absl::AlreadyExistsError(absl::StrCat(
        "node ", hello.node(),
        " is in the cluster already: give this agent another --node-name, or "
        "wait until the other's lease of ",
        absl::FormatDuration(options_.lease), " is over"));
  }
  Node node;
  node.name = hello.node();
  node.incarnation = hello.incarnation();
  node.stream = stream;
  node.devices.assign(hello.devices().begin(), hello.devices().end());
  node.memory_bytes = hello.memory_bytes();
  node.data_address = hello.data_address();
  node.no_gpu_reason = hello.no_gpu_reason();
  node.last_heard = clock_->Now();
  nodes_[node.name] = std::move(node);
  return absl::OkStatus();
}

void Membership::Renew(uint64_t stream) {
  for (auto& [name, node] : nodes_) {
    if (node.stream == stream) node.last_heard = clock_->Now();
  }
}

std::vector<LostNode> Membership::Leave(uint64_t stream,
                                        absl::string_view reason) {
  for (auto it = nodes_.begin(); it != nodes_.end(); ++it) {
    if (it->second.stream != stream) continue;
    std::vector<LostNode> lost = {
        {.node = std::move(it->second), .reason = std::string(reason)}};
    nodes_.erase(it);
    return lost;
  }
  return {};
}

std::vector<LostNode> Membership::Expire() {
  std::vector<LostNode> lost;
  const absl::Time now = clock_->Now();
  for (auto it = nodes_.begin(); it != nodes_.end();) {
    const absl::Duration silence = now - it->second.last_heard;
    if (silence < options_.lease) {
      ++it;
      continue;
    }
    lost.push_back(
        {.node = std::move(it->second),
         .reason = absl::StrCat("no heartbeat of its agent for ",
                                absl::FormatDuration(absl::Trunc(
                                    silence, absl::Milliseconds(100))))});
    it = nodes_.erase(it);
  }
  return lost;
}

absl::Time Membership::NextExpiry() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [name, node] : nodes_) {
    next = std::min(next, node.last_heard + options_.lease);
  }
  return next;
}

const Node* Membership::FindByName(absl::string_view name) const {
  const auto it = nodes_.find(std::string(name));
  return it == nodes_.end() ? nullptr : &it->second;
}

const Node* Membership::FindByStream(uint64_t stream) const {
  for (const auto& [name, node] : nodes_) {
    if (node.stream == stream) return &node;
  }
  return nullptr;
}

std::vector<Node> Membership::nodes() const {
  std::vector<Node> nodes;
  nodes.reserve(nodes_.size());
  for (const auto& [name, node] : nodes_) nodes.push_back(node);
  return nodes;
}

}  // namespace caravan::coordinator
