// Steps that are begun while a GPU, here an emulated one, still runs the step
// before: what they give is what each gives alone.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/engine_plan.h"
#include "tests/support/quantized_source.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/gate.h"
#include "tests/worker/engine/gated_host.h"
#include "tests/worker/engine/mixed_steps.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/comm/local/local_world.h"
#include "worker/engine/model_executor.h"
#include "worker/engine/step_loop.h"

namespace caravan::worker {
namespace {

using cuda::Gate;

class DecodeLoopCudaTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    emulated::SetStreamPolicy(emulated::StreamPolicy::kBackground, 0);
    partition::ModelSpec spec = testing::QuantizableSpec();
    spec.num_layers = 1;
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        source_, testing::MakeQuantizedSource(spec, [](absl::string_view) {
          return WeightFormat::kQ4;
        }));
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        plan_,
        testing::MakeEnginePlan(spec, {.max_rows_per_step = kMostMixedRows}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, OpenCudaDevice({}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        backend_, CreateCudaBackend(context_, {.use_graphs = GetParam()}));
    executor_ = Create();
    for (const v1::Step& step : steps_) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult result,
                                   executor_->Execute(step));
      alone_.push_back(result.SerializeAsString());
    }
    executor_ = Create();
  }
  void TearDown() override {
    executor_.reset();
    backend_.reset();
    emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
  }

  std::unique_ptr<ModelExecutor> Create() {
    auto executor = ModelExecutor::Create({.plan = &plan_,
                                           .rank = 0,
                                           .source = source_.get(),
                                           .backend = backend_.get(),
                                           .world = worlds_[0].get()});
    EXPECT_THAT(executor, testing::IsOk());
    return *std::move(executor);
  }

  // Begins the next step while the device stands still, and the one after it
  // if that need not wait, then lets the device go on; returns how many.
  size_t RunBehindGate(size_t next) {
    Gate gate;
    EXPECT_TRUE(gate.Close(context_->stream()));
    const int64_t kernels = emulated::KernelsRun();
    size_t begun = 0;
    while (next + begun < steps_.size() && executor_->MayBegin()) {
      if (begun > 0) {
        EXPECT_TRUE(executor_->CanBeginAhead());
      }
      const emulated::EnqueueCalls before = emulated::EnqueueCallsMade(0);
      CARAVAN_EXPECT_OK(executor_->Begin(steps_[next + begun]));
      const emulated::EnqueueCalls after = emulated::EnqueueCallsMade(0);
      if (!steps_[next + begun].entries().empty()) {
        EXPECT_GT(after.operations + after.graphs,
                  before.operations + before.graphs);
      }
      ++begun;
    }
    EXPECT_FALSE(begun == 2 && executor_->CanBeginAhead());
    EXPECT_EQ(emulated::KernelsRun(), kernels);  // all that is yet to come
    gate.Open();
    for (size_t i = 0; i < begun; ++i) {
      auto result = executor_->Finish();
      CARAVAN_EXPECT_OK(result);
      if (result.ok()) ahead_.push_back(result->SerializeAsString());
    }
    return begun;
  }

  const std::vector<v1::Step> steps_ = StepsOfAllKinds();
  const std::vector<std::unique_ptr<World>> worlds_ = CreateLocalWorlds(1);
  std::unique_ptr<partition::ModelSource> source_;
  v1::EnginePlan plan_;
  std::shared_ptr<cuda::DeviceContext> context_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<ModelExecutor> executor_;
  StepResults alone_;
  StepResults ahead_;
};

TEST_P(DecodeLoopCudaTest, StepsAreBegunBehindStepsThatRun) {
  // In pairs: those of the odd steps with the even ones, and the others.
  for (const bool first_alone : {false, true}) {
    executor_ = Create();
    ahead_.clear();
    size_t next = 0;
    if (first_alone) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult result,
                                   executor_->Execute(steps_[next++]));
      ahead_.push_back(result.SerializeAsString());
    }
    size_t pairs = 0;
    while (next < steps_.size() && !HasFailure()) {
      const size_t begun = RunBehindGate(next);
      pairs += begun - 1;
      next += begun;
    }
    EXPECT_EQ(ahead_, alone_);
    EXPECT_GE(pairs, 9u);
  }
}

TEST_P(DecodeLoopCudaTest, TheLoopBeginsTheStepThatIsThere) {
  Gate gate;
  ASSERT_TRUE(gate.Close(context_->stream()));
  GatedHost host(steps_, &gate);
  EXPECT_THAT(StepLoop(*executor_, host).Run(),
              testing::StatusIs(absl::StatusCode::kCancelled, "stop"));
  ASSERT_GE(host.order.size(), 3u);
  EXPECT_EQ(host.order[0], 1u);
  EXPECT_EQ(host.order[1], 2u);
  EXPECT_EQ(host.order[2], 1u);  // finished
  EXPECT_EQ(host.results, alone_);
}

using DecodeLoopManyRowsTest = DecodeLoopCudaTest;

// Beyond the rows whose choice is in a graph.
TEST_P(DecodeLoopManyRowsTest, TheDeviceTakesWhatTheHostWould) {
  MakeRoomForManySequences(plan_);
  std::vector<std::vector<int32_t>> ids;
  for (const int logprobs : {-1, 0}) {
    executor_ = Create();
    std::vector<int32_t>& all = ids.emplace_back();
    int64_t graphs = 0;
    for (const v1::Step& step : StepsOfManySequences(logprobs)) {
      const int64_t before = emulated::EnqueueCallsMade(0).graphs;
      CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult result,
                                   executor_->Execute(step));
      graphs += emulated::EnqueueCallsMade(0).graphs - before;
      for (const v1::SequenceResult& sequence : result.sequences()) {
        all.push_back(sequence.id());
      }
    }
    EXPECT_EQ(all.size(), size_t{3 * kManySequences});
    EXPECT_EQ(graphs, 2);
  }
  EXPECT_EQ(ids[0], ids[1]);
}

INSTANTIATE_TEST_SUITE_P(Graphs, DecodeLoopManyRowsTest,
                         ::testing::Values(true),
                         [](const auto&) { return "replayed"; });

INSTANTIATE_TEST_SUITE_P(Graphs, DecodeLoopCudaTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "replayed" : "eager";
                         });

}  // namespace
}  // namespace caravan::worker
