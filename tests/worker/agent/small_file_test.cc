#include "worker/agent/small_file.h"

#include <sys/stat.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TEST(SmallFileTest, WritesForTheOwnerOnlyAndReadsBack) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/file";
  EXPECT_THAT(WriteSmallFile(path, "a longer text"), IsOk());
  EXPECT_THAT(WriteSmallFile(path, "short"), IsOk());
  EXPECT_THAT(ReadSmallFile(path, 5), IsOkAndHolds("short"));
  EXPECT_THAT(ReadSmallFile(path, 4),
              StatusIs(absl::StatusCode::kResourceExhausted));
  struct stat info = {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(SmallFileTest, NamesTheFileInErrors) {
  EXPECT_THAT(
      ReadSmallFile("/nowhere/file", 10),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/file")));
  EXPECT_THAT(ReadSmallFile("/", 10), ::testing::Not(IsOk()));
}

TEST(SmallFileTest, TokensAreTrimmedAndNotEmpty) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/token";
  EXPECT_THAT(WriteSmallFile(path, " se cret\r\n"), IsOk());
  EXPECT_THAT(ReadToken(path), IsOkAndHolds("se cret"));
  EXPECT_THAT(WriteSmallFile(path, " \n"), IsOk());
  EXPECT_THAT(ReadToken(path), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("is empty")));
  EXPECT_THAT(ReadToken("/nowhere/token"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("token file: ")));
}

}  // namespace
}  // namespace caravan::worker
