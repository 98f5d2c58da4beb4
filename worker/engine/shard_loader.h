// Reads one rank's shard of a checkpoint into the backend's memory.
#ifndef CARAVAN_WORKER_ENGINE_SHARD_LOADER_H_
#define CARAVAN_WORKER_ENGINE_SHARD_LOADER_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "caravan/v1/plan.pb.h"
#include "partition/model/model_source.h"
#include "partition/plan/held_format.h"
#include "worker/backend/backend.h"
#include "worker/llama/decoder.h"

namespace caravan::worker {

struct ShardOptions {
  const v1::RankPlan* rank = nullptr;
  bool has_embedding = false;  // first stage
  bool has_head = false;       // last stage
  partition::HoldOptions hold;
  // Called now and then with the bytes of weights held so far and in total (the
  // plan's). May be null.
  std::function<void(int64_t loaded, int64_t total)> on_progress;
};

// Reads the slices that `rank` owns and nothing else, and holds them in the
// formats of held_format.h. Errors name the tensor.
absl::StatusOr<DecoderWeights> LoadShard(const partition::ModelSource& source,
                                         const ShardOptions& options,
                                         Backend& backend);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_SHARD_LOADER_H_
