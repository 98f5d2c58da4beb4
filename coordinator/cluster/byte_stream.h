// One server-side stream of serialized messages: the mechanism under
// ClusterService. Includes gRPC: for .cc files of this folder only.
#ifndef CARAVAN_COORDINATOR_CLUSTER_BYTE_STREAM_H_
#define CARAVAN_COORDINATOR_CLUSTER_BYTE_STREAM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"

namespace caravan::coordinator {

// Owns itself from Start until gRPC is done with it; others may hold it longer
// and call Send and Close then to no effect. Thread-safe.
class ByteStream final
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  struct Callbacks {
    // One message; an error ends the stream with it. In order, one at a time.
    std::function<absl::Status(const grpc::ByteBuffer&)> on_message;
    // Once, after the last message.
    std::function<void()> on_ended;
    // gRPC is done with it.
    std::function<void()> on_done;
  };

  static std::shared_ptr<ByteStream> Start(grpc::CallbackServerContext* context,
                                           Callbacks callbacks);

  // Queues a message. A queue that is full ends the stream.
  void Send(grpc::ByteBuffer message);
  // Ends the stream when what is queued has been sent.
  void Close(const absl::Status& status);
  // Ends it at once.
  void Cancel();

 private:
  // Far more than a healthy peer lets wait: it reads as fast as steps come.
  static constexpr size_t kMaxQueuedMessages = 4096;
  static constexpr size_t kMaxQueuedBytes = size_t{64} << 20;

  ByteStream(grpc::CallbackServerContext* context, Callbacks callbacks);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override;

  void FinishNow(const absl::Status& status);

  grpc::CallbackServerContext* const context_;
  const Callbacks callbacks_;
  grpc::ByteBuffer incoming_;
  std::shared_ptr<ByteStream> self_;

  absl::Mutex mutex_;
  // The front is being written.
  std::deque<grpc::ByteBuffer> outgoing_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<absl::Status> close_status_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_BYTE_STREAM_H_
