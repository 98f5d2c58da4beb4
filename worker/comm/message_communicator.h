// The collectives, written once over messages.
#ifndef CARAVAN_WORKER_COMM_MESSAGE_COMMUNICATOR_H_
#define CARAVAN_WORKER_COMM_MESSAGE_COMMUNICATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/comm/communicator.h"
#include "worker/comm/transport.h"

namespace caravan::worker {

// All-reduce: below a threshold each rank sends its addends to every other and
// adds all of them (one message time). Above it, and for three ranks or more,
// each rank adds one chunk and sends the sum round (reduce-scatter, all-gather:
// two message times, 2/size of the bytes). The bits are the same: each element
// is added in order of ranks either way, and in bfloat16 each sum is rounded.
class MessageCommunicator final : public Communicator {
 public:
  explicit MessageCommunicator(std::unique_ptr<Transport> transport);

  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }
  void Abort(const absl::Status& reason) override;
  bool waits_for_peers() const override { return size() > 1; }

 private:
  absl::Status DoAllReduceSum(absl::Span<float> inout) override;
  absl::Status DoAllGather(absl::Span<const std::byte> mine,
                           absl::Span<std::byte> all) override;
  absl::Status DoSend(absl::Span<const std::byte> data, int peer) override;
  absl::Status DoRecv(absl::Span<std::byte> out, int peer) override;
  // The device is the CPU: its memory is the host's.
  absl::Status DoSendTensor(const Tensor& tensor, int peer) override;
  absl::Status DoRecvTensor(const Tensor& tensor, int peer) override;
  absl::Status DoAllGatherTensor(const Tensor& parts) override;

  // The next message from `peer`, which must have so many bytes.
  absl::StatusOr<SharedBuffer> Receive(int64_t bytes, int peer);
  // Whether float32 is rounded to bfloat16 to be sent.
  bool rounds() const;
  // `values` as bfloat16, until the next call.
  absl::Span<uint16_t> Rounded(absl::Span<const float> values);
  // Values of the type in which they travel: float, or uint16_t for bfloat16.
  template <typename Value>
  absl::Status Reduce(absl::Span<Value> inout);
  template <typename Value>
  absl::Status ReduceWhole(const Call& call, absl::Span<Value> inout);
  template <typename Value>
  absl::Status ReduceByChunks(const Call& call, absl::Span<Value> inout);
  // Receives every other rank's values for `mine` and adds them to it.
  template <typename Value>
  absl::Status AddPeers(const Call& call, absl::Span<Value> mine);

  std::unique_ptr<Transport> transport_;
  std::vector<int> peers_;         // all ranks but this
  std::vector<uint16_t> rounded_;  // memory for Rounded
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_MESSAGE_COMMUNICATOR_H_
