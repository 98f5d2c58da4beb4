// Decode steps as CUDA graphs in engines of one rank and of several, here on
// emulated devices: the same bits as without, and the same errors.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/emulated_device/nccl/nccl_control.h"
#include "tests/support/engine_plan.h"
#include "tests/support/quantized_source.h"
#include "tests/support/slowdown.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/nccl/nccl_test_ranks.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/engine/model_executor.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using emulated::EnqueueCalls;
using emulated::NcclFault;
using ::testing::HasSubstr;

constexpr int64_t kLayers = 3;  // of QuantizableSpec
// Kernels of a layer; with several ranks, for each of two sums a gather and a
// kernel that adds up.
constexpr int64_t kLayerOperations = 9;
constexpr int64_t kSharedLayerOperations = kLayerOperations + 4;
// Likewise the embedding, and the head with the choice.
constexpr int64_t kEmbedOperations = 1;
constexpr int64_t kSharedEmbedOperations = kEmbedOperations + 2;
constexpr int64_t kChoiceOperations = 4;
constexpr int64_t kSharedChoiceOperations = kChoiceOperations + 2;

// Steps of sequences 1, 2, ...: the first has all prompts, then those that are
// named go on, one token each. With log-probabilities the hosts take the
// tokens, else the devices do.
std::vector<v1::Step> MakeSteps(const std::vector<int>& sequences_of_steps,
                                int num_logprobs) {
  std::vector<v1::Step> steps(1 + sequences_of_steps.size());
  std::vector<int64_t> lengths(1 + 5);
  std::vector<int64_t> num_blocks(lengths.size());
  int32_t next_block = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].set_epoch(1);
    steps[i].set_number(1 + i);
    const int count = i == 0 ? 5 : sequences_of_steps[i - 1];
    for (int sequence = 1; sequence <= count; ++sequence) {
      v1::StepEntry* entry = steps[i].add_entries();
      entry->set_sequence(sequence);
      entry->set_sample(true);
      if (i == 0) {
        v1::NewSequence* added = steps[i].add_new_sequences();
        added->set_sequence(sequence);
        added->mutable_sampling()->set_top_p(1);
        added->mutable_sampling()->set_logprobs(num_logprobs);
        added->mutable_sampling()->set_prompt_logprobs(-1);
        for (int id = 0; id <= sequence; ++id) {
          entry->add_ids(7 * id + sequence);
        }
      }
      lengths[sequence] += i == 0 ? entry->ids_size() : 1;
      while (num_blocks[sequence] * 16 < lengths[sequence]) {
        entry->add_new_blocks(next_block++);
        ++num_blocks[sequence];
      }
    }
  }
  return steps;
}

// What a rank did.
struct RankRun {
  absl::Status status;
  std::string results;              // of the rank that reports
  std::vector<int32_t> ids;         // in those
  std::vector<float> logits;        // of its shard
  std::vector<EnqueueCalls> calls;  // of each step
};

struct RunOptions {
  int tp = 1;
  bool use_graphs = true;
  bool devices_choose = false;
  int64_t step_timeout_ms = 30000 * testing::kSlowdown;
  int leaves = -1;  // the rank that goes before the last step
  bool keep_logits = false;
};

int64_t RecordedOperations(int tp, bool devices_choose) {
  const bool shared = tp > 1;
  int64_t operations =
      kLayers * (shared ? kSharedLayerOperations : kLayerOperations) +
      (shared ? kSharedEmbedOperations : kEmbedOperations);
  if (devices_choose) {
    operations += shared ? kSharedChoiceOperations : kChoiceOperations;
  }
  return operations;
}

class StepGraphsCudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        source_, testing::MakeQuantizedSource(
                     testing::QuantizableSpec(),
                     [](absl::string_view) { return WeightFormat::kQ4; }));
  }
  void TearDown() override {
    emulated::InjectNcclFault(NcclFault::kNone, 0, 0);
    emulated::SetNcclTransport(emulated::NcclTransport::kPeer);
    for (int device = 0; device < 4; ++device) {
      emulated::InjectGraphError(device, cudaSuccess);
    }
  }

  std::vector<RankRun> Run(const RunOptions& options) {
    const absl::StatusOr<v1::EnginePlan> made =
        testing::MakeEnginePlan(source_->spec(), {.tp = options.tp});
    EXPECT_THAT(made, testing::IsOk());
    v1::EnginePlan plan = *made;
    plan.set_step_timeout_ms(options.step_timeout_ms);
    std::vector<RankRun> runs(options.tp);
    const std::vector<absl::Status> statuses =
        RunNcclRanks(options.tp, [&](NcclTestRank& self) {
          return RunRank(self, plan, options, &runs[self.world->rank()]);
        });
    for (int rank = 0; rank < options.tp; ++rank) {
      runs[rank].status = statuses[rank];
    }
    return runs;
  }

  absl::Status RunRank(NcclTestRank& self, const v1::EnginePlan& plan,
                       const RunOptions& options, RankRun* run) {
    const int rank = self.world->rank();
    CARAVAN_ASSIGN_OR_RETURN(
        const std::unique_ptr<Backend> backend,
        CreateCudaBackend(self.context, {.use_graphs = options.use_graphs,
                                         .deterministic = true}));
    CARAVAN_ASSIGN_OR_RETURN(
        const std::unique_ptr<ModelExecutor> executor,
        ModelExecutor::Create({.plan = &plan,
                               .rank = rank,
                               .source = source_.get(),
                               .backend = backend.get(),
                               .world = self.world.get()}));
    if (options.keep_logits) {
      executor->sampler()->SetObserver([&](const Tensor& logits,
                                           absl::Span<const int64_t>) {
        const size_t begin = run->logits.size();
        run->logits.resize(begin + logits.count());
        CARAVAN_EXPECT_OK(backend->CopyOut(
            logits,
            absl::MakeSpan(reinterpret_cast<std::byte*>(&run->logits[begin]),
                           logits.count() * sizeof(float))));
      });
    }
    const std::vector<v1::Step> steps =
        MakeSteps({5, 5, 5, 3, 3, 5, 1, 1, 1}, options.devices_choose ? -1 : 2);
    for (const v1::Step& step : steps) {
      if (rank == options.leaves && step.number() == steps.size()) break;
      const EnqueueCalls before = emulated::EnqueueCallsMade(rank);
      CARAVAN_ASSIGN_OR_RETURN(const v1::StepResult result,
                               executor->Execute(step));
      const EnqueueCalls after = emulated::EnqueueCallsMade(rank);
      run->calls.push_back({after.operations - before.operations,
                            after.events - before.events,
                            after.graphs - before.graphs});
      absl::StrAppend(&run->results, result.SerializeAsString());
      for (const v1::SequenceResult& sequence : result.sequences()) {
        run->ids.push_back(sequence.id());
      }
    }
    return absl::OkStatus();
  }

  std::unique_ptr<partition::ModelSource> source_;
};

class StepGraphsOfRanksTest : public StepGraphsCudaTest,
                              public ::testing::WithParamInterface<int> {};

