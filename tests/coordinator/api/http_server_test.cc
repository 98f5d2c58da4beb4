#include "coordinator/api/http_server.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"

namespace caravan::testing {
namespace {

using coordinator::ApiServerOptions;
using ::testing::HasSubstr;

class HttpServerTest : public ApiServerTest {
 protected:
  // So that nobody waits long for a deadline.
  static void ShortDeadlines(ApiServerOptions* options) {
    options->limits.header_deadline = absl::Milliseconds(100);
    options->limits.body_deadline = absl::Milliseconds(100);
    options->limits.idle_deadline = absl::Milliseconds(100);
  }
};

TEST_F(HttpServerTest, KeepsAConnection) {
  StartServer();
  HttpTestClient client(port());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client.Get("/health").status, 200);
    const ReceivedResponse stream = client.Post(
        "/v1/completions", R"({"prompt":"a","max_tokens":5,"stream":true})");
    EXPECT_EQ(TextOfStream(stream), backend_.ExpectedText("a", 5));
    EXPECT_EQ(client.Post("/v1/completions", "{").status, 400);
  }
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  StartServer();
  HttpTestClient client(port());
  std::string bytes;
  for (int i = 0; i < 20; ++i) {
    absl::StrAppend(
        &bytes,
        PostText(
            "/v1/completions",
            absl::StrCat(R"({"prompt":")", i, R"(","max_tokens":6,)",
                         R"("stream":)", i % 2 == 0 ? "true" : "false", "}")),
        "GET /version HTTP/1.1\r\n\r\n");
  }
  ASSERT_TRUE(client.Send(bytes));
  for (int i = 0; i < 20; ++i) {
    const ReceivedResponse response = client.Receive();
    ASSERT_EQ(response.status, 200);
    const std::string text =
        i % 2 == 0 ? TextOfStream(response)
                   : response.json()["choices"][0]["text"].get<std::string>();
    EXPECT_EQ(text, backend_.ExpectedText(absl::StrCat(i), 6));
    EXPECT_EQ(client.Receive().status, 200);
  }
}

TEST_F(HttpServerTest, AnswersAThousandPipelinedRequests) {
  StartServer();
  HttpTestClient client(port());
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes.append("GET /health HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(client.Send(bytes));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(client.Receive().status, 200) << i;
}

TEST_F(HttpServerTest, TakesChunkedBodies) {
  StartServer();
  HttpTestClient client(port());
  client.Send(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n"
      "7;ext=1\r\n{\"promp\r\n15\r\nt\":\"a\",\"max_tokens\":3\r\n"
      "1\r\n}\r\n0\r\n\r\n");
  const ReceivedResponse response = client.Receive();
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.json()["choices"][0]["text"],
            backend_.ExpectedText("a", 3));
}

TEST_F(HttpServerTest, SaysContinueBeforeABody) {
  StartServer();
  HttpTestClient client(port());
  const std::string body = R"({"prompt":"a","max_tokens":3})";
  client.Send(absl::StrCat(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\nContent-Length: ",
      body.size(), "\r\n\r\n"));
  EXPECT_THAT(client.ReceiveBytes(25), HasSubstr("100 Continue"));
  client.Send(body);
  EXPECT_EQ(client.Receive().status, 200);
}

TEST_F(HttpServerTest, SpeaksHttp10) {
  StartServer();
  HttpTestClient client(port());
  const std::string body = R"({"prompt":"a","max_tokens":5,"stream":true})";
  client.Send(absl::StrCat(
      "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
      "Content-Length: ",
      body.size(), "\r\n\r\n", body));
  const ReceivedResponse response = client.Receive();
  EXPECT_EQ(response.fields.count("transfer-encoding"), 0);
  EXPECT_EQ(TextOfStream(response), backend_.ExpectedText("a", 5));
  EXPECT_TRUE(client.IsClosedByServer());
}

