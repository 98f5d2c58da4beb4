// Messages between the members of one group: what a kind of communicator is
// made of.
#ifndef CARAVAN_WORKER_COMM_TRANSPORT_H_
#define CARAVAN_WORKER_COMM_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/comm/buffer_pool.h"
#include "worker/comm/waiter.h"

namespace caravan::worker {

// Two streams of messages between each two members, so that a message under way
// by Send() is never taken for part of a collective.
enum class Channel { kCollective, kPointToPoint };

struct ExpectedMessage {
  int peer = 0;  // rank in the group
  int64_t bytes = 0;
};

// One thread calls Send and Receive; waits go through waiter(). Messages of one
// channel between two members arrive in the order in which they were sent.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual Waiter& waiter() = 0;

  // Copies `data` and returns; it goes to each of `peers`, on kCollective not
  // before the Receive that must follow. Reports failures of earlier sends as
  // well.
  virtual absl::Status Send(Channel channel, absl::Span<const int> peers,
                            absl::Span<const std::byte> data) = 0;

  // Blocks until the next message of each of the peers is there, in the order
  // of `expected`. kInternal when one has another size.
  virtual absl::StatusOr<std::vector<SharedBuffer>> Receive(
      Channel channel, const Call& call,
      absl::Span<const ExpectedMessage> expected) = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TRANSPORT_H_
