// Steps of a Backend: the bits of their operations, however often and in which
// company they are run.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_STEPS_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_STEPS_SUITE_H_

#include <algorithm>
#include <iterator>
#include <memory>
#include <vector>

#include "base/status_macros.h"
#include "tests/conformance/attention_model.h"
#include "tests/conformance/backend_fixture.h"
#include "worker/backend/token_slots.h"

namespace caravan::worker {

// A layer of attention and its projection between an embedding and a head, on
// tensors that stay where they are.
class StepModel final {
 public:
  static constexpr int64_t kMaxRows = 40;
  static constexpr int64_t kNumBlocks = 140;
  static constexpr int64_t kVocabulary = 300;

  StepModel(Backend& backend, const AttentionModel& model, uint32_t seed,
            DType cache_dtype = DType::kFloat32)
      : backend_(backend),
        model_(model),
        norm_(backend, model.norm),
        cos_(backend, model.cos),
        sin_(backend, model.sin),
        rope_{cos_.tensor(), sin_.tensor()},
        x_(backend, kMaxRows, AttentionModel::kHidden),
        queries_(backend, kMaxRows, width()),
        attention_(backend, kMaxRows, width()),
        logits_(backend, kMaxRows, kVocabulary) {
    qkv_ = Load(model.qkv);
    embedding_ = Load(RandomMatrix(kVocabulary, AttentionModel::kHidden, 91));
    head_ = Load(RandomMatrix(kVocabulary, AttentionModel::kHidden, 92));
    output_ = Load(RandomMatrix(AttentionModel::kHidden, width(), seed, 0.2f));
    auto cache =
        backend.CreateKvCache({.num_layers = 1,
                               .num_blocks = kNumBlocks,
                               .num_kv_heads = model.shape.num_kv_heads,
                               .head_dim = model.shape.head_dim,
                               .dtype = cache_dtype});
    EXPECT_THAT(cache, testing::IsOk());
    cache_ = *std::move(cache);
    CARAVAN_EXPECT_OK(Reserve(AttentionModel::kPositions));
  }

  absl::Status Reserve(int64_t max_positions) {
    return backend_.Reserve({.max_rows = kMaxRows,
                             .max_sequences = kMaxRows,
                             .max_positions = max_positions,
                             .max_logit_rows = kMaxRows,
                             .vocabulary_size = kVocabulary,
                             .attention = model_.shape});
  }

  // The operations, on the first rows of x.
  absl::Status Enqueue(const StepInput& input) {
    const Batch& batch = input.batch;
    const AttentionLayer layer = {
        .shape = &model_.shape, .rope = &rope_, .cache = cache_.get()};
    const Tensor x = x_.tensor().Rows(0, batch.num_rows);
    const Tensor queries = queries_.tensor().Rows(0, batch.num_rows);
    const Tensor attention = attention_.tensor().Rows(0, batch.num_rows);
    if (!input.tokens.ids.empty()) {
      CARAVAN_RETURN_IF_ERROR(backend_.Embed(*embedding_, 0, input.tokens, x));
    }
    CARAVAN_RETURN_IF_ERROR(
        backend_.AttentionInput(x, {norm_.tensor(), AttentionModel::kEpsilon},
                                *qkv_, layer, batch, queries));
    CARAVAN_RETURN_IF_ERROR(
        backend_.Attention(queries, layer, batch, attention));
    CARAVAN_RETURN_IF_ERROR(backend_.Linear(attention, *output_, &x, x));
    if (input.choices.empty()) return absl::OkStatus();
    const ChoiceRows of = RowsOf(input.choices);
    const Tensor logits = logits_.tensor().Rows(0, std::ssize(of.rows));
    CARAVAN_RETURN_IF_ERROR(backend_.Head(
        x_.tensor(), of.rows, {norm_.tensor(), AttentionModel::kEpsilon},
        *head_, logits));
    return backend_.ChooseTokens(logits, VocabularyShard(), of.requests,
                                 {.set = input.chosen_set});
  }

  absl::Status RunStep(const StepInput& input) {
    return backend_.RunStep(
        input,
        {.owner = this,
         .max_rows = kMaxRows,
         .max_choices = kMaxRows,
         .vocabulary_size = kVocabulary,
         .enqueue = [this](const StepInput& step) { return Enqueue(step); },
         .all_agree = [](bool ok) { return ok; }});
  }

  std::vector<ChosenToken> ReadChosen(int set, int64_t count) {
    std::vector<ChosenToken> tokens(count);
    CARAVAN_EXPECT_OK(backend_.FetchTokens(set, count));
    CARAVAN_EXPECT_OK(backend_.ReadTokens(set, absl::MakeSpan(tokens)));
    return tokens;
  }

  void Write(const HostMatrix& x) {
    CARAVAN_EXPECT_OK(backend_.CopyIn(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(x.values.data()),
                            x.values.size() * sizeof(float)),
        x_.tensor().Rows(0, x.rows)));
  }
  HostMatrix Read(int64_t num_rows) const {
    return x_.Read().Rows(0, num_rows);
  }

