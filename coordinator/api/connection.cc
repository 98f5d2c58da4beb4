#include "coordinator/api/connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http.hpp>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "coordinator/api/generation_exchange.h"
#include "coordinator/api/head_check.h"
#include "coordinator/api/http_head.h"

namespace caravan::coordinator {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Parser = http::request_parser<http::string_body>;

constexpr auto kResult = asio::as_tuple(asio::use_awaitable);
// Bodies longer than this are read and encoded apart.
constexpr size_t kLongBodyBytes = 32 * 1024;

std::string FieldOf(const Parser& parser, http::field field) {
  std::string all;  // a field given twice means both
  const auto [begin, end] = parser.get().equal_range(field);
  for (auto place = begin; place != end; ++place) {
    if (place != begin) all.append(", ");
    all.append(place->value().data(), place->value().size());
  }
  return all;
}

RequestHead HeadOf(const Parser& parser) {
  const auto& message = parser.get();
  RequestHead head;
  head.method = std::string(message.method_string());
  head.target = std::string(message.target());
  head.authorization = FieldOf(parser, http::field::authorization);
  head.content_type = FieldOf(parser, http::field::content_type);
  head.content_encoding = FieldOf(parser, http::field::content_encoding);
  head.transfer_encoding = FieldOf(parser, http::field::transfer_encoding);
  head.request_id = std::string(message["X-Request-Id"]);
  head.num_fields = std::distance(message.begin(), message.end());
  head.is_chunked = parser.chunked();
  if (parser.content_length().has_value()) {
    head.content_length = *parser.content_length();
  }
  return head;
}

// What a client that broke off or broke the rules is told; nullopt: nothing.
std::optional<HttpResponse> ReadFailure(const error_code& error,
                                        bool deadline_passed,
                                        bool has_request_line) {
  if (deadline_passed) {
    return ErrorResponse(HttpError(408, "The request took too long to come"));
  }
  if (error == http::error::header_limit ||
      error == http::error::buffer_overflow) {
    return has_request_line
               ? ErrorResponse(HttpError(431, "The header is too large"))
               : ErrorResponse(HttpError(414, "The URL is too long"));
  }
  if (error == http::error::body_limit) {
    return ErrorResponse(HttpError(413, "The body is too large"));
  }
  if (error == http::error::end_of_stream ||
      error == http::error::partial_message ||
      error.category() != make_error_code(http::error::bad_field).category()) {
    return std::nullopt;  // left, or the connection broke
  }
  return ErrorResponse(
      HttpError(400, absl::StrCat("Not HTTP/1.1: ", error.message())));
}

class ConnectionLoop {
 public:
  ConnectionLoop(std::shared_ptr<ClientStream> stream,
                 const ApiService* service, asio::thread_pool* long_work)
      : stream_(std::move(stream)),
        service_(*service),
        limits_(service->limits()),
        long_work_(*long_work) {}

  asio::awaitable<void> Run() {
    // A new connection has the time of a head for its first byte.
    absl::Duration patience = limits_.header_deadline;
    for (;;) {
      const bool has_data = co_await stream_->WaitForData(patience);
      if (!has_data) {
        stream_->Close();
        co_return;
      }
      const bool goes_on = co_await ServeOne();
      if (!goes_on || stream_->is_gone() || service_.is_draining()) break;
      patience = limits_.idle_deadline;
    }
    if (is_refused_ || stream_->has_unread()) {
      co_await stream_->CloseGracefully();
    }
    stream_->Close();
  }

 private:
  struct Request {
    RequestHead head;
    const Route* route = nullptr;
    ResponseFraming framing;
    std::string body;
    std::optional<ByteBudget::Reservation> reservation;  // for the body
  };

  // Returns whether the connection may go on.
  asio::awaitable<bool> ServeOne() {
    Parser parser;
    parser.header_limit(static_cast<uint32_t>(limits_.max_header_bytes));
    parser.body_limit(static_cast<uint64_t>(limits_.max_body_bytes));
    const bool has_head = co_await ReadHead(&parser);
    if (!has_head) co_return false;
    Request request;
    request.head = HeadOf(parser);
    request.head.request_id = RequestIdOf(request.head);
    request.framing.request_id = request.head.request_id;
    request.framing.is_http_1_0 = parser.get().version() < 11;
    request.framing.keep_alive =
        parser.get().keep_alive() && !service_.is_draining();
    request.framing.omit_body = request.head.method == "HEAD";
    ApiService::HeadVerdict verdict = service_.CheckHead(request.head);
    if (verdict.route != nullptr) {
      const uint64_t most = static_cast<uint64_t>(limits_.max_body_bytes);
      request.reservation.emplace(
          service_.body_budget(),
          static_cast<int64_t>(request.head.is_chunked
                                   ? most
                                   : request.head.content_length.value_or(0)));
      if (!request.reservation->granted()) {
        verdict = {.response = ErrorResponse(
                       HttpError(503, "Too many requests are being read"))};
      }
    }
    if (verdict.route == nullptr) {
      // The body stays unread, so nothing can follow it.
      if (request.head.has_body() || verdict.response.status == 400) {
        request.framing.keep_alive = false;
        is_refused_ = true;
      }
      co_return co_await Send(verdict.response, request.framing);
    }
    request.route = verdict.route;
    const bool has_body = co_await ReadBody(&parser);
    if (!has_body) co_return false;
    request.body = std::move(parser.get().body());
    co_return co_await Dispatch(&request);
  }

