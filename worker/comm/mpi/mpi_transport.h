// Messages of one group over MPI.
#ifndef CARAVAN_WORKER_COMM_MPI_MPI_TRANSPORT_H_
#define CARAVAN_WORKER_COMM_MPI_MPI_TRANSPORT_H_

#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/comm/mpi/mpi_thread.h"
#include "worker/comm/mpi/transfer.h"
#include "worker/comm/transport.h"

namespace caravan::worker {

// A member of the group, as seen from this rank.
struct MpiMember {
  int world_rank = 0;
  // Tag of Channel::kCollective; the next one is kPointToPoint's. The same on
  // both sides and no other group's.
  int tag = 0;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport(std::shared_ptr<MpiThread> thread,
               std::vector<MpiMember> members, int rank,
               const GroupOptions& options);
  // What was sent still travels, unless a call had failed.
  ~MpiTransport() override;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  Waiter& waiter() override { return *waiter_; }

  absl::Status Send(Channel channel, absl::Span<const int> peers,
                    absl::Span<const std::byte> data) override;
  absl::StatusOr<std::vector<SharedBuffer>> Receive(
      Channel channel, const Call& call,
      absl::Span<const ExpectedMessage> expected) override;

 private:
  // Send and Receive but for remembering failures.
  absl::Status DoSend(Channel channel, absl::Span<const int> peers,
                      absl::Span<const std::byte> data);
  absl::StatusOr<std::vector<SharedBuffer>> DoReceive(
      Channel channel, const Call& call,
      absl::Span<const ExpectedMessage> expected);

  SharedBatch MakeBatch(TransferBatch::Direction direction, Channel channel,
                        absl::Span<const int> peers) const;
  // Forgets sends that are done; an error when one failed or took longer than
  // the group's timeout.
  absl::Status CheckSends();
  absl::Status CheckReceived(const Call& call, const TransferBatch& batch,
                             absl::Span<const ExpectedMessage> expected) const;

  const std::shared_ptr<MpiThread> thread_;
  const std::vector<MpiMember> members_;
  const int rank_;
  const std::shared_ptr<Waiter> waiter_;
  std::vector<SharedBatch> held_;  // sends of a collective, not submitted yet
  std::deque<SharedBatch> sends_;  // all that are not known done, oldest first
  bool failed_ = false;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_MPI_MPI_TRANSPORT_H_
