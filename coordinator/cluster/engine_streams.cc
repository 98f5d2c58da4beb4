#include "coordinator/cluster/engine_streams.h"

namespace caravan::coordinator {

std::optional<EngineStream> EngineStreams::Find(StreamId stream) const {
  const auto it = streams_.find(stream);
  if (it == streams_.end()) return std::nullopt;
  return it->second;
}

std::optional<EngineStream> EngineStreams::Remove(StreamId stream) {
  const std::optional<EngineStream> engine = Find(stream);
  streams_.erase(stream);
  return engine;
}

std::vector<StreamId> EngineStreams::OfEpoch(uint64_t epoch,
                                             int num_ranks) const {
  std::vector<StreamId> by_rank(num_ranks, 0);
  for (const auto& [stream, engine] : streams_) {
    if (engine.epoch == epoch && engine.rank >= 0 && engine.rank < num_ranks) {
      by_rank[engine.rank] = stream;
    }
  }
  return by_rank;
}

std::vector<StreamId> EngineStreams::UpToEpoch(uint64_t epoch) const {
  std::vector<StreamId> found;
  for (const auto& [stream, engine] : streams_) {
    if (engine.epoch <= epoch) found.push_back(stream);
  }
  return found;
}

}  // namespace caravan::coordinator
