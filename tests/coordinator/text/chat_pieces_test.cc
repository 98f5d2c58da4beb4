#include "coordinator/text/chat_pieces.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing::StatusIs;

TEST(ChatPiecesTest, StripsAsPythonDoes) {
  EXPECT_EQ(PythonStrip(" \t\u2003a b\u3000\x1c\x1f\n"), "a b");
  EXPECT_EQ(PythonStrip("\u180E\u200Ba"), "\u180E\u200Ba");
  EXPECT_EQ(PythonStrip(" \n "), "");
  EXPECT_EQ(PythonStripEnd(" a "), " a");
  // Not UTF-8: it stays for the tokenizer to refuse.
  EXPECT_EQ(PythonStrip(" \xFF "), "\xFF");
  EXPECT_EQ(PythonStrip("\xE2\x80"), "\xE2\x80");
}

TEST(ChatPiecesTest, StripsPiecesAsOneText) {
  ChatPieces pieces;
  pieces.AddTemplateText("keep ");
  const size_t from = pieces.piece_count();
  pieces.AddTemplateText("a");
  pieces.AddContent("b \n");
  pieces.AddTemplateText("\n\n");
  pieces.AddContent("  ");
  pieces.StripEnd(from);
  EXPECT_EQ(pieces.piece_count(), 3u);
  const std::vector<ChatPiece> taken = std::move(pieces).Take();
  EXPECT_EQ(taken[0].text, "keep ");
  EXPECT_EQ(taken[2].text, "b");
  EXPECT_FALSE(taken[2].from_template);
}

TEST(ChatPiecesTest, NeverStripsWhatStoodBefore) {
  ChatPieces pieces;
  pieces.AddTemplateText("a ");
  pieces.AddContent(" ");
  pieces.StripEnd(1);
  EXPECT_THAT(std::move(pieces).Take(), SizeIs(1));
}

TEST(ChatPiecesTest, ChecksTurns) {
  CARAVAN_EXPECT_OK(CheckTurns({{"system", ""}}));
  CARAVAN_EXPECT_OK(CheckTurns({{"user", ""}, {"assistant", ""}}));
  const std::pair<std::vector<ChatMessage>, const char*> cases[] = {
      {{}, "no messages"},
      {{{"assistant", ""}}, "messages[0]"},
      {{{"system", ""}, {"assistant", ""}}, "messages[1]"},
      {{{"user", ""}, {"user", ""}}, "messages[1]"},
      {{{"user", ""}, {"system", ""}}, "messages[1]"},
      {{{"user", ""}, {"tool\n", ""}}, "tool\\n"},
  };
  for (const auto& [messages, text] : cases) {
    EXPECT_THAT(CheckTurns(messages),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text)));
  }
}

}  // namespace
}  // namespace caravan::coordinator
