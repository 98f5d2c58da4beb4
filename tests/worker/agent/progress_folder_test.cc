#include "worker/agent/progress_folder.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"

namespace caravan::worker {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(ProgressFolderTest, ReadsThePagesOfTheEpochOnly) {
  const TemporaryFolder folder;
  const auto writer = ProgressWriter::Create(folder.path(), 1, 2, /*rank=*/3);
  CARAVAN_ASSERT_OK(writer);
  (*writer)->SetStep(17);
  (*writer)->SetPhase(EnginePhase::kSend);
  std::ofstream(folder.path() + "/99.progress") << "not a page";
  std::ofstream(folder.path() + "/x.progress") << "not even a pid";
  std::ofstream(folder.path() + "/notes.txt") << "nothing";
  // A page under another process's name is not that process's word.
  std::filesystem::copy_file(
      absl::StrCat(folder.path(), "/", getpid(), ".progress"),
      folder.path() + "/1.progress");
  const auto engines = ReadProgressFolder(folder.path(), {1, 2});
  ASSERT_THAT(engines, SizeIs(1));
  EXPECT_EQ(engines[0].rank, 3);
  EXPECT_EQ(engines[0].pid, getpid());
  EXPECT_EQ(engines[0].step, 17u);
  EXPECT_THAT(ReadProgressFolder(folder.path(), {1, 3}), IsEmpty());
  EXPECT_THAT(ReadProgressFolder(folder.path() + "/none", {1, 2}), IsEmpty());
}

TEST(ProgressFolderTest, KnowsResidentBytes) {
  EXPECT_GT(ResidentBytes(getpid()), 1 << 20);
  EXPECT_EQ(ResidentBytes(-5), 0);
}

}  // namespace
}  // namespace caravan::worker
