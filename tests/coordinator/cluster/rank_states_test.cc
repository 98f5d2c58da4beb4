#include "coordinator/cluster/rank_states.h"

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;

constexpr absl::Time kStart = absl::UnixEpoch();

v1::EnginePlan MakePlan(const std::vector<std::string>& nodes) {
  v1::EnginePlan plan;
  for (size_t i = 0; i < nodes.size(); ++i) {
    v1::RankPlan* rank = plan.add_ranks();
    rank->set_rank(static_cast<int>(i));
    rank->set_node(nodes[i]);
  }
  return plan;
}

v1::EngineHello Hello(const std::string& node, int64_t pid) {
  v1::EngineHello hello;
  hello.set_node(node);
  hello.set_pid(pid);
  return hello;
}

v1::EngineProgress Progress(int rank, uint64_t step, const std::string& phase,
                            uint64_t ticks) {
  v1::EngineProgress progress;
  progress.set_rank(rank);
  progress.set_step(step);
  progress.set_phase(phase);
  progress.set_ticks(ticks);
  return progress;
}

TEST(RankStatesTest, HelloIsCheckedAgainstThePlan) {
  RankStates ranks(MakePlan({"a", "b"}), kStart);
  EXPECT_EQ(ranks.FirstNotGreeted(), 0);
  CARAVAN_ASSERT_OK(ranks.OnHello(0, Hello("a", 10), kStart));
  for (const auto& [rank, node] : std::vector<std::pair<int, std::string>>{
           {-1, "a"}, {2, "a"}, {0, "a"}, {1, "a"}}) {
    EXPECT_THAT(ranks.OnHello(rank, Hello(node, 11), kStart),
                StatusIs(absl::StatusCode::kFailedPrecondition))
        << rank;
  }
  EXPECT_FALSE(ranks.AllGreeted());
  CARAVAN_ASSERT_OK(ranks.OnHello(1, Hello("b", 10), kStart));
  EXPECT_TRUE(ranks.AllGreeted());
  EXPECT_EQ(ranks.FindByPid("b", 10), 1);
  EXPECT_EQ(ranks.FindByPid("b", 11), -1);
}

TEST(RankStatesTest, TheStoppedOneIsFoundAmongTheWaiting) {
  RankStates ranks(MakePlan({"a", "a", "b", "b"}), kStart);
  for (int second = 1; second <= 4; ++second) {
    const absl::Time now = kStart + absl::Seconds(second);
    ranks.OnProgress("a", Progress(0, 8, "receive", 100 + second), now);
    ranks.OnProgress("a", Progress(1, 8, "receive", 100 + second), now);
    ranks.OnProgress("b", Progress(2, 7, "all-reduce", 50), now);  // stopped
    ranks.OnProgress("b", Progress(3, 7, "all-reduce", 50 + second), now);
  }
  EXPECT_EQ(ranks.FindStuck(kStart + absl::Seconds(4), absl::Seconds(2)), 2);
}

TEST(RankStatesTest, WhoWorksWithoutTickingIsLikelierThanWhoWaits) {
  RankStates ranks(MakePlan({"a", "b"}), kStart);
  ranks.OnProgress("a", Progress(0, 8, "receive", 1), kStart);
  ranks.OnProgress("b", Progress(1, 7, "compute", 1),
                   kStart + absl::Seconds(1));
  EXPECT_EQ(ranks.FindStuck(kStart + absl::Seconds(4), absl::Seconds(2)), 1);
}

TEST(RankStatesTest, OfIdleRanksTheOneBehindIsStuck) {
  RankStates ranks(MakePlan({"a", "b"}), kStart);
  ranks.OnProgress("a", Progress(0, 28, "idle", 1), kStart);
  ranks.OnProgress("b", Progress(1, 26, "idle", 1),
                   kStart + absl::Milliseconds(10));
  EXPECT_EQ(ranks.FindStuck(kStart + absl::Seconds(4), absl::Seconds(2)), 1);
}

TEST(RankStatesTest, NobodyIsStuckWhereAllWaitAndTick) {
  RankStates ranks(MakePlan({"a", "b"}), kStart);
  const absl::Time now = kStart + absl::Seconds(9);
  ranks.OnProgress("a", Progress(0, 8, "receive", 5), now);
  ranks.OnProgress("b", Progress(1, 8, "receive", 5), now);
  EXPECT_EQ(ranks.FindStuck(now, absl::Seconds(2)), -1);
}

TEST(RankStatesTest, ProgressInAnotherNodesNameIsIgnored) {
  RankStates ranks(MakePlan({"a", "b"}), kStart);
  ranks.OnProgress("a", Progress(1, 8, "compute", 5), kStart);
  ranks.OnProgress("a", Progress(-1, 8, "compute", 5), kStart);
  ranks.OnProgress("a", Progress(2, 8, "compute", 5), kStart);
  EXPECT_EQ(ranks[1].step, 0u);
}

TEST(RankStatesTest, LoadingRanksAreWatchedUntilTheyAreReady) {
  RankStates ranks(MakePlan({"a", "b"}), kStart);
  v1::LoadProgress load;
  load.set_loaded_bytes(10);
  load.set_total_bytes(100);
  ranks.OnLoadProgress(0, load, kStart + absl::Seconds(5));
  EXPECT_EQ(ranks.LongestSilentBeforeReady(), 1);
  ranks.OnReady(1, {}, kStart + absl::Seconds(6));
  EXPECT_EQ(ranks.LongestSilentBeforeReady(), 0);
  // The same number again is no progress.
  ranks.OnLoadProgress(0, load, kStart + absl::Seconds(9));
  EXPECT_EQ(ranks[0].last_sign, kStart + absl::Seconds(5));
  ranks.OnReady(0, {}, kStart + absl::Seconds(10));
  EXPECT_TRUE(ranks.AllReady());
  EXPECT_EQ(ranks.LongestSilentBeforeReady(), -1);
}

}  // namespace
}  // namespace caravan::coordinator
