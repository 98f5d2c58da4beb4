#include "base/progress_page.h"

#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan {
namespace {

using ::caravan::testing::StatusIs;

TEST(ProgressPageTest, ReaderSeesWhatTheWriterSet) {
  const std::string folder = ::testing::TempDir();
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto writer,
                               ProgressWriter::Create(folder, 1, 7, 3));
  writer->SetStep(42);
  writer->SetPhase(EnginePhase::kReduce);
  writer->Tick();
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      EngineProgressSnapshot seen,
      ReadProgress(absl::StrCat(folder, "/", getpid(), ".progress")));
  EXPECT_EQ(seen.replica, 1u);
  EXPECT_EQ(seen.epoch, 7u);
  EXPECT_EQ(seen.rank, 3);
  EXPECT_EQ(seen.pid, getpid());
  EXPECT_EQ(seen.step, 42u);
  EXPECT_EQ(seen.phase, EnginePhase::kReduce);
  EXPECT_EQ(seen.ticks, 2u);
}

TEST(ProgressPageTest, RefusesWhatIsNoPage) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/other");
  EXPECT_THAT(ReadProgress(absl::StrCat(path, ".absent")),
              StatusIs(absl::StatusCode::kNotFound));
  std::ofstream(path) << "short";
  EXPECT_THAT(ReadProgress(path), StatusIs(absl::StatusCode::kDataLoss));
  std::ofstream(path) << std::string(4096, 'x');
  EXPECT_THAT(ReadProgress(path), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace caravan
