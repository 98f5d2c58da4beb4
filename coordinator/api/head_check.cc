#include "coordinator/api/head_check.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/random_id.h"

namespace caravan::coordinator {
namespace {

HttpResponse Refusal(int status, absl::string_view message) {
  return ErrorResponse(HttpError(status, message));
}

bool IsJson(absl::string_view content_type) {
  const absl::string_view type = absl::StripAsciiWhitespace(
      content_type.substr(0, content_type.find(';')));
  return absl::EqualsIgnoreCase(type, "application/json");
}

}  // namespace

std::optional<HttpResponse> CheckFraming(const RequestHead& head,
                                         const ApiLimits& limits) {
  if (static_cast<int64_t>(head.target.size()) > limits.max_target_bytes) {
    return Refusal(414, absl::StrCat("The URL is longer than ",
                                     limits.max_target_bytes, " bytes"));
  }
  if (head.num_fields > limits.max_header_fields) {
    return Refusal(431, absl::StrCat("More than ", limits.max_header_fields,
                                     " header fields"));
  }
  // Anything but "chunked" alone: what the body is would be a guess.
  if (!head.transfer_encoding.empty() &&
      !absl::EqualsIgnoreCase(head.transfer_encoding, "chunked")) {
    return Refusal(400, "The only Transfer-Encoding is chunked");
  }
  if (!head.content_encoding.empty() &&
      !absl::EqualsIgnoreCase(head.content_encoding, "identity")) {
    return Refusal(415, "Content-Encoding is not supported: send plain JSON");
  }
  if (head.content_length.value_or(0) >
      static_cast<uint64_t>(limits.max_body_bytes)) {
    return Refusal(413, absl::StrCat("The body is larger than ",
                                     limits.max_body_bytes, " bytes"));
  }
  return std::nullopt;
}

std::optional<HttpResponse> CheckMethod(const RequestHead& head,
                                        const Route& route) {
  if (head.method == "OPTIONS") {
    HttpResponse response{.status = 204};
    response.fields.emplace_back("Allow", std::string(route.allow()));
    return response;
  }
  if (!route.Allows(head.method)) {
    HttpResponse response =
        Refusal(405, absl::StrCat("Method not allowed; use ", route.allow()));
    response.fields.emplace_back("Allow", std::string(route.allow()));
    return response;
  }
  if (!route.takes_post) return std::nullopt;
  if (!head.is_chunked && !head.content_length.has_value()) {
    return Refusal(411, "Give a Content-Length or a chunked body");
  }
  if (!IsJson(head.content_type)) {
    return Refusal(415,
                   "Unsupported Media Type: Only 'application/json' is "
                   "allowed");
  }
  return std::nullopt;
}

std::string RequestIdOf(const RequestHead& head) {
  const std::string& id = head.request_id;
  const bool is_usable =
      !id.empty() && id.size() <= 128 &&
      std::all_of(id.begin(), id.end(), [](unsigned char c) {
        return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
      });
  return is_usable ? id : RandomId();
}

}  // namespace caravan::coordinator
