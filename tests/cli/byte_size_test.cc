#include "cli/byte_size.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TEST(ByteSizeTest, Parses) {
  struct {
    absl::string_view text;
    int64_t bytes;
  } const cases[] = {
      {"0", 0},
      {"4096", 4096},
      {"7B", 7},
      {"1kB", 1000},
      {"24GB", 24'000'000'000},
      {"24GiB", int64_t{24} << 30},
      {"24gib", int64_t{24} << 30},
      {"24 GiB", int64_t{24} << 30},
      {"512MiB", 512 << 20},
      {"1.5KiB", 1536},
      {"0.3B", 0},
      {".5MiB", 512 << 10},
      {"2TB", 2'000'000'000'000},
      {"8388607TiB", int64_t{8388607} << 40},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(ParseByteSize(test.text), IsOkAndHolds(test.bytes))
        << test.text;
  }
}

TEST(ByteSizeTest, Refuses) {
  for (absl::string_view text :
       {"", "GiB", "24G", "24 GiB of", "-1GiB", "+1GiB", "1e3", "1..5GB", ".",
        "nan", "inf", "0x10", "8388608TiB", "1 0GiB",
        "99999999999999999999999999999999GiB"}) {
    EXPECT_THAT(ParseByteSize(text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(absl::StrCat("\"", text, "\""))))
        << text;
  }
}

}  // namespace
}  // namespace caravan::cli
