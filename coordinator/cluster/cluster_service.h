// The coordinator's one gRPC server: streams of agents and engines.
#ifndef CARAVAN_COORDINATOR_CLUSTER_CLUSTER_SERVICE_H_
#define CARAVAN_COORDINATOR_CLUSTER_CLUSTER_SERVICE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "caravan/v1/agent.pb.h"
#include "caravan/v1/engine.pb.h"

namespace caravan::coordinator {

// Numbers every stream of the server's life; never reused.
using StreamId = uint64_t;

// Who hears what arrives. Called from gRPC's threads; returns at once and does
// not throw. For one stream: OnStreamOpened, any number of reports, one at a
// time and in order, then exactly one OnStreamEnded.
class ClusterServiceHandler {
 public:
  virtual ~ClusterServiceHandler() = default;
  virtual void OnStreamOpened(StreamId stream) = 0;
  virtual void OnAgentReport(StreamId stream, v1::AgentReport report) = 0;
  virtual void OnEngineReport(StreamId stream, v1::EngineReport report) = 0;
  virtual void OnStreamEnded(StreamId stream) = 0;
};

struct ClusterServiceOptions {
  std::string address = "127.0.0.1:0";       // port 0: any free one
  ClusterServiceHandler* handler = nullptr;  // outlives the service
};

// Moves messages and knows nothing of their meaning. All methods are
// thread-safe and none but Shutdown blocks.
//
// Each stream has one write in flight and a bounded queue behind it; a peer
// that lets it fill is cut off. Streams that have ended swallow what is sent.
class ClusterService final {
 public:
  // kUnavailable: the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<ClusterService>> Start(
      const ClusterServiceOptions& options);
  // Shutdown, if that was not called.
  ~ClusterService();
  ClusterService(const ClusterService&) = delete;
  ClusterService& operator=(const ClusterService&) = delete;

  int port() const;

  void Send(StreamId agent, const v1::AgentCommand& command);
  // Serializes once, sends to all, in the same order as other calls from the
  // same thread.
  void Send(absl::Span<const StreamId> engines,
            const v1::EngineCommand& command);

  // Ends the stream after what has been queued: the peer sees `status`.
  void Close(StreamId stream, const absl::Status& status);

  // Ends all streams, waits for at most `timeout` for those that are not over
  // by themselves, and stops listening. No call to the handler begins after it.
  void Shutdown(absl::Duration timeout);

 private:
  class Impl;
  explicit ClusterService(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_CLUSTER_SERVICE_H_
