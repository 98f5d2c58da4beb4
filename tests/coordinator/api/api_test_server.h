// A server over simulated engines, and oracle streams beside whatever a test
// does to it.
#ifndef CARAVAN_TESTS_COORDINATOR_API_API_TEST_SERVER_H_
#define CARAVAN_TESTS_COORDINATOR_API_API_TEST_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/api/api_server.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/http_test_client.h"
#include "tests/coordinator/api/simulated_backend.h"

namespace caravan::testing {

class ApiServerTest : public ::testing::Test {
 protected:
  explicit ApiServerTest(SimulatedBackendOptions options = {})
      : backend_(options) {}

  // `change` may alter the options first.
  void StartServer(
      const std::function<void(coordinator::ApiServerOptions*)>& change =
          [](coordinator::ApiServerOptions*) {});
  int port() const { return server_->port(); }

  // One request on a connection of its own.
  ReceivedResponse Post(const std::string& path, const std::string& body);
  ReceivedResponse Get(const std::string& path);

  // Runs `action` while `num_streams` clients each stream an answer after
  // another, and checks that theirs are what they must be.
  void BesideOracles(int num_streams, const std::function<void()>& action);

  SimulatedBackend backend_;
  std::unique_ptr<coordinator::ApiServer> server_;
};

// The text of a streamed completion.
std::string TextOfStream(const ReceivedResponse& response);

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_COORDINATOR_API_API_TEST_SERVER_H_
