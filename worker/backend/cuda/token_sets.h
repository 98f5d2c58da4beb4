// Slots for the tokens that steps choose, on the device, and their way to the
// host: backend.h.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_TOKEN_SETS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_TOKEN_SETS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/choose_tokens.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/staging.h"

namespace caravan::worker::cuda {

// One thread.
class TokenSets final {
 public:
  explicit TokenSets(DeviceContext& context) : context_(context) {}

  // Room for so many tokens in each set, and for as many from each of several
  // ranks. What they held is lost where there was less, and then it waits for
  // the device.
  absl::Status Reserve(int64_t per_set, int num_ranks = 1);

  // All slots on the device, those of the first set in front; null: there are
  // none.
  DeviceToken* slots() const { return slots_.As<DeviceToken>(); }
  // Where `count` slots begin among all. kResourceExhausted: more than was
  // reserved.
  absl::StatusOr<int64_t> Place(TokenSlot first, int64_t count) const;
  // Ids of which those below 0 stand for slots among all.
  std::vector<int32_t> PlaceIds(const InputTokens& tokens) const;

  // Where what all ranks of `shard` find is gathered: (ranks, count). One place
  // for all steps, which use it in the stream's order. kResourceExhausted: more
  // than was reserved.
  absl::StatusOr<DeviceToken*> Parts(const VocabularyShard& shard,
                                     int64_t count) const;

  // Enqueues what brings the set's first slots to the host, behind what fills
  // them.
  absl::Status Fetch(int set, int64_t count);
  // Waits for the last Fetch of the set.
  absl::Status Read(int set, absl::Span<ChosenToken> tokens);
  // Whether Read would wait. An error is for that to tell.
  bool HasToWait(int set) const;

 private:
  DeviceContext& context_;
  int64_t per_set_ = 0;
  DeviceMemory slots_;  // (sets, per_set)
  DeviceMemory parts_;  // (ranks, per_set)
  std::array<std::unique_ptr<StagingBuffer>, kTokenSets> host_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_TOKEN_SETS_H_
