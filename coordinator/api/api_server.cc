#include "coordinator/api/api_server.h"

#include <boost/asio/ip/address.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "coordinator/api/api_service.h"
#include "coordinator/api/http_server.h"

namespace caravan::coordinator {
namespace {

bool IsLoopback(const std::string& address) {
  if (address == "localhost") return true;
  boost::system::error_code error;
  const auto parsed = boost::asio::ip::make_address(address, error);
  return !error && parsed.is_loopback();
}

absl::Status Check(const ApiServerOptions& options) {
  if (options.scheduler == nullptr || options.model.names.empty() ||
      options.model.vocab_size <= 0) {
    return absl::InvalidArgumentError(
        "the API server needs a scheduler, a model's name and its vocabulary's "
        "size");
  }
  if (!IsLoopback(options.address) && options.api_keys.empty() &&
      !options.allow_insecure) {
    return absl::FailedPreconditionError(absl::StrCat(
        "others can reach ", options.address,
        ": give --api-key, or --insecure to let everybody use the server"));
  }
  for (const std::string& key : options.api_keys) {
    if (key.empty()) return absl::InvalidArgumentError("an API key is empty");
  }
  return absl::OkStatus();
}

ApiService::Options ServiceOptions(ApiServerOptions options) {
  ApiService::Options service;
  service.model = std::move(options.model);
  if (service.model.tokenizer != nullptr) {
    service.model.longest_token_bytes =
        LongestTokenBytes(*service.model.tokenizer);
  }
  service.api_keys = std::move(options.api_keys);
  service.scheduler = options.scheduler;
  service.status = std::move(options.status);
  service.limits = options.limits;
  service.clock = options.clock;
  return service;
}

}  // namespace

class ApiServer::Impl {
 public:
  explicit Impl(ApiServerOptions options)
      : service_(ServiceOptions(std::move(options))) {}

  absl::Status Start(HttpServer::Options options) {
    options.service = &service_;
    CARAVAN_ASSIGN_OR_RETURN(server_, HttpServer::Start(options));
    return absl::OkStatus();
  }

  int port() const { return server_->port(); }

  void Shutdown(absl::Duration drain) {
    service_.StartDraining();
    absl::MutexLock lock(&shutdown_mutex_);  // the second caller waits too
    server_->Shutdown(drain);
  }

 private:
  ApiService service_;
  absl::Mutex shutdown_mutex_;
  std::unique_ptr<HttpServer> server_;
};

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(
    ApiServerOptions options) {
  CARAVAN_RETURN_IF_ERROR(Check(options));
  HttpServer::Options http;
  http.address = options.address;
  http.port = options.port;
  http.num_threads = options.num_threads;
  auto impl = std::make_unique<Impl>(std::move(options));
  CARAVAN_RETURN_IF_ERROR(impl->Start(http));
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
}

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ApiServer::~ApiServer() { impl_->Shutdown(absl::ZeroDuration()); }

int ApiServer::port() const { return impl_->port(); }
void ApiServer::Shutdown(absl::Duration drain) { impl_->Shutdown(drain); }

}  // namespace caravan::coordinator
