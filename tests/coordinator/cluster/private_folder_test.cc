#include "coordinator/cluster/private_folder.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 0777;
}

TEST(PrivateFolderTest, IsPrivateUniqueAndGoneAfterwards) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto first, PrivateFolder::Create());
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto second, PrivateFolder::Create());
  EXPECT_NE(first->path(), second->path());
  EXPECT_EQ(ModeOf(first->path()), 0700u);
  EXPECT_LE(first->path().size(), 80u);
  const std::string path = first->path();
  std::filesystem::create_directories(path + "/a/b");
  first.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::exists(second->path()));
}

TEST(PrivateFolderTest, SecretsComeBackFromTheirFile) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto folder, PrivateFolder::Create());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string token, DrawToken());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string other, DrawToken());
  EXPECT_EQ(token.size(), 64u);
  EXPECT_NE(token, other);
  const std::string path = folder->path() + "/token";
  CARAVAN_ASSERT_OK(WriteSecretFile(path, token + "\n"));
  EXPECT_EQ(ModeOf(path), 0600u);
  EXPECT_THAT(ReadTokenFile(path), IsOkAndHolds(token));
  EXPECT_THAT(WriteSecretFile(path, "other"),
              StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST(PrivateFolderTest, TokenFilesThatAreNoSecretAreRefused) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto folder, PrivateFolder::Create());
  const std::string path = folder->path() + "/token";
  EXPECT_THAT(ReadTokenFile(path).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path)));
  CARAVAN_ASSERT_OK(WriteSecretFile(path, "short\n"));
  EXPECT_THAT(
      ReadTokenFile(path).status(),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("openssl rand")));
  std::ofstream(path) << std::string(2000, 'x');
  EXPECT_THAT(ReadTokenFile(path).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
  std::ofstream(path) << "long enough a secret";
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  EXPECT_THAT(
      ReadTokenFile(path).status(),
      StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("chmod 600")));
  EXPECT_THAT(ReadTokenFile(folder->path()).status(),
              ::testing::Not(testing::IsOk()));
}

}  // namespace
}  // namespace caravan::coordinator
