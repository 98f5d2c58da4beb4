#include "worker/comm/group_check.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace caravan::worker {

absl::StatusOr<int> FindGroupRank(const GroupOptions& options, int world_rank,
                                  int world_size) {
  const std::vector<int>& members = options.world_ranks;
  const auto refuse = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": group=", options.name,
                     " members=", absl::StrJoin(members, ","),
                     " rank=", world_rank, " ranks=", world_size,
                     " timeout=", absl::FormatDuration(options.timeout)));
  };
  std::vector<int> sorted = members;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.empty()) return refuse("group without members");
  if (sorted.front() < 0 || sorted.back() >= world_size) {
    return refuse("group member is no rank");
  }
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return refuse("group member twice");
  }
  if (options.timeout <= absl::ZeroDuration()) {
    return refuse("group timeout must be positive");
  }
  if (options.wire_dtype != DType::kFloat32 &&
      options.wire_dtype != DType::kBFloat16) {
    return refuse(absl::StrCat("activations do not travel in ",
                               Name(options.wire_dtype)));
  }
  const auto mine = std::find(members.begin(), members.end(), world_rank);
  if (mine == members.end()) return refuse("rank is no member of the group");
  return static_cast<int>(mine - members.begin());
}

}  // namespace caravan::worker
