// One client's connection: requests in, answers out, in order.
#ifndef CARAVAN_COORDINATOR_API_CONNECTION_H_
#define CARAVAN_COORDINATOR_API_CONNECTION_H_

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>

#include "coordinator/api/api_service.h"
#include "coordinator/api/client_stream.h"

namespace caravan::coordinator {

// Serves `stream` until one side closes it. `service` and `long_work`, which
// reads long bodies so that other connections need not wait for it, outlive
// the coroutine. Runs on the stream's executor.
boost::asio::awaitable<void> ServeConnection(
    std::shared_ptr<ClientStream> stream, const ApiService* service,
    boost::asio::thread_pool* long_work);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_CONNECTION_H_
