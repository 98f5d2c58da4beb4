#include "coordinator/api/api_server.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/version.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::testing {
namespace {

using coordinator::ApiServer;
using coordinator::ApiServerOptions;
using nlohmann::json;
using ::testing::HasSubstr;

TEST_F(ApiServerTest, Completes) {
  FakeClock clock(absl::FromUnixSeconds(1700000000));
  StartServer([&](ApiServerOptions* options) { options->clock = &clock; });
  const ReceivedResponse response = Post(
      "/v1/completions",
      R"({"model":"test-model","prompt":"Hello","max_tokens":8,"seed":-5})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.fields.at("content-type"), "application/json");
  const json body = response.json();
  EXPECT_THAT(body["id"].get<std::string>(), HasSubstr("cmpl-"));
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["created"], 1700000000);
  EXPECT_EQ(body["model"], "test-model");
  ASSERT_EQ(body["choices"].size(), 1);
  EXPECT_EQ(body["choices"][0]["text"], backend_.ExpectedText("Hello", 8));
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"], json::parse(R"({"prompt_tokens":6,
      "completion_tokens":8,"total_tokens":14})"));
  EXPECT_TRUE(backend_.IsIdleSoon());
}

TEST_F(ApiServerTest, StreamsACompletion) {
  StartServer();
  const ReceivedResponse response =
      Post("/v1/completions",
           R"({"prompt":"Hello","max_tokens":50,"stream":true,
               "stream_options":{"include_usage":true}})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_THAT(response.fields.at("content-type"),
              HasSubstr("text/event-stream"));
  EXPECT_EQ(TextOfStream(response), backend_.ExpectedText("Hello", 50));
  const std::vector<std::string> events = response.events();
  ASSERT_GE(events.size(), 3);
  EXPECT_EQ(events.back(), "[DONE]");
  const json usage = json::parse(events[events.size() - 2]);
  EXPECT_EQ(usage["choices"], json::array());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 50);
  const json last = json::parse(events[events.size() - 3]);
  EXPECT_EQ(last["choices"][0]["finish_reason"], "length");
  EXPECT_TRUE(last["usage"].is_null());
}

TEST_F(ApiServerTest, Chats) {
  StartServer();
  const std::string messages =
      R"("messages":[{"role":"user","content":"Hi"}],"max_tokens":9)";
  const ReceivedResponse whole =
      Post("/v1/chat/completions", "{" + messages + "}");
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.json()["object"], "chat.completion");
  const json message = whole.json()["choices"][0]["message"];
  EXPECT_EQ(message["role"], "assistant");
  EXPECT_NE(message["content"], "");

  const ReceivedResponse stream =
      Post("/v1/chat/completions", "{" + messages + R"(,"stream":true})");
  std::string content;
  for (const std::string& event : stream.events()) {
    if (event == "[DONE]") continue;
    content += json::parse(event)["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(content, message["content"].get<std::string>());
}

TEST_F(ApiServerTest, AnswersPromptListsAndChoices) {
  StartServer();
  const ReceivedResponse response =
      Post("/v1/completions",
           R"({"prompt":["a","bb"],"n":2,"max_tokens":5,"logprobs":2,
               "return_token_ids":true})");
  ASSERT_EQ(response.status, 200) << response.body;
  const json choices = response.json()["choices"];
  ASSERT_EQ(choices.size(), 4);
  for (int i = 0; i < 4; ++i) {
    const std::string prompt = i < 2 ? "a" : "bb";
    EXPECT_EQ(choices[i]["index"], i);
    EXPECT_EQ(choices[i]["text"], backend_.ExpectedText(prompt, 5));
    EXPECT_EQ(choices[i]["token_ids"],
              json(SimulatedBackend::ExpectedIds(
                  SimulatedBackend::PromptIds(prompt), 5)));
    EXPECT_EQ(choices[i]["prompt_token_ids"],
              json(SimulatedBackend::PromptIds(prompt)));
    EXPECT_EQ(choices[i]["logprobs"]["tokens"].size(), 5);
  }
  EXPECT_EQ(response.json()["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(response.json()["usage"]["completion_tokens"], 20);
}

TEST_F(ApiServerTest, EchoesWithLogprobs) {
  StartServer();
  const ReceivedResponse response =
      Post("/v1/completions",
           R"({"prompt":"abc","echo":true,"max_tokens":0,"logprobs":1})");
  ASSERT_EQ(response.status, 200) << response.body;
  const json choice = response.json()["choices"][0];
  EXPECT_EQ(choice["text"], "abc");
  EXPECT_EQ(choice["logprobs"]["tokens"],
            json::parse(R"(["<s>","a","b","c"])"));
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][1].is_number());
  EXPECT_EQ(response.json()["usage"]["completion_tokens"], 0);
}

