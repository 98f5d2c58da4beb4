#include <ostream>
#include <string>
#include <vector>

#include "coordinator/schedule/scheduling_policy.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::coordinator {

bool operator==(const ScheduledSequence& a, const ScheduledSequence& b) {
  return a.sequence == b.sequence && a.num_tokens == b.num_tokens &&
         a.num_new_blocks == b.num_new_blocks;
}

void PrintTo(const ScheduledSequence& scheduled, std::ostream* out) {
  *out << "{" << scheduled.sequence << ", tokens=" << scheduled.num_tokens
       << ", blocks=" << scheduled.num_new_blocks << "}";
}

namespace {

using ::testing::ElementsAreArray;

// Numbers are sequence and arrival at once.
RunningSequence Decoding(uint64_t number, int64_t num_cached,
                         int64_t num_blocks, int group = 0) {
  return {.sequence = number,
          .arrival = static_cast<int64_t>(number),
          .num_cached = num_cached,
          .num_blocks = num_blocks,
          .decodable = true,
          .group = group};
}

RunningSequence Waits(uint64_t number, int64_t num_cached, int64_t num_blocks) {
  RunningSequence sequence = Decoding(number, num_cached, num_blocks);
  sequence.decodable = false;
  return sequence;
}

RunningSequence Prefilling(uint64_t number, int64_t num_cached,
                           int64_t num_prompt_left, int64_t num_blocks,
                           int group = 0) {
  RunningSequence sequence = Decoding(number, num_cached, num_blocks, group);
  sequence.num_prompt_left = num_prompt_left;
  sequence.decodable = false;
  return sequence;
}

WaitingSequence Waiting(uint64_t number, int64_t num_tokens) {
  return {.sequence = number,
          .arrival = static_cast<int64_t>(number),
          .num_tokens = num_tokens};
}

struct Case {
  std::string name;
  ScheduleSnapshot snapshot;
  StepDecision expected;
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

class FirstComePolicyTest : public ::testing::TestWithParam<Case> {};

TEST_P(FirstComePolicyTest, Decides) {
  const auto policy = MakeFirstComePolicy();
  for (int repetition = 0; repetition < 2; ++repetition) {  // idempotent
    const StepDecision decision = policy->Next(GetParam().snapshot);
    EXPECT_THAT(decision.scheduled,
                ElementsAreArray(GetParam().expected.scheduled));
    EXPECT_THAT(decision.admitted,
                ElementsAreArray(GetParam().expected.admitted));
    EXPECT_THAT(decision.preempted,
                ElementsAreArray(GetParam().expected.preempted));
  }
}

ScheduleSnapshot With(std::vector<RunningSequence> running,
                      std::vector<WaitingSequence> waiting = {}) {
  return {.running = std::move(running),
          .waiting = std::move(waiting),
          .free_blocks = 100,
          .max_tokens = 64,
          .max_sequences = 8};
}

ScheduleSnapshot With(ScheduleSnapshot snapshot, int64_t free_blocks,
                      int64_t max_tokens = 64) {
  snapshot.free_blocks = free_blocks;
  snapshot.max_tokens = max_tokens;
  return snapshot;
}

ScheduleSnapshot InGroup(int group, int num_groups, ScheduleSnapshot snapshot) {
  snapshot.group = group;
  snapshot.num_groups = num_groups;
  return snapshot;
}

std::vector<Case> Cases() {
  return {
      {"NothingToDo", With({}), {}},
      {"DecodesTakeABlockWhenTheLastIsFull",
       With({Decoding(1, 15, 1), Decoding(2, 16, 1)}),
       {.scheduled = {{1, 1, 0}, {2, 1, 1}}}},
      {"NothingForWhoMayNotDecode", With({Waits(1, 15, 1)}), {}},
      {"DecodesBeforeOlderPrefills",
       With({Prefilling(1, 32, 100, 9), Decoding(2, 5, 1)}),
       {.scheduled = {{2, 1, 0}, {1, 63, 0}}}},
      {"DecodesAreBoundByTheBudgetToo",
       With(With({Decoding(1, 5, 1), Decoding(2, 5, 1), Decoding(3, 5, 1)}), 9,
            2),
       {.scheduled = {{1, 1, 0}, {2, 1, 0}}}},
      {"AdmitsInOrderUntilTheBudgetEnds",
       With({}, {Waiting(1, 40), Waiting(2, 40), Waiting(3, 5)}),
       {.scheduled = {{1, 40, 3}, {2, 24, 3}}, .admitted = {1, 2}}},
      {"PrefillsBeforeNewcomers",
       With({Prefilling(1, 64, 60, 8)}, {Waiting(2, 40)}),
       {.scheduled = {{1, 60, 0}, {2, 3, 3}}, .admitted = {2}}},
      {"NobodyPassesTheHeadOfTheQueue",
       With(With({}, {Waiting(1, 100), Waiting(2, 5)}), 6),
       {}},
      {"AloneMayTakeEveryBlock",
       With(With({}, {Waiting(1, 96)}), 6),
       {.scheduled = {{1, 64, 6}}, .admitted = {1}}},
      {"LeavesEachRunningOneABlockToGrowInto",
       With(With({Decoding(1, 5, 1)}, {Waiting(2, 80)}), 5),
       {.scheduled = {{1, 1, 0}}}},
      {"AdmitsNoMoreThanMayRun",
       [] {
         ScheduleSnapshot snapshot =
             With({Decoding(1, 5, 1)}, {Waiting(2, 5), Waiting(3, 5)});
         snapshot.max_sequences = 2;
         return snapshot;
       }(),
       {.scheduled = {{1, 1, 0}, {2, 5, 1}}, .admitted = {2}}},
      {"PreemptsTheYoungestForADecode",
       With(With({Decoding(1, 16, 1), Decoding(2, 16, 1), Decoding(3, 4, 1)},
                 {Waiting(4, 1)}),
            0),
       // 3 gives its block to 1; 2 is the youngest left and stands still.
       {.scheduled = {{1, 1, 1}}, .preempted = {3}}},
      {"PreemptsAlsoInOtherGroups",
       InGroup(
           0, 2,
           With(With({Decoding(1, 16, 1, 0), Prefilling(2, 16, 40, 4, 1)}), 0)),
       {.scheduled = {{1, 1, 1}}, .preempted = {2}}},
      {"TheYoungestStandsStillRatherThanLeaves",
       With(With({Decoding(1, 3, 1), Decoding(2, 16, 1)}), 0),
       {.scheduled = {{1, 1, 0}}}},
      {"AdmitsNobodyIntoBlocksOfThePreempted",
       With(With({Decoding(1, 16, 1), Decoding(2, 70, 5)}, {Waiting(3, 5)}), 0),
       {.scheduled = {{1, 1, 1}}, .preempted = {2}}},
      {"RunsOnlyTheGroupWhoseTurnItIs",
       InGroup(1, 2, With({Decoding(1, 5, 1, 0), Decoding(2, 5, 1, 1)})),
       {.scheduled = {{2, 1, 0}}}},
      {"DealsNewcomersEvenly",
       InGroup(0, 2, With({}, {Waiting(1, 5), Waiting(2, 5), Waiting(3, 5)})),
       {.scheduled = {{1, 5, 1}, {2, 5, 1}}, .admitted = {1, 2}}},
      {"LeavesNewcomersToTheEmptierGroup",
       InGroup(0, 2,
               With({Decoding(1, 5, 1, 0), Decoding(2, 5, 1, 0)},
                    {Waiting(3, 5), Waiting(4, 5)})),
       {.scheduled = {{1, 1, 0}, {2, 1, 0}}}},
      {"ChunksShrinkWithTheirPrefix",
       With({Prefilling(1, 8192, 1000, 600)}),
       {.scheduled = {{1, 32, 0}}}},
      {"AShrunkChunkHasUsedTheBudget",
       With({Prefilling(1, 8192, 1000, 600)}, {Waiting(2, 40)}),
       {.scheduled = {{1, 32, 0}}}},
      {"OneTokenAtLeast",
       With(With({Prefilling(1, 100000, 1000, 7000)}), 9, 1),
       {.scheduled = {{1, 1, 0}}}},
  };
}

INSTANTIATE_TEST_SUITE_P(Table, FirstComePolicyTest,
                         ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace caravan::coordinator
