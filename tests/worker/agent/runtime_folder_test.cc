#include "worker/agent/runtime_folder.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"

namespace caravan::worker {
namespace {

namespace fs = std::filesystem;
using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(RuntimeFolderTest, KeepsItsIdentityAndIsPrivate) {
  const TemporaryFolder temporary;
  const std::string path = temporary.path() + "/deep/er/";
  std::string identity;
  {
    const auto folder = RuntimeFolder::Open(path);
    CARAVAN_ASSERT_OK(folder);
    identity = (*folder)->identity();
    struct stat info = {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
    EXPECT_THAT(RuntimeFolder::Open(path),
                StatusIs(absl::StatusCode::kAlreadyExists));
  }
  const auto again = RuntimeFolder::Open(path);
  CARAVAN_ASSERT_OK(again);
  EXPECT_EQ((*again)->identity(), identity);
  EXPECT_EQ(identity.size(), 16u);
}

TEST(RuntimeFolderTest, RefusesPathsThatOthersCannotTake) {
  const TemporaryFolder temporary;
  EXPECT_THAT(RuntimeFolder::Open(temporary.path() + "/a b"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(RuntimeFolder::Open(temporary.path() + "/a:b"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(RuntimeFolder::Open("/" + std::string(100, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  std::ofstream(temporary.path() + "/file") << "x";
  EXPECT_THAT(RuntimeFolder::Open(temporary.path() + "/file"),
              StatusIs(absl::StatusCode::kPermissionDenied));
  // A link may lead to somebody else's folder.
  fs::create_directory_symlink("/tmp", temporary.path() + "/link");
  EXPECT_THAT(RuntimeFolder::Open(temporary.path() + "/link"),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(RuntimeFolderTest, RefusesAParentThatOthersCanChange) {
  const TemporaryFolder temporary;
  const std::string parent = temporary.path() + "/shared";
  fs::create_directory(parent);
  fs::permissions(parent, fs::perms::all);
  EXPECT_THAT(RuntimeFolder::Open(parent + "/run"),
              StatusIs(absl::StatusCode::kPermissionDenied));
  fs::permissions(parent, fs::perms::all | fs::perms::sticky_bit);
  EXPECT_THAT(RuntimeFolder::Open(parent + "/run"), IsOk());
}

TEST(RuntimeFolderTest, EpochsComeAndGo) {
  const TemporaryFolder temporary;
  const auto folder = RuntimeFolder::Open(temporary.path() + "/run");
  CARAVAN_ASSERT_OK(folder);
  const auto first = (*folder)->CreateEpoch({0, 1});
  CARAVAN_ASSERT_OK(first);
  CARAVAN_ASSERT_OK((*folder)->CreateEpoch({0, 1}));  // again: no matter
  CARAVAN_ASSERT_OK((*folder)->CreateEpoch({2, 10}));
  std::ofstream(first->progress + "/7.progress") << "x";
  std::ofstream(first->shared_memory + "/segment") << "x";
  EXPECT_THAT((*folder)->Epochs(),
              UnorderedElementsAre(EpochKey{0, 1}, EpochKey{2, 10}));
  EXPECT_THAT((*folder)->RemoveEpoch({0, 1}), IsOk());
  EXPECT_THAT((*folder)->RemoveEpoch({0, 1}), IsOk());
  EXPECT_FALSE(fs::exists(first->progress));
  EXPECT_FALSE(fs::exists(first->shared_memory));
  EXPECT_THAT((*folder)->RemoveEpoch({2, 10}), IsOk());
  EXPECT_THAT((*folder)->Epochs(), IsEmpty());
}

TEST(RuntimeFolderTest, LinksAreReplaced) {
  const TemporaryFolder temporary;
  const auto folder = RuntimeFolder::Open(temporary.path() + "/run");
  CARAVAN_ASSERT_OK(folder);
  EXPECT_THAT((*folder)->Link("/old place/engine", "engine"), IsOk());
  EXPECT_THAT((*folder)->Link("/new/engine", "engine"), IsOk());
  EXPECT_EQ(fs::read_symlink((*folder)->programs() + "/engine"), "/new/engine");
}

}  // namespace
}  // namespace caravan::worker
