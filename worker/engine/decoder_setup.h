// From a plan and a checkpoint to a decoder that is ready to run.
#ifndef CARAVAN_WORKER_ENGINE_DECODER_SETUP_H_
#define CARAVAN_WORKER_ENGINE_DECODER_SETUP_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "base/progress_page.h"
#include "caravan/v1/plan.pb.h"
#include "partition/model/model_source.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/llama/decoder.h"

namespace caravan::worker {

struct DecoderSetup {
  const v1::EnginePlan* plan = nullptr;
  const v1::RankPlan* rank = nullptr;
  const partition::ModelSource* source = nullptr;
  Backend* backend = nullptr;
  Communicator* group = nullptr;       // tensor-parallel
  ProgressWriter* progress = nullptr;  // may be null
  std::function<void(int64_t loaded, int64_t total)> on_load_progress;
};

// Loads the rank's shard. kInvalidArgument: a plan that does not fit the model.
// kResourceExhausted: less memory is free than the plan counts on; nothing has
// been read then.
absl::StatusOr<std::unique_ptr<Decoder>> CreateDecoder(
    const DecoderSetup& setup);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_DECODER_SETUP_H_
