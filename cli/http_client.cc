#include "cli/http_client.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/event_parser.h"

namespace caravan::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr auto kResult = asio::as_tuple(asio::use_awaitable);

absl::StatusCode CodeOf(unsigned http_status) {
  switch (http_status) {
    case 400:
    case 413:
    case 415:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
    case 405:
      return absl::StatusCode::kNotFound;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 503:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status ServerError(unsigned http_status, const std::string& body) {
  std::string message = absl::StrCat("HTTP status ", http_status);
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (json.is_object() && json.contains("error") && json["error"].is_object() &&
      json["error"].contains("message") &&
      json["error"]["message"].is_string()) {
    message = json["error"]["message"].get<std::string>();
  }
  return absl::Status(CodeOf(http_status), message);
}

// One request and its answer, on a connection of its own.
class Call {
 public:
  // Gets the body as it comes, of an answer with status 200 only.
  using OnBytes = std::function<absl::Status(absl::string_view bytes)>;

  Call(const HttpClient::Options& options, OnBytes on_bytes)
      : options_(options),
        on_bytes_(std::move(on_bytes)),
        stream_(context_),
        interrupt_(context_) {}

  ~Call() {
    if (interrupt_.is_open()) interrupt_.release();  // not ours to close
  }

  absl::Status Run(http::request<http::string_body> request) {
    request_ = std::move(request);
    asio::co_spawn(context_, Exchange(),
                   [this](const std::exception_ptr& error) {
                     if (error != nullptr)
                       status_ = absl::InternalError("out of memory");
                     error_code ignored;
                     if (interrupt_.is_open()) interrupt_.cancel(ignored);
                   });
    if (options_.interrupt_fd >= 0) {
      interrupt_.assign(options_.interrupt_fd);
      interrupt_.async_wait(asio::posix::stream_descriptor::wait_read,
                            [this](error_code error) {
                              if (error) return;
                              is_interrupted_ = true;
                              stream_.close();
                            });
    }
    context_.run();
    if (is_interrupted_) return absl::CancelledError("interrupted");
    return status_;
  }

 private:
  asio::awaitable<void> Exchange() {
    const bool is_connected = co_await Connect();
    if (!is_connected) co_return;
    stream_.expires_after(absl::ToChronoNanoseconds(options_.silence_deadline));
    const auto [error, num_bytes] =
        co_await http::async_write(stream_, request_, kResult);
    if (error) {
      Fail(error);
      co_return;
    }
    co_await ReadAnswer();
  }

  asio::awaitable<bool> Connect() {
    const ServerAddress& server = options_.server;
    asio::ip::tcp::resolver resolver(context_);
    stream_.expires_after(absl::ToChronoNanoseconds(options_.connect_deadline));
    const auto [resolve_error, endpoints] =
        co_await resolver.async_resolve(server.host, server.port, kResult);
    if (resolve_error) {
      Fail(resolve_error);
      co_return false;
    }
    const auto [error, endpoint] =
        co_await stream_.async_connect(endpoints, kResult);
    if (error) Fail(error);
    co_return !error;
  }

  asio::awaitable<void> ReadAnswer() {
    beast::flat_buffer buffer;
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(static_cast<uint64_t>(options_.max_answer_bytes));
    const auto [head_error, num_bytes] =
        co_await http::async_read_header(stream_, buffer, parser, kResult);
    if (head_error) {
      Fail(head_error);
      co_return;
    }
    const unsigned http_status = parser.get().result_int();
    std::string error_body;
    while (!parser.is_done()) {
      char piece[16 * 1024];
      parser.get().body().data = piece;
      parser.get().body().size = sizeof(piece);
      stream_.expires_after(
          absl::ToChronoNanoseconds(options_.silence_deadline));
      auto [error, num_read] =
          co_await http::async_read_some(stream_, buffer, parser, kResult);
      if (error == http::error::need_buffer) error = {};
      const absl::string_view bytes(piece,
                                    sizeof(piece) - parser.get().body().size);
      if (http_status != 200) {
        error_body.append(bytes.data(), bytes.size());
      } else {
        status_ = on_bytes_(bytes);
        if (!status_.ok()) co_return;
      }
      if (error) {
        Fail(error);
        co_return;
      }
    }
    if (http_status != 200) status_ = ServerError(http_status, error_body);
  }

  void Fail(const error_code& error) {
    const std::string text =
        absl::StrCat("http://", options_.server.host, ":", options_.server.port,
                     ": ", error.message());
    status_ = error == beast::error::timeout ? absl::DeadlineExceededError(text)
                                             : absl::UnavailableError(text);
  }

  const HttpClient::Options& options_;
  const OnBytes on_bytes_;
  asio::io_context context_{1};
  beast::tcp_stream stream_;
  asio::posix::stream_descriptor interrupt_;
  http::request<http::string_body> request_;
  absl::Status status_;
  bool is_interrupted_ = false;
};

http::request<http::string_body> MakeRequest(const HttpClient::Options& options,
                                             http::verb method,
                                             absl::string_view path) {
  http::request<http::string_body> request(
      method, absl::StrCat(options.server.prefix, path), 11);
  request.set(http::field::host, options.server.host);
  request.set(http::field::user_agent, absl::StrCat("caravan/", Version()));
  request.set(http::field::connection, "close");
  if (!options.api_key.empty()) {
    request.set(http::field::authorization,
                absl::StrCat("Bearer ", options.api_key));
  }
  return request;
}

absl::Status RunCall(const HttpClient::Options& options,
                     http::request<http::string_body> request,
                     Call::OnBytes on_bytes) {
  try {
    return Call(options, std::move(on_bytes)).Run(std::move(request));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("HTTP client: ", error.what()));
  }
}

}  // namespace

