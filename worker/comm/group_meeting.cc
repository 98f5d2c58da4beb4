#include "worker/comm/group_meeting.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

// FNV-1a: the same in every process, as abseil's hashes are not.
uint64_t HashOf(const GroupOptions& options) {
  const std::string text =
      absl::StrCat(options.name, "|", absl::StrJoin(options.world_ranks, ","),
                   "|", Name(options.wire_dtype));
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  return hash;
}

}  // namespace

absl::Status MeetMembers(Transport& transport, absl::Duration timeout) {
  const GroupOptions& options = transport.waiter().options();
  std::byte mine[sizeof(uint64_t)];
  const uint64_t hash = HashOf(options);
  std::memcpy(mine, &hash, sizeof(hash));
  std::vector<int> peers;
  std::vector<ExpectedMessage> expected;
  for (int peer = 0; peer < transport.size(); ++peer) {
    if (peer == transport.rank()) continue;
    peers.push_back(peer);
    expected.push_back({peer, sizeof(mine)});
  }
  CARAVAN_RETURN_IF_ERROR(transport.Send(Channel::kCollective, peers, mine));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::vector<SharedBuffer> hashes,
      transport.Receive(Channel::kCollective,
                        transport.waiter().Begin("group creation", timeout),
                        expected));
  for (size_t i = 0; i < peers.size(); ++i) {
    if (std::memcmp(hashes[i]->data(), mine, sizeof(mine)) != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("members mean different groups: group=", options.name,
                       " members=", absl::StrJoin(options.world_ranks, ","),
                       " wire=", Name(options.wire_dtype),
                       " rank=", transport.rank(), " peer=", peers[i]));
    }
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker
