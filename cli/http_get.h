// One GET request to a server of ours.
#ifndef CARAVAN_CLI_HTTP_GET_H_
#define CARAVAN_CLI_HTTP_GET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace caravan::cli {

struct HttpGetOptions {
  std::string url;     // "http://127.0.0.1:8000"
  std::string target;  // "/status"
  std::string api_key;
  absl::Duration timeout = absl::Seconds(10);
};

// "http://127.0.0.1:8000" taken apart. kInvalidArgument: not http, or no host.
struct HttpAddress {
  std::string host;
  std::string port;  // "80" when the address names none
};
absl::StatusOr<HttpAddress> ParseHttpUrl(absl::string_view url);

// The body of the answer. kUnavailable: nobody answers there;
// kDeadlineExceeded; kPermissionDenied: the key is missing or wrong;
// kFailedPrecondition: another HTTP status than 200, with what was said.
absl::StatusOr<std::string> HttpGet(const HttpGetOptions& options);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_HTTP_GET_H_
