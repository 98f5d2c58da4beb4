// The collectives, written once over messages.
#ifndef CARAVAN_WORKER_COMM_MESSAGE_COMMUNICATOR_H_
#define CARAVAN_WORKER_COMM_MESSAGE_COMMUNICATOR_H_

#include <memory>
#include <vector>

#include "worker/comm/communicator.h"
#include "worker/comm/transport.h"

namespace caravan::worker {

// All-reduce: below a threshold each rank sends its addends to every other and
// adds all of them (one message time). Above it, and for three ranks or more,
// each rank adds one chunk and sends the sum round (reduce-scatter, all-gather:
// two message times, 2/size of the bytes). The bits are the same: each element
// is added in order of ranks either way.
class MessageCommunicator final : public Communicator {
 public:
  explicit MessageCommunicator(std::unique_ptr<Transport> transport);

  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }
  void Abort(const absl::Status& reason) override;

 private:
  absl::Status DoAllReduceSum(absl::Span<float> inout) override;
  absl::Status DoAllGather(absl::Span<const std::byte> mine,
                           absl::Span<std::byte> all) override;
  absl::Status DoSend(absl::Span<const std::byte> data, int peer) override;
  absl::Status DoRecv(absl::Span<std::byte> out, int peer) override;
  // The device is the CPU: its memory is the host's.
  absl::Status DoSendTensor(const Tensor& tensor, int peer) override;
  absl::Status DoRecvTensor(const Tensor& tensor, int peer) override;

  absl::Status ReduceWhole(const Call& call, absl::Span<float> inout);
  absl::Status ReduceByChunks(const Call& call, absl::Span<float> inout);
  // Receives every other rank's values for `mine` and adds them to it.
  absl::Status AddPeers(const Call& call, absl::Span<float> mine);

  std::unique_ptr<Transport> transport_;
  std::vector<int> peers_;  // all ranks but this
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_MESSAGE_COMMUNICATOR_H_
