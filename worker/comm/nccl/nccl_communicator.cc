#include "worker/comm/nccl/nccl_communicator.h"

#include <nccl.h>

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/comm/nccl/device_sum.h"

namespace caravan::worker {
namespace {

using cuda::CudaStatus;

// What a peer that is gone has sent may still be on its way; and NCCL may know
// of the loss before TCP says of whom.
constexpr absl::Duration kGrace = absl::Milliseconds(200);
constexpr absl::Duration kPause = absl::Milliseconds(1);
constexpr absl::Duration kAnswerTime = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<NcclCommunicator>> NcclCommunicator::Create(
    Parts parts) {
  std::unique_ptr<NcclCommunicator> communicator(
      new NcclCommunicator(std::move(parts)));
  CARAVAN_RETURN_IF_ERROR(communicator->Start());
  return communicator;
}

NcclCommunicator::NcclCommunicator(Parts parts) : parts_(std::move(parts)) {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) peers_.push_back(peer);
  }
}

absl::Status NcclCommunicator::Start() {
  std::string mine;
  if (rank() == 0) {
    CARAVAN_ASSIGN_OR_RETURN(mine, NewNcclUniqueId());
  }
  mine.resize(NCCL_UNIQUE_ID_BYTES);
  std::string all(mine.size() * size(), '\0');
  CARAVAN_RETURN_IF_ERROR(parts_.host->AllGather(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(mine.data()),
                          mine.size()),
      absl::MakeSpan(reinterpret_cast<std::byte*>(all.data()), all.size())));
  CARAVAN_ASSIGN_OR_RETURN(
      connection_,
      NcclConnection::Join({.unique_id = all.substr(0, NCCL_UNIQUE_ID_BYTES),
                            .rank = rank(),
                            .size = size()},
                           waiter(), parts_.join_timeout));
  const GroupOptions& options = waiter().options();
  CARAVAN_RETURN_IF_ERROR(ReserveForSum(options.most_values));
  return rounds() ? Reserve(rounded_, options.most_sent_values * ValueBytes())
                  : absl::OkStatus();
}

NcclCommunicator::~NcclCommunicator() {
  parts_.context->DropGraphs();
  // What is under way still uses this memory. A wait in vain breaks the group,
  // which ends it.
  if (connection_ != nullptr && failure_.ok()) {
    if (!parts_.context->Wait().ok()) connection_->Abort();
  }
  parts_.log->Forget(this);
}

void NcclCommunicator::Abort(const absl::Status& reason) {
  // The thread that makes the calls aborts NCCL: no other may.
  waiter().Abort(reason);
  parts_.host->Abort(reason);
}

absl::Status NcclCommunicator::CheckUsable() const {
  if (!failure_.ok()) {
    return absl::AbortedError(absl::StrCat("group broken by an earlier error: ",
                                           failure_.ToString()));
  }
  return waiter().CheckAborted();
}

absl::Status NcclCommunicator::Run(const DeviceOperation& operation,
                                   absl::FunctionRef<int(ncclComm*)> call) {
  if (operation.peer < 0 && !parts_.log->recording()) ++num_begun_;
  absl::Status status =
      Annotate(connection_->Run(operation.name, call),
               absl::StrCat("group=", waiter().options().name));
  if (status.ok()) return parts_.log->Add(this, operation);
  if (absl::IsUnavailable(status)) status = NameLostPeer(operation, status);
  Break(status);
  return status;
}

bool NcclCommunicator::rounds() const {
  return waiter().options().wire_dtype == DType::kBFloat16;
}

int64_t NcclCommunicator::ValueBytes() const {
  return ByteSize(waiter().options().wire_dtype);
}

absl::Status NcclCommunicator::Reserve(cuda::DeviceMemory& memory,
                                       int64_t bytes) {
  if (bytes <= memory.bytes()) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(parts_.context->Wait());
  CARAVAN_ASSIGN_OR_RETURN(memory, cuda::DeviceMemory::Create(bytes));
  return absl::OkStatus();
}

absl::Status NcclCommunicator::DoAllGather(absl::Span<const std::byte> mine,
                                           absl::Span<std::byte> all) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  return parts_.host->AllGather(mine, all);
}

absl::Status NcclCommunicator::DoSend(absl::Span<const std::byte> data,
                                      int peer) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  return parts_.host->Send(data, peer);
}

absl::Status NcclCommunicator::DoRecv(absl::Span<std::byte> out, int peer) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  return parts_.host->Recv(out, peer);
}

absl::StatusOr<Tensor> NcclCommunicator::InWireType(const Tensor& tensor) {
  if (!rounds() || tensor.dtype != DType::kFloat32) return tensor;
  Tensor rounded = tensor;
  rounded.dtype = DType::kBFloat16;
  CARAVAN_RETURN_IF_ERROR(Reserve(rounded_, rounded.bytes()));
  rounded.data = rounded_.data();
  return rounded;
}

absl::Status NcclCommunicator::DoSendTensor(const Tensor& tensor, int peer) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  if (tensor.count() == 0) return absl::OkStatus();
  const cudaStream_t stream = parts_.context->stream();
  CARAVAN_ASSIGN_OR_RETURN(const Tensor sent, InWireType(tensor));
  if (sent.dtype != tensor.dtype) {
    CARAVAN_RETURN_IF_ERROR(CudaStatus(
        ConvertOnDevice(tensor.floats(), rounded_.As<__nv_bfloat16>(),
                        tensor.count(), stream),
        "Convert"));
  }
  return Run({"send", peer}, [&](ncclComm* communicator) {
    return ncclSend(sent.data, sent.bytes(), ncclUint8, peer, communicator,
                    stream);
  });
}