TEST_F(HttpServerTest, AnswersHeadAndOptions) {
  StartServer();
  HttpTestClient client(port());
  client.Send("HEAD /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n");
  const std::string bytes = client.ReceiveBytes(300);
  // One body for two heads.
  EXPECT_EQ(bytes.find("{\"status\""), bytes.rfind("{\"status\""));
  client.Send("OPTIONS /v1/completions HTTP/1.1\r\n\r\n");
  const ReceivedResponse options = client.Receive();
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.fields.at("allow"), "POST, OPTIONS");
  EXPECT_EQ(client.Get("/v1/completions").fields.at("allow"), "POST, OPTIONS");
}

TEST_F(HttpServerTest, ClosesWhenAsked) {
  StartServer();
  HttpTestClient client(port());
  EXPECT_EQ(client.Get("/health", "Connection: close\r\n").status, 200);
  EXPECT_TRUE(client.IsClosedByServer());
}

TEST_F(HttpServerTest, DoesNotWaitForeverForAHead) {
  StartServer(ShortDeadlines);
  HttpTestClient silent(port());
  EXPECT_TRUE(silent.IsClosedByServer());
  HttpTestClient slow(port());
  slow.Send("GET /health HT");
  EXPECT_EQ(slow.Receive().status, 408);
}

TEST_F(HttpServerTest, DoesNotWaitForeverForABody) {
  StartServer(ShortDeadlines);
  HttpTestClient client(port());
  client.Send(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
      "Content-Length: 100\r\n\r\n{\"prompt");
  EXPECT_EQ(client.Receive().status, 408);
  EXPECT_TRUE(client.IsClosedByServer());
}

TEST_F(HttpServerTest, ClosesIdleConnections) {
  StartServer(ShortDeadlines);
  HttpTestClient client(port());
  EXPECT_EQ(client.Get("/health").status, 200);
  EXPECT_TRUE(client.IsClosedByServer());
}

TEST_F(HttpServerTest, BoundsConnections) {
  StartServer(
      [](ApiServerOptions* options) { options->limits.max_connections = 2; });
  HttpTestClient first(port());
  HttpTestClient second(port());
  EXPECT_EQ(first.Get("/health").status, 200);
  EXPECT_EQ(second.Get("/health").status, 200);
  HttpTestClient third(port());
  EXPECT_EQ(third.Receive().status, 503);
  first.Close();
  // A connection that ends makes room, soon.
  int status = 0;
  for (int i = 0; i < 1000 && status != 200; ++i) {
    status = HttpTestClient(port()).Get("/health").status;
  }
  EXPECT_EQ(status, 200);
}

TEST_F(HttpServerTest, BoundsAllBodiesTogether) {
  StartServer([](ApiServerOptions* options) {
    options->limits.max_all_bodies_bytes = 1000;
  });
  HttpTestClient slow(port());
  slow.Send(
      "POST /tokenize HTTP/1.1\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\nContent-Length: 900\r\n\r\n");
  EXPECT_THAT(slow.ReceiveBytes(25), HasSubstr("100 Continue"));
  const std::string body =
      absl::StrCat(R"({"prompt":")", std::string(200, 'a'), "\"}");
  const ReceivedResponse refused = Post("/tokenize", body);
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.error_message(), HasSubstr("being read"));
  slow.Send(absl::StrCat(R"({"prompt":"a"})", std::string(886, ' ')));
  EXPECT_EQ(slow.Receive().status, 200);
  EXPECT_EQ(Post("/tokenize", body).status, 200);
}

TEST_F(HttpServerTest, ARefusedBodyDoesNotBreakTheAnswer) {
  StartServer();
  HttpTestClient client(port());
  // Sent whole before the answer is read.
  client.Send(PostText("/v1/completions", std::string(8 << 20, 'x')));
  EXPECT_EQ(client.Receive().status, 413);
}

}  // namespace
}  // namespace caravan::testing
