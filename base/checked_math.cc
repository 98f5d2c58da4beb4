#include "base/checked_math.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan {

absl::StatusOr<int64_t> CheckedAdd(int64_t a, int64_t b) {
  int64_t result;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &result)) {
    return absl::InvalidArgumentError(
        absl::StrCat("size out of range: ", a, " + ", b));
  }
  return result;
}

absl::StatusOr<int64_t> CheckedMultiply(int64_t a, int64_t b) {
  int64_t result;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) {
    return absl::InvalidArgumentError(
        absl::StrCat("size out of range: ", a, " * ", b));
  }
  return result;
}

absl::StatusOr<int64_t> CheckedProduct(absl::Span<const int64_t> factors) {
  int64_t product = 1;
  for (int64_t factor : factors) {
    CARAVAN_ASSIGN_OR_RETURN(product, CheckedMultiply(product, factor));
  }
  return product;
}

}  // namespace caravan
