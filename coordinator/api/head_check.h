// What can be said of a request before its body is read.
#ifndef CARAVAN_COORDINATOR_API_HEAD_CHECK_H_
#define CARAVAN_COORDINATOR_API_HEAD_CHECK_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/api/http_message.h"
#include "coordinator/api/limits.h"
#include "coordinator/api/router.h"

namespace caravan::coordinator {

// The refusal of a head that is beyond `limits` or has a framing that we do
// not speak (414, 415, 431, 400, 413), whatever it asks for.
std::optional<HttpResponse> CheckFraming(const RequestHead& head,
                                         const ApiLimits& limits);

// The refusal of a method (405), a body without length (411) or a type that is
// not JSON (415) on `route`; also the answer to OPTIONS.
std::optional<HttpResponse> CheckMethod(const RequestHead& head,
                                        const Route& route);

// The request's id: the client's own, if it is short and printable, else a new
// one.
std::string RequestIdOf(const RequestHead& head);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_HEAD_CHECK_H_
