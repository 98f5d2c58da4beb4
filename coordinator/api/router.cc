#include "coordinator/api/router.h"

#include "absl/strings/match.h"

namespace caravan::coordinator {
namespace {

constexpr Route kRoutes[] = {
    {"/v1/completions", Endpoint::kCompletions, true, false},
    {"/v1/chat/completions", Endpoint::kChatCompletions, true, false},
    {"/v1/models", Endpoint::kModels, false, false},
    {"/v1/models/", Endpoint::kModel, false, false},
    {"/health", Endpoint::kHealth, false, true},
    {"/version", Endpoint::kVersion, false, true},
    {"/tokenize", Endpoint::kTokenize, true, false},
    {"/detokenize", Endpoint::kDetokenize, true, false},
    {"/status", Endpoint::kStatus, false, false},
};

}  // namespace

absl::string_view PathOf(absl::string_view target) {
  for (absl::string_view scheme : {"http://", "https://"}) {
    if (!absl::StartsWithIgnoreCase(target, scheme)) continue;
    target.remove_prefix(scheme.size());
    const size_t slash = target.find('/');
    target = slash == absl::string_view::npos ? "/" : target.substr(slash);
    break;
  }
  return target.substr(0, target.find_first_of("?#"));
}

const Route* FindRoute(absl::string_view path) {
  for (const Route& route : kRoutes) {
    const bool is_prefix = absl::EndsWith(route.path, "/");
    const bool matches = is_prefix ? absl::StartsWith(path, route.path) &&
                                         path.size() > route.path.size()
                                   : path == route.path;
    if (matches) return &route;
  }
  return nullptr;
}

}  // namespace caravan::coordinator