TEST_F(ApiServerTest, DescribesItself) {
  StartServer([](ApiServerOptions* options) {
    options->status = [] { return std::string(R"({"nodes":4})"); };
  });
  const json models = Get("/v1/models").json();
  ASSERT_EQ(models["data"].size(), 2);
  EXPECT_EQ(models["data"][0]["id"], "test-model");
  EXPECT_EQ(models["data"][0]["root"], "/models/test");
  EXPECT_EQ(models["data"][0]["max_model_len"], 2048);
  EXPECT_EQ(Get("/v1/models/other-name").json()["id"], "other-name");
  EXPECT_EQ(Get("/v1/models/nothing").status, 404);
  EXPECT_EQ(Get("/version").json()["version"], std::string(BuildId()));
  EXPECT_EQ(Get("/status").json(), json::parse(R"({"nodes":4})"));
  EXPECT_EQ(Get("/health").status, 200);
  EXPECT_EQ(Post("/tokenize", R"({"prompt":"ab"})").json()["count"], 3);
  EXPECT_EQ(Post("/detokenize", R"({"tokens":[97]})").json()["prompt"], "a");
}

TEST_F(ApiServerTest, NeedsAKeyWhereThereAreKeys) {
  StartServer([](ApiServerOptions* options) { options->api_keys = {"k1"}; });
  HttpTestClient client(port());
  EXPECT_EQ(client.Get("/health").status, 200);
  EXPECT_EQ(client.Get("/version").status, 200);
  for (const char* path : {"/v1/models", "/v1/models/test-model", "/status",
                           "/nothing", "/v1/completions"}) {
    const ReceivedResponse refused = client.Get(path);
    EXPECT_EQ(refused.status, 401) << path;
    EXPECT_EQ(refused.fields.at("www-authenticate"), "Bearer");
    EXPECT_EQ(client.Get(path, "Authorization: Bearer k2\r\n").status, 401);
  }
  const std::string key = "Authorization: Bearer k1\r\n";
  EXPECT_EQ(client.Get("/v1/models", key).status, 200);
  EXPECT_EQ(client.Get("/nothing", key).status, 404);
  EXPECT_EQ(
      client.Post("/v1/completions", R"({"prompt":"a","max_tokens":1})", key)
          .status,
      200);
  EXPECT_EQ(
      client.Post("/v1/completions", R"({"prompt":"a","max_tokens":1})").status,
      401);
}

TEST_F(ApiServerTest, SaysWhenEnginesAreMissing) {
  StartServer();
  backend_.EndEpoch(absl::UnavailableError("engine 3 exited"));
  EXPECT_EQ(Get("/health").status, 503);
  const ReceivedResponse response =
      Post("/v1/completions", R"({"prompt":"a"})");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.fields.at("retry-after"), "1");
  EXPECT_EQ(response.json()["error"]["type"], "server_error");
  backend_.StartEpoch();
  EXPECT_EQ(Get("/health").status, 200);
  EXPECT_EQ(Post("/v1/completions", R"({"prompt":"a"})").status, 200);
}

class LongStreamTest : public ApiServerTest {
 protected:
  LongStreamTest()
      : ApiServerTest({.max_model_len = 100000,
                       .num_blocks = 8192,
                       .per_step = absl::Milliseconds(1)}) {}
};