 private:
  int64_t width() const {
    return model_.shape.num_heads * model_.shape.head_dim;
  }
  std::unique_ptr<Weight> Load(const HostMatrix& matrix) {
    auto weight = backend_.LoadWeight(ReaderOf(matrix, WeightFormat::kFloat32),
                                      WeightFormat::kFloat32);
    EXPECT_THAT(weight, testing::IsOk());
    return *std::move(weight);
  }

  Backend& backend_;
  const AttentionModel& model_;
  const DeviceMatrix norm_;
  const DeviceMatrix cos_;
  const DeviceMatrix sin_;
  const RopeTables rope_;
  const DeviceMatrix x_;
  const DeviceMatrix queries_;
  const DeviceMatrix attention_;
  const DeviceMatrix logits_;
  std::unique_ptr<Weight> embedding_;
  std::unique_ptr<Weight> head_;
  std::unique_ptr<Weight> qkv_;
  std::unique_ptr<Weight> output_;
  std::unique_ptr<KvCache> cache_;
};

// Sequences that grow in two models alike: in one by steps, in the other by the
// operations alone.
class TwinSteps final {
 public:
  TwinSteps(Backend& steps, Backend& operations, const AttentionModel& model,
            uint32_t seed, DType cache_dtype = DType::kFloat32)
      : steps_(steps, model, seed, cache_dtype),
        operations_(operations, model, seed, cache_dtype) {}

  StepModel& steps() { return steps_; }

  // `num_rows` more positions of each sequence, whose outcomes are the same.
  void Grow(const std::vector<int>& sequences, int64_t num_rows) {
    const Batch batch = Extend(sequences, num_rows);
    const HostMatrix x =
        RandomMatrix(batch.num_rows, AttentionModel::kHidden, ++seed_);
    steps_.Write(x);
    operations_.Write(x);
    Run({.batch = batch});
  }

  // One more token of each sequence, that which was chosen for it last; for the
  // first `num_choices` the next one is chosen.
  void Decode(const std::vector<int>& sequences, int64_t num_choices) {
    StepInput input = {.batch = Extend(sequences, 1),
                       .chosen_set = ++round_ % kTokenSets};
    std::vector<int32_t> ids;
    for (const int sequence : sequences) ids.push_back(InputOf(sequence));
    input.tokens = {.ids = ids, .set = (round_ - 1) % kTokenSets};
    std::vector<CandidateRequest> choices(num_choices);
    for (int64_t row = 0; row < num_choices; ++row) {
      choices[row] = {.row = row,
                      .temperature = 1,
                      .seed = static_cast<uint64_t>(sequences[row]),
                      .position = round_,
                      .noise = row % 2 == 1};
    }
    input.choices = choices;
    Run(input);
    const auto tokens = steps_.ReadChosen(input.chosen_set, num_choices);
    const auto expected = operations_.ReadChosen(input.chosen_set, num_choices);
    for (int64_t row = 0; row < num_choices; ++row) {
      EXPECT_EQ(tokens[row].id, expected[row].id) << "row=" << row;
      EXPECT_EQ(tokens[row].value, expected[row].value);
      EXPECT_EQ(tokens[row].largest, expected[row].largest);
      Sequence& sequence = sequences_.at(sequences[row]);
      sequence.last_id = expected[row].id;
      sequence.round = round_;
      sequence.slot = static_cast<int32_t>(row);
    }
  }

 private:
  struct Sequence {
    int64_t length = 0;
    std::vector<int32_t> blocks;
    int32_t last_id = 17;
    int round = -1;  // in which that was chosen
    int32_t slot = 0;
  };

  // Its last token, or the slot of that where the round before has chosen it.
  int32_t InputOf(int index) const {
    const Sequence& sequence = sequences_.at(index);
    return sequence.round == round_ - 1 ? -1 - sequence.slot : sequence.last_id;
  }

  Batch Extend(const std::vector<int>& sequences, int64_t num_rows) {
    Batch batch;
    for (const int sequence : sequences) {
      Sequence& grown = sequences_.at(sequence);
      while (grown.length + num_rows >
             static_cast<int64_t>(grown.blocks.size()) * kKvBlockTokens) {
        grown.blocks.push_back(next_block_++);
      }
      batch.sequences.push_back({.first_row = batch.num_rows,
                                 .num_rows = num_rows,
                                 .first_position = grown.length,
                                 .blocks = grown.blocks});
      batch.num_rows += num_rows;
      grown.length += num_rows;
    }
    return batch;
  }

  void Run(const StepInput& input) {
    CARAVAN_EXPECT_OK(steps_.RunStep(input));
    CARAVAN_EXPECT_OK(operations_.Enqueue(input));
    const Batch& batch = input.batch;
    EXPECT_THAT(steps_.Read(batch.num_rows),
                SameBitsAs(operations_.Read(batch.num_rows)))
        << "rows=" << batch.num_rows
        << " position=" << batch.sequences[0].first_position;
  }

  StepModel steps_;
  StepModel operations_;
  std::vector<Sequence> sequences_ = std::vector<Sequence>(StepModel::kMaxRows);
  int32_t next_block_ = 0;
  uint32_t seed_ = 100;
  int round_ = 0;
};

