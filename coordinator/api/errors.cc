#include "coordinator/api/errors.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "coordinator/api/json_output.h"

namespace caravan::coordinator {
namespace {

// Status payloads: the key names what the value is.
constexpr char kParamPayload[] = "caravan/api/param";
constexpr char kCodePayload[] = "caravan/api/code";

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kCancelled:
      return 503;
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kDataLoss:
      return 500;
    default:  // abseil's enum asks for one
      return 500;
  }
}

std::string TypeOf(int http_status) {
  if (http_status == 401) return "authentication_error";
  if (http_status == 429) return "rate_limit_error";
  return http_status >= 500 ? "server_error" : "invalid_request_error";
}

std::string PayloadOf(const absl::Status& status, absl::string_view name) {
  const absl::optional<absl::Cord> payload = status.GetPayload(name);
  return payload.has_value() ? std::string(*payload) : std::string();
}

nlohmann::json StringOrNull(const std::string& text) {
  return text.empty() ? nlohmann::json() : nlohmann::json(text);
}

}  // namespace

absl::Status FieldError(absl::string_view param, absl::string_view message,
                        absl::string_view code) {
  absl::Status status = absl::InvalidArgumentError(message);
  if (!param.empty()) status.SetPayload(kParamPayload, absl::Cord(param));
  if (!code.empty()) status.SetPayload(kCodePayload, absl::Cord(code));
  return status;
}

absl::Status UnknownModelError(absl::string_view model) {
  // A model's name is short; whatever else stands there is not repeated.
  absl::Status status = absl::NotFoundError(
      absl::StrCat("The model `", model.substr(0, 128), "` does not exist."));
  status.SetPayload(kParamPayload, absl::Cord("model"));
  status.SetPayload(kCodePayload, absl::Cord("model_not_found"));
  return status;
}

ApiError ToApiError(const absl::Status& status) {
  ApiError error;
  error.http_status = HttpStatusOf(status.code());
  error.type = TypeOf(error.http_status);
  error.param = PayloadOf(status, kParamPayload);
  error.code = PayloadOf(status, kCodePayload);
  if (error.http_status == 500) {
    error.message = "Internal error. The server's log has the details.";
  } else {
    error.message = std::string(status.message());
  }
  return error;
}

ApiError HttpError(int http_status, absl::string_view message) {
  ApiError error;
  error.http_status = http_status;
  error.message = std::string(message);
  error.type = TypeOf(http_status);
  return error;
}

std::string ErrorJson(const ApiError& error) {
  nlohmann::json object = {{"error",
                            {{"message", error.message},
                             {"type", error.type},
                             {"param", StringOrNull(error.param)},
                             {"code", StringOrNull(error.code)}}}};
  return ToText(object);
}

}  // namespace caravan::coordinator
