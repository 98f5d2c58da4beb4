#include "worker/comm/communicator.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/dtype.h"

namespace caravan::worker {
namespace {

absl::Status CheckBytes(absl::Span<const std::byte> data) {
  if (data.size() > kMaxMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "message too large: bytes=", data.size(), " most=", kMaxMessageBytes));
  }
  if (data.data() == nullptr && !data.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("message without memory: bytes=", data.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckTensor(const Tensor& tensor) {
  const int64_t most =
      static_cast<int64_t>(kMaxMessageBytes) / ByteSize(tensor.dtype);
  if (tensor.rows < 0 || tensor.cols < 0 ||
      (tensor.cols > 0 && tensor.rows > most / tensor.cols)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor of a bad shape: rows=", tensor.rows,
                     " cols=", tensor.cols, " most values=", most));
  }
  if (tensor.data == nullptr && tensor.count() > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a tensor without memory: rows=", tensor.rows, " cols=", tensor.cols));
  }
  return absl::OkStatus();
}

absl::Status CheckParts(const Tensor& parts, int size) {
  if (parts.rows % size != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "all-gather of unequal parts: rows=", parts.rows, " ranks=", size));
  }
  return CheckTensor({parts.data, parts.dtype, parts.rows / size, parts.cols});
}

absl::StatusOr<absl::Span<float>> AddendsOf(const Tensor& tensor) {
  if (tensor.dtype != DType::kFloat32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "all-reduce adds float32 only: dtype=", Name(tensor.dtype)));
  }
  if (absl::Status status = CheckTensor(tensor); !status.ok()) return status;
  return absl::MakeSpan(tensor.floats(), static_cast<size_t>(tensor.count()));
}

}  // namespace

absl::Status Communicator::AllReduceSum(const Tensor& inout) {
  if (absl::Status status = CheckWhole(); !status.ok()) return status;
  absl::StatusOr<absl::Span<float>> addends = AddendsOf(inout);
  if (!addends.ok()) return Finish(addends.status());
  return Finish(DoAllReduceSum(*addends));
}

absl::Status Communicator::AllGather(absl::Span<const std::byte> mine,
                                     absl::Span<std::byte> all) {
  if (absl::Status status = CheckWhole(); !status.ok()) return status;
  if (absl::Status status = CheckBytes(mine); !status.ok()) {
    return Finish(status);
  }
  if (all.size() != mine.size() * static_cast<size_t>(size()) ||
      (all.data() == nullptr && !all.empty())) {
    return Finish(absl::InvalidArgumentError(
        absl::StrCat("all-gather of wrong size: mine=", mine.size(),
                     " ranks=", size(), " all=", all.size())));
  }
  return Finish(DoAllGather(mine, all));
}

absl::Status Communicator::Send(absl::Span<const std::byte> data, int peer) {
  if (absl::Status status = CheckWhole(); !status.ok()) return status;
  absl::Status status = CheckPeer(peer);
  if (status.ok()) status = CheckBytes(data);
  if (status.ok()) status = DoSend(data, peer);
  return Finish(status);
}

absl::Status Communicator::Recv(absl::Span<std::byte> out, int peer) {
  if (absl::Status status = CheckWhole(); !status.ok()) return status;
  absl::Status status = CheckPeer(peer);
  if (status.ok()) status = CheckBytes(out);
  if (status.ok()) status = DoRecv(out, peer);
  return Finish(status);
}

absl::Status Communicator::SendTensor(const Tensor& tensor, int peer) {
  if (absl::Status status = CheckWhole(); !status.ok()) return status;
  absl::Status status = CheckPeer(peer);
  if (status.ok()) status = CheckTensor(tensor);
  if (status.ok()) status = DoSendTensor(tensor, peer);
  return Finish(status);
}

absl::Status Communicator::RecvTensor(const Tensor& tensor, int peer) {
  if (absl::Status status = CheckWhole(); !status.ok()) return status;
  absl::Status status = CheckPeer(peer);
  if (status.ok()) status = CheckTensor(tensor);
  if (status.ok()) status = DoRecvTensor(tensor, peer);
  return Finish(status);
}

absl::Status Communicator::AllGatherTensor(const Tensor& parts) {
  if (absl::Status status = CheckWhole(); !status.ok()) return status;
  absl::Status status = CheckParts(parts, size());
  if (status.ok()) status = DoAllGatherTensor(parts);
  return Finish(status);
}

absl::Status Communicator::CheckWhole() const {
  if (broken_by_.empty()) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat("group broken by an earlier error: ", broken_by_));
}

absl::Status Communicator::Finish(absl::Status status) {
  if (!status.ok() && broken_by_.empty()) broken_by_ = status.ToString();
  return status;
}

absl::Status Communicator::CheckPeer(int peer) const {
  if (peer >= 0 && peer < size() && peer != rank()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "no such peer: peer=", peer, " rank=", rank(), " ranks=", size()));
}

}  // namespace caravan::worker
