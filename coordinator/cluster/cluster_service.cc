#include "coordinator/cluster/cluster_service.h"

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "caravan/v1/agent.grpc.pb.h"
#include "caravan/v1/engine.grpc.pb.h"
#include "coordinator/cluster/byte_stream.h"
#include "grpc/support/log.h"
#include "grpcpp/grpcpp.h"

namespace caravan::coordinator {
namespace {

constexpr int kMaxMessageBytes = 16 << 20;
constexpr size_t kMaxStreams = 1024;

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message) {
  const std::string bytes = message.SerializeAsString();
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

template <typename Message>
absl::StatusOr<Message> Parse(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  Message message;
  if (!buffer.DumpToSingleSlice(&slice).ok() ||
      !message.ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a ", message.GetTypeName(), ": ", buffer.Length(),
                     " bytes that do not parse"));
  }
  return message;
}

// Raw services: messages are serialized once for many streams.
using RawAgentService =
    v1::AgentControl::WithRawCallbackMethod_Attach<v1::AgentControl::Service>;
using RawEngineService =
    v1::EngineControl::WithRawCallbackMethod_Attach<v1::EngineControl::Service>;
using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
using Opener = std::function<Reactor*(grpc::CallbackServerContext*)>;

template <typename RawService>
class OpeningService final : public RawService {
 public:
  explicit OpeningService(Opener open) : open_(std::move(open)) {}

  Reactor* Attach(grpc::CallbackServerContext* context) override {
    return open_(context);
  }

 private:
  const Opener open_;
};

void SetArguments(grpc::ServerBuilder* builder) {
  // A second coordinator on the same port must fail, not share it.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 2500);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8192);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 64);
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->SetMaxSendMessageSize(kMaxMessageBytes);
}

}  // namespace

class ClusterService::Impl {
 public:
  explicit Impl(ClusterServiceHandler* handler)
      : handler_(handler),
        agents_([this](auto* context) { return AttachAgent(context); }),
        engines_([this](auto* context) { return AttachEngine(context); }) {}

  absl::Status Listen(const std::string& address) {
    // What matters of it comes back as a status.
    gpr_set_log_function([](gpr_log_func_args* line) {
      LogDebug(absl::StrCat("grpc: ", line->message));
    });
    grpc::ServerBuilder builder;
    SetArguments(&builder);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&agents_);
    builder.RegisterService(&engines_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(absl::StrCat(
          "cannot listen on ", address,
          ": is the address one of this machine's and the port free?"));
    }
    return absl::OkStatus();
  }

  int port() const { return port_; }

  std::shared_ptr<ByteStream> Find(StreamId id) {
    absl::MutexLock lock(&mutex_);
    const auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second;
  }

  void Shutdown(absl::Duration timeout) {
    std::map<StreamId, std::shared_ptr<ByteStream>> streams;
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return;
      stopped_ = true;
      streams = streams_;
    }
    for (auto& [id, stream] : streams) {
      stream->Close(absl::UnavailableError("the coordinator is shutting down"));
    }
    if (server_ == nullptr) return;
    // Cancels at the deadline what is not over by then.
    server_->Shutdown(absl::ToChronoTime(absl::Now() + timeout));
    server_->Wait();
    absl::MutexLock lock(&mutex_);
    const auto empty = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return streams_.empty();
    };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&empty), absl::Seconds(5))) {
      LogWarning(
          absl::StrCat(streams_.size(), " streams were still open at the end"));
    }
  }

 private:
  using OnMessage =
      std::function<absl::Status(StreamId, const grpc::ByteBuffer&)>;

  Reactor* AttachAgent(grpc::CallbackServerContext* context) {
    return Open(
        context,
        [this](StreamId id, const grpc::ByteBuffer& bytes) -> absl::Status {
          CARAVAN_ASSIGN_OR_RETURN(v1::AgentReport report,
                                   Parse<v1::AgentReport>(bytes));
          handler_->OnAgentReport(id, std::move(report));
          return absl::OkStatus();
        });
  }

  Reactor* AttachEngine(grpc::CallbackServerContext* context) {
    return Open(
        context,
        [this](StreamId id, const grpc::ByteBuffer& bytes) -> absl::Status {
          CARAVAN_ASSIGN_OR_RETURN(v1::EngineReport report,
                                   Parse<v1::EngineReport>(bytes));
          handler_->OnEngineReport(id, std::move(report));
          return absl::OkStatus();
        });
  }

  Reactor* Open(grpc::CallbackServerContext* context, OnMessage on_message) {
    absl::MutexLock lock(&mutex_);
    const StreamId id = next_id_++;
    // Reading begins below.
    handler_->OnStreamOpened(id);
    std::shared_ptr<ByteStream> stream = ByteStream::Start(
        context, {.on_message =
                      [id, on_message = std::move(on_message)](
                          const grpc::ByteBuffer& bytes) {
                        return on_message(id, bytes);
                      },
                  .on_ended = [this, id] { handler_->OnStreamEnded(id); },
                  .on_done = [this, id] { Forget(id); }});
    if (stopped_ || streams_.size() >= kMaxStreams) {
      stream->Close(stopped_ ? absl::UnavailableError("shutting down")
                             : absl::ResourceExhaustedError(
                                   "the coordinator has too many streams"));
    }
    streams_[id] = stream;
    return stream.get();
  }

  void Forget(StreamId id) {
    std::shared_ptr<ByteStream> last;  // dies outside the lock
    absl::MutexLock lock(&mutex_);
    const auto it = streams_.find(id);
    if (it == streams_.end()) return;
    last = std::move(it->second);
    streams_.erase(it);
  }

  ClusterServiceHandler* const handler_;
  OpeningService<RawAgentService> agents_;
  OpeningService<RawEngineService> engines_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;

  absl::Mutex mutex_;
  StreamId next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<StreamId, std::shared_ptr<ByteStream>> streams_
      ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

ClusterService::ClusterService(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

ClusterService::~ClusterService() { Shutdown(absl::Seconds(1)); }

absl::StatusOr<std::unique_ptr<ClusterService>> ClusterService::Start(
    const ClusterServiceOptions& options) {
  auto impl = std::make_unique<Impl>(options.handler);
  const absl::Status status = impl->Listen(options.address);
  if (!status.ok()) return status;
  return std::unique_ptr<ClusterService>(new ClusterService(std::move(impl)));
}

int ClusterService::port() const { return impl_->port(); }

void ClusterService::Send(StreamId agent, const v1::AgentCommand& command) {
  const std::shared_ptr<ByteStream> stream = impl_->Find(agent);
  if (stream != nullptr) stream->Send(Serialize(command));
}

void ClusterService::Send(absl::Span<const StreamId> engines,
                          const v1::EngineCommand& command) {
  const grpc::ByteBuffer bytes = Serialize(command);
  for (StreamId engine : engines) {
    const std::shared_ptr<ByteStream> stream = impl_->Find(engine);
    if (stream != nullptr) stream->Send(bytes);
  }
}

void ClusterService::Close(StreamId stream, const absl::Status& status) {
  const std::shared_ptr<ByteStream> found = impl_->Find(stream);
  if (found != nullptr) found->Close(status);
}

void ClusterService::Shutdown(absl::Duration timeout) {
  impl_->Shutdown(timeout);
}

}  // namespace caravan::coordinator
