#include "partition/model/file.h"

#include <sys/stat.h>

#include <array>
#include <filesystem>

#include "gtest/gtest.h"
#include "tests/partition/model/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ReadAt(const RandomAccessFile& file, int64_t offset, size_t size) {
  std::string out(size, '?');
  const absl::Status status =
      file.Read(offset, {reinterpret_cast<std::byte*>(out.data()), size});
  return status.ok() ? out : std::string(status.message());
}

TEST(FileTest, ReadsAtOffsets) {
  const TemporaryFolder folder;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto file,
                               OpenFile(folder.Write("f", "0123456789")));
  const auto memory = MemoryFile("m", "0123456789");
  for (const RandomAccessFile* each : {file.get(), memory.get()}) {
    EXPECT_EQ(each->size(), 10);
    EXPECT_EQ(ReadAt(*each, 3, 4), "3456");
    EXPECT_EQ(ReadAt(*each, 10, 0), "");
    std::array<std::byte, 4> out;
    EXPECT_THAT(each->Read(7, absl::MakeSpan(out)),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has 10")));
    EXPECT_THAT(each->Read(int64_t{1} << 62, absl::MakeSpan(out)),
                StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(each->Read(-1, absl::MakeSpan(out)),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(FileTest, FileCutShortWhileOpenIsDataLoss) {
  const TemporaryFolder folder;
  const std::string path = folder.Write("f", "0123456789");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto file, OpenFile(path));
  std::filesystem::resize_file(path, 5);
  std::array<std::byte, 8> out;
  EXPECT_THAT(file->Read(0, absl::MakeSpan(out)),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("shorter")));
}

TEST(FileTest, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(OpenFile(folder.Path("none")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
  EXPECT_THAT(
      OpenFile(folder.path()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("regular")));
  // A pipe without a writer must not block.
  ASSERT_EQ(mkfifo(folder.Path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(OpenFile(folder.Path("pipe")),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(FileTest, WholeFilesHaveALimit) {
  const TemporaryFolder folder;
  const std::string path = folder.Write("f", "0123456789");
  EXPECT_THAT(ReadWholeFile(path, 10), IsOkAndHolds("0123456789"));
  EXPECT_THAT(ReadWholeFile(path, 9),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(path), HasSubstr("10 bytes"))));
}

}  // namespace
}  // namespace caravan::partition
