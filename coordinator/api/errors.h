// What a client is told when its request fails: OpenAI's error object.
#ifndef CARAVAN_COORDINATOR_API_ERRORS_H_
#define CARAVAN_COORDINATOR_API_ERRORS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

struct ApiError {
  int http_status = 500;
  std::string message;
  std::string type;   // "invalid_request_error"
  std::string param;  // the field at fault; empty: null
  std::string code;   // "model_not_found"; empty: null
};

// kInvalidArgument that names the request's field at fault. The code is
// OpenAI's, where it has one.
absl::Status FieldError(absl::string_view param, absl::string_view message,
                        absl::string_view code = "");

// kNotFound, as vLLM words it.
absl::Status UnknownModelError(absl::string_view model);

// The error for a status of any code, with the HTTP status that fits. An
// internal error's text stays in the log: the client gets a fixed sentence.
ApiError ToApiError(const absl::Status& status);

// The error for an HTTP status that the server itself gives.
ApiError HttpError(int http_status, absl::string_view message);

// {"error":{"message","type","param","code"}}
std::string ErrorJson(const ApiError& error);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_ERRORS_H_
