// Collectives among GPUs, with the host's messages beside them.
#ifndef CARAVAN_WORKER_COMM_NCCL_NCCL_COMMUNICATOR_H_
#define CARAVAN_WORKER_COMM_NCCL_NCCL_COMMUNICATOR_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/comm/communicator.h"
#include "worker/comm/nccl/nccl_connection.h"
#include "worker/comm/nccl/operation_log.h"
#include "worker/comm/tcp/tcp_transport.h"

namespace caravan::worker {

// Tensors go by NCCL and are enqueued in the context's stream: the calls return
// when NCCL has taken them, before they are done. Whoever waits for the device
// then (DeviceContext::Wait) gets what a call that blocks would have returned:
// kDeadlineExceeded or kUnavailable with the name of the peer. Bytes go by TCP,
// which also tells at once that a peer's process is gone.
//
// NCCL adds in an order of its own, so sums are ours: the ranks' addends are
// gathered and added in order of ranks, at once or, from three ranks and a size
// on, by chunks, as MessageCommunicator does. What travels in bfloat16 is
// rounded and widened by kernels in the same stream.
//
// Its operations may be recorded in a CUDA graph, on all ranks in the same
// place and after the first of their size have been made outside of one. Before
// it leaves NCCL it drops the graphs, for which NCCL would wait for ever.
//
// A rank whose wait has timed out asks the others how far they are: it names
// those who do not answer within a second, or else those who are behind.
class NcclCommunicator final : public Communicator, private WatchedGroup {
 public:
  struct Parts {
    std::shared_ptr<cuda::DeviceContext> context;
    OperationLog* log = nullptr;              // outlives the communicator
    std::unique_ptr<Communicator> host;       // the same members
    std::unique_ptr<TcpTransport> transport;  // the same members
    absl::Duration join_timeout;
  };
  // All members call it. Blocks until they have come.
  static absl::StatusOr<std::unique_ptr<NcclCommunicator>> Create(Parts parts);
  ~NcclCommunicator() override;

  int rank() const override { return parts_.host->rank(); }
  int size() const override { return parts_.host->size(); }
  void Abort(const absl::Status& reason) override;
  bool waits_for_peers() const override { return false; }

 private:
  explicit NcclCommunicator(Parts parts);
  absl::Status Start();

  absl::Status DoAllReduceSum(absl::Span<float> inout) override;
  absl::Status DoAllGather(absl::Span<const std::byte> mine,
                           absl::Span<std::byte> all) override;
  absl::Status DoSend(absl::Span<const std::byte> data, int peer) override;
  absl::Status DoRecv(absl::Span<std::byte> out, int peer) override;
  absl::Status DoSendTensor(const Tensor& tensor, int peer) override;
  absl::Status DoRecvTensor(const Tensor& tensor, int peer) override;
  absl::Status DoAllGatherTensor(const Tensor& parts) override;

  absl::Status OnWait(const DeviceOperation& operation,
                      absl::Duration waited) override;
  absl::Status OnReplay(const DeviceOperation& operation,
                        int64_t count) override;

  absl::Status CheckUsable() const;
  absl::Status Run(const DeviceOperation& operation,
                   absl::FunctionRef<int(ncclComm*)> call);
  // Whether float32 is rounded to bfloat16 to be sent.
  bool rounds() const;
  // Of one value that is sent.
  int64_t ValueBytes() const;
  bool AddsByChunks(int64_t count) const;
  // What the device must have for sums of so many values.
  absl::Status ReserveForSum(int64_t count);
  absl::Status Reserve(cuda::DeviceMemory& memory, int64_t bytes);
  // `mine` are the values of `inout` in the type in which they travel.
  template <typename Value>
  absl::Status ReduceWhole(const Value* mine, absl::Span<float> inout);
  template <typename Value>
  absl::Status ReduceByChunks(absl::Span<Value> inout);
  // The memory in which `tensor` travels: its own, or bfloat16 in rounded_.
  absl::StatusOr<Tensor> InWireType(const Tensor& tensor);

  // NCCL says that a peer is lost; TCP says which, now or in a moment.
  absl::Status NameLostPeer(const DeviceOperation& operation,
                            const absl::Status& status) const;
  // Of a wait: a peer's process is gone, or NCCL says so.
  absl::Status CheckPeers(const DeviceOperation& operation);
  absl::Status Diagnose(const DeviceOperation& operation);
  absl::Status TimedOut(const DeviceOperation& operation,
                        absl::Span<const int> peers,
                        absl::string_view remark) const;
  void Break(const absl::Status& status);

  Waiter& waiter() const { return parts_.transport->waiter(); }

  const Parts parts_;
  std::vector<int> peers_;  // all ranks but this
  std::unique_ptr<NcclConnection> connection_;
  cuda::DeviceMemory gathered_;
  cuda::DeviceMemory rounded_;
  uint64_t num_begun_ = 0;  // of the operations of all ranks
  absl::Status failure_;
  absl::Time lost_since_ = absl::InfiniteFuture();
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_NCCL_COMMUNICATOR_H_
