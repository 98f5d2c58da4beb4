#include "coordinator/api/http_message.h"

namespace caravan::coordinator {

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response;
  response.status = error.http_status;
  response.body = ErrorJson(error);
  if (error.http_status == 429 || error.http_status == 503) {
    response.fields.emplace_back("Retry-After", "1");
  }
  if (error.http_status == 401) {
    response.fields.emplace_back("WWW-Authenticate", "Bearer");
  }
  return response;
}

}  // namespace caravan::coordinator
