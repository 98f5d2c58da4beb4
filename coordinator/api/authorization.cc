#include "coordinator/api/authorization.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace caravan::coordinator {

Authorization::Authorization(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) hashes_.push_back(HashOf(key));
}

absl::Status Authorization::Check(absl::string_view authorization) const {
  if (hashes_.empty()) return absl::OkStatus();
  constexpr absl::string_view kScheme = "Bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return absl::UnauthenticatedError(
        "Give an API key: Authorization: Bearer KEY");
  }
  authorization.remove_prefix(kScheme.size());
  const Hash given = HashOf(absl::StripAsciiWhitespace(authorization));
  bool is_known = false;
  for (const Hash& hash : hashes_) {  // all of them, always
    is_known |= CRYPTO_memcmp(hash.data(), given.data(), hash.size()) == 0;
  }
  if (!is_known) return absl::UnauthenticatedError("Incorrect API key");
  return absl::OkStatus();
}

Authorization::Hash Authorization::HashOf(absl::string_view key) {
  Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(),
         hash.data());
  return hash;
}

}  // namespace caravan::coordinator
