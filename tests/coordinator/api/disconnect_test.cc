// Clients that leave, in every phase of a request: nothing of theirs is left,
// and nobody else notices.
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"

namespace caravan::testing {
namespace {

using coordinator::ApiServerOptions;
using ::testing::HasSubstr;

constexpr char kLong[] =
    R"({"prompt":"a","max_tokens":2000,"ignore_eos":true})";
constexpr char kLongStream[] =
    R"({"prompt":"a","max_tokens":2000,"ignore_eos":true,"stream":true})";

class DisconnectTest : public ApiServerTest {
 protected:
  explicit DisconnectTest(SimulatedBackendOptions options = {})
      : ApiServerTest(options) {}
};

TEST_F(DisconnectTest, BeforeAndWithinARequest) {
  StartServer();
  BesideOracles(2, [this] {
    const std::string request = PostText("/v1/completions", kLong);
    for (size_t length = 0; length < request.size(); length += 17) {
      HttpTestClient client(port());
      client.Send(request.substr(0, length));
      if (length % 2 == 0) client.Reset();
    }
  });
}

TEST_F(DisconnectTest, InPrefill) {
  StartServer();
  for (const char* body : {kLong, kLongStream}) {
    backend_.SetStalled(true);
    HttpTestClient client(port());
    client.Send(PostText("/v1/completions", body));
    ASSERT_TRUE(backend_.HasRunningSoon(1));
    client.Close();
    // Before any step ended.
    ASSERT_TRUE(backend_.HasRunningSoon(0));
    backend_.SetStalled(false);
    EXPECT_TRUE(backend_.IsIdleSoon());
  }
}

TEST_F(DisconnectTest, InDecode) {
  StartServer();
  BesideOracles(2, [this] {
    for (int i = 0; i < 20; ++i) {
      HttpTestClient client(port());
      client.Send(PostText("/v1/completions", kLongStream));
      EXPECT_THAT(client.ReceiveBytes(800), HasSubstr("data: "));
      if (i % 2 == 0) client.Reset();
    }
  });
}

TEST_F(DisconnectTest, AfterEachNumberOfSteps) {
  StartServer();
  for (int i = 0; i < 50; ++i) {
    HttpTestClient client(port());
    client.Send(PostText("/v1/completions", kLong));
    if (i % 2 == 0) {
      client.Reset();
    } else {
      client.HalfClose();
      // The answer may have been quicker.
      EXPECT_TRUE(client.EndsSoon());
    }
  }
  EXPECT_TRUE(backend_.IsIdleSoon());
  EXPECT_EQ(Post("/v1/completions", R"({"prompt":"a"})").status, 200);
}

class QueuedDisconnectTest : public DisconnectTest {
 protected:
  QueuedDisconnectTest() : DisconnectTest({.max_sequences = 1}) {}
};

TEST_F(QueuedDisconnectTest, InTheQueue) {
  StartServer();
  backend_.SetStalled(true);
  HttpTestClient first(port());
  first.Send(PostText("/v1/completions", R"({"prompt":"a","max_tokens":8})"));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  {
    HttpTestClient queued(port());
    queued.Send(PostText("/v1/completions", kLong));
    ASSERT_TRUE(backend_.HasWaitingSoon(1));
  }
  ASSERT_TRUE(backend_.HasWaitingSoon(0));
  backend_.SetStalled(false);
  const ReceivedResponse response = first.Receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.json()["choices"][0]["text"],
            backend_.ExpectedText("a", 8));
  EXPECT_TRUE(backend_.IsIdleSoon());
}

class FullQueueDisconnectTest : public DisconnectTest {
 protected:
  FullQueueDisconnectTest()
      : DisconnectTest({.max_queued_requests = 1, .max_sequences = 1}) {}
};

TEST_F(FullQueueDisconnectTest, ALongQueueIsA429) {
  StartServer();
  backend_.SetStalled(true);
  HttpTestClient running(port());
  running.Send(PostText("/v1/completions", kLong));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  HttpTestClient queued(port());
  queued.Send(PostText("/v1/completions", kLong));
  ASSERT_TRUE(backend_.HasWaitingSoon(1));
  const ReceivedResponse refused = Post("/v1/completions", kLongStream);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.fields.at("retry-after"), "1");
  EXPECT_EQ(refused.json()["error"]["type"], "rate_limit_error");
  running.Close();
  queued.Close();
  backend_.SetStalled(false);
  EXPECT_TRUE(backend_.IsIdleSoon());
}

class SlowReaderTest : public DisconnectTest {
 protected:
  SlowReaderTest()
      : DisconnectTest({.max_model_len = 100000, .num_blocks = 8192}) {}
};

TEST_F(SlowReaderTest, LosesItsRequest) {
  StartServer([](ApiServerOptions* options) {
    options->limits.write_deadline = absl::Milliseconds(200);
  });
  HttpTestClient client(port());
  client.ShrinkReceiveBuffer();
  client.Send(PostText(
      "/v1/completions",
      R"({"prompt":"a","max_tokens":90000,"ignore_eos":true,"stream":true,
          "logprobs":20,"return_token_ids":true})"));
  // It never reads: no sooner are the kernel's buffers full than it is out.
  EXPECT_TRUE(backend_.HasRunningSoon(1));
  EXPECT_TRUE(backend_.HasRunningSoon(0));
  EXPECT_TRUE(backend_.IsIdleSoon());
  EXPECT_LT(backend_.generated_tokens(), 90000);
}

}  // namespace
}  // namespace caravan::testing
