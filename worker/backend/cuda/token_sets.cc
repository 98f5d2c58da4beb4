#include "worker/backend/cuda/token_sets.h"

#include <cstddef>

#include "base/status_macros.h"
#include "worker/backend/token_slots.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kTokenBytes = sizeof(DeviceToken);
static_assert(sizeof(DeviceToken) == sizeof(ChosenToken));

}  // namespace

absl::Status TokenSets::Reserve(int64_t per_set, int num_ranks) {
  const int64_t part_bytes =
      num_ranks > 1 ? num_ranks * per_set * kTokenBytes : 0;
  if (part_bytes > parts_.bytes()) {
    CARAVAN_RETURN_IF_ERROR(context_.Wait());
    CARAVAN_ASSIGN_OR_RETURN(parts_, DeviceMemory::Create(part_bytes));
  }
  if (per_set <= per_set_) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(context_.Wait());
  per_set_ = 0;  // until it has worked
  slots_ = DeviceMemory();
  CARAVAN_ASSIGN_OR_RETURN(
      slots_, DeviceMemory::Create(kTokenSets * per_set * kTokenBytes));
  for (std::unique_ptr<StagingBuffer>& host : host_) {
    CARAVAN_ASSIGN_OR_RETURN(
        host, StagingBuffer::Create(context_, per_set * kTokenBytes));
  }
  per_set_ = per_set;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> TokenSets::Place(TokenSlot first, int64_t count) const {
  CARAVAN_RETURN_IF_ERROR(CheckSlots(first, count, per_set_));
  return first.set * per_set_ + first.index;
}

std::vector<int32_t> TokenSets::PlaceIds(const InputTokens& tokens) const {
  std::vector<int32_t> ids(tokens.ids.begin(), tokens.ids.end());
  for (int32_t& id : ids) {
    if (id < 0) id -= static_cast<int32_t>(tokens.set * per_set_);
  }
  return ids;
}

absl::StatusOr<DeviceToken*> TokenSets::Parts(const VocabularyShard& shard,
                                              int64_t count) const {
  CARAVAN_RETURN_IF_ERROR(
      CheckParts(shard, count, parts_.bytes() / kTokenBytes));
  return parts_.As<DeviceToken>();
}

absl::Status TokenSets::Fetch(int set, int64_t count) {
  CARAVAN_ASSIGN_OR_RETURN(const int64_t first, Place({.set = set}, count));
  if (count == 0) return absl::OkStatus();
  return host_[set]->EnqueueCopyFrom(slots() + first, count * kTokenBytes);
}

absl::Status TokenSets::Read(int set, absl::Span<ChosenToken> tokens) {
  CARAVAN_RETURN_IF_ERROR(
      CheckSlots({.set = set}, static_cast<int64_t>(tokens.size()), per_set_));
  if (tokens.empty()) return absl::OkStatus();
  CARAVAN_ASSIGN_OR_RETURN(const std::byte* const read, host_[set]->Free());
  const auto* from = reinterpret_cast<const DeviceToken*>(read);
  for (ChosenToken& token : tokens) {
    token = {from->id, from->value, from->largest};
    ++from;
  }
  return absl::OkStatus();
}

bool TokenSets::HasToWait(int set) const {
  return per_set_ > 0 && host_[set]->HasToWait();
}

}  // namespace caravan::worker::cuda
