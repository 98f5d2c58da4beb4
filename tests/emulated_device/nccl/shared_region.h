// The memory in which the ranks of one communicator meet: a POSIX shared memory
// object, so that they may be threads of one process or processes.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_NCCL_SHARED_REGION_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_NCCL_SHARED_REGION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace caravan::emulated {

constexpr int kMaxRanks = 16;
constexpr size_t kChunkBytes = 64 * 1024;

// What a rank contributes to collectives, chunk by chunk: chunk i is in
// buffers[i % 2], which may be overwritten once all have consumed chunk i - 2.
struct RankSlot {
  std::atomic<int> process;  // 0 until it has joined
  std::atomic<int> left;     // finalized, destroyed or aborted
  std::atomic<uint64_t> published;
  std::atomic<uint64_t> consumed;
  std::atomic<int> color, key;  // of a split, valid for its number
  std::atomic<uint64_t> split;
  uint64_t signatures[2];  // what the rank believes the chunk to be
  unsigned char buffers[2][kChunkBytes];
};

// From one rank to another, one chunk at a time.
struct Mailbox {
  std::atomic<uint64_t> sent;
  std::atomic<uint64_t> received;
  uint64_t message_bytes;
  unsigned char buffer[kChunkBytes];
};

struct SharedRegion {
  std::atomic<int> num_ranks;  // 0 until the first has joined
  RankSlot ranks[kMaxRanks];
  Mailbox mailboxes[kMaxRanks][kMaxRanks];  // [from][to]
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// Makes an empty region; false if it exists or cannot be made.
bool CreateRegion(const std::string& name);
// Null if there is none. Unmapped with its last owner.
std::shared_ptr<SharedRegion> OpenRegion(const std::string& name);
// Nobody can open it any more; those who have go on.
void RemoveRegion(const std::string& name);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_NCCL_SHARED_REGION_H_
