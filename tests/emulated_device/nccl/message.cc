// Messages from one rank to another, chunk by chunk through their mailbox.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/nccl/operations.h"

namespace caravan::emulated {
namespace {

class MessageWork final : public Work {
 public:
  MessageWork(std::shared_ptr<Communicator> communicator,
              const MessageCall& call)
      : communicator_(std::move(communicator)), call_(call) {}

  bool Advance() override {
    SeeGridEnds();  // of the kernels before it in the stream
    if (communicator_->MustStop()) return true;
    if (!begun_) {
      begun_ = true;
      stalled_ = BeginOperation(*communicator_);
    }
    if (stalled_) return false;
    while (done_ < call_.bytes) {
      if (failed_) return true;
      if (call_.sends ? !Send() : !Receive()) return failed_;
    }
    return true;
  }

 private:
  char* Position() const { return static_cast<char*>(call_.data) + done_; }
  size_t Chunk() const { return std::min(kChunkBytes, call_.bytes - done_); }

  bool Send() {
    Mailbox& box =
        communicator_->region().mailboxes[communicator_->rank()][call_.peer];
    if (box.sent != box.received) return false;
    std::memcpy(box.buffer, Position(), Chunk());
    box.message_bytes = call_.bytes;
    done_ += Chunk();
    ++box.sent;
    return true;
  }
  bool Receive() {
    Mailbox& box =
        communicator_->region().mailboxes[call_.peer][communicator_->rank()];
    if (box.sent == box.received) return false;
    if (box.message_bytes != call_.bytes) {
      const std::string why = "rank " + std::to_string(call_.peer) + " sends " +
                              std::to_string(box.message_bytes) +
                              " bytes to rank " +
                              std::to_string(communicator_->rank()) +
                              ", which receives " + std::to_string(call_.bytes);
      communicator_->Fail(ncclInvalidUsage, why);
      FailDevice(communicator_->device(), cudaErrorLaunchFailure, why);
      failed_ = true;
      return false;
    }
    std::memcpy(Position(), box.buffer, Chunk());
    done_ += Chunk();
    ++box.received;
    return true;
  }

  const std::shared_ptr<Communicator> communicator_;
  const MessageCall call_;
  size_t done_ = 0;
  bool begun_ = false;
  bool stalled_ = false;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Work> MakeMessage(std::shared_ptr<Communicator> communicator,
                                  const MessageCall& call) {
  return std::make_unique<MessageWork>(std::move(communicator), call);
}

}  // namespace caravan::emulated
