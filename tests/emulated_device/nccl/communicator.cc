#include "tests/emulated_device/nccl/communicator.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

#include "tests/emulated_device/nccl/group.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

// Every so many groups of operations, the first included, are deferred.
constexpr int kDeferEvery = 8;
constexpr auto kPollPause = std::chrono::microseconds(50);

// Mutexes are not made at their first use, as in runtime_state.cc.
constinit std::mutex control_mutex;
constinit std::mutex registry_mutex;

struct Control {
  NcclFault fault = NcclFault::kNone;
  int rank = 0;
  int operations = 0;
  bool transport_chosen = false;
  NcclTransport transport = NcclTransport::kPeer;
};
Control& GetControl() {
  static constinit Control control;
  return control;
}

using Communicators = std::map<ncclComm_t, std::shared_ptr<Communicator>>;
Communicators& LiveCommunicators() {
  static auto* live = new Communicators;  // outlives detached threads
  return *live;
}

// Gone, or a zombie that nobody has waited for.
bool IsDead(int process) {
  if (kill(process, 0) != 0) return errno == ESRCH;
  std::ifstream stat("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  std::getline(stat, line);
  const size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") Z") == 0;
}

}  // namespace

void InjectNcclFault(NcclFault fault, int rank, int operations) {
  const std::lock_guard lock(control_mutex);
  Control& control = GetControl();
  control.fault = fault;
  control.rank = rank;
  control.operations = operations;
}

bool Strikes(NcclFault fault, int rank) {
  const std::lock_guard lock(control_mutex);
  Control& control = GetControl();
  if (control.fault != fault || control.rank != rank) return false;
  if (control.operations-- > 0) return false;
  control.fault = NcclFault::kNone;
  return true;
}

void SetNcclTransport(NcclTransport transport) {
  const std::lock_guard lock(control_mutex);
  Control& control = GetControl();
  control.transport_chosen = true;
  control.transport = transport;
}

bool PeersAreNetworked() {
  const std::lock_guard lock(control_mutex);
  Control& control = GetControl();
  if (!control.transport_chosen) {
    const char* text = std::getenv("CARAVAN_EMULATED_NCCL");
    if (text != nullptr && std::strcmp(text, "network") == 0) {
      control.transport = NcclTransport::kNetwork;
    }
    control.transport_chosen = true;
  }
  return control.transport == NcclTransport::kNetwork;
}

std::shared_ptr<Communicator> Communicator::Join(const Options& options,
                                                 ncclResult_t* error) {
  std::shared_ptr<Communicator> made(new Communicator(options));
  made->region_ = OpenRegion(options.name);
  if (made->region_ == nullptr) {
    *error = RememberNcclError(ncclSystemError,
                               "no root listens at " + options.name);
    return nullptr;
  }
  SharedRegion& region = *made->region_;
  int nobody = 0;
  if (!region.num_ranks.compare_exchange_strong(nobody, options.size) &&
      nobody != options.size) {
    *error = RememberNcclError(ncclInvalidUsage,
                               "ranks disagree about the number of ranks");
    return nullptr;
  }
  int nobody_there = 0;
  if (!region.ranks[options.rank].process.compare_exchange_strong(nobody_there,
                                                                  getpid())) {
    *error = RememberNcclError(
        ncclInvalidUsage, "rank " + std::to_string(options.rank) + " is taken");
    return nullptr;
  }
  return made;
}

bool Communicator::AllJoined() const {
  for (int rank = 0; rank < size(); ++rank) {
    if (region_->ranks[rank].process == 0) return false;
  }
  return true;
}

void Communicator::LookForLostPeers() {
  if (!PeersAreNetworked()) return;
  for (int rank = 0; rank < size(); ++rank) {
    const RankSlot& slot = region_->ranks[rank];
    if (slot.process == 0 || rank == this->rank()) continue;
    if (slot.left == 2 || (slot.left == 0 && IsDead(slot.process))) {
      Fail(ncclRemoteError,
           "lost the connection to rank " + std::to_string(rank));
    }
  }
}

ncclResult_t Communicator::Poll() {
  LookForLostPeers();
  if (state_ == ncclInProgress && AllJoined()) {
    RemoveRegion(options_.name);  // nothing is left if a rank is killed
    int joining = ncclInProgress;
    if (Strikes(NcclFault::kInitError, rank())) {
      Fail(ncclSystemError, "injected fault while joining");
    }
    state_.compare_exchange_strong(joining, ncclSuccess);
  }
  std::vector<std::function<ncclResult_t()>> deferred;
  {
    const std::lock_guard lock(mutex_);
    deferred.swap(deferred_);
  }
  for (const auto& enqueue : deferred) {
    const ncclResult_t result = enqueue();
    if (result != ncclSuccess) Fail(result, "an operation was not enqueued");
  }
  if (finalizing_ && graph_references_ > 0 && state_ == ncclSuccess) {
    return ncclInProgress;
  }
  return static_cast<ncclResult_t>(state_.load());
}

void Communicator::AwaitGraphs() {
  while (graph_references_ > 0) {
    {
      RuntimeLock lock(RuntimeMutex());
      StepDevice(device(), lock);
    }
    std::this_thread::sleep_for(kPollPause);
  }
}

void Communicator::Fail(ncclResult_t error, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (state_ != ncclSuccess && state_ != ncclInProgress) return;
  error_ = why;
  state_ = error;
}

std::string Communicator::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void Communicator::Leave() {
  // 2: without the agreement of the others.
  region_->ranks[rank()].left = aborted_ ? 2 : 1;
  RemoveRegion(options_.name);
}

void Communicator::Abort() {
  aborted_ = true;
  Leave();
}

bool Communicator::MustStop() {
  if (aborted_) return true;
  LookForLostPeers();
  return false;  // as on the device: spins until it is aborted
}

void Communicator::Defer(std::function<ncclResult_t()> enqueue) {
  const std::lock_guard lock(mutex_);
  deferred_.push_back(std::move(enqueue));
}

bool Communicator::HasDeferred() const {
  const std::lock_guard lock(mutex_);
  return !deferred_.empty();
}

bool Communicator::ChoosesToDefer() {
  if (blocking()) return false;
  const std::lock_guard lock(mutex_);
  return groups_++ % kDeferEvery == 0;
}

std::shared_ptr<Communicator> FindCommunicator(ncclComm_t handle) {
  const std::lock_guard lock(registry_mutex);
  const Communicators& live = LiveCommunicators();
  const auto found = live.find(handle);
  return found != live.end() ? found->second : nullptr;
}

ncclComm_t RegisterCommunicator(std::shared_ptr<Communicator> communicator) {
  const std::lock_guard lock(registry_mutex);
  // The type behind the handle stays unknown, as with the real library.
  const auto handle = reinterpret_cast<ncclComm_t>(communicator.get());
  LiveCommunicators()[handle] = std::move(communicator);
  return handle;
}

void ForgetCommunicator(ncclComm_t handle) {
  const std::lock_guard lock(registry_mutex);
  LiveCommunicators().erase(handle);
}

}  // namespace caravan::emulated
