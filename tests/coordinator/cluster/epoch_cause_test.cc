#include "coordinator/cluster/epoch_cause.h"

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

v1::ProcessExited Exited(const std::string& role, const std::string& reason,
                         const std::string& words = "") {
  v1::ProcessExited exited;
  exited.set_role(role);
  exited.set_reason(reason);
  exited.set_rank(2);
  exited.set_last_words(words);
  return exited;
}

v1::EngineFailure Failure(absl::StatusCode code) {
  v1::EngineFailure failure;
  failure.set_code(static_cast<int>(code));
  failure.set_message("what went wrong");
  failure.set_step(812);
  failure.set_phase("receive");
  return failure;
}

TEST(EpochCauseTest, AKilledEngineProvesMostAndItsWordsAddNothing) {
  const EpochCause cause =
      CauseOf(Exited("engine", "killed by signal 9 (Killed)", "bye"), "node-b");
  EXPECT_EQ(cause.evidence, Evidence::kKilled);
  EXPECT_TRUE(IsConclusive(cause.evidence));
  EXPECT_EQ(DescribeEnd(0, 3, cause),
            "replica 0 epoch 3 ended: rank 2 on node-b: killed by signal 9 "
            "(Killed)");
}

TEST(EpochCauseTest, StepAndPhaseAreNamed) {
  EpochCause cause =
      CauseOf(Exited("engine", "killed by signal 9 (Killed)"), "node-b");
  cause.step = 812;
  cause.phase = "compute";
  EXPECT_EQ(DescribeEnd(0, 3, cause),
            "replica 0 epoch 3 ended: rank 2 on node-b: killed by signal 9 "
            "(Killed) at step 812 in compute");
}

TEST(EpochCauseTest, AnExitCodeComesWithTheLastLine) {
  const EpochCause cause =
      CauseOf(Exited("engine", "exited with code 1", "one\ntwo\n\n"), "node-b");
  EXPECT_EQ(cause.evidence, Evidence::kEngineExited);
  EXPECT_EQ(cause.reason, "exited with code 1 after saying \"two\"");
}

TEST(EpochCauseTest, ConsequencesProveLess) {
  const Evidence killed =
      CauseOf(Exited("engine", "killed by signal 9 (Killed)"), "b").evidence;
  for (const EpochCause& consequence :
       {CauseOf(Exited("mpirun", "exited with code 137"), "a"),
        CauseOf(Exited("engine", "killed by signal 15 (Terminated)"), "a"),
        CauseOf(Failure(absl::StatusCode::kAborted), 1, "a"),
        CauseOf(Failure(absl::StatusCode::kUnavailable), 1, "a"),
        CauseOf(Failure(absl::StatusCode::kDeadlineExceeded), 1, "a"),
        CauseOf(Failure(absl::StatusCode::kInternal), 1, "a")}) {
    EXPECT_LT(consequence.evidence, killed) << consequence.reason;
    EXPECT_FALSE(IsConclusive(consequence.evidence)) << consequence.reason;
  }
  EXPECT_LT(
      CauseOf(Failure(absl::StatusCode::kDeadlineExceeded), 1, "a").evidence,
      Evidence::kStalled);
}

TEST(EpochCauseTest, MpirunsLastWordsNameTheRankThatOnlyItSawDie) {
  const EpochCause cause = CauseOf(
      Exited("mpirun", "exited with code 137",
             "Primary job  terminated normally, but 1 process returned\n"
             "mpirun noticed that process rank 3 with PID 0 on node\n"
             "vm exited on signal 11 (Segmentation fault).\n---\n"),
      "node-a");
  EXPECT_EQ(cause.evidence, Evidence::kKilled);
  EXPECT_EQ(cause.rank, 3);
  EXPECT_EQ(cause.reason, "killed by signal 11 (Segmentation fault)");
  for (const char* words :
       {"noticed that process rank", "noticed that process rank x with",
        "noticed that process rank 3 with PID 0", ""}) {
    EXPECT_EQ(
        CauseOf(Exited("mpirun", "exited with code 1", words), "a").evidence,
        Evidence::kLauncherExited)
        << words;
  }
}

TEST(EpochCauseTest, AKilledMpirunIsACause) {
  const EpochCause cause =
      CauseOf(Exited("mpirun", "killed by signal 9 (Killed)"), "node-a");
  EXPECT_EQ(cause.evidence, Evidence::kKilled);
  EXPECT_EQ(DescribeEnd(0, 1, cause),
            "replica 0 epoch 1 ended: node node-a: mpirun killed by signal 9 "
            "(Killed)");
}

TEST(EpochCauseTest, MpirunIsNoRank) {
  const EpochCause cause =
      CauseOf(Exited("mpirun", "exited with code 1", "no such file"), "node-a");
  EXPECT_EQ(DescribeEnd(0, 1, cause),
            "replica 0 epoch 1 ended: node node-a: mpirun exited with code 1 "
            "after saying \"no such file\"");
}

}  // namespace
}  // namespace caravan::coordinator
