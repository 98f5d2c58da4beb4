#include "worker/comm/mpi/mpi_transport.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

using Direction = TransferBatch::Direction;

std::vector<int> MissingPeers(const TransferBatch& batch) {
  std::vector<int> peers;
  for (const Transfer& transfer : batch.transfers) {
    if (!transfer.done.load()) peers.push_back(transfer.peer);
  }
  return peers;
}

}  // namespace

MpiTransport::MpiTransport(std::shared_ptr<MpiThread> thread,
                           std::vector<MpiMember> members, int rank,
                           const GroupOptions& options)
    : thread_(std::move(thread)),
      members_(std::move(members)),
      rank_(rank),
      waiter_(std::make_shared<Waiter>(options)) {}

MpiTransport::~MpiTransport() {
  if (!failed_ && waiter_->CheckAborted().ok()) return;
  // The peers may never take these.
  for (const SharedBatch& batch : sends_) thread_->Abandon(batch);
}

absl::Status MpiTransport::Send(Channel channel, absl::Span<const int> peers,
                                absl::Span<const std::byte> data) {
  absl::Status status = DoSend(channel, peers, data);
  failed_ = failed_ || !status.ok();
  return status;
}

absl::StatusOr<std::vector<SharedBuffer>> MpiTransport::Receive(
    Channel channel, const Call& call,
    absl::Span<const ExpectedMessage> expected) {
  auto received = DoReceive(channel, call, expected);
  failed_ = failed_ || !received.ok();
  return received;
}

absl::Status MpiTransport::DoSend(Channel channel, absl::Span<const int> peers,
                                  absl::Span<const std::byte> data) {
  CARAVAN_RETURN_IF_ERROR(CheckSends());
  if (peers.empty()) return absl::OkStatus();
  const SharedBuffer message = thread_->pool().Copy(data);
  if (message == nullptr) return waiter_->OutOfMemory(data.size());
  SharedBatch batch = MakeBatch(Direction::kSend, channel, peers);
  for (Transfer& transfer : batch->transfers) transfer.buffer = message;
  sends_.push_back(batch);
  if (channel == Channel::kCollective) {
    // The receive that follows takes it along: one handover instead of two.
    held_.push_back(std::move(batch));
  } else {
    thread_->Submit({std::move(batch)});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SharedBuffer>> MpiTransport::DoReceive(
    Channel channel, const Call& call,
    absl::Span<const ExpectedMessage> expected) {
  CARAVAN_RETURN_IF_ERROR(CheckSends());
  if (expected.empty()) return std::vector<SharedBuffer>();
  std::vector<int> peers;
  for (const ExpectedMessage& message : expected) peers.push_back(message.peer);
  const SharedBatch batch = MakeBatch(Direction::kReceive, channel, peers);
  std::vector<SharedBatch> batches = std::move(held_);
  held_.clear();
  batches.push_back(batch);
  thread_->Submit(std::move(batches));
  absl::Status status = waiter_->Await(
      call,
      [&] { return batch->remaining.load() == 0 || batch->failed.load(); },
      [&] { return NamePeers(MissingPeers(*batch)); });
  if (status.ok()) status = CheckReceived(call, *batch, expected);
  if (!status.ok()) {
    thread_->Abandon(batch);
    return status;
  }
  std::vector<SharedBuffer> received;
  for (const Transfer& transfer : batch->transfers) {
    received.push_back(transfer.buffer);
  }
  return received;
}

SharedBatch MpiTransport::MakeBatch(Direction direction, Channel channel,
                                    absl::Span<const int> peers) const {
  auto batch =
      std::make_shared<TransferBatch>(direction, peers.size(), waiter_);
  for (size_t i = 0; i < peers.size(); ++i) {
    const MpiMember& member = members_[peers[i]];
    Transfer& transfer = batch->transfers[i];
    transfer.peer = peers[i];
    transfer.world_peer = member.world_rank;
    transfer.tag = member.tag + (channel == Channel::kPointToPoint ? 1 : 0);
  }
  return batch;
}

absl::Status MpiTransport::CheckSends() {
  const GroupOptions& options = waiter_->options();
  while (!sends_.empty()) {
    const TransferBatch& oldest = *sends_.front();
    if (oldest.failed.load()) {
      for (const Transfer& transfer : oldest.transfers) {
        if (!transfer.done.load() || transfer.status.ok()) continue;
        return Annotate(transfer.status,
                        absl::StrCat("send failed: group=", options.name,
                                     " peer=", transfer.peer));
      }
    }
    if (oldest.remaining.load() > 0) {
      const auto age = std::chrono::steady_clock::now() - oldest.submitted;
      if (absl::FromChrono(age) < options.timeout) break;
      return absl::DeadlineExceededError(
          absl::StrCat("send timed out: group=", options.name, " ",
                       NamePeers(MissingPeers(oldest)),
                       " after=", absl::FormatDuration(options.timeout)));
    }
    sends_.pop_front();
  }
  return absl::OkStatus();
}

absl::Status MpiTransport::CheckReceived(
    const Call& call, const TransferBatch& batch,
    absl::Span<const ExpectedMessage> expected) const {
  for (size_t i = 0; i < expected.size(); ++i) {
    const Transfer& transfer = batch.transfers[i];
    if (!transfer.done.load()) continue;
    if (!transfer.status.ok()) {
      return Annotate(transfer.status,
                      absl::StrCat(call.operation,
                                   " failed: group=", waiter_->options().name,
                                   " peer=", transfer.peer));
    }
    CARAVAN_RETURN_IF_ERROR(waiter_->CheckSize(
        call, transfer.peer, expected[i].bytes, transfer.buffer->bytes()));
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker
