#include "cli/conversation.h"

#include <signal.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/interrupt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::ApiServerTest;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Pipe {
 public:
  Pipe() { is_open_ = pipe(fds_) == 0; }
  ~Pipe() {
    CloseWriter();
    close(fds_[0]);
  }
  int reader() const { return fds_[0]; }
  bool Write(const std::string& text) {
    return is_open_ && write(fds_[1], text.data(), text.size()) ==
                           static_cast<ssize_t>(text.size());
  }
  void CloseWriter() {
    if (std::exchange(is_open_, false)) close(fds_[1]);
  }

 private:
  int fds_[2] = {-1, -1};
  bool is_open_ = false;
};

TEST(LineReaderTest, ReadsLinesToTheEnd) {
  Pipe input;
  ASSERT_TRUE(input.Write("one\n\ntwo"));
  input.CloseWriter();
  LineReader lines(input.reader(), -1);
  EXPECT_EQ(**lines.Read(), "one");
  EXPECT_EQ(**lines.Read(), "");
  EXPECT_EQ(**lines.Read(), "two");
  EXPECT_FALSE(lines.Read()->has_value());
}

TEST(InterruptTest, MakesCtrlCReadable) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto interrupt, Interrupt::Create());
  EXPECT_FALSE(interrupt->ends_process());
  Pipe input;
  LineReader lines(input.reader(), interrupt->fd());
  raise(SIGINT);
  EXPECT_THAT(lines.Read(), StatusIs(absl::StatusCode::kCancelled));
  interrupt->Clear();
  ASSERT_TRUE(input.Write("x\n"));
  EXPECT_EQ(**lines.Read(), "x");
  EXPECT_FALSE(interrupt->ends_process());
  raise(SIGTERM);
  EXPECT_THAT(lines.Read(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_TRUE(interrupt->ends_process());
}

class ConversationTest : public ApiServerTest {
 protected:
  // What stands on the terminal after `typed`.
  absl::StatusOr<std::string> Talk(const std::string& typed,
                                   const std::string& api_key = "") {
    screen_.clear();
    const absl::Status status =
        Converse(typed, api_key, /*is_interactive=*/true);
    if (!status.ok()) return status;
    return screen_;
  }

  absl::Status Converse(const std::string& typed, const std::string& api_key,
                        bool is_interactive) {
    Pipe input;
    if (!input.Write(typed)) return absl::InternalError("pipe");
    input.CloseWriter();
    LineReader lines(input.reader(), -1);
    ConversationIo io;
    io.lines = &lines;
    io.is_interactive = is_interactive;
    io.write = [this](absl::string_view text) {
      screen_.append(text.data(), text.size());
    };
    HttpClient::Options options;
    options.server = {"127.0.0.1", absl::StrCat(port()), ""};
    options.api_key = api_key;
    AnswerOptions answer;
    answer.max_tokens = 6;
    return cli::Converse(HttpClient(options), answer, io, {{"system", "s"}});
  }

  std::string screen_;
};

TEST_F(ConversationTest, RemembersTheConversation) {
  StartServer();
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string once, Talk("Hi\n"));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string twice, Talk("Hi\nHi\n"));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string cleared,
                               Talk("Hi\n/clear\n\nHi\n/quit\nHi\n"));
  // The answer to the first line, without the prompts around it.
  const std::string answer = once.substr(2, once.size() - 5);
  EXPECT_EQ(once, absl::StrCat("> ", answer, "> \n"));
  EXPECT_THAT(twice, StartsWith(absl::StrCat("> ", answer, "> ")));
  EXPECT_NE(twice, absl::StrCat("> ", answer, "> ", answer, "> \n"));
  EXPECT_EQ(cleared, absl::StrCat("> ", answer, "> > > ", answer, "> "));
}

TEST_F(ConversationTest, GoesOnAfterAnError) {
  StartServer();
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string screen,
                               Talk("unrenderable\nHi\n"));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string once, Talk("Hi\n"));
  EXPECT_THAT(screen, StartsWith("> \n(no place for message 0)\n> "));
  EXPECT_THAT(screen, ::testing::EndsWith(once));
}

TEST_F(ConversationTest, EndsWithTheFirstErrorOfAScript) {
  StartServer();
  EXPECT_THAT(Converse("unrenderable\nHi\n", "", /*is_interactive=*/false),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("no place for message 0")));
  EXPECT_EQ(screen_, "> \n");
  CARAVAN_EXPECT_OK(Converse("Hi\n", "", /*is_interactive=*/false));
}

TEST_F(ConversationTest, EndsWhereNothingHelps) {
  StartServer([](coordinator::ApiServerOptions* options) {
    options->api_keys = {"key"};
  });
  EXPECT_THAT(Talk("Hi\nHi\n", "wrong"),
              StatusIs(absl::StatusCode::kUnauthenticated));
  CARAVAN_EXPECT_OK(Talk("Hi\n", "key"));
}

}  // namespace
}  // namespace caravan::cli
