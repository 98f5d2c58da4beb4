#include "worker/comm/local/local_world.h"

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/comm/buffer_pool.h"
#include "worker/comm/group_check.h"
#include "worker/comm/message_communicator.h"
#include "worker/comm/transport.h"

namespace caravan::worker {
namespace {

// What one member of one group was sent. Made by whoever needs it first, as a
// sender may come before the receiver. Thread-safe.
class Mailbox final {
 public:
  using Stream = std::pair<int, Channel>;  // the sender's rank in the group

  void Open(std::shared_ptr<Waiter> receiver) {
    std::lock_guard<std::mutex> lock(mutex_);
    receiver_ = std::move(receiver);
  }

  void Put(Stream stream, SharedBuffer message) {
    std::shared_ptr<Waiter> receiver;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      messages_[stream].push_back(std::move(message));
      receiver = receiver_;
    }
    if (receiver != nullptr) receiver->Notify();
  }

  bool Has(Stream stream) const {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = messages_.find(stream);
    return found != messages_.end() && !found->second.empty();
  }

  // The stream must have a message.
  SharedBuffer Take(Stream stream) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::deque<SharedBuffer>& queue = messages_[stream];
    SharedBuffer message = std::move(queue.front());
    queue.pop_front();
    return message;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Waiter> receiver_;
  std::map<Stream, std::deque<SharedBuffer>> messages_;
};

using GroupKind = std::tuple<std::string, std::vector<int>, DType>;
// Name, members, wire type, and how many groups with these the rank made
// before: equal on all members that make their groups in the same order.
using GroupKey = std::pair<GroupKind, int>;
using MemberKey = std::pair<GroupKey, int>;

// Thread-safe.
class SharedState final {
 public:
  BufferPool& pool() { return pool_; }

  std::shared_ptr<Mailbox> Find(const MemberKey& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Mailbox>& mailbox = mailboxes_[key];
    if (mailbox == nullptr) mailbox = std::make_shared<Mailbox>();
    return mailbox;
  }

  void Erase(const MemberKey& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    mailboxes_.erase(key);
  }

 private:
  BufferPool pool_;
  std::mutex mutex_;
  std::map<MemberKey, std::shared_ptr<Mailbox>> mailboxes_;
};

class LocalTransport final : public Transport {
 public:
  LocalTransport(std::shared_ptr<SharedState> state, GroupKey group, int rank,
                 const GroupOptions& options)
      : state_(std::move(state)),
        key_(std::move(group), rank),
        rank_(rank),
        waiter_(std::make_shared<Waiter>(options)) {
    for (size_t peer = 0; peer < options.world_ranks.size(); ++peer) {
      mailboxes_.push_back(state_->Find({key_.first, static_cast<int>(peer)}));
    }
    mailboxes_[rank_]->Open(waiter_);
  }

  ~LocalTransport() override { state_->Erase(key_); }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(mailboxes_.size()); }
  Waiter& waiter() override { return *waiter_; }

  absl::Status Send(Channel channel, absl::Span<const int> peers,
                    absl::Span<const std::byte> data) override {
    SharedBuffer message = state_->pool().Copy(data);
    if (message == nullptr) return waiter_->OutOfMemory(data.size());
    for (const int peer : peers)
      mailboxes_[peer]->Put({rank_, channel}, message);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<SharedBuffer>> Receive(
      Channel channel, const Call& call,
      absl::Span<const ExpectedMessage> expected) override {
    Mailbox& mailbox = *mailboxes_[rank_];
    const auto missing = [&] {
      std::vector<int> peers;
      for (const ExpectedMessage& message : expected) {
        if (!mailbox.Has({message.peer, channel})) {
          peers.push_back(message.peer);
        }
      }
      return peers;
    };
    CARAVAN_RETURN_IF_ERROR(waiter_->Await(
        call, [&] { return missing().empty(); },
        [&] { return NamePeers(missing()); }));
    std::vector<SharedBuffer> received;
    for (const ExpectedMessage& message : expected) {
      received.push_back(mailbox.Take({message.peer, channel}));
      CARAVAN_RETURN_IF_ERROR(waiter_->CheckSize(
          call, message.peer, message.bytes, received.back()->bytes()));
    }
    return received;
  }

 private:
  const std::shared_ptr<SharedState> state_;
  const MemberKey key_;
  const int rank_;
  const std::shared_ptr<Waiter> waiter_;
  std::vector<std::shared_ptr<Mailbox>> mailboxes_;  // by rank in the group
};

class LocalWorld final : public World {
 public:
  LocalWorld(std::shared_ptr<SharedState> state, int rank, int size)
      : state_(std::move(state)), rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(
      const GroupOptions& options) override {
    CARAVAN_ASSIGN_OR_RETURN(const int rank,
                             FindGroupRank(options, rank_, size_));
    const GroupKind kind(options.name, options.world_ranks, options.wire_dtype);
    const int earlier = made_[kind]++;
    return std::make_unique<MessageCommunicator>(
        std::make_unique<LocalTransport>(state_, GroupKey(kind, earlier), rank,
                                         options));
  }

 private:
  const std::shared_ptr<SharedState> state_;
  const int rank_;
  const int size_;
  std::map<GroupKind, int> made_;
};

}  // namespace

std::vector<std::unique_ptr<World>> CreateLocalWorlds(int size) {
  CARAVAN_CHECK(size >= 1);
  const auto state = std::make_shared<SharedState>();
  std::vector<std::unique_ptr<World>> worlds;
  for (int rank = 0; rank < size; ++rank) {
    worlds.push_back(std::make_unique<LocalWorld>(state, rank, size));
  }
  return worlds;
}

}  // namespace caravan::worker
