// The coordinator's HTTP server: OpenAI's API in front of a scheduler.
#ifndef CARAVAN_COORDINATOR_API_API_SERVER_H_
#define CARAVAN_COORDINATOR_API_API_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "coordinator/api/limits.h"
#include "coordinator/api/served_model.h"
#include "coordinator/schedule/scheduler.h"

namespace caravan::coordinator {

struct ApiServerOptions {
  std::string address = "127.0.0.1";  // or a host name
  int port = 8000;                    // 0: any that is free
  int num_threads = 2;
  // Without keys everybody may use the server: only on a loopback address, or
  // with allow_insecure.
  std::vector<std::string> api_keys;
  bool allow_insecure = false;

  ServedModel model;
  Scheduler* scheduler = nullptr;  // outlives the server
  // The answer to GET /status: a JSON object. Called from the server's threads.
  std::function<std::string()> status;
  ApiLimits limits;
  // For what answers say of the time, and when a stream has been silent for
  // long. HTTP's deadlines go by the machine's.
  Clock* clock = &RealClock();
};

// Serves from Start until Shutdown or its end. Thread-safe. The sequences of
// clients that leave are cancelled at once.
class ApiServer final {
 public:
  // kInvalidArgument: options that make no sense. kFailedPrecondition: an
  // address that others reach, without keys. kUnavailable: the address cannot
  // be listened on.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(
      ApiServerOptions options);
  ~ApiServer();  // Shutdown at once
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  int port() const;

  // Takes no new connections and refuses new generations (503); waits up to
  // `drain` for answers under way, then breaks off what is left.
  void Shutdown(absl::Duration drain);

 private:
  class Impl;
  explicit ApiServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_API_SERVER_H_
