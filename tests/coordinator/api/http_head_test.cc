#include "coordinator/api/http_head.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(HttpHeadTest, FormatsAnAnswer) {
  HttpResponse response{.status = 429, .body = "{}"};
  response.fields.emplace_back("Retry-After", "1");
  EXPECT_EQ(FormatResponse(response, {.request_id = "r"}),
            "HTTP/1.1 429 Too Many Requests\r\nServer: caravan\r\n"
            "Connection: keep-alive\r\nX-Request-Id: r\r\n"
            "Retry-After: 1\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n{}");
}

TEST(HttpHeadTest, AHeadHasTheLengthButNotTheBody) {
  const HttpResponse response{.status = 200, .body = "abc"};
  const std::string bytes = FormatResponse(
      response, {.request_id = "r", .keep_alive = false, .omit_body = true});
  EXPECT_THAT(bytes, HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(bytes, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(bytes, EndsWith("\r\n\r\n"));
}

TEST(HttpHeadTest, NoContentHasNoLength) {
  EXPECT_THAT(FormatResponse({.status = 204}, {.request_id = "r"}),
              Not(HasSubstr("Content-Length")));
}

TEST(HttpHeadTest, FramesAStream) {
  const ResponseFraming framing{.request_id = "r"};
  EXPECT_THAT(FormatStreamHead(framing), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(FormatStreamHead(framing),
              HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_EQ(FormatStreamPiece(std::string(26, 'a'), framing),
            "1a\r\n" + std::string(26, 'a') + "\r\n");
  EXPECT_EQ(FormatStreamPiece("", framing), "");
  EXPECT_EQ(FormatStreamEnd(framing), "0\r\n\r\n");
}

TEST(HttpHeadTest, Http10HasNoChunks) {
  const ResponseFraming framing{.request_id = "r", .is_http_1_0 = true};
  EXPECT_THAT(FormatStreamHead(framing), Not(HasSubstr("chunked")));
  EXPECT_EQ(FormatStreamPiece("abc", framing), "abc");
  EXPECT_EQ(FormatStreamEnd(framing), "");
}

}  // namespace
}  // namespace caravan::coordinator
