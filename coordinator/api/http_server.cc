#include "coordinator/api/http_server.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/api/client_stream.h"
#include "coordinator/api/connection.h"
#include "coordinator/api/http_head.h"

namespace caravan::coordinator {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kResult = asio::as_tuple(asio::use_awaitable);
// How long a connection may take to end after it was closed.
constexpr absl::Duration kCloseDeadline = absl::Seconds(5);
// What a client may send ahead while its request is worked on.
constexpr int64_t kMaxBufferBytes = 64 * 1024;

absl::StatusOr<tcp::endpoint> EndpointOf(asio::io_context* context,
                                         const std::string& address, int port) {
  if (port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("port must be between 0 and 65535, got ", port));
  }
  error_code error;
  tcp::resolver resolver(*context);
  const auto results = resolver.resolve(
      address, std::to_string(port),
      tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || results.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no such address: ", address, ": ", error.message()));
  }
  return results.begin()->endpoint();
}

absl::Status Listen(tcp::acceptor* acceptor, const tcp::endpoint& endpoint) {
  error_code error;
  acceptor->open(endpoint.protocol(), error);
  if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error)
    acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", endpoint.address().to_string(), ":",
                   endpoint.port(), ": ", error.message()));
}

}  // namespace

class HttpServer::Impl {
 public:
  explicit Impl(const Options& options)
      : service_(*options.service),
        max_connections_(options.service->limits().max_connections),
        context_(options.num_threads),
        acceptor_(asio::make_strand(context_)),
        long_work_(1) {}

  ~Impl() { Shutdown(absl::ZeroDuration()); }

  absl::Status Start(const Options& options) {
    try {
      CARAVAN_ASSIGN_OR_RETURN(
          const tcp::endpoint endpoint,
          EndpointOf(&context_, options.address, options.port));
      CARAVAN_RETURN_IF_ERROR(Listen(&acceptor_, endpoint));
      port_ = acceptor_.local_endpoint().port();
      asio::co_spawn(acceptor_.get_executor(), Accept(), asio::detached);
      for (int i = 0; i < std::max(options.num_threads, 1); ++i) {
        threads_.emplace_back([this] { RunThread(); });
      }
    } catch (const std::exception& error) {
      return absl::UnavailableError(
          absl::StrCat("starting the HTTP server: ", error.what()));
    }
    return absl::OkStatus();
  }

  int port() const { return port_; }

  int num_connections() const {
    absl::MutexLock lock(&mutex_);
    return static_cast<int>(streams_.size());
  }

  void Shutdown(absl::Duration drain) {
    if (threads_.empty()) return;
    asio::post(acceptor_.get_executor(), [this] {
      error_code ignored;
      acceptor_.close(ignored);
    });
    ForEachStream([](ClientStream* stream) { stream->CloseIfIdle(); });
    AwaitNoConnections(drain);
    ForEachStream([](ClientStream* stream) { stream->Close(); });
    AwaitNoConnections(kCloseDeadline);
    context_.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    long_work_.stop();
    long_work_.join();
  }

 private:
  void RunThread() {
    for (;;) {
      try {
        context_.run();
        return;
      } catch (const std::exception& error) {
        LogError(absl::StrCat("HTTP server: ", error.what()));
      }
    }
  }

  asio::awaitable<void> Accept() {
    asio::steady_timer pause(acceptor_.get_executor());
    while (acceptor_.is_open()) {
      auto [error, socket] =
          co_await acceptor_.async_accept(asio::make_strand(context_), kResult);
      if (!acceptor_.is_open()) co_return;
      if (error) {
        // Out of file descriptors, say: it may pass.
        LogWarning(absl::StrCat("accept: ", error.message()));
        pause.expires_after(std::chrono::milliseconds(100));
        co_await pause.async_wait(kResult);
        continue;
      }
      Serve(std::move(socket));
    }
  }

  void Serve(tcp::socket socket) {
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    if (num_connections() >= max_connections_) {
      RefuseConnection(&socket);
      return;
    }
    auto stream = std::make_shared<ClientStream>(
        std::move(socket), kMaxBufferBytes, service_.limits().write_deadline);
    uint64_t number = 0;
    {
      absl::MutexLock lock(&mutex_);
      number = next_number_++;
      streams_.emplace(number, stream);
    }
    asio::co_spawn(stream->socket().get_executor(),
                   ServeConnection(stream, &service_, &long_work_),
                   [this, number](const std::exception_ptr&) {
                     absl::MutexLock lock(&mutex_);
                     streams_.erase(number);
                   });
  }

  // Without waiting for the client: what does not fit the socket is not sent.
  void RefuseConnection(tcp::socket* socket) {
    const std::string bytes =
        FormatResponse(ErrorResponse(HttpError(503, "Too many connections")),
                       {.request_id = "none", .keep_alive = false});
    error_code ignored;
    socket->non_blocking(true, ignored);
    socket->write_some(asio::buffer(bytes), ignored);
    socket->shutdown(tcp::socket::shutdown_send, ignored);
  }

  template <typename Function>
  void ForEachStream(Function function) {
    std::vector<std::shared_ptr<ClientStream>> streams;
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [number, stream] : streams_) streams.push_back(stream);
    }
    for (const std::shared_ptr<ClientStream>& stream : streams) {
      asio::post(stream->socket().get_executor(),
                 [stream, function] { function(stream.get()); });
    }
  }

  void AwaitNoConnections(absl::Duration patience) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(
                                +[](Impl* impl) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                  return impl->streams_.empty();
                                },
                                this),
                            patience);
  }

  ApiService& service_;
  const int max_connections_;
  mutable absl::Mutex mutex_;
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::shared_ptr<ClientStream>> streams_
      ABSL_GUARDED_BY(mutex_);
  int port_ = 0;
  // Last, so that what still waits in them is gone before what it uses.
  asio::io_context context_;
  tcp::acceptor acceptor_;
  asio::thread_pool long_work_;
  std::vector<std::thread> threads_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const Options& options) {
  auto impl = std::make_unique<Impl>(options);
  CARAVAN_RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

int HttpServer::port() const { return impl_->port(); }
int HttpServer::num_connections() const { return impl_->num_connections(); }
void HttpServer::Shutdown(absl::Duration drain) { impl_->Shutdown(drain); }

}  // namespace caravan::coordinator
