#ifndef CARAVAN_BASE_VERSION_H_
#define CARAVAN_BASE_VERSION_H_

#include "absl/strings/string_view.h"

namespace caravan {

absl::string_view Version();  // "0.1.0"

// Version and commit, "0.1.0+1a2b3c4d5e6f". Coordinator, agents and engines of
// one cluster must agree on it.
absl::string_view BuildId();

}  // namespace caravan

#endif  // CARAVAN_BASE_VERSION_H_
