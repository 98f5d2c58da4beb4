#include "cli/http_get.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <exception>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace caravan::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr size_t kMaxBodyBytes = 16 << 20;

// The steps of one exchange, each of which starts the next.
class Exchange final {
 public:
  explicit Exchange(const HttpGetOptions& options)
      : resolver_(context_), stream_(context_), options_(options) {}

  absl::StatusOr<std::string> Run(const HttpAddress& address) {
    request_.method(http::verb::get);
    request_.target(options_.target);
    request_.version(11);
    request_.set(http::field::host, address.host);
    request_.set(http::field::connection, "close");
    if (!options_.api_key.empty()) {
      request_.set(http::field::authorization, "Bearer " + options_.api_key);
    }
    parser_.body_limit(kMaxBodyBytes);
    stream_.expires_after(absl::ToChronoNanoseconds(options_.timeout));
    resolver_.async_resolve(
        address.host, address.port,
        [this](beast::error_code error,
               const asio::ip::tcp::resolver::results_type& found) {
          if (error) return End(error);
          stream_.async_connect(found,
                                [this](beast::error_code error, const auto&) {
                                  if (error) return End(error);
                                  Write();
                                });
        });
    context_.run_for(absl::ToChronoNanoseconds(options_.timeout));
    if (!ended_ || error_ == beast::error::timeout) {
      return absl::DeadlineExceededError(
          absl::StrCat(options_.url, " has not answered within ",
                       absl::FormatDuration(options_.timeout)));
    }
    if (error_) {
      return absl::UnavailableError(absl::StrCat(
          "no answer from ", options_.url, ": ", error_.message()));
    }
    return Judge();
  }

 private:
  void Write() {
    http::async_write(stream_, request_,
                      [this](beast::error_code error, size_t) {
                        if (error) return End(error);
                        Read();
                      });
  }

  void Read() {
    http::async_read(stream_, buffer_, parser_,
                     [this](beast::error_code error, size_t) { End(error); });
  }

  void End(beast::error_code error) {
    ended_ = true;
    error_ = error;
  }

  absl::StatusOr<std::string> Judge() {
    const auto& response = parser_.get();
    if (response.result() == http::status::ok) return response.body();
    if (response.result() == http::status::unauthorized) {
      return absl::PermissionDeniedError(
          absl::StrCat(options_.url, " wants an --api-key"));
    }
    return absl::FailedPreconditionError(
        absl::StrCat(options_.url, options_.target, " answered ",
                     response.result_int(), ": ", response.body()));
  }

  asio::io_context context_;
  asio::ip::tcp::resolver resolver_;
  beast::tcp_stream stream_;
  const HttpGetOptions& options_;
  http::request<http::empty_body> request_;
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
  bool ended_ = false;
  beast::error_code error_;
};

}  // namespace

absl::StatusOr<HttpAddress> ParseHttpUrl(absl::string_view url) {
  absl::string_view rest = url;
  if (!absl::ConsumePrefix(&rest, "http://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("not an address like http://127.0.0.1:8000: ", url));
  }
  rest = rest.substr(0, rest.find('/'));
  HttpAddress address{.port = "80"};
  size_t end = rest.rfind(':');
  if (absl::StartsWith(rest, "[")) {
    const size_t bracket = rest.find(']');
    if (bracket == absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("no ] in ", url));
    }
    address.host = std::string(rest.substr(1, bracket - 1));
    end = end > bracket ? end : absl::string_view::npos;
  } else {
    address.host = std::string(rest.substr(0, end));
  }
  if (end != absl::string_view::npos) {
    address.port = std::string(rest.substr(end + 1));
  }
  if (address.host.empty() || address.port.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("not an address like http://127.0.0.1:8000: ", url));
  }
  return address;
}

absl::StatusOr<std::string> HttpGet(const HttpGetOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const HttpAddress address,
                           ParseHttpUrl(options.url));
  try {
    return Exchange(options).Run(address);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("GET failed: ", error.what()));
  }
}

}  // namespace caravan::cli
