// Which paths there are.
#ifndef CARAVAN_COORDINATOR_API_ROUTER_H_
#define CARAVAN_COORDINATOR_API_ROUTER_H_

#include <string>

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

enum class Endpoint {
  kCompletions,
  kChatCompletions,
  kModels,
  kModel,  // /v1/models/NAME
  kHealth,
  kVersion,
  kTokenize,
  kDetokenize,
  kStatus,
};

struct Route {
  absl::string_view path;  // one that ends in '/' is a prefix
  Endpoint endpoint;
  bool takes_post;  // else GET and HEAD
  bool is_public;   // needs no key

  absl::string_view allow() const {
    return takes_post ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
  }
  bool Allows(absl::string_view method) const {
    return takes_post ? method == "POST" : method == "GET" || method == "HEAD";
  }
};

// The path of a request's target: no scheme, host or query.
absl::string_view PathOf(absl::string_view target);

// Null: there is no such path. Never deleted.
const Route* FindRoute(absl::string_view path);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_ROUTER_H_
