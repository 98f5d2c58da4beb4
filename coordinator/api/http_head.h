// The head of an HTTP answer as bytes.
#ifndef CARAVAN_COORDINATOR_API_HTTP_HEAD_H_
#define CARAVAN_COORDINATOR_API_HTTP_HEAD_H_

#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/api/http_message.h"

namespace caravan::coordinator {

// How the client and the connection stand.
struct ResponseFraming {
  std::string request_id;
  bool is_http_1_0 = false;
  bool keep_alive = true;
  bool omit_body = false;  // the answer to HEAD
};

// Head and body of an answer in one piece.
std::string FormatResponse(const HttpResponse& response,
                           const ResponseFraming& framing);

// The head of a stream of events, and a piece of it. HTTP/1.0 has no chunks:
// there the end of the connection ends the stream.
std::string FormatStreamHead(const ResponseFraming& framing);
std::string FormatStreamPiece(absl::string_view bytes,
                              const ResponseFraming& framing);
std::string FormatStreamEnd(const ResponseFraming& framing);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_HTTP_HEAD_H_
