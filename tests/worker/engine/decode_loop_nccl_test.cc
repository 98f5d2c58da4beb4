// Steps that several ranks begin while their GPUs, here emulated ones, still
// run the step before: what they give is what each gives alone.

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/communicator_case_support.h"
#include "tests/emulated_device/control.h"
#include "tests/emulated_device/nccl/nccl_control.h"
#include "tests/support/engine_plan.h"
#include "tests/support/quantized_source.h"
#include "tests/support/slowdown.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/gate.h"
#include "tests/worker/comm/nccl/nccl_test_ranks.h"
#include "tests/worker/engine/gated_host.h"
#include "tests/worker/engine/mixed_steps.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/engine/model_executor.h"
#include "worker/engine/step_loop.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using emulated::NcclFault;
using ::testing::HasSubstr;

constexpr int kLayers = 3;  // of QuantizableSpec

struct Shape {
  const char* name;
  int tp;
  int pp;
  bool use_graphs;

  int num_ranks() const { return tp * pp; }
  bool IsLastStage(int rank) const { return rank / tp == pp - 1; }
};

constexpr Shape kShapes[] = {
    {"tp2", 2, 1, true},        {"tp3", 3, 1, true},
    {"pp2", 1, 2, true},        {"pp3", 1, 3, true},
    {"tp2_pp2", 2, 2, true},    {"tp2_eager", 2, 1, false},
    {"pp2_eager", 1, 2, false},
};

// The loop ends with what NextStep says.
bool IsFailure(const absl::Status& status) {
  return !status.ok() && !absl::IsCancelled(status);
}

// Returns when all ranks have called it.
absl::Status Meet(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(const auto group, testing::GroupOfAll(world, "end"));
  return testing::Barrier(*group);
}

// What a rank did.
struct RankRun {
  absl::Status status;
  StepResults results;
  std::vector<uint64_t> order;  // GatedHost
  int64_t num_ahead = 0;
};

class DecodeLoopNcclTest : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    emulated::SetStreamPolicy(emulated::StreamPolicy::kBackground, 0);
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        source_, testing::MakeQuantizedSource(
                     testing::QuantizableSpec(),
                     [](absl::string_view) { return WeightFormat::kQ4; }));
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        plan_, testing::MakeEnginePlan(source_->spec(),
                                       {.tp = GetParam().tp,
                                        .pp = GetParam().pp,
                                        .max_rows_per_step = kMostMixedRows}));
  }
  void TearDown() override {
    emulated::InjectNcclFault(NcclFault::kNone, 0, 0);
    emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
  }

  using Body =
      absl::FunctionRef<absl::Status(NcclTestRank&, ModelExecutor&, RankRun*)>;
  std::vector<RankRun> Run(Body body) {
    std::vector<RankRun> runs(GetParam().num_ranks());
    const std::vector<absl::Status> statuses = RunNcclRanks(
        GetParam().num_ranks(), [&](NcclTestRank& self) -> absl::Status {
          const int rank = self.world->rank();
          CARAVAN_ASSIGN_OR_RETURN(
              const std::unique_ptr<Backend> backend,
              CreateCudaBackend(self.context,
                                {.use_graphs = GetParam().use_graphs,
                                 .deterministic = true}));
          CARAVAN_ASSIGN_OR_RETURN(
              const std::unique_ptr<ModelExecutor> executor,
              ModelExecutor::Create({.plan = &plan_,
                                     .rank = rank,
                                     .source = source_.get(),
                                     .backend = backend.get(),
                                     .world = self.world.get()}));
          absl::Status status = body(self, *executor, &runs[rank]);
          // What the last stage sends last nobody takes off the link.
          if (!IsFailure(status)) CARAVAN_RETURN_IF_ERROR(Meet(*self.world));
          return status;
        });
    for (size_t rank = 0; rank < runs.size(); ++rank) {
      runs[rank].status = statuses[rank];
    }
    return runs;
  }

  std::vector<RankRun> RunAlone() {
    return Run([this](NcclTestRank&, ModelExecutor& executor,
                      RankRun* run) -> absl::Status {
      for (const v1::Step& step : steps_) {
        CARAVAN_ASSIGN_OR_RETURN(const v1::StepResult result,
                                 executor.Execute(step));
        run->results.push_back(result.SerializeAsString());
      }
      return absl::OkStatus();
    });
  }

  // The GPUs of the last stage stand still until their first step is to be
  // finished.
  std::vector<RankRun> RunLoop() {
    return Run([this](NcclTestRank& self, ModelExecutor& executor,
                      RankRun* run) -> absl::Status {
      cuda::Gate& gate = gates_[self.world->rank()];
      const bool stands_still = GetParam().IsLastStage(self.world->rank());
      if (stands_still && !gate.Close(self.context->stream())) {
        return absl::InternalError("the stream does not come to the gate");
      }
      GatedHost host(steps_, stands_still ? &gate : nullptr);
      StepLoop loop(executor, host);
      const absl::Status status = loop.Run();
      gate.Open();
      run->results = host.results;
      run->order = host.order;
      run->num_ahead = loop.num_ahead();
      return status;
    });
  }

  const std::vector<v1::Step> steps_ = StepsOfAllKinds();
  std::array<cuda::Gate, 4> gates_;  // of each rank; outlive its device's work
  std::unique_ptr<partition::ModelSource> source_;
  v1::EnginePlan plan_;
};

TEST_P(DecodeLoopNcclTest, TheLastStageBeginsStepsBehindStepsThatRun) {
  const auto alone = RunAlone();
  const auto loop = RunLoop();
  for (int rank = 0; rank < GetParam().num_ranks(); ++rank) {
    SCOPED_TRACE(::testing::Message() << "rank=" << rank);
    CARAVAN_ASSERT_OK(alone[rank].status);
    ASSERT_THAT(loop[rank].status,
                StatusIs(absl::StatusCode::kCancelled, "stop"));
    EXPECT_EQ(loop[rank].results, alone[rank].results);
    const std::vector<uint64_t>& order = loop[rank].order;
    ASSERT_GE(order.size(), 3u);
    if (GetParam().IsLastStage(rank)) {
      EXPECT_GE(loop[rank].num_ahead, 1);
      EXPECT_THAT(std::vector<uint64_t>(order.begin(), order.begin() + 3),
                  ::testing::ElementsAre(1, 2, 1));
    } else {
      // Its steps are done when they are begun.
      EXPECT_EQ(loop[rank].num_ahead, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, DecodeLoopNcclTest,
                         ::testing::ValuesIn(kShapes),
                         [](const auto& info) { return info.param.name; });

using DecodeLoopFailureTest = DecodeLoopNcclTest;

// In the gather of what the ranks have found for the first step: one all-reduce
// before the layers and two in each come before it. The second step is begun by
// then.
TEST_P(DecodeLoopFailureTest, AGpuThatStandsStillAsTokensAreChosenIsNamed) {
  plan_.set_step_timeout_ms(3000 * testing::kSlowdown);
  emulated::InjectNcclFault(NcclFault::kStall, 1, 1 + 2 * kLayers);
  for (const RankRun& run : RunLoop()) {
    EXPECT_THAT(run.status,
                StatusIs(absl::StatusCode::kDeadlineExceeded,
                         HasSubstr("all-gather timed out: group=tp0 peer=")));
    EXPECT_THAT(run.order, ::testing::ElementsAre(1, 2, 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, DecodeLoopFailureTest,
                         ::testing::Values(kShapes[0]),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace caravan::worker
