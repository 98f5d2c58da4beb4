// Arithmetic on sizes that come from outside: overflow and negative operands
// are errors, never wrap-around.
#ifndef CARAVAN_BASE_CHECKED_MATH_H_
#define CARAVAN_BASE_CHECKED_MATH_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace caravan {

// kInvalidArgument when an operand is negative or the result exceeds int64_t.
absl::StatusOr<int64_t> CheckedAdd(int64_t a, int64_t b);
absl::StatusOr<int64_t> CheckedMultiply(int64_t a, int64_t b);
absl::StatusOr<int64_t> CheckedProduct(absl::Span<const int64_t> factors);

// For sizes known to be small and not negative.
constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t RoundUp(int64_t a, int64_t multiple) {
  return CeilDivide(a, multiple) * multiple;
}

}  // namespace caravan

#endif  // CARAVAN_BASE_CHECKED_MATH_H_