absl::Status NcclCommunicator::DoRecvTensor(const Tensor& tensor, int peer) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  if (tensor.count() == 0) return absl::OkStatus();
  const cudaStream_t stream = parts_.context->stream();
  CARAVAN_ASSIGN_OR_RETURN(const Tensor sent, InWireType(tensor));
  CARAVAN_RETURN_IF_ERROR(Run({"receive", peer}, [&](ncclComm* communicator) {
    return ncclRecv(sent.data, sent.bytes(), ncclUint8, peer, communicator,
                    stream);
  }));
  if (sent.dtype == tensor.dtype) return absl::OkStatus();
  return CudaStatus(ConvertOnDevice(rounded_.As<__nv_bfloat16>(),
                                    tensor.floats(), tensor.count(), stream),
                    "Convert");
}

absl::Status NcclCommunicator::DoAllGatherTensor(const Tensor& parts) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  if (parts.count() == 0) return absl::OkStatus();
  const Tensor mine =
      parts.Rows(rank() * (parts.rows / size()), parts.rows / size());
  return Run({"all-gather"}, [&](ncclComm* communicator) {
    return ncclAllGather(mine.data, parts.data, mine.bytes(), ncclUint8,
                         communicator, parts_.context->stream());
  });
}

absl::Status NcclCommunicator::OnWait(const DeviceOperation& operation,
                                      absl::Duration waited) {
  waiter().Tick();
  absl::Status status = waiter().CheckAborted();
  if (status.ok()) status = CheckPeers(operation);
  if (status.ok() && waited > waiter().options().timeout) {
    status = Diagnose(operation);
  }
  if (!status.ok()) Break(status);
  return status;
}

absl::Status NcclCommunicator::NameLostPeer(const DeviceOperation& operation,
                                            const absl::Status& status) const {
  const absl::Time deadline = absl::Now() + kGrace;
  while (absl::Now() < deadline) {
    const absl::Status peers = parts_.transport->CheckPeers(operation.name);
    if (!peers.ok()) return peers;
    absl::SleepFor(kPause);
  }
  return status;
}

absl::Status NcclCommunicator::CheckPeers(const DeviceOperation& operation) {
  const absl::Status asynchronous = Annotate(
      connection_->CheckAsync(),
      absl::StrCat(operation.name, " failed: group=", waiter().options().name));
  if (!asynchronous.ok() && !absl::IsUnavailable(asynchronous)) {
    return asynchronous;
  }
  const absl::Status peers = parts_.transport->CheckPeers(operation.name);
  if (peers.ok() && asynchronous.ok()) return absl::OkStatus();
  const absl::Time now = absl::Now();
  lost_since_ = std::min(lost_since_, now);
  if (now - lost_since_ < kGrace) return absl::OkStatus();
  return peers.ok() ? asynchronous : peers;
}

absl::Status NcclCommunicator::Diagnose(const DeviceOperation& operation) {
  if (operation.peer >= 0) return TimedOut(operation, {operation.peer}, "");
  constexpr int64_t kBytes = sizeof(num_begun_);
  TcpTransport& transport = *parts_.transport;
  CARAVAN_RETURN_IF_ERROR(transport.Send(
      Channel::kPointToPoint, peers_,
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&num_begun_),
                          kBytes)));
  const Call call = waiter().Begin(operation.name, kAnswerTime);
  std::vector<int> silent;
  std::vector<int> behind;
  for (const int peer : peers_) {
    const absl::StatusOr<std::vector<SharedBuffer>> answer =
        transport.Receive(Channel::kPointToPoint, call, {{peer, kBytes}});
    if (!answer.ok() && !absl::IsDeadlineExceeded(answer.status())) {
      return answer.status();
    }
    if (!answer.ok()) {
      silent.push_back(peer);
      continue;
    }
    uint64_t theirs = 0;
    std::memcpy(&theirs, (*answer)[0]->data(), kBytes);
    if (theirs < num_begun_) behind.push_back(peer);
  }
  if (!silent.empty()) return TimedOut(operation, silent, "");
  if (!behind.empty()) return TimedOut(operation, behind, "");
  return TimedOut(operation, peers_,
                  "; all ranks have begun it: a GPU, or the network between "
                  "them, is stuck");
}

absl::Status NcclCommunicator::TimedOut(const DeviceOperation& operation,
                                        absl::Span<const int> peers,
                                        absl::string_view remark) const {
  return absl::DeadlineExceededError(absl::StrCat(
      operation.name, " timed out: group=", waiter().options().name, " ",
      NamePeers(peers),
      " after=", absl::FormatDuration(waiter().options().timeout), remark));
}

absl::Status NcclCommunicator::OnReplay(const DeviceOperation& operation,
                                        int64_t count) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  if (operation.peer < 0) num_begun_ += count;
  return absl::OkStatus();
}

void NcclCommunicator::Break(const absl::Status& status) {
  if (!failure_.ok()) return;
  failure_ = status;
  parts_.context->DropGraphs();
  connection_->Abort();
  parts_.log->Forget(this);
}

}  // namespace caravan::worker
