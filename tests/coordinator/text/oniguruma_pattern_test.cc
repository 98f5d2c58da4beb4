#include "coordinator/text/oniguruma_pattern.h"

#include <utility>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using testing::StatusIs;

TEST(OnigurumaPatternTest, RefusesWhatTheTwoTakeDifferently) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(\w+)", "\\w"},       {R"(\bx)", "\\b"},   {R"(\h)", "\\h"},
      {R"([a[bc]])", "class"}, {R"([a&&b])", "&&"}, {R"([^\S])", "\\S"},
      {R"(^a)", "anchor"},     {R"(a$)", "anchor"}, {R"(a{1,3}+)", "{n,m}+"},
      {R"([]a])", "[]"},       {R"(\pL)", "braces"}};
  for (const auto& [pattern, name] : cases) {
    EXPECT_THAT(Pcre2FromOniguruma(pattern),
                StatusIs(absl::StatusCode::kUnimplemented, HasSubstr(name)));
  }
}

TEST(OnigurumaPatternTest, LeavesTheRestAsItIs) {
  for (const char* pattern :
       {R"((?i:'s|'t)| ?\p{L}+|[^\r\n\p{N}]?\d{1,3}|\[\^\$\/\{\}+)",
        R"(\x{4E00}+|a?+b*+)", R"([\^\]a-z]|\\)", "\\"}) {
    EXPECT_THAT(Pcre2FromOniguruma(pattern), IsOkAndHolds(pattern));
  }
}

}  // namespace
}  // namespace caravan::coordinator
