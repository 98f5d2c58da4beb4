// Which stream belongs to which rank of which epoch.
#ifndef CARAVAN_COORDINATOR_CLUSTER_ENGINE_STREAMS_H_
#define CARAVAN_COORDINATOR_CLUSTER_ENGINE_STREAMS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "coordinator/cluster/cluster_service.h"

namespace caravan::coordinator {

struct EngineStream {
  uint64_t epoch = 0;
  int rank = 0;
};

// Of engines that have said hello. One thread.
class EngineStreams final {
 public:
  void Add(StreamId stream, const EngineStream& engine) {
    streams_[stream] = engine;
  }

  // Nothing when the stream is not an engine's.
  std::optional<EngineStream> Find(StreamId stream) const;
  std::optional<EngineStream> Remove(StreamId stream);

  // Streams of an epoch by rank; 0 for ranks that are not there.
  std::vector<StreamId> OfEpoch(uint64_t epoch, int num_ranks) const;
  // Streams of this epoch and all before it.
  std::vector<StreamId> UpToEpoch(uint64_t epoch) const;

 private:
  std::map<StreamId, EngineStream> streams_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_ENGINE_STREAMS_H_
