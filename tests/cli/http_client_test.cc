#include "cli/http_client.h"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cli/answers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::ApiServerTest;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TEST(ParseServerUrlTest, TakesAddresses) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(ServerAddress address,
                               ParseServerUrl("http://host:81/a/b/"));
  EXPECT_EQ(address.host, "host");
  EXPECT_EQ(address.port, "81");
  EXPECT_EQ(address.prefix, "/a/b");
  CARAVAN_ASSERT_OK_AND_ASSIGN(address, ParseServerUrl("http://[::1]:8000"));
  EXPECT_EQ(address.host, "::1");
  EXPECT_EQ(address.port, "8000");
  CARAVAN_ASSERT_OK_AND_ASSIGN(address, ParseServerUrl("http://host"));
  EXPECT_EQ(address.port, "80");
  EXPECT_EQ(address.prefix, "");
}

TEST(ParseServerUrlTest, RefusesTheRest) {
  for (const char* url : {"", "host:80", "http://", "http://:80",
                          "http://host:", "http://host:x", "ftp://host"}) {
    EXPECT_THAT(ParseServerUrl(url),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << url;
  }
  EXPECT_THAT(ParseServerUrl("https://host"),
              StatusIs(absl::StatusCode::kUnimplemented));
}

class HttpClientTest : public ApiServerTest {
 protected:
  HttpClientTest()
      : HttpClientTest(caravan::testing::SimulatedBackendOptions()) {}
  explicit HttpClientTest(caravan::testing::SimulatedBackendOptions options)
      : ApiServerTest(options) {}

  HttpClient MakeClient(int interrupt_fd = -1) {
    HttpClient::Options options;
    options.server = {"127.0.0.1", absl::StrCat(port()), ""};
    options.interrupt_fd = interrupt_fd;
    return HttpClient(options);
  }
};

TEST_F(HttpClientTest, Gets) {
  StartServer();
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string body,
                               MakeClient().Get("/v1/models"));
  EXPECT_EQ(nlohmann::json::parse(body)["data"][0]["id"], "test-model");
}

TEST_F(HttpClientTest, StreamsACompletion) {
  StartServer();
  AnswerOptions options;
  options.max_tokens = 40;
  options.seed = 3;
  std::string text;
  CARAVAN_ASSERT_OK(StreamCompletion(
      MakeClient(), options, "Hello",
      [&](auto piece) { text.append(piece.data(), piece.size()); }));
  EXPECT_EQ(text, backend_.ExpectedText("Hello", 40));
}

TEST_F(HttpClientTest, SaysWhatTheServerSays) {
  StartServer();
  EXPECT_THAT(MakeClient().Get("/nothing"),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("There is no such path")));
  AnswerOptions options;
  options.max_tokens = 100000;
  EXPECT_THAT(StreamCompletion(MakeClient(), options, "a", [](auto) {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("maximum context length")));
  backend_.EndEpoch(absl::UnavailableError("engine 3 exited"));
  EXPECT_THAT(StreamCompletion(MakeClient(), {}, "a", [](auto) {}),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(HttpClientTest, SaysWhenNobodyListens) {
  StartServer();
  const HttpClient client = MakeClient();
  server_.reset();
  EXPECT_THAT(client.Get("/health"), StatusIs(absl::StatusCode::kUnavailable));
}

class LongAnswerTest : public HttpClientTest {
 protected:
  LongAnswerTest()
      : HttpClientTest({.max_model_len = 100000,
                        .num_blocks = 8192,
                        .per_step = absl::Milliseconds(1)}) {}
};

TEST_F(LongAnswerTest, SaysWhenTheReplicaIsLost) {
  StartServer();
  AnswerOptions options;
  options.max_tokens = 90000;
  bool is_lost = false;
  EXPECT_THAT(
      StreamCompletion(MakeClient(), options, "a",
                       [&](auto) {
                         if (is_lost) return;
                         is_lost = true;
                         backend_.EndEpoch(
                             absl::UnavailableError("engine 3 exited"));
                       }),
      StatusIs(absl::StatusCode::kUnavailable, HasSubstr("engine 3 exited")));
}

TEST_F(LongAnswerTest, CanBeInterrupted) {
  StartServer();
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  AnswerOptions options;
  options.max_tokens = 90000;
  bool is_interrupted = false;
  EXPECT_THAT(StreamCompletion(MakeClient(fds[0]), options, "a",
                               [&](auto) {
                                 if (is_interrupted) return;
                                 is_interrupted = write(fds[1], "x", 1) == 1;
                               }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_TRUE(backend_.IsIdleSoon());
  close(fds[0]);
  close(fds[1]);
}

TEST(ForTerminalTest, LeavesControlCharactersOut) {
  EXPECT_EQ(ForTerminal("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(ForTerminal("\x1b[31mred\x07\x7f"), "[31mred");
  EXPECT_EQ(ForTerminal("\xc2\x9b"
                        "1m \xc2\xa9 \xc3\xa9"),
            "1m \xc2\xa9 \xc3\xa9");
}

}  // namespace
}  // namespace caravan::cli