  asio::awaitable<bool> ReadHead(Parser* parser) {
    error_code error;
    bool is_late = false;
    bool has_request_line = false;
    {
      const ClientStream::Deadline deadline(stream_.get(),
                                            limits_.header_deadline);
      const auto [result, num_bytes] = co_await http::async_read_header(
          stream_->socket(), stream_->buffer(), *parser, kResult);
      error = result;
      is_late = deadline.passed();
      has_request_line = !parser->get().target().empty();
    }
    if (!error) co_return true;
    co_await Refuse(ReadFailure(error, is_late, has_request_line));
    co_return false;
  }

  asio::awaitable<bool> ReadBody(Parser* parser) {
    if (parser->is_done()) co_return true;
    if (absl::EqualsIgnoreCase(FieldOf(*parser, http::field::expect),
                               "100-continue")) {
      const bool is_taken =
          co_await stream_->Write("HTTP/1.1 100 Continue\r\n\r\n");
      if (!is_taken) co_return false;
    }
    error_code error;
    bool is_late = false;
    {
      const ClientStream::Deadline deadline(stream_.get(),
                                            limits_.body_deadline);
      const auto [result, num_bytes] = co_await http::async_read(
          stream_->socket(), stream_->buffer(), *parser, kResult);
      error = result;
      is_late = deadline.passed();
    }
    if (!error) co_return true;
    co_await Refuse(ReadFailure(error, is_late, /*has_request_line=*/true));
    co_return false;
  }

  asio::awaitable<bool> Dispatch(Request* request) {
    const Endpoint endpoint = request->route->endpoint;
    const bool is_long = request->body.size() > kLongBodyBytes;
    if (endpoint != Endpoint::kCompletions &&
        endpoint != Endpoint::kChatCompletions) {
      HttpResponse response;
      if (is_long) {
        response =
            co_await asio::co_spawn(long_work_.get_executor(),
                                    AnswerApart(request), asio::use_awaitable);
      } else {
        response =
            service_.Answer(request->head, *request->route, request->body);
      }
      request->reservation.reset();
      co_return co_await Send(response, request->framing);
    }
    absl::StatusOr<PreparedGeneration> generation;
    if (is_long) {
      generation =
          co_await asio::co_spawn(long_work_.get_executor(),
                                  PrepareApart(request), asio::use_awaitable);
    } else {
      generation = service_.Prepare(*request->route, request->body);
    }
    // A generation may take long; its body is not needed any more.
    std::string().swap(request->body);
    request->reservation.reset();
    if (!generation.ok()) {
      const ApiError error =
          service_.Report(generation.status(), request->head.request_id);
      co_return co_await Send(ErrorResponse(error), request->framing);
    }
    co_return co_await ServeGeneration(
        stream_, &service_, *std::move(generation), request->framing);
  }

  asio::awaitable<HttpResponse> AnswerApart(const Request* request) {
    co_return service_.Answer(request->head, *request->route, request->body);
  }

  asio::awaitable<absl::StatusOr<PreparedGeneration>> PrepareApart(
      const Request* request) {
    co_return service_.Prepare(*request->route, request->body);
  }

  // Returns whether the connection may go on.
  asio::awaitable<bool> Send(const HttpResponse& response,
                             const ResponseFraming& framing) {
    const bool is_taken =
        co_await stream_->Write(FormatResponse(response, framing));
    co_return is_taken&& framing.keep_alive;
  }

  asio::awaitable<void> Refuse(std::optional<HttpResponse> response) {
    if (!response.has_value()) {
      stream_->Close();
      co_return;
    }
    is_refused_ = true;
    const ResponseFraming framing{.request_id = RequestIdOf(RequestHead()),
                                  .keep_alive = false};
    co_await Send(*response, framing);
  }

  const std::shared_ptr<ClientStream> stream_;
  const ApiService& service_;
  const ApiLimits& limits_;
  asio::thread_pool& long_work_;
  bool is_refused_ = false;  // the last request, with more of it to come
};

}  // namespace

asio::awaitable<void> ServeConnection(std::shared_ptr<ClientStream> stream,
                                      const ApiService* service,
                                      asio::thread_pool* long_work) {
  try {
    ConnectionLoop loop(stream, service, long_work);
    co_await loop.Run();
  } catch (const std::exception& error) {
    // Libraries below throw when memory is short.
    LogError(absl::StrCat("connection ended: ", error.what()));
  }
  stream->Close();
}

}  // namespace caravan::coordinator
