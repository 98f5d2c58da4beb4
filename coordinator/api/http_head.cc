#include "coordinator/api/http_head.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace caravan::coordinator {
namespace {

absl::string_view ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:  // the phrase has no meaning to a program
      return "Status";
  }
}

std::string CommonHead(int status, const ResponseFraming& framing) {
  return absl::StrCat("HTTP/1.1 ", status, " ", ReasonOf(status),
                      "\r\nServer: caravan\r\nConnection: ",
                      framing.keep_alive ? "keep-alive" : "close",
                      "\r\nX-Request-Id: ", framing.request_id, "\r\n");
}

}  // namespace

std::string FormatResponse(const HttpResponse& response,
                           const ResponseFraming& framing) {
  std::string bytes = CommonHead(response.status, framing);
  for (const auto& [name, value] : response.fields) {
    absl::StrAppend(&bytes, name, ": ", value, "\r\n");
  }
  if (response.status != 204) {
    absl::StrAppend(&bytes, "Content-Type: ", response.content_type,
                    "\r\nContent-Length: ", response.body.size(), "\r\n");
  }
  bytes.append("\r\n");
  if (!framing.omit_body) bytes.append(response.body);
  return bytes;
}

std::string FormatStreamHead(const ResponseFraming& framing) {
  return absl::StrCat(
      CommonHead(200, framing),
      "Content-Type: text/event-stream; charset=utf-8\r\n"
      "Cache-Control: no-cache\r\n",
      framing.is_http_1_0 ? "" : "Transfer-Encoding: chunked\r\n", "\r\n");
}

std::string FormatStreamPiece(absl::string_view bytes,
                              const ResponseFraming& framing) {
  // A chunk of no bytes would end the stream.
  if (framing.is_http_1_0 || bytes.empty()) return std::string(bytes);
  return absl::StrCat(absl::StrFormat("%x\r\n", bytes.size()), bytes, "\r\n");
}

std::string FormatStreamEnd(const ResponseFraming& framing) {
  return framing.is_http_1_0 ? "" : "0\r\n\r\n";
}

}  // namespace caravan::coordinator
