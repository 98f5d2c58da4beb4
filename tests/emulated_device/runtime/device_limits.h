// The emulated card: a small one of the RTX 30 series, the least that Caravan's
// kernels must fit.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_DEVICE_LIMITS_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_DEVICE_LIMITS_H_

namespace caravan::emulated {

struct DeviceLimits {
  static constexpr int kMajor = 8;
  static constexpr int kMinor = 6;
  static constexpr int kMultiprocessors = 4;
  static constexpr int kMaxThreadsPerBlock = 1024;
  static constexpr int kThreadsPerMultiprocessor = 1536;
  static constexpr int kBlocksPerMultiprocessor = 16;
  static constexpr int kDefaultSharedBytes = 48 * 1024;
  static constexpr int kMaxSharedBytes = 99 * 1024;  // if asked for
  static constexpr int kSharedBytesPerMultiprocessor = 100 * 1024;
  static constexpr int kReservedSharedBytes = 1024;  // of each block
  static constexpr int kL2Bytes = 4 * 1024 * 1024;
  static constexpr int kLeastPriority = 0;
  static constexpr int kGreatestPriority = -5;
};

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_DEVICE_LIMITS_H_
