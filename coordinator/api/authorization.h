// API keys.
#ifndef CARAVAN_COORDINATOR_API_AUTHORIZATION_H_
#define CARAVAN_COORDINATOR_API_AUTHORIZATION_H_

#include <array>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// Const and thread-safe. Keeps the keys' hashes only; how long a comparison
// takes says nothing about how much of a key was right.
class Authorization final {
 public:
  // No keys: everybody may do everything.
  explicit Authorization(const std::vector<std::string>& keys);

  // Of the value of the request's Authorization field. kUnauthenticated; the
  // message does not repeat it.
  absl::Status Check(absl::string_view authorization) const;

 private:
  using Hash = std::array<unsigned char, 32>;
  static Hash HashOf(absl::string_view key);

  std::vector<Hash> hashes_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_AUTHORIZATION_H_
