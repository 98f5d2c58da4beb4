// Control flow for absl::Status, with the names and argument order of abseil's
// own macros, which Debian's abseil does not have yet.
#ifndef CARAVAN_BASE_STATUS_MACROS_H_
#define CARAVAN_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan {

// The same code with "`context`: " before the message; OK stays OK.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace caravan

// Returns from the enclosing function when `expression` is not OK.
#define CARAVAN_RETURN_IF_ERROR(expression)            \
  do {                                                 \
    absl::Status caravan_status_ = (expression);       \
    if (!caravan_status_.ok()) return caravan_status_; \
  } while (false)

// CARAVAN_ASSIGN_OR_RETURN(auto value, Function()); assigns or declares
// `value`, or returns the error.
#define CARAVAN_ASSIGN_OR_RETURN(left, expression) \
  CARAVAN_ASSIGN_OR_RETURN_IMPL_(                  \
      CARAVAN_CONCAT_(caravan_status_or_, __LINE__), left, expression)

#define CARAVAN_ASSIGN_OR_RETURN_IMPL_(result, left, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) return std::move(result).status();           \
  left = *std::move(result)

#define CARAVAN_CONCAT_(a, b) CARAVAN_CONCAT_INNER_(a, b)
#define CARAVAN_CONCAT_INNER_(a, b) a##b

#endif  // CARAVAN_BASE_STATUS_MACROS_H_
