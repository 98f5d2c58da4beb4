// Collectives, chunk by chunk: each rank publishes what it sends with what it
// believes the call to be, waits for all, compares, and takes what it needs.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/nccl/operations.h"

namespace caravan::emulated {
namespace {

class CollectiveWork final : public Work {
 public:
  CollectiveWork(std::shared_ptr<Communicator> communicator,
                 const CollectiveCall& call)
      : communicator_(std::move(communicator)),
        call_(call),
        element_(BytesOf(call.type)),
        send_count_(call.kind == Collective::kReduceScatter
                        ? call.count *
                              static_cast<size_t>(communicator_->size())
                        : call.count) {}

  bool Advance() override {
    SeeGridEnds();  // of the kernels before it in the stream
    if (communicator_->MustStop()) return true;
    if (!begun_) {
      begun_ = true;
      stalled_ = BeginOperation(*communicator_);
    }
    if (stalled_) return false;
    while (done_ < send_count_) {
      if (!Publish() || !AllPublished()) return false;
      if (!Agree()) return true;
      Take();
      communicator_->region().ranks[communicator_->rank()].consumed =
          ++communicator_->chunk;
      published_ = false;
      done_ += ChunkCount();
      if (communicator_->MustStop()) return true;
    }
    return true;
  }

 private:
  size_t ChunkCount() const {
    return std::min(kChunkBytes / element_, send_count_ - done_);
  }
  RankSlot& Slot(int rank) const { return communicator_->region().ranks[rank]; }
  size_t Buffer() const { return communicator_->chunk % 2; }

  // False while a slower rank still reads what would be overwritten.
  bool Publish() {
    if (published_) return true;
    const uint64_t chunk = communicator_->chunk;
    for (int rank = 0; rank < communicator_->size(); ++rank) {
      if (Slot(rank).consumed + 1 < chunk) return false;
    }
    RankSlot& mine = Slot(communicator_->rank());
    const bool has_data = call_.kind != Collective::kBroadcast ||
                          communicator_->rank() == call_.root;
    if (has_data) {
      std::memcpy(mine.buffers[Buffer()],
                  static_cast<const char*>(call_.send) + done_ * element_,
                  ChunkCount() * element_);
    }
    mine.signatures[Buffer()] = Signature();
    mine.published = chunk + 1;
    published_ = true;
    return true;
  }
  bool AllPublished() const {
    for (int rank = 0; rank < communicator_->size(); ++rank) {
      if (Slot(rank).published < communicator_->chunk + 1) return false;
    }
    return true;
  }

  uint64_t Signature() const {
    return uint64_t{call_.count} << 20 |
           static_cast<uint64_t>(call_.kind) << 16 |
           static_cast<uint64_t>(call_.type) << 12 |
           static_cast<uint64_t>(call_.reduction) << 8 |
           static_cast<uint64_t>(call_.root);
  }
  bool Agree() {
    for (int rank = 0; rank < communicator_->size(); ++rank) {
      if (Slot(rank).signatures[Buffer()] == Signature()) continue;
      const std::string why = "ranks " + std::to_string(communicator_->rank()) +
                              " and " + std::to_string(rank) +
                              " call different collectives";
      communicator_->Fail(ncclInvalidUsage, why);
      FailDevice(communicator_->device(), cudaErrorLaunchFailure, why);
      return false;
    }
    return true;
  }

  // Sums begin at another rank for each chunk: NCCL's order is not the ranks'.
  void SumInto(void* target, size_t count, size_t offset) {
    const int size = communicator_->size();
    const int first = static_cast<int>(communicator_->chunk % size);
    std::memcpy(target, Slot(first).buffers[Buffer()] + offset,
                count * element_);
    for (int i = 1; i < size; ++i) {
      Reduce(target, Slot((first + i) % size).buffers[Buffer()] + offset, count,
             call_.type, call_.reduction);
    }
  }

  void Take() {
    const size_t count = ChunkCount();
    char* receive = static_cast<char*>(call_.receive);
    switch (call_.kind) {
      case Collective::kAllReduce:
        SumInto(receive + done_ * element_, count, 0);
        return;
      case Collective::kReduce:
        if (communicator_->rank() == call_.root) {
          SumInto(receive + done_ * element_, count, 0);
        }
        return;
      case Collective::kBroadcast:
        std::memcpy(receive + done_ * element_,
                    Slot(call_.root).buffers[Buffer()], count * element_);
        return;
      case Collective::kAllGather:
        for (int rank = 0; rank < communicator_->size(); ++rank) {
          const size_t position =
              static_cast<size_t>(rank) * call_.count + done_;
          std::memcpy(receive + position * element_,
                      Slot(rank).buffers[Buffer()], count * element_);
        }
        return;
      case Collective::kReduceScatter:
        TakeOwnPart(receive, count);
        return;
    }
  }
  // Of elements [done_, done_ + count) of what all send, those that are this
  // rank's.
  void TakeOwnPart(char* receive, size_t count) {
    const size_t begin =
        static_cast<size_t>(communicator_->rank()) * call_.count;
    const size_t from = std::max(begin, done_);
    const size_t to = std::min(begin + call_.count, done_ + count);
    if (from >= to) return;
    SumInto(receive + (from - begin) * element_, to - from,
            (from - done_) * element_);
  }

  const std::shared_ptr<Communicator> communicator_;
  const CollectiveCall call_;
  const size_t element_;
  const size_t send_count_;
  size_t done_ = 0;
  bool begun_ = false;
  bool stalled_ = false;
  bool published_ = false;
};

}  // namespace

bool BeginOperation(Communicator& communicator) {
  const int rank = communicator.rank();
  if (Strikes(NcclFault::kExit, rank)) _exit(9);
  if (Strikes(NcclFault::kStall, rank)) return true;
  if (Strikes(NcclFault::kAsyncError, rank)) {
    communicator.Fail(ncclSystemError, "injected fault");
    return true;
  }
  return false;
}

std::unique_ptr<Work> MakeCollective(std::shared_ptr<Communicator> communicator,
                                     const CollectiveCall& call) {
  return std::make_unique<CollectiveWork>(std::move(communicator), call);
}

}  // namespace caravan::emulated
