#include "coordinator/cluster/local_agent.h"

#include <signal.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "coordinator/cluster/private_folder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

// The children here are shells that write their process id and then do what the
// test wants of an agent.
class LocalAgentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto folder = PrivateFolder::Create();
    CARAVAN_ASSERT_OK(folder.status());
    folder_ = *std::move(folder);
  }

  LocalAgentOptions Shell(const std::string& script) const {
    return {.program = "/bin/sh",
            .arguments = {"-c", "echo $$; " + script},
            .output_file = Output()};
  }

  std::string Output() const { return folder_->path() + "/output"; }

  std::vector<std::string> Lines() const {
    std::stringstream text;
    text << std::ifstream(Output()).rdbuf();
    return absl::StrSplit(text.str(), '\n', absl::SkipEmpty());
  }

  // Looks every few milliseconds: a process gives no other sign.
  static bool Eventually(const std::function<bool()>& condition) {
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (absl::Now() < deadline) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }

  std::unique_ptr<PrivateFolder> folder_;
};

TEST_F(LocalAgentTest, IsStartedAgainWhenItIsKilled) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto agent,
                               LocalAgent::Start(Shell("exec sleep 600")));
  ASSERT_TRUE(Eventually([&] { return Lines().size() == 1; }));
  const pid_t first = std::stoi(Lines()[0]);
  ASSERT_EQ(kill(first, SIGKILL), 0);
  ASSERT_TRUE(Eventually([&] { return Lines().size() == 2; }));
  const pid_t second = std::stoi(Lines()[1]);
  EXPECT_NE(first, second);
  EXPECT_EQ(getpgid(second), second);
  agent.reset();
  EXPECT_EQ(kill(second, 0), -1);
}

TEST_F(LocalAgentTest, AnExpectedEndIsTheEnd) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto agent,
                               LocalAgent::Start(Shell("exec sleep 600")));
  ASSERT_TRUE(Eventually([&] { return Lines().size() == 1; }));
  agent->ExpectExit();
  kill(std::stoi(Lines()[0]), SIGTERM);
  agent->Stop(absl::Seconds(30));
  EXPECT_EQ(Lines().size(), 1u);
  CARAVAN_EXPECT_OK(agent->status());
}

TEST_F(LocalAgentTest, OneThatCannotStartIsReported) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto agent, LocalAgent::Start(Shell("exit 3")));
  ASSERT_TRUE(Eventually([&] { return !agent->status().ok(); }));
  EXPECT_THAT(agent->status(), StatusIs(absl::StatusCode::kUnavailable,
                                        HasSubstr("exited with code 3")));
}

TEST_F(LocalAgentTest, AMissingProgramIsRefused) {
  EXPECT_THAT(LocalAgent::Start({.program = "/no/such/program"}).status(),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace caravan::coordinator