inline std::vector<int> FirstSequences(int count) {
  std::vector<int> sequences(count);
  std::iota(sequences.begin(), sequences.end(), 0);
  return sequences;
}

class BackendSteps : public BackendSuite {
 protected:
  void SetUp() override {
    BackendSuite::SetUp();
    if (backend_ != nullptr) other_ = Make(2);
  }

  const AttentionModel model_{2, {0, 0, 1}, 24};
  std::unique_ptr<Backend> other_;
};

// Every number of rows three times and more, with prompts and other numbers
// between them.
TEST_P(BackendSteps, HaveTheBitsOfTheirOperations) {
  TwinSteps twins(*backend_, *other_, model_, 1);
  twins.Grow(FirstSequences(3), 11);
  for (int round = 0; round < 4; ++round) {
    for (const int num_rows : {1, 2, 3, 5, 11}) {
      twins.Grow(FirstSequences(num_rows), 1);
    }
    twins.Grow({4, 7}, 6);
    twins.Grow({9, 2, 30}, 1);
  }
  twins.Grow(FirstSequences(StepModel::kMaxRows), 1);
  twins.Grow(FirstSequences(StepModel::kMaxRows), 1);
  twins.Grow(FirstSequences(StepModel::kMaxRows - 1), 1);
}

// From tokens to tokens: whether all rows are chosen for, some or none.
TEST_P(BackendSteps, BeginWithTokensAndEndWithChoices) {
  TwinSteps twins(*backend_, *other_, model_, 1);
  twins.Grow(FirstSequences(3), 5);
  for (int round = 0; round < 4; ++round) {
    for (const int num_rows : {3, 3, 1, 2, 11}) {
      twins.Decode(FirstSequences(num_rows), num_rows);
    }
    twins.Decode({4, 1, 7}, 2);
    twins.Decode({7, 4}, 0);
    twins.Grow({0, 9}, 1);
    twins.Decode({9, 7, 0}, 3);
  }
  twins.Decode(FirstSequences(StepModel::kMaxRows), StepModel::kMaxRows);
  twins.Decode(FirstSequences(StepModel::kMaxRows), StepModel::kMaxRows);
  twins.Decode(FirstSequences(StepModel::kMaxRows - 1),
               StepModel::kMaxRows - 1);
}

// From one part of the context to the next.
TEST_P(BackendSteps, GrowIntoLongContexts) {
  TwinSteps twins(*backend_, *other_, model_, 1);
  for (int i = 0; i < 9; ++i) twins.Grow({0}, 28);
  for (int i = 0; i < 9; ++i) twins.Grow({0, 1, 2}, 1);  // over 256
  for (int i = 0; i < 9; ++i) twins.Grow({0}, 28);
  for (int i = 0; i < 4; ++i) twins.Grow({2, 0, 1}, 1);  // over 512
  for (int i = 0; i < 4; ++i) twins.Grow({2, 1}, 1);     // short ones again
}

TEST_P(BackendSteps, WithKeysAndValuesIn16Bits) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    TwinSteps twins(*backend_, *other_, model_, 1, dtype);
    twins.Grow(FirstSequences(3), 11);
    for (int i = 0; i < 4; ++i) twins.Grow({0, 1, 2}, 1);
    twins.Grow({1, 4}, 20);
    for (int i = 0; i < 3; ++i) twins.Grow({4, 1, 0}, 1);
  }
}

TEST_P(BackendSteps, SurviveNewRoom) {
  TwinSteps twins(*backend_, *other_, model_, 1);
  for (int i = 0; i < 4; ++i) twins.Grow({0, 1, 2}, 1);
  CARAVAN_ASSERT_OK(twins.steps().Reserve(4 * AttentionModel::kPositions));
  for (int i = 0; i < 4; ++i) twins.Grow({0, 1, 2}, 1);
}

TEST_P(BackendSteps, OfSeveralOwnersDoNotMeet) {
  TwinSteps one(*backend_, *other_, model_, 1);
  TwinSteps two(*backend_, *other_, model_, 2);
  for (int i = 0; i < 5; ++i) {
    one.Grow({0, 1, 2}, 1);
    two.Grow({0, 1, 2}, 1);
  }
}

TEST_P(BackendSteps, TellTheErrorsOfTheirOperations) {
  TwinSteps twins(*backend_, *other_, model_, 1);
  const std::vector<int32_t> blocks = {100};
  const Batch batch = {{{0, 1, 0, blocks}}, 1};
  for (int i = 0; i < 4; ++i) {
    const absl::Status status = backend_->RunStep(
        {.batch = batch}, {.owner = this,
                           .max_rows = 1,
                           .enqueue = [](const StepInput&) -> absl::Status {
                             return absl::UnavailableError("peer=3 is gone");
                           },
                           .all_agree = [](bool ok) { return ok; }});
    EXPECT_THAT(status, testing::StatusIs(absl::StatusCode::kUnavailable,
                                          "peer=3 is gone"));
  }
  for (int i = 0; i < 4; ++i) twins.Grow({0, 1, 2}, 1);
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_STEPS_SUITE_H_
