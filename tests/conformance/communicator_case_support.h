// What the cases of communicator_suite.h are written with.
#ifndef CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_CASE_SUPPORT_H_
#define CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_CASE_SUPPORT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "tests/support/slowdown.h"
#include "worker/comm/communicator.h"

namespace caravan::testing {

// Returns from the case with a failure that names place, condition and `...`.
#define CARAVAN_CASE_EXPECT(condition, ...)                                   \
  do {                                                                        \
    if (!(condition)) {                                                       \
      return absl::InternalError(                                             \
          absl::StrCat(__FILE__, ":", __LINE__,                               \
                       ": expected " #condition __VA_OPT__(, ) __VA_ARGS__)); \
    }                                                                         \
  } while (false)

// The status must have this code, and each of the texts in its message.
absl::Status ExpectError(const absl::Status& status, absl::StatusCode code,
                         const std::vector<std::string>& texts);

// A group of all ranks.
absl::StatusOr<std::unique_ptr<worker::Communicator>> GroupOfAll(
    worker::World& world, absl::string_view name,
    absl::Duration timeout = absl::Minutes(1) * kSlowdown);

// A group of all ranks between which float32 travels in `wire`.
absl::StatusOr<std::unique_ptr<worker::Communicator>> GroupOfAll(
    worker::World& world, absl::string_view name, DType wire);

// Returns when all ranks have come.
absl::Status Barrier(worker::Communicator& group);

// The addends of one rank: the same wherever they are computed, of very
// different magnitudes and signs, so that the order of a sum shows in its bits.
std::vector<float> AddendsOfRank(int rank, size_t count);

// The values as they are once they have travelled in `wire`.
std::vector<float> InWire(std::vector<float> values, DType wire);

// The sum in order of ranks, added one by one, as a group of several ranks must
// give it when float32 travels in `wire`.
std::vector<float> SumOfRanks(const std::vector<int>& ranks, size_t count,
                              DType wire);

// Equal bits; an error names the first difference.
absl::Status ExpectSameBits(absl::Span<const float> got,
                            absl::Span<const float> expected);

// Bytes that tell sender and message apart.
std::vector<std::byte> MessageOf(int sender, int number, size_t bytes);

absl::Status ReduceFloats(worker::Communicator& group,
                          std::vector<float>& values);

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_CASE_SUPPORT_H_
