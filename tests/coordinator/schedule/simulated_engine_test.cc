#include "coordinator/schedule/simulated_engine.h"

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "base/simulated_token.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

constexpr int32_t kVocabulary = 100;

EngineGroupInfo Info() {
  return {.replica = 1,
          .epoch = 3,
          .num_stages = 1,
          .num_blocks = 4,
          .max_model_len = 40,
          .max_rows_per_step = 20,
          .max_sequences = 2};
}

// Builds steps in few words.
class StepBuilder {
 public:
  explicit StepBuilder(uint64_t number, uint64_t epoch = 3) {
    step_.set_number(number);
    step_.set_epoch(epoch);
  }
  StepBuilder& Drop(uint64_t sequence) {
    step_.add_dropped_sequences(sequence);
    return *this;
  }
  StepBuilder& New(uint64_t sequence, int logprobs = -1,
                   int prompt_logprobs = -1) {
    v1::NewSequence* added = step_.add_new_sequences();
    added->set_sequence(sequence);
    added->mutable_sampling()->set_logprobs(logprobs);
    added->mutable_sampling()->set_prompt_logprobs(prompt_logprobs);
    return *this;
  }
  StepBuilder& Run(uint64_t sequence, std::vector<int32_t> ids,
                   std::vector<int32_t> new_blocks, bool sample,
                   int32_t next_id = -1) {
    v1::StepEntry* entry = step_.add_entries();
    entry->set_sequence(sequence);
    entry->mutable_ids()->Add(ids.begin(), ids.end());
    entry->mutable_new_blocks()->Add(new_blocks.begin(), new_blocks.end());
    entry->set_sample(sample);
    if (next_id >= 0) entry->set_next_id(next_id);
    return *this;
  }
  operator v1::Step() const { return step_; }

 private:
  v1::Step step_;
};

TEST(SimulatedEngineTest, ChainsTokensOverChunksAndDecodes) {
  SimulatedEngine engine(Info(), kVocabulary);
  StepShape shape;
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      v1::StepResult result,
      engine.Execute(StepBuilder(1).New(7).Run(7, {1, 2}, {3}, false), &shape));
  EXPECT_EQ(result.epoch(), 3u);
  EXPECT_EQ(result.number(), 1u);
  EXPECT_EQ(result.sequences_size(), 0);
  EXPECT_EQ(shape.num_rows, 2);
  EXPECT_EQ(shape.needs_step, 0u);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      result, engine.Execute(StepBuilder(2).Run(7, {5}, {}, true), &shape));
  ASSERT_EQ(result.sequences_size(), 1);
  const int32_t first = SimulatedToken(5, 3, kVocabulary);
  EXPECT_EQ(result.sequences(0).id(), first);
  EXPECT_FALSE(result.sequences(0).has_logprobs());
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      result, engine.Execute(StepBuilder(3).Run(7, {}, {}, true), &shape));
  EXPECT_EQ(result.sequences(0).id(), SimulatedToken(first, 4, kVocabulary));
  EXPECT_EQ(shape.needs_step, 2u);
  EXPECT_EQ(engine.num_blocks_used(), 1);
  CARAVAN_ASSERT_OK(engine.Execute(StepBuilder(4).Drop(7), &shape));
  EXPECT_EQ(engine.num_blocks_used(), 0);
  EXPECT_EQ(engine.num_sequences(), 0);
}

TEST(SimulatedEngineTest, ReportsLogprobsWhenAsked) {
  SimulatedEngine engine(Info(), kVocabulary);
  StepShape shape;
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      v1::StepResult result,
      engine.Execute(StepBuilder(1).New(7, 2, 1).Run(7, {1, 2}, {3}, false, 9),
                     &shape));
  ASSERT_EQ(result.sequences_size(), 1);
  EXPECT_FALSE(result.sequences(0).has_id());
  ASSERT_EQ(result.sequences(0).prompt_logprobs_size(), 2);
  EXPECT_EQ(result.sequences(0).prompt_logprobs(0).id(), 2);
  EXPECT_EQ(result.sequences(0).prompt_logprobs(1).id(), 9);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      result, engine.Execute(StepBuilder(2).Run(7, {9}, {}, true), &shape));
  EXPECT_EQ(result.sequences(0).prompt_logprobs_size(), 0);
  EXPECT_EQ(result.sequences(0).logprobs().id(), result.sequences(0).id());
  EXPECT_EQ(result.sequences(0).logprobs().top_ids_size(), 2);
}

TEST(SimulatedEngineTest, BlocksMayMoveToANewSequenceInTheSameStep) {
  SimulatedEngine engine(Info(), kVocabulary);
  StepShape shape;
  CARAVAN_ASSERT_OK(engine.Execute(
      StepBuilder(1).New(1).Run(1, {1}, {0, 1, 2, 3}, true), &shape));
  CARAVAN_ASSERT_OK(engine.Execute(
      StepBuilder(2).Drop(1).New(2).Run(2, {1}, {0}, true), &shape));
  EXPECT_EQ(engine.num_blocks_used(), 1);
}

