// MPI's requests and the transfers they carry out.
#ifndef CARAVAN_WORKER_COMM_MPI_MPI_REQUESTS_H_
#define CARAVAN_WORKER_COMM_MPI_MPI_REQUESTS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "worker/comm/mpi/transfer.h"

namespace caravan::worker {

// kUnavailable: "MPI_Isend failed: <MPI's text>"; OK for MPI_SUCCESS.
absl::Status MpiStatus(const char* call, int code);

// The transfers under way. Used by MPI's thread only.
//
// A receive looks for its message first (MPI_Improbe) and takes memory of the
// message's size: Open MPI 4.1 reports a message larger than the memory only
// after it has written past the end.
class MpiRequests final {
 public:
  explicit MpiRequests(BufferPool& pool);
  ~MpiRequests();
  MpiRequests(const MpiRequests&) = delete;
  MpiRequests& operator=(const MpiRequests&) = delete;

  bool empty() const;

  void Begin(const SharedBatch& batch);
  // Advances what MPI can; returns whether anything was matched or completed.
  bool Poll();
  // Forgets the batch's transfers. MPI may go on with those it has begun; their
  // memory is kept.
  void Abandon(const SharedBatch& batch);

 private:
  struct Owner {
    SharedBatch batch;
    Transfer* transfer;  // of the batch; null once it is complete
  };
  struct Active;

  void BeginSend(const Owner& owner);
  // Whether the message is there; its receive has begun then.
  bool Match(const Owner& owner);
  bool PollAwaited();
  bool PollActive();
  void FailAll(const absl::Status& status);
  void DropCompleted();

  BufferPool& pool_;
  std::vector<Owner> awaited_;  // receives whose message has not come
  std::unique_ptr<Active> active_;
  std::vector<SharedBatch> kept_;  // MPI may still use their memory
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_MPI_MPI_REQUESTS_H_
