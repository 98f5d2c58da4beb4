#include "coordinator/cluster/byte_stream.h"

#include <utility>

#include "base/grpc_status.h"
#include "grpcpp/grpcpp.h"

namespace caravan::coordinator {

ByteStream::ByteStream(grpc::CallbackServerContext* context,
                       Callbacks callbacks)
    : context_(context), callbacks_(std::move(callbacks)) {}

std::shared_ptr<ByteStream> ByteStream::Start(
    grpc::CallbackServerContext* context, Callbacks callbacks) {
  std::shared_ptr<ByteStream> stream(
      new ByteStream(context, std::move(callbacks)));
  stream->self_ = stream;
  stream->StartRead(&stream->incoming_);
  return stream;
}

void ByteStream::Send(grpc::ByteBuffer message) {
  bool overflowed = false;
  {
    absl::MutexLock lock(&mutex_);
    if (close_status_.has_value()) return;
    queued_bytes_ += message.Length();
    outgoing_.push_back(std::move(message));
    overflowed = outgoing_.size() > kMaxQueuedMessages ||
                 queued_bytes_ > kMaxQueuedBytes;
    if (overflowed) {
      close_status_ =
          absl::ResourceExhaustedError("the peer does not read its stream");
    } else if (outgoing_.size() == 1) {
      // Does not block; under the lock, so that Finish cannot come before.
      StartWrite(&outgoing_.front());
    }
  }
  if (overflowed) context_->TryCancel();
}

void ByteStream::Close(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (close_status_.has_value()) return;
    close_status_ = status;
    if (!outgoing_.empty()) return;  // OnWriteDone goes on
  }
  FinishNow(status);
}

void ByteStream::Cancel() {
  {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
  }
  context_->TryCancel();
}

void ByteStream::FinishNow(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    finished_ = true;
  }
  Finish(ToGrpcStatus(status));
}

void ByteStream::OnReadDone(bool ok) {
  if (!ok) {
    callbacks_.on_ended();
    Close(absl::OkStatus());
    return;
  }
  const absl::Status status = callbacks_.on_message(incoming_);
  if (!status.ok()) Close(status);
  incoming_.Clear();
  StartRead(&incoming_);
}

void ByteStream::OnWriteDone(bool ok) {
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    queued_bytes_ -= outgoing_.front().Length();
    outgoing_.pop_front();
    if (!ok) {
      outgoing_.clear();
      queued_bytes_ = 0;
    }
    if (!outgoing_.empty()) {
      StartWrite(&outgoing_.front());
      return;
    }
    if (!close_status_.has_value()) return;
    status = *close_status_;
  }
  FinishNow(status);
}

void ByteStream::OnDone() {
  callbacks_.on_done();
  self_.reset();
}

}  // namespace caravan::coordinator
