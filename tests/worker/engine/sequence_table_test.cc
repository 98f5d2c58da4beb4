#include "worker/engine/sequence_table.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInternal = absl::StatusCode::kInternal;

v1::Step Meet(uint64_t sequence) {
  v1::Step step;
  step.add_new_sequences()->set_sequence(sequence);
  return step;
}

v1::StepEntry Entry(uint64_t sequence, int num_ids, std::vector<int> blocks) {
  v1::StepEntry entry;
  entry.set_sequence(sequence);
  for (int i = 0; i < num_ids; ++i) entry.add_ids(i);
  for (int block : blocks) entry.add_new_blocks(block);
  return entry;
}

TEST(SequenceTableTest, CountsTokensAndBlocks) {
  SequenceTable table(8, 64);
  ASSERT_THAT(table.Begin(Meet(1)), IsOk());
  CARAVAN_ASSERT_OK_AND_ASSIGN(EngineSequence * sequence,
                               table.Extend(Entry(1, 16, {5})));
  EXPECT_EQ(sequence->length, 16);
  ASSERT_THAT(table.Extend(Entry(1, 0, {2})), IsOk());
  EXPECT_EQ(sequence->length, 17);
  EXPECT_THAT(sequence->blocks, ElementsAre(5, 2));
}

TEST(SequenceTableTest, DropsBeforeItMeets) {
  SequenceTable table(8, 64);
  ASSERT_THAT(table.Begin(Meet(1)), IsOk());
  v1::Step step = Meet(2);
  step.add_dropped_sequences(1);
  ASSERT_THAT(table.Begin(step), IsOk());
  EXPECT_EQ(table.size(), 1);
  EXPECT_EQ(table.Find(1), nullptr);
}

TEST(SequenceTableTest, LearnsWhatTheDeviceHasChosen) {
  SequenceTable table(8, 64);
  ASSERT_THAT(table.Begin(Meet(1)), IsOk());
  EngineSequence* const sequence = table.Find(1);
  EXPECT_EQ(sequence->number, 1u);
  table.Learn(1, 4, 70);  // nothing is awaited
  EXPECT_EQ(sequence->last_id, -1);
  sequence->chosen_in_step = 5;
  table.Learn(1, 4, 71);  // a later step chooses
  EXPECT_EQ(sequence->last_id, -1);
  EXPECT_EQ(sequence->chosen_in_step, 5u);
  table.Learn(1, 5, 72);
  EXPECT_EQ(sequence->last_id, 72);
  EXPECT_EQ(sequence->chosen_in_step, 0u);
  table.Learn(2, 5, 73);  // dropped
}

TEST(SequenceTableTest, RefusesWhatTheProtocolForbids) {
  SequenceTable table(8, 40);
  ASSERT_THAT(table.Begin(Meet(1)), IsOk());
  EXPECT_THAT(table.Begin(Meet(1)), StatusIs(kInternal, HasSubstr("known")));
  v1::Step drop;
  drop.add_dropped_sequences(9);
  EXPECT_THAT(table.Begin(drop), StatusIs(kInternal, HasSubstr("unknown")));
  EXPECT_THAT(table.Extend(Entry(9, 1, {0})),
              StatusIs(kInternal, HasSubstr("unknown")));
  EXPECT_THAT(table.Extend(Entry(1, 1, {8})),
              StatusIs(kInternal, HasSubstr("block=8")));
  EXPECT_THAT(table.Extend(Entry(1, 1, {-1})),
              StatusIs(kInternal, HasSubstr("block=-1")));
}

TEST(SequenceTableTest, RefusesMoreTokensThanBlocksOrPositions) {
  SequenceTable table(8, 40);
  ASSERT_THAT(table.Begin(Meet(1)), IsOk());
  EXPECT_THAT(table.Extend(Entry(1, 17, {0})),
              StatusIs(kInternal, HasSubstr("outgrows")));
  ASSERT_THAT(table.Begin(Meet(2)), IsOk());
  EXPECT_THAT(table.Extend(Entry(2, 41, {0, 1, 2})),
              StatusIs(kInternal, HasSubstr("positions=40")));
}

}  // namespace
}  // namespace caravan::worker
