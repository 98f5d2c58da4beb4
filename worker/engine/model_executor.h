// Runs steps on the model: one rank's part of each.
#ifndef CARAVAN_WORKER_ENGINE_MODEL_EXECUTOR_H_
#define CARAVAN_WORKER_ENGINE_MODEL_EXECUTOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/progress_page.h"
#include "caravan/v1/plan.pb.h"
#include "caravan/v1/step.pb.h"
#include "partition/model/model_source.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/engine/sequence_table.h"
#include "worker/engine/step_batch.h"
#include "worker/engine/step_executor.h"
#include "worker/engine/step_sampler.h"
#include "worker/llama/decoder.h"

namespace caravan::worker {

struct ModelExecutorOptions {
  const v1::EnginePlan* plan = nullptr;
  int rank = 0;
  // Borrowed; outlive the executor.
  const partition::ModelSource* source = nullptr;
  Backend* backend = nullptr;
  World* world = nullptr;
  ProgressWriter* progress = nullptr;  // may be null
  std::function<void(int64_t loaded, int64_t total)> on_load_progress;
};

// Stage 0 embeds; each stage runs its layers and sends the residual stream on;
// the last stage samples and sends the ids to stage 0 over the same group, so
// that the decode loop closes without the coordinator. Stage 0 takes ids off
// that link only when a step needs them, so it runs ahead of the stages after
// it.
//
// Where the devices of the last stage can choose all tokens of a step, its
// ranks may begin the next step before they know them; a stage that is first
// and last takes them on the device (docs/decisions/0016).
class ModelExecutor final : public StepExecutor {
 public:
  // Makes the groups (all ranks must do so), loads the shard, allocates all.
  static absl::StatusOr<std::unique_ptr<ModelExecutor>> Create(
      const ModelExecutorOptions& options);

  absl::Status Begin(const v1::Step& step) override;
  absl::StatusOr<v1::StepResult> Finish() override;
  bool CanBeginAhead() const override;

  // Whether Begin may be called: all steps are finished, or of the one that is
  // not the device chooses the tokens.
  bool MayBegin() const;

  // Null but on the last stage.
  StepSampler* sampler() { return sampler_.get(); }

 private:
  explicit ModelExecutor(const ModelExecutorOptions& options);
  absl::Status Initialize();
  absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(GroupOptions group);

  bool is_first_stage() const { return stage_ == 0; }
  bool is_last_stage() const { return stage_ == num_stages_ - 1; }

  struct BegunStep {
    StepBatch batch;  // whose pointers hold if the host chooses its tokens
    v1::StepResult result;
    bool chosen = false;  // on the device
  };
  static int TokenSetOf(uint64_t step) {
    return static_cast<int>(step % kTokenSets);
  }
  absl::Status RunStep(const v1::Step& step, BegunStep* begun);
  // What the device has been told to choose is known by its slot from now on.
  absl::Status ExpectChosen(BegunStep* begun);
  // Whether Begin waits for no other rank.
  bool StepsAreOnlyEnqueued() const;
  // Both tell the ids of a step's tokens, and complete its result.
  absl::StatusOr<std::vector<int32_t>> ReadChosen(BegunStep* begun);
  absl::StatusOr<std::vector<int32_t>> SampleOnHost(BegunStep* begun);

  absl::Status ReceiveHidden(int64_t num_rows);
  absl::Status SendHidden(int64_t num_rows);
  // The input ids of all rows, or slots of ids that the step before chooses;
  // takes sampled ids off the link as needed.
  absl::StatusOr<std::vector<int32_t>> InputIds(const v1::Step& step,
                                                const StepBatch& batch);
  absl::Status CheckId(const v1::Step& step, int32_t id) const;
  absl::Status ReceiveOldestIds();
  void ExpectSampledIds(const v1::Step& step, const StepBatch& batch);
  void SetPhase(EnginePhase phase);

  const ModelExecutorOptions options_;
  const v1::RankPlan& rank_plan_;
  const int stage_;
  const int num_stages_;
  std::unique_ptr<Communicator> tensor_group_;    // the ranks of this stage
  std::unique_ptr<Communicator> pipeline_group_;  // this tp rank in all stages
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<StepSampler> sampler_;  // last stage
  SequenceTable sequences_;
  uint64_t last_step_ = 0;
  // In order; at most kTokenSets.
  std::deque<BegunStep> begun_;
  // Stage 0 of several: sequences of each step whose ids are still on the link.
  std::deque<std::vector<uint64_t>> unreceived_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_MODEL_EXECUTOR_H_
