#include "worker/comm/nccl/nccl_connection.h"

#include <nccl.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/comm/nccl/nccl_status.h"

namespace caravan::worker {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Once connections are up, calls are enqueued within microseconds.
constexpr auto kBusyTime = std::chrono::milliseconds(1);
constexpr auto kPause = std::chrono::microseconds(50);
constexpr auto kAbortTime = std::chrono::seconds(2);
constexpr absl::Duration kFarewell = absl::Seconds(1);

// The thread that aborts may outlive the connection.
struct AbortState {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;  // under mutex
};

}  // namespace

absl::StatusOr<std::string> NewNcclUniqueId() {
  ncclUniqueId id;
  CARAVAN_RETURN_IF_ERROR(NcclStatus(ncclGetUniqueId(&id), "ncclGetUniqueId"));
  return std::string(id.internal, sizeof(id.internal));
}

absl::StatusOr<std::unique_ptr<NcclConnection>> NcclConnection::Join(
    const Place& place, Waiter& waiter, absl::Duration timeout) {
  ncclUniqueId id;
  if (place.unique_id.size() != sizeof(id.internal)) {
    return absl::InternalError(absl::StrCat("not a unique id of NCCL: bytes=",
                                            place.unique_id.size()));
  }
  std::memcpy(id.internal, place.unique_id.data(), sizeof(id.internal));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t communicator = nullptr;
  const ncclResult_t result = ncclCommInitRankConfig(&communicator, place.size,
                                                     id, place.rank, &config);
  if (result != ncclSuccess && result != ncclInProgress) {
    return NcclStatus(result, "ncclCommInitRankConfig", communicator);
  }
  std::unique_ptr<NcclConnection> connection(
      new NcclConnection(communicator, waiter));
  CARAVAN_RETURN_IF_ERROR(
      connection->AwaitReady(waiter.Begin("joining NCCL", timeout)));
  return connection;
}

NcclConnection::~NcclConnection() {
  if (communicator_ == nullptr) return;
  if (!broken_ && waiter_.CheckAborted().ok()) {
    const ncclResult_t result = ncclCommFinalize(communicator_);
    broken_ = (result != ncclSuccess && result != ncclInProgress) ||
              !AwaitReady(waiter_.Begin("leaving NCCL", kFarewell)).ok();
  }
  if (broken_ || !waiter_.CheckAborted().ok()) {
    Abort();
  } else {
    ncclCommDestroy(communicator_);
  }
}

absl::Status NcclConnection::Run(absl::string_view operation,
                                 absl::FunctionRef<int(ncclComm*)> call) {
  const int result = call(communicator_);
  if (result == ncclSuccess) return absl::OkStatus();
  if (result != ncclInProgress) {
    broken_ = true;
    return NcclStatus(result, operation, communicator_);
  }
  return AwaitReady(waiter_.Begin(operation));
}

absl::Status NcclConnection::AwaitReady(const Call& call) {
  const SteadyClock::time_point begin = SteadyClock::now();
  while (true) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &state);
    if (asked == ncclSuccess && state == ncclSuccess) return absl::OkStatus();
    absl::Status status = waiter_.CheckAborted();
    if (status.ok() && asked != ncclSuccess) {
      status = NcclStatus(asked, call.operation, communicator_);
    } else if (status.ok() && state != ncclInProgress) {
      status = NcclStatus(state, call.operation, communicator_);
    } else if (status.ok() && SteadyClock::now() >= call.deadline) {
      status = absl::DeadlineExceededError(absl::StrCat(
          call.operation, " timed out: group=", waiter_.options().name,
          " after=", absl::FormatDuration(call.timeout)));
    }
    if (!status.ok()) {
      broken_ = true;
      return status;
    }
    if (SteadyClock::now() - begin < kBusyTime) {
      std::this_thread::yield();
      continue;
    }
    waiter_.Tick();
    std::this_thread::sleep_for(kPause);
  }
}

absl::Status NcclConnection::CheckAsync() {
  if (communicator_ == nullptr) return absl::OkStatus();
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &state);
  if (asked != ncclSuccess) state = asked;
  if (state == ncclSuccess || state == ncclInProgress) return absl::OkStatus();
  broken_ = true;
  return NcclStatus(state, "NCCL", communicator_);
}

void NcclConnection::Abort() {
  if (communicator_ == nullptr) return;
  const auto state = std::make_shared<AbortState>();
  std::thread([state, communicator = communicator_] {
    ncclCommAbort(communicator);
    const std::lock_guard<std::mutex> lock(state->mutex);
    state->done = true;
    state->changed.notify_all();
  }).detach();
  communicator_ = nullptr;
  std::unique_lock<std::mutex> lock(state->mutex);
  if (!state->changed.wait_for(lock, kAbortTime, [&] { return state->done; })) {
    LogError(
        absl::StrCat("NCCL does not abort: group=", waiter_.options().name));
  }
}

}  // namespace caravan::worker
