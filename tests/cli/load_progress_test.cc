#include "cli/load_progress.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::cli {
namespace {

using ::testing::HasSubstr;

coordinator::ClusterView Loading(int64_t loaded) {
  coordinator::ClusterView view;
  view.state = coordinator::ReplicaState::kLoading;
  view.ranks.push_back(
      {.loaded_bytes = loaded, .total_bytes = int64_t{1} << 30});
  view.ranks.push_back({.total_bytes = int64_t{1} << 30});
  return view;
}

TEST(LoadProgressTest, SaysHowMuchIsLoaded) {
  EXPECT_EQ(DescribeStart(Loading(int64_t{1} << 29)),
            "loading 25 % of 2.00 GiB on 2 engines");
  EXPECT_EQ(DescribeStart({}), "waiting for nodes");
}

TEST(LoadProgressTest, WritesALinePerQuarterWhereThereIsNoTerminal) {
  LoadProgress progress(/*is_terminal=*/false);
  ::testing::internal::CaptureStderr();
  for (int64_t loaded = 0; loaded <= int64_t{1} << 30;
       loaded += int64_t{1} << 26) {
    progress.Show(Loading(loaded));
  }
  progress.Finish();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "loading 0 % of 2.00 GiB on 2 engines\n"
            "loading 25 % of 2.00 GiB on 2 engines\n"
            "loading 50 % of 2.00 GiB on 2 engines\n");
}

TEST(LoadProgressTest, DrawsABarOnATerminalAndWipesIt) {
  LoadProgress progress(/*is_terminal=*/true);
  ::testing::internal::CaptureStderr();
  progress.Show(Loading(int64_t{1} << 30));
  progress.Finish();
  const std::string written = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(written, HasSubstr("\r[###############...............] loading"));
  EXPECT_EQ(written.back(), '\r');
}

}  // namespace
}  // namespace caravan::cli
