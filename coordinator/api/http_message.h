// HTTP requests and answers as plain data, so that only the connection knows
// the HTTP library.
#ifndef CARAVAN_COORDINATOR_API_HTTP_MESSAGE_H_
#define CARAVAN_COORDINATOR_API_HTTP_MESSAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/api/errors.h"

namespace caravan::coordinator {

// What is known of a request before its body is read.
struct RequestHead {
  std::string method;
  std::string target;         // as sent
  std::string authorization;  // of the field; empty: none
  std::string content_type;
  std::string content_encoding;
  std::string transfer_encoding;
  std::string request_id;
  int64_t num_fields = 0;
  std::optional<uint64_t> content_length;
  bool is_chunked = false;

  bool has_body() const { return is_chunked || content_length.value_or(0) > 0; }
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> fields;
};

inline HttpResponse JsonResponse(std::string body) {
  return {.status = 200, .body = std::move(body)};
}

// With the fields that belong to the status (Retry-After, WWW-Authenticate).
HttpResponse ErrorResponse(const ApiError& error);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_HTTP_MESSAGE_H_
