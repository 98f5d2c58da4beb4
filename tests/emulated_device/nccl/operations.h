// What a communicator executes: collectives and messages, as work of a stream.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_NCCL_OPERATIONS_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_NCCL_OPERATIONS_H_

#include <nccl.h>

#include <cstddef>
#include <memory>

#include "tests/emulated_device/nccl/communicator.h"
#include "tests/emulated_device/runtime/work.h"

namespace caravan::emulated {

enum class Collective {
  kAllReduce,
  kReduce,
  kBroadcast,
  kAllGather,
  kReduceScatter,
};

// Counts are the caller's: of what a rank sends, but kReduceScatter's, of what
// it receives.
struct CollectiveCall {
  Collective kind = Collective::kAllReduce;
  const void* send = nullptr;
  void* receive = nullptr;
  size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t reduction = ncclSum;
  int root = 0;
};
struct MessageCall {
  bool sends = false;
  void* data = nullptr;
  size_t bytes = 0;
  int peer = 0;
};

std::unique_ptr<Work> MakeCollective(std::shared_ptr<Communicator> communicator,
                                     const CollectiveCall& call);
std::unique_ptr<Work> MakeMessage(std::shared_ptr<Communicator> communicator,
                                  const MessageCall& call);

// 0 for a type that is not emulated.
size_t BytesOf(ncclDataType_t type);
// values[i] = reduction(values[i], others[i]), rounded to the type.
void Reduce(void* values, const void* others, size_t count, ncclDataType_t type,
            ncclRedOp_t reduction);

// Faults that strike when an operation begins; true if it must never finish.
bool BeginOperation(Communicator& communicator);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_NCCL_OPERATIONS_H_
