#include "worker/engine/step_batch.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

v1::Step TwoSequences() {
  v1::Step step;
  step.set_number(3);
  v1::NewSequence* scored = step.add_new_sequences();
  scored->set_sequence(1);
  scored->mutable_sampling()->set_prompt_logprobs(2);
  v1::NewSequence* plain = step.add_new_sequences();
  plain->set_sequence(2);
  plain->mutable_sampling()->set_prompt_logprobs(-1);
  v1::StepEntry* first = step.add_entries();
  first->set_sequence(1);
  for (int id : {10, 11, 12}) first->add_ids(id);
  first->add_new_blocks(0);
  first->set_next_id(13);
  v1::StepEntry* second = step.add_entries();
  second->set_sequence(2);
  second->add_ids(20);
  second->add_ids(21);
  second->add_new_blocks(1);
  second->set_sample(true);
  return step;
}

TEST(StepBatchTest, LaysEntriesOneBelowTheOther) {
  SequenceTable table(8, 64);
  const v1::Step step = TwoSequences();
  CARAVAN_ASSERT_OK_AND_ASSIGN(StepBatch begun, [&] {
    EXPECT_TRUE(table.Begin(step).ok());
    return MakeStepBatch(step, table, 16);
  }());
  EXPECT_EQ(begun.batch.num_rows, 5);
  ASSERT_EQ(begun.batch.sequences.size(), 2u);
  EXPECT_EQ(begun.batch.sequences[1].first_row, 3);
  EXPECT_EQ(begun.batch.sequences[1].first_position, 0);
  ASSERT_EQ(begun.sampled.size(), 1u);
  EXPECT_EQ(begun.sampled[0].row, 4);
  EXPECT_EQ(begun.sampled[0].position, 2);
}

TEST(StepBatchTest, ScoresEachPromptTokenByTheRowBeforeIt) {
  SequenceTable table(8, 64);
  const v1::Step step = TwoSequences();
  ASSERT_TRUE(table.Begin(step).ok());
  CARAVAN_ASSERT_OK_AND_ASSIGN(StepBatch batch, MakeStepBatch(step, table, 16));
  ASSERT_EQ(batch.scored.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(batch.scored[i].row, i);
    EXPECT_EQ(batch.scored[i].id, 11 + i);
    EXPECT_EQ(batch.scored[i].num_top, 2);
  }
}

TEST(StepBatchTest, ADecodeEntryIsOneRowAfterWhatIsCached) {
  SequenceTable table(8, 64);
  const v1::Step prefill = TwoSequences();
  ASSERT_TRUE(table.Begin(prefill).ok());
  ASSERT_TRUE(MakeStepBatch(prefill, table, 16).ok());
  v1::Step decode;
  v1::StepEntry* entry = decode.add_entries();
  entry->set_sequence(2);
  entry->set_sample(true);
  CARAVAN_ASSERT_OK_AND_ASSIGN(StepBatch batch,
                               MakeStepBatch(decode, table, 16));
  EXPECT_EQ(batch.batch.num_rows, 1);
  EXPECT_EQ(batch.batch.sequences[0].first_position, 2);
  EXPECT_EQ(batch.sampled[0].position, 3);
}

TEST(StepBatchTest, RefusesMoreRowsThanBuffersHold) {
  SequenceTable table(8, 64);
  const v1::Step step = TwoSequences();
  ASSERT_TRUE(table.Begin(step).ok());
  EXPECT_THAT(MakeStepBatch(step, table, 4),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("rows=5")));
}

}  // namespace
}  // namespace caravan::worker