struct Violation {
  std::string name;
  v1::Step step;
  std::string message;
};

void PrintTo(const Violation& test, std::ostream* out) { *out << test.name; }

class SimulatedEngineViolationTest
    : public ::testing::TestWithParam<Violation> {};

TEST_P(SimulatedEngineViolationTest, IsRefused) {
  SimulatedEngine engine(Info(), kVocabulary);
  StepShape shape;
  // 1 has a sampled token to go on from, 2 is in its prompt: 9 comes next.
  CARAVAN_ASSERT_OK(engine.Execute(StepBuilder(1)
                                       .New(1)
                                       .Run(1, {1, 2}, {0}, true)
                                       .New(2, -1, 0)
                                       .Run(2, {8}, {1}, false, 9),
                                   &shape));
  EXPECT_THAT(
      engine.Execute(GetParam().step, &shape),
      StatusIs(absl::StatusCode::kInternal, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Table, SimulatedEngineViolationTest,
    ::testing::ValuesIn(std::vector<Violation>{
        {"OtherEpoch", StepBuilder(2, 4).Run(1, {}, {}, true), "epoch=4"},
        {"NumberRepeated", StepBuilder(1).Run(1, {}, {}, true),
         "expected number=2"},
        {"NumberSkipped", StepBuilder(3).Run(1, {}, {}, true),
         "expected number=2"},
        {"Empty", StepBuilder(2), "nothing to do"},
        {"DropsUnknown", StepBuilder(2).Drop(5), "drops unknown sequence=5"},
        {"RunsUnknown", StepBuilder(2).Run(5, {1}, {2}, true),
         "unknown sequence=5"},
        {"RunsDropped", StepBuilder(2).Drop(1).Run(1, {}, {}, true),
         "unknown sequence=1"},
        {"NumberUsedBefore",
         StepBuilder(2).Drop(1).New(1).Run(1, {1}, {2}, true),
         "number used before"},
        {"NewWithoutEntry", StepBuilder(2).Drop(1).New(3).Run(2, {9}, {}, true),
         "new sequence without entry"},
        {"TooManySequences", StepBuilder(2).New(3).Run(3, {1}, {2}, true),
         "sequences=3 max=2"},
        {"TwoEntries", StepBuilder(2).Run(1, {}, {}, true).Run(1, {}, {}, true),
         "two entries"},
        {"BlockOutOfRange", StepBuilder(2).Run(1, {}, {4}, true), "block=4"},
        {"BlockNegative", StepBuilder(2).Run(1, {}, {-1}, true), "block=-1"},
        {"BlockOfAnother", StepBuilder(2).Run(1, {}, {1}, true),
         "belongs to sequence=2"},
        {"BlockTwice", StepBuilder(2).Run(1, {}, {0}, true),
         "belongs to sequence=1"},
        {"NoRoom", StepBuilder(2).Run(2, std::vector<int32_t>(16, 9), {}, true),
         "tokens=17 room=16"},
        {"TooManyRows",
         StepBuilder(2).Run(2, std::vector<int32_t>(21, 9), {2}, true),
         "rows=21 max=20"},
        {"IdsAfterASampledOne", StepBuilder(2).Run(1, {3}, {}, true),
         "ids where the sampled one comes next"},
        {"NoIdsInThePrompt", StepBuilder(2).Run(2, {}, {}, true),
         "none was sampled"},
        {"DecodeWithoutSampling", StepBuilder(2).Run(1, {}, {}, false),
         "decodes without sampling"},
        {"NotTheAnnouncedId", StepBuilder(2).Run(2, {4}, {}, true),
         "announced=9"},
        {"IdOutOfRange", StepBuilder(2).Run(2, {100}, {}, true), "id=100"},
        {"NextIdInADecode", StepBuilder(2).Run(1, {}, {}, true, 5),
         "next_id in a decode"},
        {"NextIdUnasked",
         StepBuilder(2).Drop(2).New(3).Run(3, {1}, {2}, false, 5),
         "next_id without prompt"},
    }),
    [](const auto& info) { return info.param.name; });

TEST(SimulatedEngineTest, RefusesToGoBeyondTheModelsLength) {
  EngineGroupInfo info = Info();
  info.max_model_len = 3;
  SimulatedEngine engine(info, kVocabulary);
  StepShape shape;
  CARAVAN_ASSERT_OK(engine.Execute(
      StepBuilder(1).New(1).Run(1, {1, 2, 3}, {0}, true), &shape));
  EXPECT_THAT(
      engine.Execute(StepBuilder(2).Run(1, {}, {}, true), &shape),
      StatusIs(absl::StatusCode::kInternal, HasSubstr("max_model_len=3")));
}

}  // namespace
}  // namespace caravan::coordinator
