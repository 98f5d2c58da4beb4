#include "tests/coordinator/api/http_test_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/check.h"

namespace caravan::testing {
namespace {

constexpr int kPatienceMilliseconds = 60000;

}  // namespace

nlohmann::json ReceivedResponse::json() const {
  nlohmann::json value = nlohmann::json::parse(body, nullptr, false);
  return value.is_discarded() ? nlohmann::json() : value;
}

std::string ReceivedResponse::error_message() const {
  const nlohmann::json value = json();
  return value.contains("error") ? value["error"].value("message", "") : "";
}

std::vector<std::string> ReceivedResponse::events() const {
  std::vector<std::string> events;
  for (absl::string_view event : absl::StrSplit(body, "\n\n")) {
    if (absl::ConsumePrefix(&event, "data: ")) events.emplace_back(event);
  }
  return events;
}

HttpTestClient::HttpTestClient(int port) {
  socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CARAVAN_CHECK(socket_ >= 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CARAVAN_CHECK(connect(socket_, reinterpret_cast<sockaddr*>(&address),
                        sizeof(address)) == 0);
}

HttpTestClient::~HttpTestClient() { Close(); }

bool HttpTestClient::Send(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t count =
        send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<size_t>(count);
  }
  return true;
}

bool HttpTestClient::Fill() {
  if (at_end_ || socket_ < 0) return false;
  pollfd wait = {.fd = socket_, .events = POLLIN};
  if (poll(&wait, 1, kPatienceMilliseconds) <= 0) return false;
  char buffer[64 * 1024];
  const ssize_t count = recv(socket_, buffer, sizeof(buffer), 0);
  if (count <= 0) {
    at_end_ = true;
    return false;
  }
  received_.append(buffer, static_cast<size_t>(count));
  return true;
}

std::string HttpTestClient::TakeLine() {
  size_t end = 0;
  while ((end = received_.find("\r\n")) == std::string::npos) {
    if (!Fill()) return "";
  }
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 2);
  return line;
}

std::string HttpTestClient::TakeBytes(size_t count) {
  while (received_.size() < count && Fill()) {
  }
  std::string bytes = received_.substr(0, count);
  received_.erase(0, bytes.size());
  return bytes;
}

ReceivedResponse HttpTestClient::Receive() {
  ReceivedResponse response;
  const std::vector<std::string> start = absl::StrSplit(TakeLine(), ' ');
  int status = 0;
  if (start.size() < 2 || !absl::SimpleAtoi(start[1], &status)) return {};
  for (std::string line = TakeLine(); !line.empty(); line = TakeLine()) {
    const std::pair<std::string, std::string> field =
        absl::StrSplit(line, absl::MaxSplits(": ", 1));
    response.fields[absl::AsciiStrToLower(field.first)] = field.second;
  }
  if (status == 100) return Receive();
  const auto field = [&response](const char* name) {
    const auto place = response.fields.find(name);
    return place == response.fields.end() ? std::string() : place->second;
  };
  if (field("transfer-encoding") == "chunked") {
    for (;;) {
      const std::string line = TakeLine();
      if (line.empty()) return response;  // cut off: status stays 0
      const size_t size = std::stoul(line, nullptr, 16);
      response.body.append(TakeBytes(size));
      TakeLine();
      if (size == 0) break;
    }
  } else if (size_t size = 0;
             absl::SimpleAtoi(field("content-length"), &size)) {
    response.body = TakeBytes(size);
    if (response.body.size() < size) return response;
  } else if (status != 204) {
    while (Fill()) {
    }
    response.body = TakeBytes(received_.size());
  }
  response.status = status;
  return response;
}

std::string HttpTestClient::ReceiveBytes(size_t least) {
  while (received_.size() < least && Fill()) {
  }
  return TakeBytes(received_.size());
}

bool HttpTestClient::EndsSoon() {
  while (Fill()) {
  }
  return at_end_;
}

void HttpTestClient::HalfClose() { shutdown(socket_, SHUT_WR); }

void HttpTestClient::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

void HttpTestClient::Reset() {
  const linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  Close();
}

void HttpTestClient::ShrinkReceiveBuffer() {
  const int bytes = 4096;
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

ReceivedResponse HttpTestClient::Get(const std::string& path,
                                     const std::string& more_fields) {
  Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: test\r\n", more_fields,
                    "\r\n"));
  return Receive();
}

ReceivedResponse HttpTestClient::Post(const std::string& path,
                                      const std::string& body,
                                      const std::string& more_fields) {
  Send(PostText(path, body, more_fields));
  return Receive();
}

std::string PostText(const std::string& path, const std::string& body,
                     const std::string& more_fields) {
  return absl::StrCat("POST ", path,
                      " HTTP/1.1\r\nHost: test\r\n"
                      "Content-Type: application/json\r\nContent-Length: ",
                      body.size(), "\r\n", more_fields, "\r\n", body);
}

}  // namespace caravan::testing
