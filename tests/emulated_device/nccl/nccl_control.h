// Faults of the emulated NCCL, for tests.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_NCCL_NCCL_CONTROL_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_NCCL_NCCL_CONTROL_H_

namespace caravan::emulated {

enum class NcclFault {
  kNone,
  kStall,       // the rank's operation never finishes
  kAsyncError,  // the rank's communicator reports ncclSystemError
  kExit,        // the rank's process ends at once, as by SIGKILL
  kInitError,   // joining fails with ncclSystemError
};

// Once, in this process: when `rank` of any communicator begins an operation
// after `operations` others (kInitError: when it joins).
void InjectNcclFault(NcclFault fault, int rank, int operations);

// How peers are joined, which decides what they notice: a process that dies or
// aborts is ncclRemoteError over a network, and nothing at all between cards of
// one machine. Unless set, what CARAVAN_EMULATED_NCCL says: `network` or, by
// default, `peer`.
enum class NcclTransport { kPeer, kNetwork };
void SetNcclTransport(NcclTransport transport);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_NCCL_NCCL_CONTROL_H_
