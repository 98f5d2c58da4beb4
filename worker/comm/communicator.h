// One rank's membership in one group of workers, and the collectives among
// them.
#ifndef CARAVAN_WORKER_COMM_COMMUNICATOR_H_
#define CARAVAN_WORKER_COMM_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/tensor.h"

namespace caravan::worker {

// What one message may hold everywhere: MPI counts with int.
inline constexpr size_t kMaxMessageBytes = std::numeric_limits<int>::max();

// Every rank of the group calls the same methods in the same order with equal
// counts and types; Send and Recv pair up between two ranks. Calls come from
// one thread; only Abort() may be called from any. Every call ends within the
// group's timeout: kDeadlineExceeded names operation and peer. Any error breaks
// the group: all later calls return kAborted and the object is only good for
// deletion. Misuse (kInvalidArgument) breaks the group too: the ranks no longer
// agree on what comes next.
//
// Tensors lie in the memory of the device for which the World was made, and
// operations on them take their place among those of its Backend: what was
// enqueued before is seen by them, and what is enqueued afterwards sees what
// they did. Bytes are the host's, and are there when the call returns.
//
// AllReduceSum adds in float32, in order of ranks, whatever the count: its bits
// depend on nothing but the addends. All ranks get the same bits.
//
// In a group whose wire type is kBFloat16, float32 tensors travel as bfloat16,
// rounded to nearest even: every addend, the rank's own too, and the sum, so
// that all ranks still get the same bits at every count; and what SendTensor
// sends. A group of one sends nothing and rounds nothing.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // kFloat32 only (kInvalidArgument otherwise).
  absl::Status AllReduceSum(const Tensor& inout);

  // `all` holds size() times the bytes of `mine`, in order of ranks.
  absl::Status AllGather(absl::Span<const std::byte> mine,
                         absl::Span<std::byte> all);

  // Takes `data` over and returns; it travels while the caller goes on.
  // Messages between two ranks arrive in the order of the calls. A failure to
  // deliver surfaces at a later call. Nothing bounds what travels: the caller
  // does, by waiting for answers.
  absl::Status Send(absl::Span<const std::byte> data, int peer);

  // Blocks until exactly out.size() bytes are there; a message of another size
  // is kInternal.
  absl::Status Recv(absl::Span<std::byte> out, int peer);

  // The same for a tensor in the device's memory, of at most kMaxMessageBytes.
  // Like with like: what SendTensor sends, only RecvTensor takes.
  absl::Status SendTensor(const Tensor& tensor, int peer);
  absl::Status RecvTensor(const Tensor& tensor, int peer);

  // `parts` is size() parts of as many rows each: this rank's own, in its
  // place, becomes all ranks', in order of ranks. They travel as they are, in
  // the device's memory, at most kMaxMessageBytes of each rank.
  absl::Status AllGatherTensor(const Tensor& parts);

  // Whether a call for a tensor may wait until other ranks have made theirs.
  // Where not, it is only enqueued, and whoever waits for the device waits for
  // them.
  virtual bool waits_for_peers() const = 0;

  // Makes the pending call and all later ones return kAborted with the text of
  // `reason`. Any thread; the first reason wins.
  virtual void Abort(const absl::Status& reason) = 0;

 private:
  // OK while no call has failed. One thread, as the calls.
  absl::Status CheckWhole() const;
  // Passes `status` on and remembers the first error.
  absl::Status Finish(absl::Status status);
  absl::Status CheckPeer(int peer) const;

  std::string broken_by_;  // the first error's text

  virtual absl::Status DoAllReduceSum(absl::Span<float> inout) = 0;
  virtual absl::Status DoAllGather(absl::Span<const std::byte> mine,
                                   absl::Span<std::byte> all) = 0;
  virtual absl::Status DoSend(absl::Span<const std::byte> data, int peer) = 0;
  virtual absl::Status DoRecv(absl::Span<std::byte> out, int peer) = 0;
  virtual absl::Status DoSendTensor(const Tensor& tensor, int peer) = 0;
  virtual absl::Status DoRecvTensor(const Tensor& tensor, int peer) = 0;
  virtual absl::Status DoAllGatherTensor(const Tensor& parts) = 0;
};

struct GroupOptions {
  std::string name;              // "tp0", "pp1": in error messages
  std::vector<int> world_ranks;  // members in group order; mine is among them
  absl::Duration timeout = absl::Seconds(30);  // of one call
  // In which float32 tensors travel: kFloat32 or kBFloat16. Members that do not
  // agree get an error when the group is made or, where that never blocks, at
  // its first call.
  DType wire_dtype = DType::kFloat32;
  // The most values of one AllReduceSum, and of one SendTensor or RecvTensor,
  // for communicators that need memory for it: reserved at once, so that no
  // call allocates. More still work.
  int64_t most_values = 0;
  int64_t most_sent_values = 0;
  // Called every few milliseconds while a call waits, from the thread that
  // waits: proves that the rank lives (progress page). May be null.
  void (*on_wait)(void* context) = nullptr;
  void* on_wait_context = nullptr;
};

// This process's (or thread's) place among all ranks of an epoch, from which
// groups are made. Groups may share it; it outlives them.
class World {
 public:
  virtual ~World() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // All members call this, in the same order of groups. A group of one needs no
  // peers and no messages.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(
      const GroupOptions& options) = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_COMMUNICATOR_H_
