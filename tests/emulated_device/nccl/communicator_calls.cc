// Communicators: making, asking, leaving.
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/emulated_device/nccl/communicator.h"
#include "tests/emulated_device/nccl/group.h"

namespace caravan::emulated {
namespace {

constexpr auto kPollPause = std::chrono::microseconds(50);

std::string NewName() {
  static std::atomic<int> count = 0;
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  return "/caravan-nccl-" + std::to_string(getpid()) + "-" +
         std::to_string(count++) + "-" + std::to_string(now);
}

bool IsConfig(const ncclConfig_t* config) {
  const ncclConfig_t initial = NCCL_CONFIG_INITIALIZER;
  return config == nullptr || config->magic == initial.magic;
}
bool Blocks(const ncclConfig_t* config) {
  return config == nullptr || config->blocking != 0;
}

ncclResult_t JoinRegion(ncclComm_t* handle,
                        const Communicator::Options& options) {
  ncclResult_t error = ncclSuccess;
  const std::shared_ptr<Communicator> communicator =
      Communicator::Join(options, &error);
  if (communicator == nullptr) return error;
  *handle = RegisterCommunicator(communicator);
  if (!options.blocking) return ncclInProgress;
  if (!InGroup()) return AwaitReady(*communicator);
  AwaitAtGroupEnd(communicator);
  return ncclSuccess;
}

// Where a rank is in its part of a split.
struct Part {
  int rank = 0;
  int size = 0;
};

// Waits until all ranks have said where they go. Unlike NCCL's, also for a
// communicator that does not block.
bool AwaitSplit(Communicator& parent) {
  for (int rank = 0; rank < parent.size(); ++rank) {
    while (parent.region().ranks[rank].split < parent.splits) {
      if (parent.MustStop() || parent.Poll() != ncclSuccess) return false;
      std::this_thread::sleep_for(kPollPause);
    }
  }
  return true;
}

Part PartOf(const Communicator& parent, int color, int key) {
  Part part;
  for (int rank = 0; rank < parent.size(); ++rank) {
    const RankSlot& slot = parent.region().ranks[rank];
    if (slot.color != color) continue;
    ++part.size;
    const bool before =
        slot.key < key || (slot.key == key && rank < parent.rank());
    if (before) ++part.rank;
  }
  return part;
}

}  // namespace
}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::string name = NewName();
  if (!CreateRegion(name)) {
    return RememberNcclError(ncclSystemError, "no shared memory");
  }
  *id = {};
  std::snprintf(id->internal, sizeof(id->internal), "%s", name.c_str());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* handle, int size,
                                    ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (size < 1 || size > kMaxRanks || rank < 0 || rank >= size ||
      !IsConfig(config)) {
    return RememberNcclError(ncclInvalidArgument, "bad rank or configuration");
  }
  id.internal[sizeof(id.internal) - 1] = '\0';
  return JoinRegion(handle, {.name = id.internal,
                             .rank = rank,
                             .size = size,
                             .device = CurrentDevice(),
                             .blocking = Blocks(config)});
}
ncclResult_t ncclCommInitRank(ncclComm_t* handle, int size, ncclUniqueId id,
                              int rank) {
  return ncclCommInitRankConfig(handle, size, id, rank, nullptr);
}

ncclResult_t ncclCommSplit(ncclComm_t handle, int color, int key,
                           ncclComm_t* part_handle, ncclConfig_t* config) {
  const std::shared_ptr<Communicator> parent = FindCommunicator(handle);
  if (parent == nullptr || !IsConfig(config) ||
      (color < 0 && color != NCCL_SPLIT_NOCOLOR)) {
    return RememberNcclError(ncclInvalidArgument, "bad split");
  }
  const ncclResult_t state = parent->Poll();
  if (state != ncclSuccess) return state;
  *part_handle = nullptr;
  RankSlot& mine = parent->region().ranks[parent->rank()];
  mine.color = color;
  mine.key = key;
  mine.split = ++parent->splits;
  if (!AwaitSplit(*parent)) return ncclRemoteError;
  if (color == NCCL_SPLIT_NOCOLOR) return ncclSuccess;
  const Part part = PartOf(*parent, color, key);
  const std::string name = parent->name() + "-" +
                           std::to_string(parent->splits) + "-" +
                           std::to_string(color);
  CreateRegion(name);  // the first of the part to come here makes it
  return JoinRegion(
      part_handle,
      {.name = name,
       .rank = part.rank,
       .size = part.size,
       .device = parent->device(),
       .blocking = config != nullptr ? Blocks(config) : parent->blocking()});
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* state) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  *state = communicator->Poll();
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  communicator->Finalize();
  if (!communicator->blocking()) return ncclInProgress;
  communicator->AwaitGraphs();
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  communicator->Leave();
  ForgetCommunicator(handle);
  communicator->AwaitGraphs();
  return ncclSuccess;
}

// From any thread; operations that wait in streams end.
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  communicator->Abort();
  ForgetCommunicator(handle);
  communicator->AwaitGraphs();
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t handle, int* size) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  *size = communicator->size();
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  *rank = communicator->rank();
  return ncclSuccess;
}
ncclResult_t ncclCommCuDevice(const ncclComm_t handle, int* device) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  *device = communicator->device();
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

}  // extern "C"
