#include "worker/engine/control_client.h"

#include <deque>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "caravan/v1/engine.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace caravan::worker {
namespace {

// Steps of thousands of prompt tokens are well below.
constexpr int kMaxMessageBytes = 16 << 20;

std::shared_ptr<grpc::Channel> Dial(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // Engines of one process (tests) must not share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace

// gRPC writes to the socket on the thread that calls StartWrite, which takes as
// long as a small operation of a step. So reports leave on a thread of their
// own, and an engine goes on with its next step at once.
class ControlClient::Stream final
    : public grpc::ClientBidiReactor<v1::EngineReport, v1::EngineCommand> {
 public:
  explicit Stream(const std::string& address)
      : stub_(v1::EngineControl::NewStub(Dial(address))) {
    stub_->async()->Attach(&context_, this);
    AddHold();  // the writer's: it starts operations from outside reactions
    StartRead(&incoming_);
    StartCall();
    writer_ = std::thread([this] { WriteReports(); });
  }

  ~Stream() override { writer_.join(); }

  void Send(v1::EngineReport report) {
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    outgoing_.push_back(std::move(report));
  }

  absl::StatusOr<v1::EngineCommand> Next(absl::Time deadline) {
    absl::MutexLock lock(&mutex_);
    const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !commands_.empty() || done_;
    };
    if (!mutex_.AwaitWithDeadline(absl::Condition(&ready), deadline)) {
      return absl::DeadlineExceededError("no command from the coordinator");
    }
    if (commands_.empty()) return end_;
    v1::EngineCommand command = std::move(commands_.front());
    commands_.pop_front();
    return command;
  }

  void Flush(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    const auto flushed = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return outgoing_.empty() || done_;
    };
    mutex_.AwaitWithTimeout(absl::Condition(&flushed), timeout);
  }

  void CancelAndWait() {
    context_.TryCancel();
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&done_));
  }

  void OnReadDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      if (!ok) {
        over_ = true;
        return;
      }
      commands_.push_back(std::move(incoming_));
    }
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    if (!ok) return;  // nothing more can be written
    outgoing_.pop_front();
    writing_ = false;
  }

  void OnDone(const grpc::Status& status) override {
    absl::MutexLock lock(&mutex_);
    if (status.error_code() == grpc::StatusCode::ABORTED) {
      end_ = absl::AbortedError(status.error_message());
    } else {
      end_ = absl::UnavailableError(
          status.ok() ? "the coordinator closed the stream"
                      : absl::StrCat("the coordinator's stream ended: ",
                                     status.error_message()));
    }
    done_ = true;
  }

 private:
  void WriteReports() {
    const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return over_ || (!writing_ && !outgoing_.empty());
    };
    while (true) {
      v1::EngineReport* report = nullptr;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(&wanted));
        if (over_) break;
        writing_ = true;
        report = &outgoing_.front();
      }
      StartWrite(report);
    }
    RemoveHold();
  }

  std::unique_ptr<v1::EngineControl::Stub> stub_;
  grpc::ClientContext context_;
  v1::EngineCommand incoming_;
  absl::Mutex mutex_;
  std::deque<v1::EngineCommand> commands_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::EngineReport> outgoing_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;  // the front of them
  // The peer sends nothing more; so nothing more is written.
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread writer_;
};

ControlClient::ControlClient(const std::string& address)
    : stream_(std::make_unique<Stream>(address)) {}

ControlClient::~ControlClient() { stream_->CancelAndWait(); }

void ControlClient::Send(v1::EngineReport report) {
  stream_->Send(std::move(report));
}

absl::StatusOr<v1::EngineCommand> ControlClient::Next(absl::Time deadline) {
  return stream_->Next(deadline);
}

void ControlClient::Flush(absl::Duration timeout) { stream_->Flush(timeout); }

}  // namespace caravan::worker
