// How the emulated device behaves: set once per process by the environment,
// so that whole binaries can be run in a mode.
//
//   CARAVAN_EMULATED_DEVICES   number of devices, 4 unless given
//   CARAVAN_EMULATED_MEMORY    bytes of each, 2 GiB unless given
//   CARAVAN_EMULATED_PROTECT   1: device memory is closed to the host
//   CARAVAN_EMULATED_SEED      the schedule of kernels' threads (grid_run.h)
//   CARAVAN_EMULATED_STREAMS   lazy (unless given), eager, random, background
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_SETTINGS_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_SETTINGS_H_

#include <cstddef>
#include <cstdint>

namespace caravan::emulated {

// When enqueued work runs, as far as its order allows.
enum class StreamPolicy {
  kLazy,        // when someone waits for it, and no earlier
  kEager,       // at once
  kRandom,      // now and then
  kBackground,  // soon, by a thread of the emulation
};

constexpr int kMaxDevices = 16;

struct Settings {
  int num_devices = 4;
  // Plans set a good half of it aside for CUDA and NCCL.
  size_t memory_bytes = size_t{2} << 30;
  bool protect_memory = false;
  uint64_t schedule_seed = 0;
  StreamPolicy stream_policy = StreamPolicy::kLazy;
};

// A value that cannot be read ends the process with a line that names it.
const Settings& GetSettings();

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_SETTINGS_H_
