// A rank's end of a communicator.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_NCCL_COMMUNICATOR_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_NCCL_COMMUNICATOR_H_

#include <nccl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/emulated_device/nccl/nccl_control.h"
#include "tests/emulated_device/nccl/shared_region.h"

namespace caravan::emulated {

// Shared between the handle and the operations that are enqueued, which end
// when it is aborted. Thread-safe but for what one stream's operations do in
// turn.
class Communicator final {
 public:
  struct Options {
    std::string name;
    int rank = 0;
    int size = 0;
    int device = 0;
    bool blocking = true;
  };
  // Joins the region of that name; null, with the reason in `error`, if it
  // cannot.
  static std::shared_ptr<Communicator> Join(const Options& options,
                                            ncclResult_t* error);

  const std::string& name() const { return options_.name; }
  int rank() const { return options_.rank; }
  int size() const { return options_.size; }
  int device() const { return options_.device; }
  bool blocking() const { return options_.blocking; }
  SharedRegion& region() const { return *region_; }

  // Where it stands: in progress until all have joined and deferred operations
  // are enqueued.
  ncclResult_t Poll();
  // The first failure counts.
  void Fail(ncclResult_t error, const std::string& why);
  std::string error() const;

  void Abort();
  bool aborted() const { return aborted_; }
  // Tells the others that this rank is gone.
  void Leave();

  // Whether an operation must not go on: aborted, or a peer was lost.
  bool MustStop();

  // A graph holds one of its operations, or no longer does.
  void AddGraphReferences(int count) { graph_references_ += count; }
  // NCCL gives a communicator up only when no graph holds it any more; those
  // that are destroyed while they run are gone when they are done.
  void AwaitGraphs();
  // Says farewell, which is done when AwaitGraphs would return.
  void Finalize() { finalizing_ = true; }

  // To be enqueued when the communicator is polled next, as NCCL's own thread
  // would do later.
  void Defer(std::function<ncclResult_t()> enqueue);
  bool HasDeferred() const;
  // Whether the next operations are to be deferred, which a communicator that
  // does not block does every now and then.
  bool ChoosesToDefer();

  // Operations of one communicator run in the order of their calls, also from
  // different streams; those of a graph in the graph's.
  uint64_t TakeTicket() { return next_ticket_++; }
  bool IsServed(uint64_t ticket) const { return served_ == ticket; }
  void FinishTicket() { ++served_; }

  // Chunks of collectives that this rank has been through.
  uint64_t chunk = 0;
  // Counts this rank's splits, by which the ranks of one find each other.
  uint64_t splits = 0;

 private:
  explicit Communicator(const Options& options) : options_(options) {}
  void LookForLostPeers();
  bool AllJoined() const;

  const Options options_;
  std::shared_ptr<SharedRegion> region_;
  std::atomic<int> state_ = ncclInProgress;
  std::atomic<bool> aborted_ = false;
  std::atomic<uint64_t> next_ticket_ = 0;
  std::atomic<uint64_t> served_ = 0;
  std::atomic<int> graph_references_ = 0;
  std::atomic<bool> finalizing_ = false;
  mutable std::mutex mutex_;
  std::string error_;                                    // under mutex_
  std::vector<std::function<ncclResult_t()>> deferred_;  // under mutex_
  int groups_ = 0;                                       // under mutex_
};

// The communicator of a handle; null if it is none that lives.
std::shared_ptr<Communicator> FindCommunicator(ncclComm_t handle);
ncclComm_t RegisterCommunicator(std::shared_ptr<Communicator> communicator);
void ForgetCommunicator(ncclComm_t handle);

// Whether the injected fault strikes here, once.
bool Strikes(NcclFault fault, int rank);
bool PeersAreNetworked();

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_NCCL_COMMUNICATOR_H_
