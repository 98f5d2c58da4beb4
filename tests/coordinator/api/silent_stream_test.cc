// Streams that have nothing to tell for long: they say so.
#include <string>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"
#include "tests/support/fake_clock.h"

namespace caravan::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kComment[] = ": keep-alive\n\n";
constexpr char kStream[] =
    R"({"prompt":"a","max_tokens":20,"ignore_eos":true,"stream":true})";

// The server looks at the clock every millisecond, but only the test moves it.
class SilentStreamTest : public ApiServerTest {
 protected:
  SilentStreamTest() : ApiServerTest({.per_step = absl::Milliseconds(1)}) {
    StartServer([this](coordinator::ApiServerOptions* options) {
      options->clock = &clock_;
      options->limits.longest_silence = kLongestSilence;
    });
  }

  // What the client has got when it has got `text` too.
  static std::string ReceiveThrough(HttpTestClient* client,
                                    const std::string& text) {
    std::string received;
    while (!absl::StrContains(received, text)) {
      const std::string bytes = client->ReceiveBytes(1);
      if (bytes.empty()) return received + "(the end)";
      received += bytes;
    }
    return received;
  }

  static constexpr absl::Duration kLongestSilence = absl::Milliseconds(1);
  FakeClock clock_;
};

TEST_F(SilentStreamTest, IsSentComments) {
  backend_.SetStalled(true);
  HttpTestClient client(port());
  client.Send(PostText("/v1/completions", kStream));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  clock_.Advance(kLongestSilence);
  std::string received = ReceiveThrough(&client, kComment);
  EXPECT_THAT(received, HasSubstr("HTTP/1.1 200"));
  EXPECT_THAT(received, HasSubstr("Content-Type: text/event-stream"));
  EXPECT_THAT(received, Not(HasSubstr("data: ")));
  clock_.Advance(kLongestSilence);
  EXPECT_EQ(ReceiveThrough(&client, kComment), "e\r\n: keep-alive\n\n\r\n");
  backend_.SetStalled(false);
  received = ReceiveThrough(&client, "0\r\n\r\n");
  EXPECT_THAT(received, Not(HasSubstr(kComment)));
  EXPECT_THAT(received, HasSubstr("data: [DONE]"));
}

TEST_F(SilentStreamTest, GetsItsErrorAsAnEvent) {
  backend_.SetStalled(true);
  HttpTestClient client(port());
  client.Send(PostText("/v1/completions", kStream));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  clock_.Advance(kLongestSilence);
  ReceiveThrough(&client, kComment);
  backend_.EndEpoch(absl::UnavailableError("engine 3 exited"));
  const std::string received = ReceiveThrough(&client, "0\r\n\r\n");
  EXPECT_THAT(received, HasSubstr(R"(data: {"error":{)"));
  EXPECT_THAT(received, HasSubstr("engine 3 exited"));
  EXPECT_TRUE(client.IsClosedByServer());
}

TEST_F(SilentStreamTest, IsSentNothingBeforeItsTime) {
  const ReceivedResponse response = Post("/v1/completions", kStream);
  EXPECT_EQ(TextOfStream(response), backend_.ExpectedText("a", 20));
  EXPECT_THAT(response.body, Not(HasSubstr(kComment)));
}

TEST_F(SilentStreamTest, OtherAnswersHaveNoComments) {
  backend_.SetStalled(true);
  HttpTestClient client(port());
  client.Send(PostText("/v1/completions",
                       R"({"prompt":"a","max_tokens":20,"ignore_eos":true})"));
  ASSERT_TRUE(backend_.HasRunningSoon(1));
  clock_.Advance(absl::Hours(1));
  backend_.SetStalled(false);
  const ReceivedResponse response = client.Receive();
  ASSERT_EQ(response.status, 200);
  EXPECT_EQ(response.json()["choices"][0]["text"],
            backend_.ExpectedText("a", 20));
}

}  // namespace
}  // namespace caravan::testing