// The numbers are those of docs/performance.md.
TEST_P(StepGraphsOfRanksTest, TakeOneCallForAllOfAStepAndChangeNoBit) {
  const int tp = GetParam();
  std::vector<int32_t> ids;
  for (const bool devices_choose : {false, true}) {
    SCOPED_TRACE(::testing::Message() << "devices choose=" << devices_choose);
    RunOptions options = {
        .tp = tp, .devices_choose = devices_choose, .keep_logits = true};
    const auto with = Run(options);
    options.use_graphs = false;
    const auto without = Run(options);
    for (int rank = 0; rank < tp; ++rank) {
      CARAVAN_ASSERT_OK(with[rank].status);
      CARAVAN_ASSERT_OK(without[rank].status);
      EXPECT_EQ(with[rank].results, without[rank].results);
      EXPECT_EQ(with[rank].logits, without[rank].logits);
      EXPECT_FALSE(with[rank].logits.empty());
      const EnqueueCalls graph = with[rank].calls.back();
      const EnqueueCalls eager = without[rank].calls.back();
      EXPECT_EQ(graph.graphs, 1);
      EXPECT_EQ(eager.graphs, 0);
      EXPECT_EQ(eager.operations - graph.operations,
                RecordedOperations(tp, devices_choose));
      // Of collectives, for those who wait in vain: of two a layer and that of
      // the embedding one stays, and that of the choice.
      EXPECT_EQ(eager.events - graph.events, tp == 1 ? 0 : 2 * kLayers);
    }
    if (devices_choose) {
      EXPECT_EQ(with[0].ids, ids);
    }
    ids = with[0].ids;
    EXPECT_EQ(ids.size(), 34u);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, StepGraphsOfRanksTest,
                         ::testing::Values(1, 2, 3), [](const auto& info) {
                           return "tp" + std::to_string(info.param);
                         });

// Operations of NCCL in the steps before the first replay: each has one before
// its layers and two in each. Three more are within that.
constexpr int kStepsBefore = 3;
constexpr int kOperationsBefore = kStepsBefore * (1 + 2 * kLayers) + 3;

TEST_F(StepGraphsCudaTest, AGpuThatStandsStillWithinOneEndsTheWaitsOfAll) {
  emulated::InjectNcclFault(NcclFault::kStall, 1, kOperationsBefore);
  for (const RankRun& run :
       Run({.tp = 3, .step_timeout_ms = 5000 * testing::kSlowdown})) {
    EXPECT_THAT(run.status,
                StatusIs(absl::StatusCode::kDeadlineExceeded,
                         HasSubstr("all-reduce timed out: group=tp0 peer=")));
    EXPECT_EQ(run.calls.size(), size_t{kStepsBefore});
  }
}

TEST_F(StepGraphsCudaTest, AnErrorOfNcclWithinOneIsTold) {
  emulated::InjectNcclFault(NcclFault::kAsyncError, 1, kOperationsBefore);
  const std::vector<RankRun> runs = Run({.tp = 3});
  EXPECT_THAT(runs[1].status, StatusIs(absl::StatusCode::kFailedPrecondition,
                                       HasSubstr("group=tp0")));
  for (const int other : {0, 2}) EXPECT_FALSE(runs[other].status.ok());
}

TEST_F(StepGraphsCudaTest, ARankThatLeavesIsNamed) {
  for (const auto transport :
       {emulated::NcclTransport::kPeer, emulated::NcclTransport::kNetwork}) {
    emulated::SetNcclTransport(transport);
    const std::vector<RankRun> runs = Run({.tp = 2, .leaves = 1});
    CARAVAN_EXPECT_OK(runs[1].status);
    EXPECT_THAT(runs[0].status,
                StatusIs(absl::StatusCode::kUnavailable,
                         HasSubstr("failed: group=tp0 peer=1: ")));
  }
}

// One rank has no memory for them: all go on without.
TEST_F(StepGraphsCudaTest, AllRanksHaveThemOrNone) {
  const auto without = Run({.tp = 3, .use_graphs = false, .keep_logits = true});
  emulated::InjectGraphError(2, cudaErrorMemoryAllocation);
  const std::vector<RankRun> runs = Run({.tp = 3, .keep_logits = true});
  for (int rank = 0; rank < 3; ++rank) {
    CARAVAN_EXPECT_OK(runs[rank].status);
    EXPECT_EQ(runs[rank].logits, without[rank].logits);
    for (const EnqueueCalls& calls : runs[rank].calls) {
      EXPECT_EQ(calls.graphs, 0);
    }
  }
}

}  // namespace
}  // namespace caravan::worker
