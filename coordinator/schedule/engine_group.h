// The engines of one replica in one epoch, as the scheduler sees them.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_ENGINE_GROUP_H_
#define CARAVAN_COORDINATOR_SCHEDULE_ENGINE_GROUP_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "caravan/v1/step.pb.h"

namespace caravan::coordinator {

struct EngineGroupInfo {
  uint64_t replica = 0;
  uint64_t epoch = 0;
  int num_stages = 1;
  int64_t num_blocks = 0;
  int64_t max_model_len = 0;
  int64_t max_rows_per_step = 0;
  int64_t max_sequences = 0;
};

// Real engines behind gRPC (cluster) or simulated ones in process. Thread-safe.
class EngineGroup {
 public:
  virtual ~EngineGroup() = default;

  virtual const EngineGroupInfo& info() const = 0;

  // Hands `step` to every engine, in the order of calls; never blocks. Results
  // come to whoever made the group, in order. A group whose epoch has ended
  // drops steps silently: its end is reported by the group's maker.
  virtual void Issue(const v1::Step& step) = 0;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_ENGINE_GROUP_H_