TEST_F(LongStreamTest, ALostReplicaEndsItWithAnError) {
  StartServer();
  HttpTestClient client(port());
  client.Send(PostText("/v1/completions",
                       R"({"prompt":"a","max_tokens":90000,"stream":true,
                           "ignore_eos":true})"));
  const std::string start = client.ReceiveBytes(600);
  EXPECT_THAT(start, HasSubstr("HTTP/1.1 200"));
  backend_.EndEpoch(absl::UnavailableError("engine 3 exited"));
  std::string rest;
  for (std::string bytes = client.ReceiveBytes(1); !bytes.empty();
       bytes = client.ReceiveBytes(1)) {
    rest += bytes;
  }
  EXPECT_THAT(rest, HasSubstr(R"(data: {"error":{)"));
  EXPECT_THAT(rest, HasSubstr("engine 3 exited"));
  EXPECT_THAT(rest, ::testing::EndsWith("0\r\n\r\n"));
  EXPECT_TRUE(client.IsClosedByServer());
}

TEST_F(ApiServerTest, ALostReplicaBeforeTheFirstTokenIsA503) {
  StartServer();
  backend_.SetStalled(true);
  HttpTestClient client(port());
  client.Send(PostText("/v1/completions", R"({"prompt":"a","stream":true})"));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  backend_.EndEpoch(absl::UnavailableError("engine 3 exited"));
  EXPECT_EQ(client.Receive().status, 503);
}

TEST_F(ApiServerTest, WorksWithoutTokenizer) {
  StartServer([](ApiServerOptions* options) {
    options->model.tokenizer = nullptr;
    options->model.chat_template = nullptr;
  });
  const ReceivedResponse response =
      Post("/v1/completions",
           R"({"prompt":[5,6],"max_tokens":3,"return_token_ids":true})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.json()["choices"][0]["token_ids"],
            json(SimulatedBackend::ExpectedIds({5, 6}, 3)));
  EXPECT_EQ(Post("/v1/completions", R"({"prompt":"a"})").status, 400);
  EXPECT_EQ(Post("/v1/chat/completions",
                 R"({"messages":[{"role":"user","content":"a"}]})")
                .status,
            400);
}

TEST_F(ApiServerTest, EchoesTheRequestId) {
  StartServer();
  HttpTestClient client(port());
  EXPECT_EQ(client.Get("/health", "X-Request-Id: abc-1\r\n")
                .fields.at("x-request-id"),
            "abc-1");
  EXPECT_EQ(client.Get("/health").fields.at("x-request-id").size(), 32);
}

TEST_F(ApiServerTest, DrainsBeforeItEnds) {
  StartServer();
  HttpTestClient idle(port());
  EXPECT_EQ(idle.Get("/health").status, 200);
  HttpTestClient busy(port());
  backend_.SetStalled(true);
  busy.Send(PostText("/v1/completions", R"({"prompt":"a","max_tokens":20})"));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  std::thread shutdown([&] { server_->Shutdown(absl::Seconds(10)); });
  EXPECT_TRUE(idle.IsClosedByServer());
  backend_.SetStalled(false);
  EXPECT_EQ(busy.Receive().status, 200);
  EXPECT_TRUE(busy.IsClosedByServer());
  shutdown.join();
  EXPECT_TRUE(backend_.IsIdleSoon());
}

TEST_F(ApiServerTest, BreaksOffWhatOutlivesTheDrain) {
  StartServer();
  HttpTestClient busy(port());
  backend_.SetStalled(true);
  busy.Send(PostText("/v1/completions", R"({"prompt":"a"})"));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  const absl::Time start = absl::Now();
  server_->Shutdown(absl::Milliseconds(50));
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
  EXPECT_TRUE(busy.IsClosedByServer());
  backend_.SetStalled(false);
  EXPECT_TRUE(backend_.IsIdleSoon());
}

TEST_F(ApiServerTest, StartsOnlyWhereItMay) {
  ApiServerOptions options;
  options.port = 0;
  options.model = backend_.model();
  options.scheduler = &backend_.scheduler();
  options.address = "0.0.0.0";
  EXPECT_THAT(
      ApiServer::Start(options),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--api-key")));
  options.allow_insecure = true;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto server, ApiServer::Start(options));
  options.port = server->port();
  EXPECT_THAT(ApiServer::Start(options),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr(absl::StrCat(":", server->port()))));
  options.address = "no such host";
  EXPECT_THAT(ApiServer::Start(options),
              StatusIs(absl::StatusCode::kInvalidArgument));
  options.address = "127.0.0.1";
  options.port = 70000;
  EXPECT_THAT(ApiServer::Start(options),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::testing
