// Listens, accepts and runs the connections.
#ifndef CARAVAN_COORDINATOR_API_HTTP_SERVER_H_
#define CARAVAN_COORDINATOR_API_HTTP_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/api/api_service.h"

namespace caravan::coordinator {

// Thread-safe.
class HttpServer final {
 public:
  struct Options {
    std::string address;
    int port = 0;  // 0: any that is free
    int num_threads = 2;
    ApiService* service = nullptr;  // outlives this
  };
  // kInvalidArgument: no such address. kUnavailable: cannot listen there.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      const Options& options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  int num_connections() const;

  // Closes idle connections and the listening socket; waits up to `drain` for
  // the others, then breaks them off. Returns when all threads have ended.
  void Shutdown(absl::Duration drain);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_HTTP_SERVER_H_
