#include "tests/emulated_device/nccl/group.h"

#include <cuda_runtime_api.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/emulated_device/runtime/work.h"

namespace caravan::emulated {
namespace {

constexpr auto kPollPause = std::chrono::microseconds(50);

// The calls of one group in one stream.
class GroupWork final : public Work {
 public:
  GroupWork(std::shared_ptr<Communicator> communicator,
            const std::vector<NcclCall>& calls, std::optional<uint64_t> ticket)
      : communicator_(std::move(communicator)), ticket_(ticket) {
    for (const NcclCall& call : calls) {
      if (const auto* collective = std::get_if<CollectiveCall>(&call)) {
        collectives_.push_back(MakeCollective(communicator_, *collective));
      } else {
        messages_.push_back(
            MakeMessage(communicator_, std::get<MessageCall>(call)));
      }
    }
  }

  bool Advance() override {
    if (!finished_ticket_ && ticket_.has_value() &&
        !communicator_->IsServed(*ticket_) && !communicator_->aborted()) {
      return false;
    }
    // Collectives one after the other, messages side by side.
    while (!collectives_.empty() && collectives_.front()->Advance()) {
      collectives_.erase(collectives_.begin());
    }
    std::erase_if(messages_, [](const std::unique_ptr<Work>& message) {
      return message->Advance();
    });
    if (!collectives_.empty() || !messages_.empty()) return false;
    if (ticket_.has_value()) communicator_->FinishTicket();
    finished_ticket_ = true;
    return true;
  }

 private:
  const std::shared_ptr<Communicator> communicator_;
  const std::optional<uint64_t> ticket_;
  bool finished_ticket_ = false;
  std::vector<std::unique_ptr<Work>> collectives_;
  std::vector<std::unique_ptr<Work>> messages_;
};

// Lives as long as what holds it: a graph, or a launch of it.
class GraphReference final {
 public:
  explicit GraphReference(std::shared_ptr<Communicator> communicator)
      : communicator_(std::move(communicator)) {
    communicator_->AddGraphReferences(1);
  }
  ~GraphReference() { communicator_->AddGraphReferences(-1); }
  GraphReference(const GraphReference&) = delete;
  GraphReference& operator=(const GraphReference&) = delete;

 private:
  const std::shared_ptr<Communicator> communicator_;
};

// All calls of a group with one communicator and stream.
struct Batch {
  std::shared_ptr<Communicator> communicator;
  cudaStream_t stream;
  std::vector<NcclCall> calls;
};

struct ThreadGroup {
  int depth = 0;
  std::vector<Batch> batches;
  std::vector<std::shared_ptr<Communicator>> joining;
  std::string last_error;
};
thread_local ThreadGroup group;

ncclResult_t Enqueue(const Batch& batch) {
  const std::shared_ptr<Communicator>& communicator = batch.communicator;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(batch.stream, &capture);
  std::optional<uint64_t> ticket;
  std::shared_ptr<GraphReference> graph;
  // A graph may be launched many times, in its own order.
  if (capture == cudaStreamCaptureStatusNone) {
    ticket = communicator->TakeTicket();
  } else {
    graph = std::make_shared<GraphReference>(communicator);
  }
  const cudaError_t error = EnqueueWork(
      batch.stream, [communicator, calls = batch.calls, ticket, graph] {
        return std::make_unique<GroupWork>(communicator, calls, ticket);
      });
  return error == cudaSuccess ? ncclSuccess
                              : RememberNcclError(ncclUnhandledCudaError,
                                                  cudaGetErrorString(error));
}

ncclResult_t Flush() {
  std::vector<Batch> batches = std::move(group.batches);
  group.batches.clear();
  std::vector<std::shared_ptr<Communicator>> joining = std::move(group.joining);
  group.joining.clear();
  ncclResult_t result = ncclSuccess;
  for (const std::shared_ptr<Communicator>& communicator : joining) {
    const ncclResult_t joined = AwaitReady(*communicator);
    if (joined != ncclSuccess) return joined;
  }
  for (const Batch& batch : batches) {
    if (batch.communicator->ChoosesToDefer()) {
      batch.communicator->Defer([batch] { return Enqueue(batch); });
      result = ncclInProgress;
      continue;
    }
    const ncclResult_t enqueued = Enqueue(batch);
    if (enqueued != ncclSuccess) return enqueued;
  }
  return result;
}

// Whether calls may be made with it now.
ncclResult_t CheckReady(Communicator& communicator) {
  if (communicator.HasDeferred()) {
    return RememberNcclError(
        ncclInvalidArgument,
        "a communicator was used before its last call had succeeded");
  }
  const ncclResult_t state = communicator.Poll();
  if (state != ncclInProgress) return state;
  return RememberNcclError(ncclInvalidArgument,
                           "a communicator was used before it was ready");
}

}  // namespace

bool InGroup() { return group.depth > 0; }

void AwaitAtGroupEnd(std::shared_ptr<Communicator> communicator) {
  group.joining.push_back(std::move(communicator));
}

ncclResult_t AwaitReady(Communicator& communicator) {
  ncclResult_t state = communicator.Poll();
  while (state == ncclInProgress && !communicator.aborted()) {
    std::this_thread::sleep_for(kPollPause);
    state = communicator.Poll();
  }
  return state;
}

ncclResult_t RememberNcclError(ncclResult_t result, const std::string& why) {
  group.last_error = why;
  return result;
}

ncclResult_t CallInGroup(ncclComm_t handle, cudaStream_t stream,
                         const NcclCall& call) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr) {
    return RememberNcclError(ncclInvalidArgument, "not a communicator");
  }
  const ncclResult_t ready = CheckReady(*communicator);
  if (ready != ncclSuccess) return ready;
  if (StreamDevice(stream) != communicator->device()) {
    return RememberNcclError(ncclInvalidUsage,
                             "the stream is not of the communicator's device");
  }
  for (Batch& batch : group.batches) {
    if (batch.communicator != communicator || batch.stream != stream) continue;
    batch.calls.push_back(call);
    return ncclSuccess;
  }
  group.batches.push_back({communicator, stream, {call}});
  return InGroup() ? ncclSuccess : Flush();
}

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) {
    return RememberNcclError(ncclInvalidUsage, "no group was started");
  }
  return --group.depth > 0 ? ncclSuccess : Flush();
}

const char* ncclGetLastError(ncclComm_t handle) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator != nullptr && !communicator->error().empty()) {
    group.last_error = communicator->error();
  }
  return group.last_error.c_str();
}

}  // extern "C"