absl::StatusOr<ServerAddress> ParseServerUrl(absl::string_view url) {
  const absl::string_view whole = url;
  if (absl::ConsumePrefix(&url, "https://")) {
    return absl::UnimplementedError(
        absl::StrCat("https is not supported yet: ", whole));
  }
  const auto error = [whole] {
    return absl::InvalidArgumentError(absl::StrCat(
        "a server's address looks like http://HOST:PORT, got ", whole));
  };
  if (!absl::ConsumePrefix(&url, "http://")) return error();
  ServerAddress address;
  const size_t slash = url.find('/');
  if (slash != absl::string_view::npos) {
    absl::string_view prefix = url.substr(slash);
    while (absl::ConsumeSuffix(&prefix, "/")) {
    }
    address.prefix = std::string(prefix);
    url = url.substr(0, slash);
  }
  // "[::1]:8000" has colons in its host.
  const size_t colon = url.rfind(':');
  const size_t bracket = url.rfind(']');
  const bool has_port = colon != absl::string_view::npos &&
                        (bracket == absl::string_view::npos || colon > bracket);
  absl::string_view host = has_port ? url.substr(0, colon) : url;
  address.port = has_port ? std::string(url.substr(colon + 1)) : "80";
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  address.host = std::string(host);
  const bool is_number =
      std::all_of(address.port.begin(), address.port.end(),
                  [](unsigned char c) { return c >= '0' && c <= '9'; });
  if (address.host.empty() || address.port.empty() || !is_number) {
    return error();
  }
  return address;
}

HttpClient::HttpClient(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::string> HttpClient::Get(absl::string_view path) const {
  std::string body;
  CARAVAN_RETURN_IF_ERROR(RunCall(options_,
                                  MakeRequest(options_, http::verb::get, path),
                                  [&body](absl::string_view bytes) {
                                    body.append(bytes.data(), bytes.size());
                                    return absl::OkStatus();
                                  }));
  return body;
}

absl::Status HttpClient::PostForEvents(
    absl::string_view path, absl::string_view json,
    const std::function<absl::Status(absl::string_view data)>& on_event) const {
  http::request<http::string_body> request =
      MakeRequest(options_, http::verb::post, path);
  request.set(http::field::content_type, "application/json");
  request.body() = std::string(json);
  request.prepare_payload();
  EventParser parser(options_.max_event_bytes);
  bool is_done = false;
  CARAVAN_RETURN_IF_ERROR(
      RunCall(options_, std::move(request), [&](absl::string_view bytes) {
        return parser.Add(bytes, [&](absl::string_view data) {
          if (data == "[DONE]") is_done = true;
          return is_done ? absl::OkStatus() : on_event(data);
        });
      }));
  if (!is_done) {
    return absl::UnavailableError("the answer ended before its end");
  }
  return absl::OkStatus();
}

}  // namespace caravan::cli
