#include "worker/agent/control_stream.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "base/grpc_status.h"
#include "caravan/v1/agent.grpc.pb.h"

namespace caravan::worker {
namespace {

constexpr size_t kMaxQueuedReports = 1024;
constexpr int kMaxMessageBytes = 1 << 20;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& coordinator) {
  grpc::ChannelArguments arguments;
  // A peer that falls silent is noticed in 8 s; the lease notices in 3 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Every dial is a connection of its own: no back-off but the agent's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomChannel(
      coordinator, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

class ControlStream::Reactor final
    : public grpc::ClientBidiReactor<v1::AgentReport, v1::AgentCommand> {
 public:
  Reactor(const std::string& coordinator, Callbacks callbacks)
      : callbacks_(std::move(callbacks)),
        stub_(v1::AgentControl::NewStub(MakeChannel(coordinator))) {}

  void Start() {
    stub_->async()->Attach(&context_, this);
    // Writes start outside of reactions, until the reading side ends.
    AddHold();
    StartRead(&command_);
    StartCall();
  }

  bool Send(v1::AgentReport report) {
    absl::MutexLock lock(&mutex_);
    if (!open_ || finishing_ || queue_.size() >= kMaxQueuedReports) {
      return false;
    }
    queue_.push_back(std::move(report));
    WriteNext();
    return true;
  }

  void Finish() {
    absl::MutexLock lock(&mutex_);
    if (!open_ || finishing_) return;
    finishing_ = true;
    WriteNext();
  }

  void Cancel() { context_.TryCancel(); }

  void AwaitDone() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&done_));
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      callbacks_.on_command(std::move(command_));
      command_.Clear();
      StartRead(&command_);
      return;
    }
    {
      absl::MutexLock lock(&mutex_);
      open_ = false;
    }
    RemoveHold();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    queue_.pop_front();
    if (ok && open_) WriteNext();
  }

  void OnDone(const grpc::Status& status) override {
    callbacks_.on_end(FromGrpcStatus(status));
    absl::MutexLock lock(&mutex_);
    done_ = true;  // the owner deletes this as soon as the lock is free
  }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_) return;
    if (!queue_.empty()) {
      writing_ = true;
      StartWrite(&queue_.front());
    } else if (finishing_) {
      writing_ = true;  // for ever: nothing may follow
      StartWritesDone();
    }
  }

  const Callbacks callbacks_;
  const std::unique_ptr<v1::AgentControl::Stub> stub_;
  grpc::ClientContext context_;
  v1::AgentCommand command_;  // of the reading side alone

  absl::Mutex mutex_;
  std::deque<v1::AgentReport> queue_ ABSL_GUARDED_BY(mutex_);
  bool open_ ABSL_GUARDED_BY(mutex_) = true;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

ControlStream::ControlStream(const std::string& coordinator,
                             Callbacks callbacks)
    : reactor_(std::make_unique<Reactor>(coordinator, std::move(callbacks))) {
  reactor_->Start();
}

ControlStream::~ControlStream() {
  reactor_->Cancel();
  reactor_->AwaitDone();
}

bool ControlStream::Send(v1::AgentReport report) {
  return reactor_->Send(std::move(report));
}

void ControlStream::Finish() { reactor_->Finish(); }

void ControlStream::Cancel() { reactor_->Cancel(); }

}  // namespace caravan::worker
