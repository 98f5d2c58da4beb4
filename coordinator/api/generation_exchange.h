// Generates for one request and answers it.
#ifndef CARAVAN_COORDINATOR_API_GENERATION_EXCHANGE_H_
#define CARAVAN_COORDINATOR_API_GENERATION_EXCHANGE_H_

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "coordinator/api/api_service.h"
#include "coordinator/api/client_stream.h"
#include "coordinator/api/http_head.h"
#include "coordinator/api/prepared_generation.h"

namespace caravan::coordinator {

// Returns whether the connection may go on. A client that leaves, in whatever
// phase, or takes nothing for too long cancels its generation. The head of a
// stream is sent with its first event, so that what fails before has a status
// of its own; what fails later is an event, after which the connection ends. A
// stream that has nothing to tell for long, in the queue or in a long prefill,
// is sent comments, the first with its head, so that no proxy takes it for
// dead.
boost::asio::awaitable<bool> ServeGeneration(
    std::shared_ptr<ClientStream> stream, const ApiService* service,
    PreparedGeneration generation, ResponseFraming framing);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_GENERATION_EXCHANGE_H_
