// The sums of NcclCommunicator.
#include <nccl.h>

#include <algorithm>

#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/comm/nccl/device_sum.h"
#include "worker/comm/nccl/nccl_communicator.h"

namespace caravan::worker {
namespace {

using cuda::CudaStatus;

constexpr DeviceOperation kAllReduce = {"all-reduce"};
// From so many bytes on, three ranks or more add by chunks: a PCIe link of
// today carries them in the time that one more message takes. Not yet measured
// on GPUs.
constexpr int64_t kChunkThresholdBytes = int64_t{256} << 10;

int64_t ChunkSize(int64_t count, int size) {
  return RoundUp(CeilDivide(count, size), 16);
}
// The part of `values` that `rank` adds; perhaps empty.
template <typename Value>
absl::Span<Value> ChunkOf(absl::Span<Value> values, int rank, int size) {
  const int64_t count = static_cast<int64_t>(values.size());
  const int64_t chunk = ChunkSize(count, size);
  const int64_t begin = std::min(count, rank * chunk);
  return values.subspan(begin, std::min(chunk, count - begin));
}

template <typename Value>
constexpr ncclDataType_t kNcclType = ncclFloat32;
template <>
constexpr ncclDataType_t kNcclType<__nv_bfloat16> = ncclBfloat16;

template <typename Value, typename Sum>
absl::Status SumInRankOrder(const DeviceSumArguments<Value, Sum>& arguments,
                            cudaStream_t stream) {
  return CudaStatus(SumInRankOrderOnDevice(arguments, stream),
                    "SumInRankOrder");
}

template <typename From, typename To>
absl::Status Convert(const From* from, To* to, int64_t count,
                     cudaStream_t stream) {
  return CudaStatus(ConvertOnDevice(from, to, count, stream), "Convert");
}

// Calls made as one; ncclGroupEnd tells of all that was deferred.
class NcclGroup final {
 public:
  NcclGroup() { Note(ncclGroupStart()); }
  void Note(ncclResult_t result) {
    if (result_ == ncclSuccess || result_ == ncclInProgress) {
      if (result != ncclSuccess) result_ = result;
    }
  }
  int End() {
    Note(ncclGroupEnd());
    return result_;
  }

 private:
  ncclResult_t result_ = ncclSuccess;
};

}  // namespace

bool NcclCommunicator::AddsByChunks(int64_t count) const {
  return size() >= 3 && count * ValueBytes() >= kChunkThresholdBytes;
}

absl::Status NcclCommunicator::ReserveForSum(int64_t count) {
  if (!AddsByChunks(count)) {
    return Reserve(gathered_, size() * count * ValueBytes());
  }
  if (rounds()) {
    CARAVAN_RETURN_IF_ERROR(Reserve(rounded_, count * ValueBytes()));
  }
  // Enough for smaller sums as well.
  return Reserve(gathered_,
                 size() * std::max(kChunkThresholdBytes,
                                   ChunkSize(count, size()) * ValueBytes()));
}

absl::Status NcclCommunicator::DoAllReduceSum(absl::Span<float> inout) {
  CARAVAN_RETURN_IF_ERROR(CheckUsable());
  if (inout.empty()) return absl::OkStatus();
  const int64_t count = static_cast<int64_t>(inout.size());
  CARAVAN_RETURN_IF_ERROR(ReserveForSum(count));
  const bool by_chunks = AddsByChunks(count);
  if (!rounds()) {
    return by_chunks ? ReduceByChunks(inout) : ReduceWhole(inout.data(), inout);
  }
  // At once: in its place among what is gathered.
  auto* const rounded = by_chunks
                            ? rounded_.As<__nv_bfloat16>()
                            : gathered_.As<__nv_bfloat16>() + rank() * count;
  const cudaStream_t stream = parts_.context->stream();
  CARAVAN_RETURN_IF_ERROR(Convert(inout.data(), rounded, count, stream));
  if (!by_chunks) return ReduceWhole(rounded, inout);
  CARAVAN_RETURN_IF_ERROR(
      ReduceByChunks(absl::MakeSpan(rounded, inout.size())));
  return Convert(rounded, inout.data(), count, stream);
}

template <typename Value>
absl::Status NcclCommunicator::ReduceWhole(const Value* mine,
                                           absl::Span<float> inout) {
  const cudaStream_t stream = parts_.context->stream();
  CARAVAN_RETURN_IF_ERROR(Run(kAllReduce, [&](ncclComm* communicator) {
    return ncclAllGather(mine, gathered_.data(), inout.size(), kNcclType<Value>,
                         communicator, stream);
  }));
  return SumInRankOrder<Value, float>(
      {.addends = gathered_.As<Value>(),
       .stride = static_cast<int64_t>(inout.size()),
       .num_addends = size(),
       .own = mine,
       .own_rank = rank(),
       .out = inout.data(),
       .count = static_cast<int64_t>(inout.size())},
      stream);
}

template <typename Value>
absl::Status NcclCommunicator::ReduceByChunks(absl::Span<Value> inout) {
  const cudaStream_t stream = parts_.context->stream();
  const absl::Span<Value> mine = ChunkOf(inout, rank(), size());
  const int64_t stride = ChunkSize(static_cast<int64_t>(inout.size()), size());
  CARAVAN_RETURN_IF_ERROR(Run(kAllReduce, [&](ncclComm* communicator) {
    NcclGroup group;
    for (const int peer : peers_) {
      const absl::Span<Value> theirs = ChunkOf(inout, peer, size());
      if (!theirs.empty()) {
        group.Note(ncclSend(theirs.data(), theirs.size(), kNcclType<Value>,
                            peer, communicator, stream));
      }
      if (!mine.empty()) {
        group.Note(ncclRecv(gathered_.As<Value>() + peer * stride, mine.size(),
                            kNcclType<Value>, peer, communicator, stream));
      }
    }
    return group.End();
  }));
  CARAVAN_RETURN_IF_ERROR((
      SumInRankOrder<Value, Value>({.addends = gathered_.As<Value>(),
                                    .stride = stride,
                                    .num_addends = size(),
                                    .own = mine.data(),
                                    .own_rank = rank(),
                                    .out = mine.data(),
                                    .count = static_cast<int64_t>(mine.size())},
                                   stream)));
  return Run(kAllReduce, [&](ncclComm* communicator) {
    NcclGroup group;
    for (const int peer : peers_) {
      const absl::Span<Value> theirs = ChunkOf(inout, peer, size());
      if (!mine.empty()) {
        group.Note(ncclSend(mine.data(), mine.size(), kNcclType<Value>, peer,
                            communicator, stream));
      }
      if (!theirs.empty()) {
        group.Note(ncclRecv(theirs.data(), theirs.size(), kNcclType<Value>,
                            peer, communicator, stream));
      }
    }
    return group.End();
  });
}

}  // namespace caravan::worker
